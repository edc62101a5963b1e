// What is to be packed: one entry, and hundreds of thousands of them in a tenth of the memory that as many structs would take.
#pragma once
#include <deque>
#include <string_view>
#include <unordered_map>
#include <utility>
#include "entry.h"

namespace cd {

struct Bytes {  // borrowed from the caller for the length of the job
  const uint8_t* data = nullptr;
  size_t size = 0;
};

enum class Policy : uint8_t { detect, any, report };

// Digests are for seal alone; `unless_rewritten` names an entry before this one.
struct PackEntry {
  Entry entry;  // path kind mode mtime size target
  bool in_memory = false;
  Bytes data;
  bool spooled = false;                                   // for seal alone: the content stands in its spool
  uint64_t spool_offset = 0;                              // from here on
  std::vector<std::pair<uint64_t, std::string>> digests;  // offset, path of the entry meant
  bool has_sha256 = false, has_in_prefix = false;
  Digest sha256{}, in_prefix{};
  std::string placeholder;  // empty: none
  bool pristine =
      false;      // the file is as its package has it: its placeholder stands in it, and no prefix of an installation
  int mode = -1;  // -1 not recorded, 0 text, 1 binary
  Policy policy = Policy::detect;
  uint32_t slot = 0;
  std::string unless_rewritten;
  std::string source;  // where the file is read from, beneath the root or absolute; empty: its own path
};

class PackEntries {
 public:
  void reserve(size_t entries);
  // Where the content is to be found, for an entry that is in memory: may still be changed.
  Bytes* push_back(const PackEntry& entry);
  size_t size() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  PackEntry operator[](size_t i) const;
  // Parts of an entry.
  std::string_view path(size_t i) const { return &texts_[rows_[i].texts]; }
  std::string_view unless_rewritten(size_t i) const;
  Kind kind(size_t i) const { return rows_[i].kind; }
  uint64_t bytes(size_t i) const { return rows_[i].data > 0 ? data_[rows_[i].data - 1].size : rows_[i].size; }
  void check_packable() const;  // INVALID_OPTION for what pack does not take
  std::string_view placeholder(size_t i) const;

 private:
  struct Row {
    uint64_t texts = 0;  // where path, target, unless_rewritten and source begin, each closed by a NUL
    int64_t mtime = 0;
    uint64_t size = 0;
    uint32_t sha256 = 0, in_prefix = 0, placeholder = 0, data = 0;  // numbers in the lists below, from 1 on; 0: none
    uint32_t slot = 0;
    uint16_t mode = 0;
    Kind kind = Kind::file;
    Policy policy = Policy::detect;
    int8_t recorded = -1;  // PackEntry::mode
    bool pristine = false;
    bool for_seal = false;  // has digests, or a content in the spool
  };
  uint32_t hash(const Digest& digest);

  std::vector<Row> rows_;
  std::string texts_;
  std::vector<Digest> hashes_;
  std::vector<std::string> placeholders_;
  std::unordered_map<std::string, uint32_t> numbers_;  // of placeholders
  std::deque<Bytes> data_;
};

}  // namespace cd
