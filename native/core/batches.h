// Members of an archive gathered into batches of bounded memory: contents one behind another in a buffer that is lent and comes back.
// A file larger than any buffer is written to a file of its own, from where it can be moved to its place.
#pragma once
#include "exchange.h"

namespace cd {

// The folder for files larger than a buffer, beneath the root that is written; made when it is needed.
std::string parts_of(const std::string& root);

class Batches {
 public:
  Batches(const DecodeJob& job, Exchange& exchange, const Hand& hand, Progress& progress);
  // A member; its content, `member.entry.size` bytes, comes from `read`, called with room for some bytes until all are there.
  void add(BatchMember&& member, const std::function<void(uint8_t*, size_t)>& read);
  void finish();
  uint64_t bytes() const { return bytes_; }

 private:
  void flush();
  uint8_t* room(size_t size);
  void write_part(BatchMember& member, const std::function<void(uint8_t*, size_t)>& read);
  const DecodeJob& job_;
  Exchange& exchange_;
  const Hand& hand_;
  Progress& progress_;
  const std::string parts_;
  std::vector<BatchMember> members_;
  bool has_ = false;
  size_t buffer_ = 0, used_ = 0;
  uint64_t bytes_ = 0, part_ = 0, count_ = 0;
  size_t number_ = 0;
};

}  // namespace cd
