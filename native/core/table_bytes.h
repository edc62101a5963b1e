// Single values of a table and a summary, and single entries, as FORMAT.md lays them out. What breaks a rule about several is not found here.
#pragma once
#include <cstring>
#include "failure.h"
#include "rules.h"

namespace cd::bytes {

inline constexpr uint16_t kVersion = 1;

inline Failure corrupt(const std::string& what, const std::string& message) {
  return Failure("ARCHIVE_CORRUPT", what + ": " + message);
}

class Writer {
 public:
  std::string out;
  void fixed(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> 8 * i));
  }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
  }
  void zigzag(uint64_t difference) { varint(difference << 1 ^ (difference >> 63 ? ~uint64_t{0} : 0)); }
  void digest(const Digest& d) { out.append(reinterpret_cast<const char*>(d.data()), d.size()); }
  void text(const std::string& s, size_t from = 0) {
    varint(s.size() - from);
    out.append(s, from, std::string::npos);
  }
};

class Reader {  // never moves beyond the end; what is missing is ARCHIVE_CORRUPT
 public:
  Reader(const uint8_t* data, size_t size, const char* what) : p_(data), end_(data + size), what_(what) {}
  size_t left() const { return static_cast<size_t>(end_ - p_); }
  const uint8_t* take(uint64_t size) {
    if (size > left())
      throw corrupt(what_, "needs " + std::to_string(size) + " more bytes, has " + std::to_string(left()));
    const uint8_t* at = p_;
    p_ += size;
    return at;
  }
  uint64_t fixed(int bytes) {
    const uint8_t* at = take(static_cast<uint64_t>(bytes));
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= uint64_t{at[i]} << 8 * i;
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      const uint8_t byte = *take(1);
      if (shift == 63 && byte > 1) break;
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (!(byte & 0x80)) return value;
    }
    throw corrupt(what_, "a number of more than 64 bits");
  }
  uint32_t small(const char* field) {
    const uint64_t value = varint();
    if (value > UINT32_MAX)
      throw corrupt(what_, std::string(field) + " is " + std::to_string(value) + ", beyond 32 bits");
    return static_cast<uint32_t>(value);
  }
  uint64_t zigzag() {
    const uint64_t value = varint();
    return value >> 1 ^ (value & 1 ? ~uint64_t{0} : 0);
  }
  void digest(Digest& d) { std::memcpy(d.data(), take(d.size()), d.size()); }
  std::string text() {
    const uint64_t size = varint();
    const uint8_t* at = take(size);
    return std::string(reinterpret_cast<const char*>(at), size);
  }
  void magic(const char* expected) {
    if (std::memcmp(take(4), expected, 4) != 0) throw corrupt(what_, std::string("does not begin with ") + expected);
  }
  void version() {
    const uint64_t version = fixed(2);
    if (version != kVersion)
      throw Failure("UNSUPPORTED", std::string(what_) + ": format version " + std::to_string(version) +
                                       ", this program reads version " + std::to_string(kVersion));
  }
  void end() const {
    if (left()) throw corrupt(what_, std::to_string(left()) + " bytes after its end");
  }

 private:
  const uint8_t* p_;
  const uint8_t* end_;
  const char* what_;
};

// All but its deployed state, which stands at the end; `has_deployed`: it has one.
void write_entry(Writer& w, const Entry& e, bool has_deployed, const std::string& path_before, int64_t mtime_before);
void write_deployed(Writer& w, const Entry& e);
void read_entry(Reader& r, Entry& e, const std::string& path_before, int64_t mtime_before);
// What stands before the entries: their number is read.
void write_head(Writer& w, bool deployed, const std::string& root, const std::vector<std::string>& prefixes,
                uint64_t entries);
uint64_t read_head(Reader& r, Table& table);

}  // namespace cd::bytes
