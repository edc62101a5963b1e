// Searching a source of any size, window by window.
#pragma once
#include "source.h"

namespace cd {

Digest hash(Source& source);
bool has_nul(Source& source);

// find_text or find_binary over the whole source.
std::vector<Spot> find_all(Source& source, const std::string& prefix, bool text, bool whole);

// Names in which `marker` occurs: one for each run of name characters.
uint64_t count_names(Source& source, const std::string& marker);

// First NUL unit at or after `from`, in steps of the unit; the size of the source when there is none.
uint64_t nul_after(Source& source, uint64_t from, unsigned unit);
bool all_nul(Source& source, uint64_t begin, uint64_t end);

}  // namespace cd
