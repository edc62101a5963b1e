#include "watch.h"
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <chrono>
#include "child.h"

namespace cd {
namespace {

using trace_calls::Call;

// EXITKILL: without its tracer every watched call of the program would fail with ENOSYS, which is worse than an end.
constexpr long kOptions = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                          PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
constexpr int kSyscallStop = SIGTRAP | 0x80;
constexpr int kEventStop = 128;         // PTRACE_EVENT_STOP
constexpr unsigned kSeccompSignal = 1;  // SYS_SECCOMP
// The next stop mostly comes within microseconds; a sleep and the wake-up of a core take twenty-five (in a virtual machine).
constexpr int kTries = 64;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

void resume(pid_t tid, int signal = 0) { ::ptrace(PTRACE_CONT, tid, 0, signal); }  // ESRCH: it was killed meanwhile

bool stops(int signal) { return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU; }

bool follows(const Call& call, const Registers& r) {
  using namespace trace_calls;
  const uint64_t flags = call.flags < 0 ? 0 : r.arguments[call.flags];
  if (call.traits & kFollowFlag) return flags & AT_SYMLINK_FOLLOW;
  if ((call.traits & kNoFollowFlag) && (flags & AT_SYMLINK_NOFOLLOW)) return false;
  if ((call.traits & kOpenFlags) && (flags & (O_NOFOLLOW | O_EXCL))) return false;
  return call.traits & kFollow;
}

}  // namespace

Traced Watch::run() {
  Child child(job_);
  start(child);
  loop();
  progress_.expect(0);
  child.check();
  if (killed_) throw Failure("CANCELLED", "cancelled");
  for (const Call& call : trace_calls::calls()) out_.calls.emplace_back(call.name);
  out_.folded = tally_.folded();
  out_.programs = tally_.programs();
  out_.paths = tally_.take();
  return std::move(out_);
}

void Watch::start(Child& child) {
  root_ = child.pid();
  if (::ptrace(PTRACE_SEIZE, root_, 0, kOptions) != 0) {
    Failure failure("UNSUPPORTED", std::string("file accesses cannot be traced here: ptrace: ") + std::strerror(errno) +
                                       " (a container or a security module forbids it, or another tracer is at work)");
    failure.error = errno;
    failure.syscall = "ptrace";
    ::kill(root_, SIGKILL);
    ::waitpid(root_, nullptr, 0);
    throw failure;
  }
  Tracee& first = tracee(root_);
  first.program = tally_.program(job_.argv.at(0));
  first.knows_program = true;
  progress_.expect(static_cast<uint64_t>(root_));
  started_ = now();
  child.go();
}

void Watch::loop() {
  for (;;) {
    int status = 0;
    pid_t tid = 0;
    for (int tries = 0; tries < kTries && tid == 0; ++tries) {
      if (tries > 0) ::sched_yield();
      tid = ::waitpid(-1, &status, __WALL | __WNOTHREAD | WNOHANG);
    }
    if (tid == 0) tid = ::waitpid(-1, &status, __WALL | __WNOTHREAD);
    if (tid < 0) {
      if (errno == EINTR) continue;
      return;  // ECHILD: the last one has ended
    }
    if (WIFSTOPPED(status))
      stopped(tracee(tid), status);
    else
      ended(tid, status);
  }
}

void Watch::stopped(Tracee& tracee, int status) {
  const int number = WSTOPSIG(status);
  switch (status >> 16) {
    case PTRACE_EVENT_SECCOMP: return entered(tracee);
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE: return born(tracee, status >> 16);
    case PTRACE_EVENT_EXEC: return executed(tracee);
    case kEventStop: return stops(number) ? held(tracee, number) : resume(tracee.tid);
    default: return number == kSyscallStop ? left(tracee) : signalled(tracee, number);
  }
}

// At the entry of a watched call: who, what, where. Its result is seen at a second stop, where one is needed.
void Watch::entered(Tracee& t) {
  using namespace trace_calls;
  Registers r;
  t.call = nullptr;
  if (!read_registers(t.tid, r)) return resume(t.tid);
  const Call* call = find_call(r.number);
  if (call == nullptr) return resume(t.tid);
  t.paths = 0;
  t.call = call;
  if (call->traits & kSilent) {
    ::ptrace(PTRACE_SYSCALL, t.tid, 0, 0);
    return;
  }
  if (call->by_descriptor()) {
    t.descriptor = static_cast<int>(r.arguments[call->dir]);
    t.size = r.arguments[1];
    if (call->traits & kRead) {
      ::ptrace(PTRACE_SYSCALL, t.tid, 0, 0);
      return;
    }
    count(t, 0);
    return resume(t.tid);
  }
  const bool may_be_empty = call->traits & kEmptyPath;
  const auto dir = [&](int8_t argument) {
    return argument < 0 ? AT_FDCWD : static_cast<int>(static_cast<int32_t>(r.arguments[argument]));
  };
  const bool named = name_path(t, dir(call->dir), r.arguments[call->path], follows(*call, r), may_be_empty) &&
                     (call->path2 < 0 || name_path(t, dir(call->dir2), r.arguments[call->path2], false, false));
  if (!named) ++out_.unreadable;
  if ((call->traits & kStat) && t.paths == 1 && t.of_descriptor) {  // fstat by another name
    t.call = find_call(SYS_fstat);
    t.descriptor = dir(call->dir);
    if (job_.bytes) count(t, 0);
    return resume(t.tid);
  }
  if (t.paths == 0) {
    t.call = nullptr;
    return resume(t.tid);
  }
  ::ptrace(PTRACE_SYSCALL, t.tid, 0, 0);
}

// At the end of a watched call.
void Watch::left(Tracee& t) {
  int64_t result = 0;
  if (t.call != nullptr && read_result(t.tid, result)) {
    if ((t.call->traits & trace_calls::kMoves) && result >= 0) ++moves_;
    if ((t.call->traits & trace_calls::kRoots) && result >= 0) ++roots_;
    if ((t.call->traits & trace_calls::kRing) && result >= 0) ++out_.rings;
    if ((t.call->traits & trace_calls::kNamespace) && result >= 0) look_around(t);
    if (!t.call->by_descriptor() && t.knows_program) {  // what is counted is known: meanwhile the program goes on
      resume(t.tid);
      count(t, result);
      t.call = nullptr;
      return;
    }
    count(t, result);
  }
  t.call = nullptr;
  resume(t.tid);
}

void Watch::count(Tracee& t, int64_t result) {
  using namespace trace_calls;
  const Call& call = *t.call;
  if (call.traits & kSilent) return;
  const uint16_t id = static_cast<uint16_t>(&call - calls().data());
  if (call.by_descriptor()) {
    const std::string path = descriptor_path(t, t.descriptor);
    if (path.empty() || path[0] != '/') return;  // a pipe, a socket, nothing
    tally_.count(path, true, id, false, program_of(t));
    if ((call.traits & kRead) && result > 0) tally_.read(path, static_cast<uint64_t>(result), false);
    if (call.traits & kMap) tally_.read(path, t.size, true);
    return;
  }
  const bool missed = result == -ENOENT || result == -ENOTDIR;
  for (int i = 0; i < t.paths; ++i)
    tally_.count(t.places[i].path, t.places[i].follow, id, missed && i == 0, program_of(t));
}

bool Watch::name_path(Tracee& t, int dir, uint64_t address, bool follow, bool may_be_empty) {
  Place& place = t.places[t.paths];
  place.follow = follow;
  t.of_descriptor = false;
  if (address == 0) {
    if (!may_be_empty) return true;  // the call fails with EFAULT and touches nothing
    place.path.clear();
  } else if (!read_text(t.tid, address, place.path)) {
    return false;
  }
  if (place.path.empty()) {
    if (!may_be_empty) {
      place.path = base(t);  // ENOENT, whatever the directory
    } else {
      place.path = descriptor_path(t, dir);
      t.of_descriptor = true;
      if (place.path.empty() || place.path[0] != '/') return true;
    }
  } else if (place.path[0] == '/') {
    if (roots_ != 0) place.path.insert(0, root(t));
  } else {
    const std::string parent = descriptor_path(t, dir);
    if (parent.empty() || parent[0] != '/') return true;  // EBADF
    place.path.insert(0, parent == "/" ? "/" : parent + "/");
  }
  ++t.paths;
  return true;
}

std::string Watch::descriptor_path(Tracee& t, int descriptor) {
  return descriptor == AT_FDCWD ? base(t) : proc_link(t.tid, ("fd/" + std::to_string(descriptor)).c_str());
}

const std::string& Watch::base(Tracee& t) {
  if (t.seen != moves_) {
    t.cwd = proc_link(t.tid, "cwd");
    t.seen = moves_;
  }
  return t.cwd;
}

const std::string& Watch::root(Tracee& t) {
  if (t.seen_root != roots_) {
    t.root = proc_link(t.tid, "root");
    if (t.root == "/") t.root.clear();
    t.seen_root = roots_;
  }
  return t.root;
}

void Watch::look_around(Tracee& t) {
  const std::string ours = proc_link(::getpid(), "ns/mnt"), theirs = proc_link(t.tid, "ns/mnt");
  const bool elsewhere = !theirs.empty() && ours != theirs;
  if (elsewhere && !t.elsewhere) ++out_.namespaces;
  t.elsewhere = elsewhere;
}

// exec has replaced the program: only the thread that called it is left, and it has the number of the process now.
void Watch::executed(Tracee& t) {
  unsigned long former = 0;
  ::ptrace(PTRACE_GETEVENTMSG, t.tid, 0, &former);
  if (const pid_t tid = static_cast<pid_t>(former); tid != t.tid) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (const auto at = tracees_.find(tid); at != tracees_.end()) {
      Tracee moved = std::move(at->second);
      moved.tid = t.tid;
      tracees_.erase(at);
      t = std::move(moved);
    }
  }
  ++out_.executions;
  if (t.call != nullptr && t.paths > 0) {
    t.program = tally_.program(t.places[0].path);
    t.knows_program = true;
    count(t, 0);
  } else {
    t.knows_program = false;
  }
  t.call = nullptr;
  resume(t.tid);
}

