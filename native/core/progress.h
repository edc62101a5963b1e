// Counters shared with the caller of a job; see `Counters` in src/native.ts. Threads add, the caller reads and may ask to stop.
#pragma once
#include <atomic>
#include <cstdint>
#include "failure.h"

namespace cd {

class Progress {
 public:
  Progress() = default;  // counts nowhere: for tests
  explicit Progress(std::atomic<uint64_t>* shared) : c_(shared) {}
  void add(uint64_t entries, uint64_t bytes) {
    if (!c_) return;
    c_[0].fetch_add(entries, std::memory_order_relaxed);
    c_[1].fetch_add(bytes, std::memory_order_relaxed);
  }
  void expect(uint64_t entries) {
    if (c_) c_[3].store(entries, std::memory_order_relaxed);
  }
  void check() const {  // throws CANCELLED
    if (c_ && c_[2].load(std::memory_order_relaxed)) throw Failure("CANCELLED", "cancelled");
  }

 private:
  std::atomic<uint64_t>* c_ = nullptr;
};

}  // namespace cd
