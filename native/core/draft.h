// What `pack` hands to `seal`: the entry table so far and where the frames stand. Opaque to the caller, not a file format.
#pragma once
#include "jobs.h"
#include "rules.h"

namespace cd {

// The entries of a table, encoded one by one: none is kept, and no rule applied.
class EncodedEntries {
 public:
  void reserve(size_t entries);
  void add(const Entry& entry);
  void pass(const Entry& entry);  // instead of `add`, of those before all that are added: encoded elsewhere
  const std::string& bytes() const { return bytes_; }
  // Behind what a table of them begins with.
  std::string finish(const std::string& root, const std::vector<std::string>& prefixes);

 private:
  std::string bytes_, path_before_;
  int64_t mtime_before_ = 0;
  uint64_t count_ = 0;
};

// Continues a table of an archive entry by entry, of which none is kept: the same bytes.
class TableWriter {
 public:
  // `prefixes` may grow until `finish`.
  TableWriter(std::string root, const std::vector<std::string>& prefixes);
  void pass(const Entry& entry);  // one that is there
  void add(const Entry& entry);   // a new one, behind them
  // `before`: those that were passed, as they are encoded.
  std::string finish(std::string_view before);
  // Of the entries so far: the number of a path (Rules::kNone: none), and counts without digest and json.
  uint32_t find(std::string_view path) const { return rules_.find(path); }
  Kind kind(uint32_t number) const { return paths_.kind(number); }
  const Summary& counts() const { return counts_; }

 private:
  void admit(const Entry& entry);
  const std::string root_;
  const std::vector<std::string>& prefixes_;
  AdmittedPaths paths_;
  Rules rules_;
  EncodedEntries entries_;
  Summary counts_;
};

// A table of an archive that is read entry by entry. The rules are not applied: whoever takes the entries does.
class TableReader {
 public:
  TableReader(const uint8_t* data, size_t size);
  const Table& head() const { return head_; }            // without entries
  bool next(Entry& entry);                               // false: that was all
  std::string_view entries() const { return entries_; }  // as they are encoded

 private:
  Table head_;
  std::string_view entries_;
  const uint8_t* at_;
  const uint8_t* const end_;
  uint64_t left_ = 0;  // as it claims
  Entry before_;
};

// `table`: whatever breaks a rule is found by `seal`.
std::string encode_draft(std::string table, const std::vector<Frame>& frames, uint64_t position);

struct Draft {
  std::vector<Frame> frames;
  uint64_t position = 0;
  TableReader table;  // of bytes that are the caller's
};

Draft decode_draft(Bytes bytes);

// Prefixes in the order of their first use: the list of a table.
class PrefixList {
 public:
  explicit PrefixList(std::vector<std::string>& list) : list_(list) {}
  uint32_t number(const std::string& prefix) {
    for (uint32_t i = 0; i < list_.size(); ++i)
      if (list_[i] == prefix) return i;
    list_.push_back(prefix);
    return static_cast<uint32_t>(list_.size() - 1);
  }

 private:
  std::vector<std::string>& list_;
};

}  // namespace cd
