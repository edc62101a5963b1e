// The tracer, on programs that this test is itself: started again with a word that says what to do.
#include "check.h"
#include "tracer.h"
#include "tree.h"
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <atomic>
#include <climits>
#include <thread>

using namespace cd;

static std::string self() {
  char path[PATH_MAX];
  const ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
  return std::string(path, static_cast<size_t>(size));
}

// The leak checker uses ptrace itself and cannot work in a traced process.
static const std::vector<std::string> kEnvironment = {"PATH=/usr/bin:/bin", "ASAN_OPTIONS=detect_leaks=0", "LC_ALL=C"};

static TraceJob job_for(const std::string& what, const Folder& folder, std::vector<std::string> more = {}) {
  TraceJob job;
  job.argv = {self(), what};
  job.argv.insert(job.argv.end(), more.begin(), more.end());
  job.env = kEnvironment;
  job.cwd = folder.path();
  return job;
}

struct Sum {
  uint64_t calls = 0, misses = 0;
  bool operator==(const Sum& other) const { return calls == other.calls && misses == other.misses; }
};

static Sum sum(const Traced& traced, const std::string& path, const std::string& call) {
  Sum out;
  for (const TracedPath& one : traced.paths)
    if (one.path == path)
      for (const CallCount& count : one.counts)
        if (traced.calls.at(count.call) == call) out.calls += count.calls, out.misses += count.misses;
  return out;
}

static std::string at(const Traced& traced, const std::string& path, bool follow) {
  for (const TracedPath& one : traced.paths)
    if (one.path == path && one.follow == follow) return one.at;
  return "not there";
}

static int do_calls() {
  struct stat found {};
  const int here = ::open(".", O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < 3; ++i) ::syscall(SYS_newfstatat, AT_FDCWD, "file", &found, 0);
  ::syscall(SYS_newfstatat, here, "absent", &found, 0);
  ::syscall(SYS_newfstatat, here, "", &found, AT_EMPTY_PATH);  // fstat
  ::syscall(SYS_newfstatat, here, "link", &found, AT_SYMLINK_NOFOLLOW);
  ::syscall(SYS_newfstatat, here, "link", &found, 0);
  ::close(::open("link", O_RDONLY));
  char text[64];
  ::syscall(SYS_readlinkat, here, "link", text, sizeof text);
  ::syscall(SYS_faccessat, AT_FDCWD, "/nowhere/at/all", R_OK);
  ::syscall(SYS_mkdirat, here, "sub", 0700);
  ::syscall(SYS_openat, here, nullptr, O_RDONLY);                     // EFAULT
  ::syscall(SYS_openat, here, reinterpret_cast<char*>(1), O_RDONLY);  // EFAULT: cannot be read
  if (::chdir("sub") != 0) return 1;
  ::close(::open("inner", O_CREAT | O_WRONLY, 0600));
  ::syscall(SYS_renameat2, AT_FDCWD, "inner", here, "moved", 0);
  if (::fchdir(here) != 0) return 1;
  ::syscall(SYS_newfstatat, AT_FDCWD, "moved", &found, 0);
  DIR* list = ::opendir("sub");
  while (::readdir(list)) {}
  ::closedir(list);
  const int read_from = ::open("file", O_RDONLY);
  [[maybe_unused]] ssize_t got = ::pread(read_from, text, 5, 0);
  got = ::pread(read_from, text, 64, 2);
  ::mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE, read_from, 0);
  ::mmap(nullptr, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ::syscall(SYS_symlinkat, "nothing", here, "dangling");
  ::syscall(SYS_unlinkat, here, "moved", 0);
  return 7;
}

