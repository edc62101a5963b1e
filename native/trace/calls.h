// The system calls that name a file: where their paths stand. The numbers are those of the machine this is built for.
#pragma once
#include <cstdint>
#include <vector>

namespace cd::trace_calls {

enum Trait : uint32_t {
  kFollow = 1,        // a link at the end is followed, unless its flags say otherwise
  kNoFollowFlag = 2,  // AT_SYMLINK_NOFOLLOW in `flags` says otherwise
  kFollowFlag = 4,    // followed only with AT_SYMLINK_FOLLOW
  kOpenFlags = 8,     // O_NOFOLLOW in `flags`
  kEmptyPath = 16,    // an empty or missing path means the descriptor itself
  kMoves = 32,        // changes what relative paths mean
  kExec = 64,
  kRing = 128,       // io_uring_setup
  kNamespace = 256,  // unshare, setns
  kBytes = 512,      // only asked for with TraceJob::bytes
  kRead = 1024,      // its result is a number of bytes read
  kMap = 2048,
  kSilent = 4096,  // watched, but no access
  kRoots = 16384,  // changes what absolute paths mean
  kStat = 8192,    // with nothing but AT_EMPTY_PATH it is fstat
};

struct Call {
  int number;
  const char* name;
  int8_t dir, path;    // arguments; dir -1: relative to the working directory; path -1: `dir` is the file itself
  int8_t dir2, path2;  // the second path; path2 -1: there is none
  int8_t flags;        // argument; -1: none
  uint32_t traits;

  bool by_descriptor() const { return path < 0; }
};

// Ascending by number.
const std::vector<Call>& calls();
const Call* find_call(long number);

}  // namespace cd::trace_calls
