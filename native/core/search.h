// Searching a source of any size, window by window.
#pragma once
#include "source.h"

namespace cd {

struct Survey {
  Digest sha256{};
  bool has_nul = false;
  uint64_t names = 0;  // names in which the marker occurs
};

// What is to be known of every file, in one reading. `marker`: counted once for each run of name characters; empty: not looked for.
// Without `hashing` the hash stays empty.
Survey survey(Source& source, const std::string& marker, bool hashing = true);
Digest hash_of(Source& source);

// find_text or find_binary over the whole source.
std::vector<Spot> find_all(Source& source, const std::string& prefix, bool text, bool whole);

// First NUL unit at or after `from`, in steps of the unit; the size of the source when there is none.
uint64_t nul_after(Source& source, uint64_t from, unsigned unit);
bool all_nul(Source& source, uint64_t begin, uint64_t end);  // false also beyond the end of the source

}  // namespace cd