static void calls() {
  for (const bool bytes : {false, true}) {
    Folder folder;
    folder.write("file", "0123456789");
    folder.write("elsewhere/real", "x");
    std::filesystem::create_symlink("elsewhere/real", folder / "link");
    TraceJob job = job_for("calls", folder);
    job.bytes = bytes;
    const Traced traced = trace(job, Progress());
    CHECK(traced.status == 7 && traced.signal == 0 && traced.processes == 1 && traced.executions == 1);
    CHECK((sum(traced, folder / "file", "newfstatat") == Sum{3, 0}));
    CHECK((sum(traced, folder / "absent", "newfstatat") == Sum{1, 1}));
    CHECK((sum(traced, folder / "link", "newfstatat") == Sum{2, 0}));
    CHECK((sum(traced, folder / "link", "readlinkat") == Sum{1, 0}));
    CHECK((sum(traced, folder / "link", "openat") == Sum{1, 0}));
    CHECK(at(traced, folder / "link", true) == folder / "elsewhere/real");
    CHECK(at(traced, folder / "link", false) == folder / "link");
    CHECK((sum(traced, "/nowhere/at/all", "faccessat") == Sum{1, 1}));
    CHECK(sum(traced, folder / "sub", "mkdirat").calls == 1 && sum(traced, folder / "sub", "chdir").calls == 1);
    CHECK(sum(traced, folder / "sub/inner", "openat").calls == 1);
    CHECK(sum(traced, folder / "sub/inner", "renameat2").calls == 1);
    CHECK(sum(traced, folder / "moved", "renameat2").calls == 1 &&
          sum(traced, folder / "moved", "unlinkat").calls == 1);
    CHECK((sum(traced, folder / "moved", "newfstatat") == Sum{1, 0}));  // relative to where fchdir went back to
    CHECK(sum(traced, folder / "sub", "getdents64").calls == 2);
    CHECK(sum(traced, folder / "dangling", "symlinkat").calls == 1);
    CHECK(traced.unreadable == 1);
    CHECK(sum(traced, folder.path(), "newfstatat").calls == 0);
    CHECK(sum(traced, folder.path(), "fstat").calls >= (bytes ? 1u : 0u));
    for (const TracedPath& one : traced.paths)
      if (one.path == folder / "file")
        CHECK(one.bytes_read == (bytes ? 13u : 0u) && one.bytes_mapped == (bytes ? 8192u : 0u));
  }
}

