// What `pack` hands to `seal`: the entry table so far and where the frames stand. Opaque to the caller, not a file format.
#pragma once
#include "jobs.h"

namespace cd {

struct Draft {
  Table table;
  std::vector<Frame> frames;
  uint64_t position = 0;
};

std::string encode_draft(const Draft& draft);
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
