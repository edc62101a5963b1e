#include "search.h"
#include <algorithm>
#include <cstring>
#include "prefix.h"
#include "sha256.h"

namespace cd {
namespace {

constexpr size_t kAhead = 8;       // bytes after a hit that decide whether its path ends there
constexpr size_t kName = 4096;     // the longest run of name characters that is sure to count once
constexpr size_t kStep = 4 << 10;  // most strings end sooner

bool name_character(uint8_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
}

// Calls body(window, its offset, its size, is it the last) for windows that overlap by at least `overlap` bytes.
template <class Body>
void windows(Source& source, size_t overlap, Body body) {
  if (source.size() == 0) return;
  overlap = (overlap + 63) / 64 * 64;  // and steps of whole units: what is found keeps its alignment
  const size_t most = std::max(source.window() / 64 * 64, 4 * overlap);
  for (uint64_t begin = 0;;) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(most, source.size() - begin));
    const bool last = begin + n == source.size();
    body(source.at(begin, n), begin, n, last);
    if (last) return;
    begin += n - overlap;
  }
}

}  // namespace

Survey survey(Source& source, const std::string& marker, bool hashing) {
  Survey s;
  Sha256 h;
  uint64_t hashed = 0, searched = 0;
  windows(source, marker.size() + kName, [&](const uint8_t* data, uint64_t begin, size_t n, bool) {
    const size_t known = static_cast<size_t>(hashed - begin);
    if (hashing) h.update(data + known, n - known);
    if (!s.has_nul) s.has_nul = std::memchr(data + known, 0, n - known) != nullptr;
    hashed = begin + n;
    if (marker.empty()) return;
    for (size_t at = searched > begin ? static_cast<size_t>(searched - begin) : 0; at < n;) {
      const auto* hit = static_cast<const uint8_t*>(memmem(data + at, n - at, marker.data(), marker.size()));
      if (!hit) return;
      ++s.names;
      for (at = static_cast<size_t>(hit - data) + marker.size(); at < n && name_character(data[at]);) ++at;
      searched = begin + at;
    }
  });
  if (hashing) s.sha256 = h.finish();
  return s;
}

Digest hash_of(Source& source) {
  Sha256 h;
  for (uint64_t at = 0, n = 0; at < source.size(); at += n) {
    n = std::min<uint64_t>(source.window(), source.size() - at);
    h.update(source.at(at, static_cast<size_t>(n)), static_cast<size_t>(n));
  }
  return h.finish();
}

std::vector<Spot> find_all(Source& source, const std::string& prefix, bool text, bool whole) {
  std::vector<Spot> out;
  uint64_t free = 0;
  windows(source, 4 * prefix.size() + kAhead, [&](const uint8_t* data, uint64_t begin, size_t n, bool last) {
    // A text is searched on from the last hit, as in one piece: a prefix may overlap itself.
    const size_t known = text && free > begin ? static_cast<size_t>(free - begin) : 0;
    for (Spot s : text ? find_text(data + known, n - known, prefix, whole) : find_binary(data, n, prefix, whole)) {
      s.offset += known;
      const size_t length = unit_of(s.encoding) == 1 ? prefix.size() : encode_as(prefix, s.encoding).size();
      if (!last && s.offset + length + kAhead > n) continue;  // the next window holds it whole
      s.offset += begin;
      if (s.offset < free) continue;
      free = s.offset + length;
      out.push_back(s);
    }
  });
  return out;
}

uint64_t nul_after(Source& source, uint64_t from, unsigned unit) {
  static constexpr uint8_t zero[4] = {};
  for (size_t step = kStep; from + unit <= source.size(); step = std::min(2 * step, size_t{1} << 18)) {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(step, source.size() - from)) / unit * unit;
    const uint8_t* data = source.at(from, n);
    if (unit == 1) {
      if (const void* hit = std::memchr(data, 0, n))
        return from + static_cast<uint64_t>(static_cast<const uint8_t*>(hit) - data);
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
