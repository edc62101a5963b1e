#include "exchange.h"
#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace cd {

Exchange::Exchange(std::vector<Buffer> buffers) : buffers_(std::move(buffers)), holders_(buffers_.size()) {
  for (size_t i = 0; i < buffers_.size(); ++i) {
    free_.push_back(i);
    sizes_.push_back(size(i));
  }
  std::sort(sizes_.begin(), sizes_.end());
  sizes_.erase(std::unique(sizes_.begin(), sizes_.end()), sizes_.end());
}

size_t Exchange::blocks() const {
  return static_cast<size_t>(std::count_if(buffers_.begin(), buffers_.end(),
                                           [&](const Buffer& buffer) { return buffer.size == block_size(); }));
}

template <class Ready>
void Exchange::wait(std::unique_lock<std::mutex>& lock, const Progress& progress, Ready ready) {
  while (!stopped_ && !ready()) {
    changed_.wait_for(lock, std::chrono::milliseconds(50));  // nobody rings when the job is cancelled
    progress.check();
  }
  if (stopped_) throw Failure("CANCELLED", "the receiver wants no more");
}

// The one that came back last: it may still be in the caches.
size_t Exchange::take(size_t least, const Progress& progress) {
  const auto wanted = std::lower_bound(sizes_.begin(), sizes_.end(), least);
  if (wanted == sizes_.end()) throw std::invalid_argument("no buffer has " + std::to_string(least) + " bytes");
  std::unique_lock<std::mutex> lock(guard_);
  auto best = free_.rend();
  wait(lock, progress, [&] {
    best = std::find_if(free_.rbegin(), free_.rend(), [&](size_t number) { return size(number) == *wanted; });
    return best != free_.rend();
  });
  const size_t number = *best;
  free_.erase(std::next(best).base());
  holders_[number] = 1;
  return number;
}

void Exchange::hold(size_t buffer) {
  const std::lock_guard<std::mutex> lock(guard_);
  ++holders_[buffer];
}

void Exchange::release(size_t buffer) {
  {
    const std::lock_guard<std::mutex> lock(guard_);
    drop(buffer);
  }
  changed_.notify_all();
}

void Exchange::drop(size_t buffer) {
  if (--holders_[buffer] == 0) free_.push_back(buffer);
}

void Exchange::handed() {
  const std::lock_guard<std::mutex> lock(guard_);
  ++judged_;
}

void Exchange::end() {
  {
    const std::lock_guard<std::mutex> lock(guard_);
    ended_ = true;
  }
  changed_.notify_all();
}

void Exchange::answer(Answer&& answer) {
  {
    const std::lock_guard<std::mutex> lock(guard_);
    if (stopped_) return;
    --judged_;
    answers_.push_back(std::move(answer));
  }
  changed_.notify_all();
}

void Exchange::stop() {
  {
    const std::lock_guard<std::mutex> lock(guard_);
    stopped_ = true;
  }
  changed_.notify_all();
}

bool Exchange::next(Answer& answer, const Progress& progress) {
  std::unique_lock<std::mutex> lock(guard_);
  const auto all = [&] { return ended_ && judged_ == 0 && answers_.empty(); };
  wait(lock, progress, [&] { return all() || (!answers_.empty() && !(answers_.front().alone && writing_ > 0)); });
  if (all()) return false;
  answer = std::move(answers_.front());
  answers_.pop_front();
  ++writing_;
  return true;
}

void Exchange::written(const Answer& answer) {
  {
    const std::lock_guard<std::mutex> lock(guard_);
    --writing_;
    drop(answer.batch.buffer);
  }
  changed_.notify_all();
}

void Exchange::fail(std::exception_ptr failure) {
  {
    const std::lock_guard<std::mutex> lock(guard_);
    if (!failure_ && !stopped_) failure_ = failure;
    stopped_ = true;
  }
  changed_.notify_all();
}

void Exchange::settle() const {
  const std::lock_guard<std::mutex> lock(guard_);
  if (failure_) std::rethrow_exception(failure_);
  if (stopped_) throw Failure("CANCELLED", "the receiver wants no more");
}

}  // namespace cd
