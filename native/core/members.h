// Reads tar members: the counterpart of tar.h, for proving that what an ordinary tar would extract is what the entry
// table says.
#pragma once
#include <vector>
#include "entry.h"

namespace cd {

struct Member {
  std::string path;  // without the slash that closes a directory's
  Kind kind = Kind::other;
  uint64_t mode = 0;
  uint64_t size = 0;
  std::string target;
  uint64_t content = 0;  // where its content begins in the frame
};

// The members whose headers stand in data[from, size), up to the zero blocks that end a tar (`end`: they were there).
// The content of the last may reach beyond; content of others must be inside. ustar headers and pax records of one
// member; throws ARCHIVE_CORRUPT for the rest.
std::vector<Member> read_members(const char* data, size_t size, size_t from, bool& end);

}  // namespace cd