void Watch::born(Tracee& parent, int event) {
  unsigned long child = 0;
  Registers r;
  if (::ptrace(PTRACE_GETEVENTMSG, parent.tid, 0, &child) != 0 || !read_registers(parent.tid, r)) return;
  uint64_t flags = r.arguments[0];
  if (r.number == SYS_clone3 && !read_word(parent.tid, r.arguments[0], flags)) flags = 0;
  if (r.number != SYS_clone && r.number != SYS_clone3) flags = 0;
  const bool is_thread = event == PTRACE_EVENT_CLONE && (flags & CLONE_THREAD);
  ++(is_thread ? out_.threads : out_.processes);
  Tracee& fresh = tracee(static_cast<pid_t>(child));
  fresh.program = program_of(parent);
  fresh.knows_program = true;
  fresh.elsewhere = parent.elsewhere;
  fresh.seen = parent.seen;
  fresh.cwd = parent.cwd;
  if (flags & CLONE_NEWNS) {
    ++out_.namespaces;
    fresh.elsewhere = true;
  }
  resume(parent.tid);
}

uint32_t Watch::program_of(Tracee& t) {
  // Unknown: its first stop came before the one that tells of its birth.
  if (!t.knows_program) {
    t.program = tally_.program(proc_link(t.tid, "exe"));
    t.knows_program = true;
  }
  return t.program;
}

