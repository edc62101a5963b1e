// The shebang rule of FORMAT.md: what the first line of a script becomes when Linux could not execute it as it would stand.
#pragma once
#include <string>
#include "prefix.h"

namespace cd {

inline constexpr size_t kShebangMax = 127;  // BINPRM_BUF_SIZE is 128 before Linux 5.1, with the closing NUL

// `line` is the first line after replacement, without its end ("#!…"), whose interpreter begins inside the environment and whose path is
// `interpreter` long. Returns the lines to put in its place, each ended by \n except the last one, or `line` itself when it can stay.
std::string shebang_for(const std::string& line, size_t interpreter_begin, size_t interpreter_end, Rewriting& done);

}  // namespace cd
