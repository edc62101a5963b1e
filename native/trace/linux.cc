// The backend for Linux: seccomp-BPF picks the calls, ptrace stops at them (watch.cc). Measured beside strace in bench/trials/accesses.ts.
#include "tracer.h"
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <signal.h>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <thread>
#include "watch.h"

namespace cd {

std::string trace_unsupported() { return {}; }

Traced trace(const TraceJob& job, Progress progress) {
  if (job.argv.empty() || job.argv[0].empty()) throw Failure("INVALID_OPTION", "no program is named");
  if (job.cwd.empty() || job.cwd[0] != '/') throw Failure("INVALID_OPTION", "the working directory must be absolute");
  Watch watch(job, progress);
  Traced out;
  std::exception_ptr failure;
  std::mutex mutex;
  std::condition_variable finished;
  bool done = false;
  std::thread tracer([&] {
    // Signals of the process are for its other threads: no handler is to run between two stops.
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    try {
      out = watch.run();
    } catch (...) { failure = std::current_exception(); }
    const std::lock_guard<std::mutex> lock(mutex);
    done = true;
    finished.notify_one();
  });
  {
    std::unique_lock<std::mutex> lock(mutex);
    while (!finished.wait_for(lock, std::chrono::milliseconds(50), [&] { return done; })) {
      try {
        progress.check();
      } catch (const Failure&) { watch.kill(); }
    }
  }
  tracer.join();
  if (failure) std::rethrow_exception(failure);
  return out;
}

}  // namespace cd
#endif
