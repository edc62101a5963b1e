// POSIX tar members: ustar, with pax records where ustar is too small. Pure: bytes in, bytes out.
#pragma once
#include <string>
#include "entry.h"

namespace cd {

// Header blocks of an entry (one pax header before it where needed). `size` is the stored size; `root`: folder in which all members lie.
std::string tar_header(const Entry& entry, const std::string& root = {});
inline uint64_t tar_padding(uint64_t size) { return (512 - size % 512) % 512; }
inline constexpr size_t kTarEnd = 1024;  // two zero blocks

}  // namespace cd
