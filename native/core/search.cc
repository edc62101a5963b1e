#include "search.h"
#include <algorithm>
#include <cstring>
#include "prefix.h"
#include "sha256.h"

namespace cd {
namespace {

constexpr size_t kAhead = 8;  // bytes after a hit that decide whether its path ends there
constexpr size_t kStep = 64 << 10;

size_t step(const Source& source, uint64_t at) { return static_cast<size_t>(std::min<uint64_t>(source.window(), source.size() - at)); }

bool name_character(uint8_t c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-'; }

// Calls body(window, its offset, its size, is it the last) for windows that overlap by `overlap` bytes.
template <class Body>
void windows(Source& source, size_t overlap, Body body) {
  if (source.size() == 0) return;
  overlap = (overlap + 63) / 64 * 64;  // keeps the alignment of what is found
  for (uint64_t begin = 0;;) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(std::max(source.window(), 4 * overlap), source.size() - begin));
    const bool last = begin + n == source.size();
    body(source.at(begin, n), begin, n, last);
    if (last) return;
    begin += n - overlap;
  }
}

}  // namespace

Digest hash(Source& source) {
  Sha256 h;
  for (uint64_t at = 0; at < source.size();) {
    const size_t n = step(source, at);
    h.update(source.at(at, n), n);
    at += n;
  }
  return h.finish();
}

bool has_nul(Source& source) {
  for (uint64_t at = 0; at < source.size();) {
    const size_t n = step(source, at);
    if (std::memchr(source.at(at, n), 0, n)) return true;
    at += n;
  }
  return false;
}

std::vector<Spot> find_all(Source& source, const std::string& prefix, bool text, bool whole) {
  std::vector<Spot> out;
  uint64_t free = 0;
  windows(source, 4 * prefix.size() + kAhead, [&](const uint8_t* data, uint64_t begin, size_t n, bool last) {
    for (Spot s : text ? find_text(data, n, prefix, whole) : find_binary(data, n, prefix, whole)) {
      const uint64_t length = prefix.size() * unit_of(s.encoding);
      if (!last && s.offset + length + kAhead > n) continue;  // the next window holds it whole
      s.offset += begin;
      if (s.offset < free) continue;
      free = s.offset + 1;
      out.push_back(s);
    }
  });
  return out;
}

uint64_t count_names(Source& source, const std::string& marker) {
  if (marker.empty()) return 0;
  uint64_t count = 0, free = 0;
  windows(source, 4096, [&](const uint8_t* data, uint64_t begin, size_t n, bool) {
    for (size_t at = free > begin ? static_cast<size_t>(free - begin) : 0; at < n;) {
      const auto* hit = static_cast<const uint8_t*>(memmem(data + at, n - at, marker.data(), marker.size()));
      if (!hit) return;
      ++count;
      for (at = static_cast<size_t>(hit - data) + marker.size(); at < n && name_character(data[at]);) ++at;
      free = begin + at;
    }
  });
  return count;
}

uint64_t nul_after(Source& source, uint64_t from, unsigned unit) {
  static constexpr uint8_t zero[4] = {};
  while (from + unit <= source.size()) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(kStep, source.size() - from)) / unit * unit;
    const uint8_t* data = source.at(from, n);
    if (unit == 1) {
      if (const void* hit = std::memchr(data, 0, n)) return from + static_cast<uint64_t>(static_cast<const uint8_t*>(hit) - data);
    } else {
      for (size_t i = 0; i < n; i += unit)
        if (std::memcmp(data + i, zero, unit) == 0) return from + i;
    }
    from += n;
  }
  return source.size();
}

bool all_nul(Source& source, uint64_t begin, uint64_t end) {
  if (end > source.size()) return false;
  const uint8_t* data = source.at(begin, static_cast<size_t>(end - begin));
  return std::all_of(data, data + (end - begin), [](uint8_t c) { return c == 0; });
}

}  // namespace cd
