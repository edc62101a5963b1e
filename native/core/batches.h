// Members of an archive gathered into batches of bounded memory: contents one behind another in a buffer that is lent and comes back.
// A file larger than a buffer is written to a file of its own.
#pragma once
#include <functional>
#include "jobs.h"

namespace cd {

// Takes batches; its buffers are used again once it says so. Functions wait, and throw CANCELLED when there is no use in going on.
class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual size_t take() = 0;  // the number of a free buffer
  virtual uint8_t* data(size_t buffer) = 0;
  virtual size_t size() const = 0;  // of each
  virtual void hand(Batch&& batch) = 0;
  virtual void finish() = 0;  // waits for all buffers
};

class Batches {
 public:
  // `parts`: an existing directory for files larger than a buffer. `packed`: bytes of the archive read so far.
  Batches(const DecodeJob& job, Receiver& receiver, Progress& progress, std::function<uint64_t()> packed);
  // A member; its content, `member.entry.size` bytes, comes from `read`, called with room for some bytes until all are there.
  void add(BatchMember&& member, const std::function<void(uint8_t*, size_t)>& read);
  void finish();
  uint64_t bytes() const { return bytes_; }

 private:
  void flush();
  uint8_t* room(size_t size);
  std::string write_part(const BatchMember& member, const std::function<void(uint8_t*, size_t)>& read);
  const DecodeJob& job_;
  Receiver& receiver_;
  Progress& progress_;
  std::function<uint64_t()> packed_;
  std::vector<BatchMember> members_;
  bool has_ = false;
  size_t buffer_ = 0, used_ = 0;
  uint64_t bytes_ = 0, parts_ = 0, count_ = 0;
};

}  // namespace cd
