// Between the threads that decode an archive, whoever judges its batches, and the threads that write: buffers go round, answers wait in
// line. Whatever ends one of them ends all. The buffers of the smallest size are called blocks.
#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>
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
  size_t largest() const { return sizes_.back(); }
  size_t block_size() const { return sizes_.front(); }
  size_t blocks() const;

  // Of the threads that decode. Functions that wait throw CANCELLED when there is no use in going on.
  // The number of a free buffer, of the smallest size that holds `least` bytes: who waits for one of a size gets none of another, so
  // that blocks which are decoded ahead do not keep a larger buffer from whoever goes before them. It has one holder then.
  size_t take(size_t least, const Progress&);
  void hold(size_t buffer);     // one holder more
  void release(size_t buffer);  // one less; without any it is free
  void handed();                // one more batch is with its judge
  void end();                   // nothing more comes

  // Of the judge: every batch is answered, in the order in which they were handed.
  void answer(Answer&&);
  void stop();  // wants no more

  // Of the threads that write.
  bool next(Answer&, const Progress&);  // false: nothing more comes
  void written(const Answer&);          // releases its buffer

  void fail(std::exception_ptr);  // the first failure counts
  void settle() const;            // throws it, or CANCELLED when the judge wanted no more

 private:
  template <class Ready>
  void wait(std::unique_lock<std::mutex>&, const Progress&, Ready);
  void drop(size_t buffer);
  const std::vector<Buffer> buffers_;
  std::vector<size_t> sizes_;  // those there are, ascending
  mutable std::mutex guard_;
  std::condition_variable changed_;
  std::vector<size_t> free_;
  std::vector<unsigned> holders_;
  std::deque<Answer> answers_;
  size_t judged_ = 0, writing_ = 0;  // batches that are with the judge; that are being written
  bool ended_ = false, stopped_ = false;
  std::exception_ptr failure_;
};

// A buffer held for as long as this stands.
class Held {
 public:
  Held() = default;
  Held(Exchange& exchange, size_t buffer) : exchange_(&exchange), buffer_(buffer) {}
  Held(Held&& other) noexcept : exchange_(std::exchange(other.exchange_, nullptr)), buffer_(other.buffer_) {}
  Held& operator=(Held&& other) noexcept {
    std::swap(exchange_, other.exchange_);
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~Held() {
    if (exchange_) exchange_->release(buffer_);
  }
  size_t number() const { return buffer_; }
  uint8_t* data() const { return exchange_->data(buffer_); }
  size_t size() const { return exchange_->size(buffer_); }

 private:
  Exchange* exchange_ = nullptr;
  size_t buffer_ = 0;
};

}  // namespace cd
