// The bytes of FORMAT.md written by hand, without the rules of the core: for tables which no writer would make.
#pragma once
#include <cstdint>
#include <string>

namespace forge {

inline std::string fixed(uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> 8 * i & 0xFF);
  return out;
}

inline std::string varint(uint64_t value) {
  std::string out;
  do {
    out += static_cast<char>((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
    value >>= 7;
  } while (value);
  return out;
}

inline std::string zigzag(int64_t n) {
  return varint(n < 0 ? static_cast<uint64_t>(-(n + 1)) * 2 + 1 : static_cast<uint64_t>(n) * 2);
}

inline std::string text(const std::string& s) { return varint(s.size()) + s; }

// What every entry begins with. `kind`: 0 directory, 1 file, 2 symlink, 3 hard link, + 0x10 spots, + 0x20 deployed state.
inline std::string head(int kind, uint64_t shared, const std::string& rest, uint64_t mode = 0755,
                        int64_t mtime_difference = 0) {
  return fixed(static_cast<uint64_t>(kind), 1) + varint(shared) + text(rest) + varint(mode) + zigzag(mtime_difference);
}

inline std::string directory(const std::string& path) { return head(0, 0, path); }
inline std::string file(const std::string& path, uint64_t size, const std::string& spots = {},
                        const std::string& deployed = {}) {
  const int kind = 1 | (spots.empty() ? 0 : 0x10) | (deployed.empty() ? 0 : 0x20);
  return head(kind, 0, path, 0644) + varint(size) + varint(0) + varint(0) + std::string(32, 'h') + spots + deployed;
}
inline std::string link(int kind, const std::string& path, const std::string& target) {
  return head(kind, 0, path) + text(target);
}

inline std::string spot(int encoding, uint64_t difference, uint64_t refers, uint64_t slot) {
  return fixed(static_cast<uint64_t>(encoding), 1) + varint(difference) + varint(refers) + varint(slot);
}
inline std::string digest_spot(uint64_t difference, uint64_t entry) {
  return fixed(6, 1) + varint(difference) + varint(entry);
}
inline std::string deployed_state(uint64_t size) { return varint(size) + std::string(32, 'd'); }

inline std::string table(const std::string& prefixes, uint64_t count, const std::string& entries, int flags = 0,
                         int version = 1) {
  return "CDTB" + fixed(static_cast<uint64_t>(version), 2) + fixed(static_cast<uint64_t>(flags), 2) + prefixes +
         varint(count) + entries;
}

}  // namespace forge
