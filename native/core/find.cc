// Where a prefix stands in bytes, in the five encodings. Rewriting what was found is prefix.cc.
#include <algorithm>
#include <cstring>
#include "failure.h"
#include "prefix.h"

namespace cd {
namespace {

bool continues_a_name(uint32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-' ||
         c == '+' || c >= 0x80;
}

uint32_t unit_at(const uint8_t* p, Encoding e) {
  switch (e) {
    case Encoding::c16le: return p[0] | p[1] << 8;
    case Encoding::c16be: return p[1] | p[0] << 8;
    case Encoding::c32le: return p[0] | p[1] << 8 | p[2] << 16 | static_cast<uint32_t>(p[3]) << 24;
    case Encoding::c32be: return p[3] | p[2] << 8 | p[1] << 16 | static_cast<uint32_t>(p[0]) << 24;
    default: return p[0];
  }
}

// Does the path end here, or does its last name go on?
bool ends_here(const uint8_t* data, size_t size, size_t at, Encoding e) {
  const unsigned unit = unit_of(e);
  if (at + unit > size) return true;
  const uint32_t next = unit_at(data + at, e);
  if (next != '.') return !continues_a_name(next);
  return at + 2 * unit > size || !continues_a_name(unit_at(data + at + unit, e));
}

void find(const uint8_t* data, size_t size, const std::string& needle, Encoding e, bool whole, std::vector<Spot>& out) {
  if (needle.empty()) return;
  for (const uint8_t *at = data, *end = data + size; at < end;) {
    const auto* hit =
        static_cast<const uint8_t*>(memmem(at, static_cast<size_t>(end - at), needle.data(), needle.size()));
    if (!hit) return;
    at = hit + needle.size();
    if (!whole || ends_here(data, size, static_cast<size_t>(at - data), e))
      out.push_back({e, static_cast<uint64_t>(hit - data), 0, 0});
  }
}

// Both byte orders of one width, by the low byte of the first character: memmem of the four needles, whose pairs of
// bytes are full of zeros, took thirty times as long on a file half of zeros.
void find_wide(const uint8_t* data, size_t size, const std::string& prefix, Encoding little, Encoding big, bool whole,
               std::vector<Spot>& out) {
  const std::string le = encode_as(prefix, little), be = encode_as(prefix, big);
  const size_t n = le.size(), lag = unit_of(big) - 1;
  const auto take = [&](size_t begin, const std::string& needle, Encoding e) {
    if (size - begin < n || data[begin + 1] != static_cast<uint8_t>(needle[1])) return;
    if (std::memcmp(data + begin, needle.data(), n) != 0) return;
    if (!whole || ends_here(data, size, begin + n, e)) out.push_back({e, begin, 0, 0});
  };
  for (size_t at = 0; at < size; ++at) {
    const void* hit = std::memchr(data + at, static_cast<uint8_t>(le[0]), size - at);
    if (!hit) return;
    at = static_cast<size_t>(static_cast<const uint8_t*>(hit) - data);
    if (at >= lag) take(at - lag, be, big);
    take(at, le, little);
  }
}

// Code points of UTF-8; empty when it is not UTF-8.
std::vector<uint32_t> code_points(const std::string& s) {
  std::vector<uint32_t> out;
  for (size_t i = 0; i < s.size();) {
    const auto lead = static_cast<unsigned char>(s[i]);
    const size_t more = lead < 0x80 ? 0 : (lead >> 5) == 6 ? 1 : (lead >> 4) == 14 ? 2 : (lead >> 3) == 30 ? 3 : 9;
    if (more == 9 || i + more >= s.size()) return {};
    uint32_t c = more == 0 ? lead : lead & (0x3Fu >> more);
    for (size_t k = 1; k <= more; ++k) {
      const auto byte = static_cast<unsigned char>(s[i + k]);
      if (byte >> 6 != 2) return {};
      c = c << 6 | (byte & 0x3F);
    }
    out.push_back(c);
    i += more + 1;
  }
  return out;
}

void append_unit(std::string& out, uint32_t value, unsigned bytes, bool big) {
  for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * (big ? bytes - 1 - i : i)));
}

}  // namespace

std::string encode_as(const std::string& utf8, Encoding e) {
  const unsigned unit = unit_of(e);
  if (unit == 1) return utf8;
  const bool big = e == Encoding::c16be || e == Encoding::c32be;
  const std::vector<uint32_t> points = code_points(utf8);
  if (points.empty() && !utf8.empty())
    throw Failure("UNSUPPORTED", "the prefix is not UTF-8, and cannot be written in UTF-16 or UTF-32: " + utf8, utf8);
  std::string out;
  for (const uint32_t c : points) {
    if (unit == 4 || c < 0x10000) {
      append_unit(out, c, unit, big);
    } else {
      append_unit(out, 0xD800 + ((c - 0x10000) >> 10), 2, big);
      append_unit(out, 0xDC00 + ((c - 0x10000) & 0x3FF), 2, big);
    }
  }
  return out;
}

std::vector<Spot> find_text(const uint8_t* data, size_t size, const std::string& prefix, bool whole) {
  std::vector<Spot> out;
  find(data, size, prefix, Encoding::text, whole, out);
  return out;
}

std::vector<Spot> find_binary(const uint8_t* data, size_t size, const std::string& prefix, bool whole, uint64_t base) {
  std::vector<Spot> out;
  find(data, size, prefix, Encoding::c8, whole, out);
  if (!code_points(prefix).empty()) {
    find_wide(data, size, prefix, Encoding::c16le, Encoding::c16be, whole, out);
    find_wide(data, size, prefix, Encoding::c32le, Encoding::c32be, whole, out);
  }
  std::stable_sort(out.begin(), out.end(), [](const Spot& a, const Spot& b) { return a.offset < b.offset; });
  // A UTF-16LE string that follows a zero byte also reads as UTF-16BE one byte earlier (and so with UTF-32): of overlapping
  // hits the aligned one is meant.
  std::vector<Spot> kept;
  uint64_t free = 0;
  for (const Spot& s : out) {
    const bool overlaps = !kept.empty() && s.offset < free;
    if (overlaps) {
      const auto aligned = [&](const Spot& one) { return (base + one.offset) % unit_of(one.encoding) == 0; };
      if (!aligned(s) || aligned(kept.back())) continue;
      kept.pop_back();
    }
    kept.push_back(s);
    free = s.offset + encode_as(prefix, s.encoding).size();
  }
  return kept;
}

}  // namespace cd
