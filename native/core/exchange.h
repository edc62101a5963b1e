// Between the thread that decodes an archive, whoever judges its batches, and the threads that write: buffers go round, answers wait in
// line. Whatever ends one of them ends all.
#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include "jobs.h"

namespace cd {

class Exchange {
 public:
  struct Buffer {
    uint8_t* data;
    size_t size;
  };
  // `buffers`: at least one; their memory outlives the exchange.
  explicit Exchange(std::vector<Buffer> buffers);

  uint8_t* data(size_t buffer) const { return buffers_[buffer].data; }
  size_t size(size_t buffer) const { return buffers_[buffer].size; }
  size_t largest() const;

  // Of the thread that decodes. Functions that wait throw CANCELLED when there is no use in going on.
  size_t take(size_t least,
              const Progress&);  // the number of a free buffer of `least` bytes or more, of which there are some
  void handed();                 // one more batch is with its judge
  void end();                    // nothing more comes

  // Of the judge: every batch is answered, in the order in which they were handed.
  void answer(Answer&&);
  void stop();  // wants no more

  // Of the threads that write.
  bool next(Answer&, const Progress&);  // false: nothing more comes
  void written(const Answer&);          // its buffer is free

  void fail(std::exception_ptr);  // the first failure counts
  void settle() const;            // throws it, or CANCELLED when the judge wanted no more

 private:
  template <class Ready>
  void wait(std::unique_lock<std::mutex>&, const Progress&, Ready);
  const std::vector<Buffer> buffers_;
  mutable std::mutex guard_;
  std::condition_variable changed_;
  std::vector<size_t> free_;
  std::deque<Answer> answers_;
  size_t judged_ = 0, writing_ = 0;  // batches that are with the judge; that are being written
  bool ended_ = false, stopped_ = false;
  std::exception_ptr failure_;
};

}  // namespace cd