void Watch::signalled(Tracee& t, int number) {
  if (number == SIGSYS) {
    siginfo_t info;
    Registers r;
    const bool known = ::ptrace(PTRACE_GETSIGINFO, t.tid, 0, &info) == 0 && read_registers(t.tid, r);
#ifdef __x86_64__
    const bool native = known && info.si_arch == 0xC000003Eu && info.si_syscall < 0x40000000;
#else
    const bool native = known && info.si_arch == 0xC00000B7u;
#endif
    if (known && info.si_code == kSeccompSignal && !native) {
      ++out_.foreign_calls;
      write_result(t.tid, -ENOSYS);
      return resume(t.tid);
    }
  }
  resume(t.tid, number);
}

// Stopped by job control: it stays so until something continues it, and this process with it where it is the job that the shell knows
// (a bare SIGSTOP does not come from a terminal).
void Watch::held(Tracee& t, int number) {
  ::ptrace(PTRACE_LISTEN, t.tid, 0, 0);
  if (job_.foreground && t.tid == root_ && number != SIGSTOP) ::kill(::getpid(), SIGSTOP);
}

void Watch::ended(pid_t tid, int status) {
  if (tid == root_) {
    out_.seconds = now() - started_;
    out_.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    out_.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    progress_.expect(0);
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  tracees_.erase(tid);
}

Tracee& Watch::tracee(pid_t tid) {
  if (const auto found = tracees_.find(tid); found != tracees_.end()) return found->second;
  const std::lock_guard<std::mutex> lock(mutex_);
  Tracee& fresh = tracees_[tid];
  fresh.tid = tid;
  if (killed_) ::kill(tid, SIGKILL);
  return fresh;
}

void Watch::kill() {
  const std::lock_guard<std::mutex> lock(mutex_);
  killed_ = true;
  for (const auto& one : tracees_) ::kill(one.first, SIGKILL);
}

}  // namespace cd
#endif
