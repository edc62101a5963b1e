// Rewriting prefixes in bytes. Pure. By spots (recorded places) or by search (archives made by others).
#pragma once
#include <string_view>
#include "entry.h"

namespace cd {

struct Rewriting {          // what was done to one content
  bool trampoline = false;  // shebang became a /bin/sh trampoline
  bool by_path = false;     // shebang finds its interpreter by PATH
};

// A prefix to write into files: absolute, no NUL, no line end, shorter than PATH_MAX; otherwise throws INVALID_OPTION.
void check_prefix(const std::string& prefix);

// Content of a part of a file, from stored bytes at [base, base + size): spots are those whose offset lies in it. Text grows or
// shrinks; binaries keep their length. `digests[k]` is the hex digest for digest spot k of this call, in order.
// Shebangs are treated when base is 0. Throws PREFIX_TOO_LONG, or ARCHIVE_CORRUPT when the stored bytes are not what the spots say.
// `room`: memory to write it into.
std::string rewrite_spots(const uint8_t* data, size_t size, uint64_t base, const Spot* spots, size_t count,
                          const std::vector<std::string>& prefixes, const std::string& prefix,
                          const std::vector<std::string>& digests, Rewriting& done, std::string room = {});

struct Rewrite {  // how a prefix is looked for in content whose spots are not known
  std::string prefix;
  bool text = true;
};

// Looked for and replaced in a whole content, as conda does at installation: text: every occurrence; binary: C strings in
// the five encodings, several in one string, string at the end of file. Where two overlap, the one that begins first counts, then
// the one named first. Appends what was found as spots in terms of the input (refers: number in `rewrites`).
// Returns false and leaves out alone when there is nothing to do. Throws PREFIX_TOO_LONG.
bool rewrite_search(std::string_view in, const std::vector<Rewrite>& rewrites, const std::string& to, std::string& out,
                    std::vector<Spot>& spots, Rewriting& done);
// The same, but `out` is what comes behind the first `kept` bytes of the content, which stay: most of a library.
bool rewrite_search_behind(std::string_view in, const std::vector<Rewrite>& rewrites, const std::string& to,
                           size_t& kept, std::string& out, std::vector<Spot>& spots, Rewriting& done);

// The same for a binary, in the content itself, whose length stays, and piece by piece: `size` bytes that stand at `base` of it. Returns how
// many of them are done; what is left may be the beginning of something, and comes again with what follows. `last`: nothing does.
size_t rewrite_binary(char* piece, size_t size, uint64_t base, bool last, const std::string& from,
                      const std::string& to);

// Occurrences of a prefix as a path: the byte after it is not one that continues a file name (letter, digit, _ - + or a byte ≥ 0x80; a dot only when such a
// byte follows it), so that /a/env is not found in /a/env2. `whole` false: every occurrence, as conda itself replaces them.
std::vector<Spot> find_text(const uint8_t* data, size_t size, const std::string& prefix, bool whole);
// Five encodings, ascending. `base`: where the data stands in its file, which tells what is aligned.
std::vector<Spot> find_binary(const uint8_t* data, size_t size, const std::string& prefix, bool whole,
                              uint64_t base = 0);

// Texts grow with a longer prefix, of which an archive may claim one in every byte: what all files together, or one that is searched, may
// grow by. Real environments grow by a few megabytes. Throws LIMIT_EXCEEDED.
inline constexpr uint64_t kMaxGrowth = 256u << 20;
void check_growth(uint64_t bytes);

std::string encode_as(const std::string& utf8, Encoding);  // the prefix in the bytes of an encoding

}  // namespace cd
