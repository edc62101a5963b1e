// The rules of FORMAT.md about entries, applied one by one in their order, whether they are read or about to be written.
// A broken rule is ARCHIVE_CORRUPT naming the entry; a name that is not safe is UNSAFE_PATH.
#pragma once
#include <string_view>
#include "entry.h"

namespace cd {

inline constexpr size_t kPathMax = 4095;            // PATH_MAX without its NUL
inline constexpr uint64_t kNumberMax = 1ull << 53;  // sizes and times: what a JavaScript number holds exactly
inline constexpr size_t kMaxSummary = 1u << 20;
inline constexpr uint64_t kMaxEntries = 1u << 24,
                          kMaxPrefixes = 1u << 16;  // a deployed tree has its own prefix beside them
// Paths share their beginnings in a table: without this limit 256 MiB of table could become terabytes of paths.
inline constexpr uint64_t kMaxPathBytes = 1u << 30;

// Bytes of the file which a spot may change: the prefix and, for C strings, the slot behind it.
struct SpotLength {
  uint64_t prefix, slot;
};

class Rules {
 public:
  explicit Rules(const Table& table);  // the prefixes must be there; entries may still be appended
  void admit(const Entry& entry);      // must be table.entries[number of calls before]
  void finish() const;                 // what can only be said of the whole

 private:
  void check_spots(const Entry& entry);
  static uint32_t hash(std::string_view path);
  uint32_t find(std::string_view path, uint32_t hash) const;  // number of an admitted entry, or kNone
  uint32_t find(std::string_view path) const { return find(path, hash(path)); }
  void insert(uint32_t hash);  // the entry after the last one
  static constexpr uint32_t kNone = UINT32_MAX;

  const Table& table_;
  std::vector<std::array<uint64_t, 3>> lengths_;  // of each prefix in units of 1, 2 and 4 bytes
  uint32_t admitted_ = 0;
  uint64_t path_bytes_ = 0;
  uint32_t parent_ = kNone;             // directory of the entry before
  std::vector<uint32_t> with_digests_;  // numbers of entries, ascending
  // Open addressing: entry numbers by the hash of their path, which stands in the upper half, so that hardly any path is compared in vain.
  std::vector<uint64_t> slots_;
};

// Length in bytes of the place of a spot in the stored file: the prefix as encoded, and the slot where it has one.
SpotLength spot_length(const Spot& spot, const std::array<uint64_t, 3>& prefix_units);

// Characters of a prefix in encodings of 1, 2 and 4 bytes a unit.
std::array<uint64_t, 3> units_of(const std::string& prefix);

}  // namespace cd
