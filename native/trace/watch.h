// The main loop of the tracer, on a thread of its own: ptrace belongs to a thread, and `__WNOTHREAD` makes it wait for the children of
// that thread only, so that no other child of the process is ever reaped here.
#pragma once
#ifdef __linux__
#include <atomic>
#include <mutex>
#include <unordered_map>
#include "tally.h"
#include "tracee.h"

namespace cd {

class Watch {
 public:
  Watch(const TraceJob& job, Progress progress) : job_(job), progress_(progress) {}

  // On the tracer's thread: until the last process has ended.
  Traced run();
  // From another thread: every process of the tree is killed, and `run` throws CANCELLED.
  void kill();

 private:
  void start(class Child& child);
  void loop();
  void stopped(Tracee& tracee, int status);
  void entered(Tracee& tracee);
  void left(Tracee& tracee);
  void executed(Tracee& tracee);
  void born(Tracee& parent, int event);
  void signalled(Tracee& tracee, int number);
  void held(Tracee& tracee, int number);
  void ended(pid_t tid, int status);
  bool name_path(Tracee& tracee, int dir, uint64_t address, bool follow, bool may_be_empty);
  void count(Tracee& tracee, int64_t result);
  std::string descriptor_path(Tracee& tracee, int descriptor);
  const std::string& base(Tracee& tracee);
  const std::string& root(Tracee& tracee);
  void look_around(Tracee& tracee);
  uint32_t program_of(Tracee& tracee);
  Tracee& tracee(pid_t tid);

  const TraceJob& job_;
  Progress progress_;
  Tally tally_;
  Traced out_;
  pid_t root_ = -1;
  double started_ = 0;
  uint64_t moves_ = 1;  // counts what may change the meaning of relative paths, of any process
  uint64_t roots_ = 0;  // likewise of absolute ones
  std::mutex mutex_;    // tracees_, against `kill`
  std::atomic<bool> killed_{false};
  std::unordered_map<pid_t, Tracee> tracees_;
};

}  // namespace cd
#endif
