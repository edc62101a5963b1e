// Members of an archive gathered into batches of bounded memory: contents where they were decoded, in a block, or one behind another in
// a buffer that is lent and comes back. A file larger than any buffer is written to a file of its own, from where it can be moved to
// its place.
#pragma once
#include "exchange.h"
#include "stream.h"

namespace cd {

// The folder for files larger than a buffer, beneath the root that is written; made when it is needed.
std::string parts_of(const std::string& root);

class Batches {
 public:
  Batches(const DecodeJob& job, Exchange& exchange, const Hand& hand, Progress& progress);
  // A member, with a content of `member.entry.size` bytes.
  void add(BatchMember&& member, MemberContent&);
  void finish();
  uint64_t bytes() const { return bytes_; }

 private:
  void flush();
  void place(BatchMember& member, MemberContent&);
  uint8_t* room(size_t size, bool blocks);
  void write_part(BatchMember& member, MemberContent&);
  const DecodeJob& job_;
  Exchange& exchange_;
  const Hand& hand_;
  Progress& progress_;
  const std::string parts_;
  std::vector<BatchMember> members_;
  bool has_ = false, is_block_ = false;  // a buffer; it is the stream's
  size_t buffer_ = 0, used_ = 0;
  uint64_t bytes_ = 0, part_ = 0, count_ = 0;
  size_t number_ = 0;
};

}  // namespace cd