static int do_family(const std::string& how) {
  struct stat found {};
  const auto child = [&](const char* name) {
    if (::chdir("sub") != 0) ::_exit(9);
    ::syscall(SYS_newfstatat, AT_FDCWD, name, &found, 0);
    ::_exit(0);
  };
  if (how == "fork") {
    for (int i = 0; i < 20; ++i)
      if (::fork() == 0) child("forked");
    while (::wait(nullptr) > 0) {}
  } else if (how == "vfork") {
    for (int i = 0; i < 20; ++i)
      if (::vfork() == 0) {
        ::execl("/bin/cat", "cat", "vforked", nullptr);
        ::_exit(1);
      }
    while (::wait(nullptr) > 0) {}
  } else if (how == "threads") {
    std::vector<std::thread> all;
    for (int i = 0; i < 16; ++i)
      all.emplace_back([&] {
        struct stat mine {};
        for (int k = 0; k < 50; ++k) ::syscall(SYS_newfstatat, AT_FDCWD, "threaded", &mine, 0);
      });
    for (std::thread& one : all) one.join();
  } else if (how == "left") {  // ends while its threads run
    for (int i = 0; i < 8; ++i)
      std::thread([&] {
        struct stat mine {};
        for (;;) ::syscall(SYS_newfstatat, AT_FDCWD, "threaded", &mine, 0);
      }).detach();
    ::usleep(20'000);
    ::_exit(3);
  } else if (how == "threads-exec") {  // a thread replaces the program
    std::thread([&] { ::execl("/bin/cat", "cat", "executed", nullptr); }).join();
    return 1;
  } else if (how == "killed") {
    ::syscall(SYS_newfstatat, AT_FDCWD, "before", &found, 0);
    ::raise(SIGKILL);
  } else if (how == "orphan") {  // the child outlives the program
    if (::fork() == 0) {
      ::usleep(50'000);
      ::syscall(SYS_newfstatat, AT_FDCWD, "later", &found, 0);
    }
    ::_exit(5);
  } else if (how == "stopped") {  // stops itself; its child continues it
    const pid_t parent = ::getpid();
    if (::fork() == 0) {
      ::usleep(50'000);
      ::kill(parent, SIGCONT);
      ::_exit(0);
    }
    ::raise(SIGSTOP);
    ::syscall(SYS_newfstatat, AT_FDCWD, "continued", &found, 0);
    ::wait(nullptr);
  } else if (how == "signals") {
    static std::atomic<int> got{0};
    struct sigaction action {};
    action.sa_handler = [](int) { ++got; };
    ::sigaction(SIGUSR1, &action, nullptr);
    const pid_t parent = ::getpid();
    const pid_t flood = ::fork();
    if (flood == 0)
      for (;;) ::kill(parent, SIGUSR1);
    int done = 0;
    while (done < 300 || got < 50) done += ::syscall(SYS_newfstatat, AT_FDCWD, "present", &found, 0) == 0;
    ::kill(flood, SIGKILL);
    ::waitpid(flood, nullptr, 0);
    return done == 300 || got >= 50 ? 0 : 1;
  }
  return 0;
}

static void family() {
  Folder folder;
  folder.write("sub/forked", "");
  folder.write("vforked", "");
  folder.write("executed", "");
  folder.write("present", "");
  const auto run = [&](const char* how) { return trace(job_for("family", folder, {how}), Progress()); };
  Traced traced = run("fork");
  CHECK(traced.status == 0 && traced.processes == 21);
  CHECK((sum(traced, folder / "sub/forked", "newfstatat") == Sum{20, 0}));
  traced = run("vfork");
  CHECK(traced.status == 0 && traced.processes == 21 && traced.executions == 21);
  CHECK(sum(traced, folder / "vforked", "openat").calls == 20 && sum(traced, "/bin/cat", "execve").calls == 20);
  traced = run("threads");
  CHECK(traced.status == 0 && traced.threads >= 16);
  CHECK((sum(traced, folder / "threaded", "newfstatat") == Sum{800, 800}));
  traced = run("left");
  CHECK(traced.status == 3 && sum(traced, folder / "threaded", "newfstatat").calls > 0);
  traced = run("threads-exec");
  CHECK(traced.status == 0 && sum(traced, folder / "executed", "openat").calls == 1);
  traced = run("killed");
  CHECK(traced.status == -1 && traced.signal == SIGKILL && sum(traced, folder / "before", "newfstatat").misses == 1);
  traced = run("orphan");
  CHECK(traced.status == 5 && sum(traced, folder / "later", "newfstatat").calls == 1);
  traced = run("stopped");
  CHECK(traced.status == 0 && sum(traced, folder / "continued", "newfstatat").calls == 1);
  traced = run("signals");
  CHECK(traced.status == 0 && sum(traced, folder / "present", "newfstatat").calls >= 300);
}

// What cannot be counted is said, and paths mean what they mean to the program.
static int do_limits() {
  char parameters[120] = {};
  const long ring = ::syscall(425, 1, parameters);
  if (::chroot("sub") != 0) return ring >= 0 ? 21 : 20;  // not as an ordinary user
  struct stat found {};
  ::syscall(SYS_newfstatat, AT_FDCWD, "/inside", &found, 0);
  const bool left = ::syscall(SYS_unshare, CLONE_NEWNS) == 0;
  return (ring >= 0 ? 1 : 0) + (left ? 2 : 0);
}

static void limits() {
  Folder folder;
  folder.write("sub/inside", "");
  const Traced traced = trace(job_for("limits", folder), Progress());
  const int done = traced.status % 20;
  CHECK_MORE(traced.rings == static_cast<uint64_t>(done & 1), std::to_string(traced.status));
  if (traced.status >= 20) {
    std::fprintf(stderr, "skipped: chroot and mount namespaces need root\n");
    return;
  }
  CHECK((sum(traced, folder / "sub/inside", "newfstatat") == Sum{1, 0}));
  CHECK(traced.namespaces == static_cast<uint64_t>(done >> 1 & 1));
}

static int do_again(int left) {
  if (left == 0) return 11;
  const std::string next = std::to_string(left - 1);
  ::execl("/proc/self/exe", "trace", "again", next.c_str(), nullptr);
  return 1;
}

static void execs() {
  Folder folder;
  const Traced traced = trace(job_for("again", folder, {"200"}), Progress());
  CHECK(traced.status == 11 && traced.executions == 201);
  CHECK(sum(traced, "/proc/self/exe", "execve").calls == 200);
}

static void failures() {
  Folder folder;
  folder.write("text", "no program", 0644);
  folder.write("script", "exit 4\n", 0755);
  const auto start = [&](const std::string& program) {
    TraceJob job = job_for("calls", folder);
    job.argv = {program};
    return trace(job, Progress());
  };
  THROWS("COMMAND_NOT_FOUND", start("no-such-program"));
  THROWS("COMMAND_NOT_FOUND", start(folder / "absent"));
  folder.write("orphan", "#!/no/such/interpreter\n", 0755);
  for (const char* name : {"text", "orphan"}) THROWS("COMMAND_NOT_EXECUTABLE", start(folder / name));
  THROWS("COMMAND_NOT_EXECUTABLE", start(folder.path()));
  THROWS("INVALID_OPTION", start(""));
  CHECK(start(folder / "script").status == 4);  // without a #! line, as execvp has it
  TraceJob job = job_for("calls", folder);
  job.cwd = folder / "absent";
  THROWS("IO", trace(job, Progress()));
  job.cwd = "relative";
  THROWS("INVALID_OPTION", trace(job, Progress()));
}

static void cancelling() {
  Folder folder;
  std::atomic<uint64_t> counters[4] = {};
  std::thread later([&] {
    while (counters[3] == 0) std::this_thread::yield();
    counters[2] = 1;
  });
  TraceJob job = job_for("calls", folder);
  job.argv = {"sh", "-c", "trap '' TERM INT; (sleep 100 & sleep 100); sleep 100"};
  THROWS("CANCELLED", trace(job, Progress(counters)));
  later.join();
  CHECK(counters[3] == 0);
}

// No other child of this process is taken.
static void children() {
  Folder folder;
  const pid_t mine = ::fork();
  if (mine == 0) ::_exit(42);
  ::usleep(20'000);  // it has ended, and waits to be reaped
  CHECK(trace(job_for("family", folder, {"fork"}), Progress()).processes == 21);
  int status = 0;
  CHECK(::waitpid(mine, &status, WNOHANG) == mine && WEXITSTATUS(status) == 42);
}

#ifdef __x86_64__
static int do_foreign() {
  long result = 20;  // getpid of i386
  __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
  return result == -ENOSYS ? 0 : 1;
}

static void foreign() {
  Folder folder;
  const Traced traced = trace(job_for("foreign", folder), Progress());
  if (traced.signal == SIGSEGV)
    std::fprintf(stderr, "skipped: this kernel has no 32-bit calls\n");
  else
    CHECK_MORE(traced.status == 0 && traced.foreign_calls == 1, std::to_string(traced.foreign_calls));
}
#endif

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "calls") return do_calls();
  if (what == "family") return do_family(argv[2]);
  if (what == "limits") return do_limits();
  if (what == "again") return do_again(std::atoi(argv[2]));
#ifdef __x86_64__
  if (what == "foreign") return do_foreign();
  foreign();
#endif
  children();
  calls();
  family();
  limits();
  execs();
  failures();
  cancelling();
  return check::done();
}
#else
int main() {
  CHECK(!cd::trace_unsupported().empty());
  THROWS("UNSUPPORTED", cd::trace({}, cd::Progress()));
  return check::done();
}
#endif
