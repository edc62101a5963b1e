// A team of threads for one job. run(n, threads, work) calls work(i) once for every i in [0, n), handed out in ascending order;
// the first exception stops the handing out and is rethrown to the caller after all threads have ended. One thread: runs in place.
#pragma once
#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace cd {

// `make_work()` is called once a thread and returns the callable for that thread, so that threads can own buffers and contexts.
template <class MakeWork>
void run_team(size_t n, unsigned threads, MakeWork make_work) {
  const size_t count = std::min<size_t>(std::max(1u, threads), std::max<size_t>(1, n));
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  std::mutex guard;
  auto body = [&] {
    try {
      auto work = make_work();
      while (!stop.load(std::memory_order_relaxed)) {
        const size_t i = next.fetch_add(1, std::memory_order_relaxed);
        if (i >= n) break;
        work(i);
      }
    } catch (...) {
      std::lock_guard<std::mutex> lock(guard);
      if (!failure) failure = std::current_exception();
      stop.store(true);
    }
  };
  std::vector<std::thread> crew;
  try {
    for (size_t t = 1; t < count; ++t) crew.emplace_back(body);
  } catch (const std::system_error&) {}  // fewer threads than wished: the rest does the work
  body();
  for (auto& t : crew) t.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace cd
