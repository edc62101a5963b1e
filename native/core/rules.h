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

// The entries that were admitted, by their numbers.
class Admitted {
 public:
  virtual ~Admitted() = default;
  virtual bool is(uint32_t number, std::string_view path) const = 0;
  virtual std::string path(uint32_t number) const = 0;
  virtual Kind kind(uint32_t number) const = 0;
};

class AdmittedEntries final : public Admitted {  // those of a table, which are there anyway
 public:
  explicit AdmittedEntries(const std::vector<Entry>& entries) : entries_(entries) {}
  bool is(uint32_t number, std::string_view path) const override { return entries_[number].path == path; }
  std::string path(uint32_t number) const override { return entries_[number].path; }
  Kind kind(uint32_t number) const override { return entries_[number].kind; }

 private:
  const std::vector<Entry>& entries_;
};

// Where nothing else is kept of them: of each its name, and the directory that it is in, which comes before it.
class AdmittedPaths final : public Admitted {
 public:
  void add(const Entry& entry, uint32_t directory);
  bool is(uint32_t number, std::string_view path) const override;
  std::string path(uint32_t number) const override;
  Kind kind(uint32_t number) const override { return kinds_[number]; }

 private:
  std::string_view name(uint32_t number) const;
  std::string names_;
  std::vector<uint32_t> ends_, directories_;
  std::vector<Kind> kinds_;
};

class Rules {
 public:
  // Both lists may grow: `prefixes` before an entry that names one, `admitted` by each entry before the next. `expected`: entries, a hint.
  Rules(const std::vector<std::string>& prefixes, bool deployed, const Admitted& admitted, size_t expected);
  void admit(const Entry& entry);
  void finish() const;  // what can only be said of the whole
  static constexpr uint32_t kNone = UINT32_MAX;
  // Number of an admitted entry, or kNone.
  uint32_t find(std::string_view path) const { return find(path, hash(path)); }
  // That of the directory of the entry admitted last; kNone: it stands in the root.
  uint32_t directory() const { return directory_; }

 private:
  struct Meant {  // by a digest
    uint32_t entry, number;
    uint64_t offset;
  };
  void check_spots(const Entry& entry);
  void take_prefixes();
  static uint32_t hash(std::string_view path);
  uint32_t find(std::string_view path, uint32_t hash) const;
  void insert(uint32_t hash);  // the entry after the last one

  const std::vector<std::string>& prefixes_;
  const bool deployed_;
  const Admitted& entries_;
  std::vector<std::array<uint64_t, 3>> lengths_;  // of each prefix in units of 1, 2 and 4 bytes
  uint32_t admitted_ = 0;
  uint64_t path_bytes_ = 0;
  uint32_t directory_ = kNone;
  std::vector<Meant> digests_;  // ascending by entry
  // Open addressing: entry numbers by the hash of their path, which stands in the upper half, so that hardly any path is compared in vain.
  std::vector<uint64_t> slots_;
};

// Length in bytes of the place of a spot in the stored file: the prefix as encoded, and the slot where it has one.
SpotLength spot_length(const Spot& spot, const std::array<uint64_t, 3>& prefix_units);

// Characters of a prefix in encodings of 1, 2 and 4 bytes a unit.
std::array<uint64_t, 3> units_of(const std::string& prefix);

}  // namespace cd
