#include "exchange.h"
#include <algorithm>
#include <chrono>

namespace cd {

Exchange::Exchange(std::vector<Buffer> buffers) : buffers_(std::move(buffers)) {
  for (size_t i = 0; i < buffers_.size(); ++i) free_.push_back(i);
}

size_t Exchange::largest() const {
  size_t most = 0;
  for (const Buffer& buffer : buffers_) most = std::max(most, buffer.size);
  return most;
}

template <class Ready>
void Exchange::wait(std::unique_lock<std::mutex>& lock, const Progress& progress, Ready ready) {
  while (!stopped_ && !ready()) {
    changed_.wait_for(lock, std::chrono::milliseconds(50));  // nobody rings when the job is cancelled
    progress.check();
  }
  if (stopped_) throw Failure("CANCELLED", "the receiver wants no more");
}

// Of the smallest that do the one that came back last: it may still be in the caches.
size_t Exchange::take(size_t least, const Progress& progress) {
  std::unique_lock<std::mutex> lock(guard_);
  auto best = free_.end();
  wait(lock, progress, [&] {
    best = free_.end();
    for (auto at = free_.begin(); at != free_.end(); ++at)
      if (size(*at) >= least && (best == free_.end() || size(*at) <= size(*best))) best = at;
    return best != free_.end();
  });
  const size_t number = *best;
  free_.erase(best);
  return number;
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
    free_.push_back(answer.batch.buffer);
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
