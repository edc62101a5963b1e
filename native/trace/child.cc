#include "child.h"
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "filter.h"

namespace cd {
namespace {

enum class Step : int { folder, privileges, filter, program };
struct News {
  Step step;
  int error;
};

// What execve says of the program itself; all else is said of the system.
bool is_unable(int error) {
  for (const int one : {ENOENT, EACCES, EPERM, ENOEXEC, EISDIR, ELOOP, ETXTBSY})
    if (error == one) return true;
  return false;
}

Failure not_executable(const std::string& program, int error) {
  // A script whose interpreter is missing is reported as if it were missing itself.
  const std::string why = error == ENOENT ? "its interpreter is missing" : std::strerror(error);
  Failure failure("COMMAND_NOT_EXECUTABLE", program + " cannot be executed: " + why, program);
  failure.syscall = "execve";
  failure.error = error;
  return failure;
}

// As execvp does, but here, so that the search is not counted: the calling shell would have done it.
std::string find_program(const TraceJob& job) {
  const std::string& name = job.argv.at(0);
  const auto full = [&](const std::string& path) { return path[0] == '/' ? path : job.cwd + "/" + path; };
  if (name.find('/') != std::string::npos) {
    if (::access(full(name).c_str(), F_OK) == 0) return name;
    throw Failure("COMMAND_NOT_FOUND", "there is no program " + name, name);
  }
  std::string path = "/usr/local/bin:/usr/bin:/bin";
  for (const std::string& variable : job.env)
    if (variable.compare(0, 5, "PATH=") == 0) path = variable.substr(5);
  std::string denied;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find(':', at), path.size());
    const std::string folder = path.substr(at, end - at);
    const std::string file = folder.empty() ? name : folder + "/" + name;
    struct stat found {};
    if (::stat(full(file).c_str(), &found) == 0 && S_ISREG(found.st_mode)) {
      if (::access(full(file).c_str(), X_OK) == 0) return file;
      denied = file;
    }
    at = end + 1;
  }
  if (!denied.empty()) throw not_executable(denied, EACCES);
  throw Failure("COMMAND_NOT_FOUND", "there is no program " + name + " in PATH", name);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

void pipe_to(int& read_end, int& write_end) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Failure::system("pipe2", "");
  read_end = ends[0];
  write_end = ends[1];
}

// After fork in a process with threads: nothing but system calls.
struct Start {
  const char* cwd;
  const char* program;
  char** argv;
  char** shell_argv;
  char** env;
  sock_fprog filter;
  int gate, news, others[2];  // the parent's ends

  [[noreturn]] void fail(Step step) const {
    const News news_now = {step, errno};
    [[maybe_unused]] const ssize_t written = ::write(news, &news_now, sizeof news_now);
    ::_exit(127);
  }

  [[noreturn]] void run() const {
    for (int number = 1; number < NSIG; ++number) {
      struct sigaction plain {};
      plain.sa_handler = SIG_DFL;
      ::sigaction(number, &plain, nullptr);
    }
    sigset_t none;
    ::sigemptyset(&none);
    ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
    for (int fd = 0; fd < 3; ++fd) {  // Node has made them close on exec, and libuv perhaps non-blocking
      const int flags = ::fcntl(fd, F_GETFL);
      if (flags < 0) continue;
      ::fcntl(fd, F_SETFD, 0);
      if (flags & O_NONBLOCK) ::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    }
    for (const int fd : others) ::close(fd);  // or the gate would never look closed
    char byte = 0;
    if (::read(gate, &byte, 1) != 1) ::_exit(127);  // the tracer has gone, or could not trace
    if (::chdir(cwd) != 0) fail(Step::folder);
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
      // Without CAP_SYS_ADMIN a filter needs this; set-user-ID programs then run without their owner's rights.
      if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(Step::privileges);
      if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) fail(Step::filter);
    }
    ::execve(program, argv, env);
    if (errno == ENOEXEC) ::execve("/bin/sh", shell_argv, env);  // a script without a #! line
    fail(Step::program);
  }
};

}  // namespace

Child::Child(const TraceJob& job) : job_(job), program_(find_program(job)) {
  int gate = -1, news = -1;
  const std::vector<sock_filter> code = trace_filter(job.bytes);
  std::vector<std::string> shell = {"/bin/sh", program_};
  shell.insert(shell.end(), job.argv.begin() + 1, job.argv.end());
  std::vector<char*> argv = pointers(job.argv), shell_argv = pointers(shell), env = pointers(job.env);
  pipe_to(gate, gate_);
  try {
    pipe_to(news_, news);
  } catch (...) {
    ::close(gate);
    ::close(gate_);
    throw;
  }
  Start start{job.cwd.c_str(), program_.c_str(), argv.data(), shell_argv.data(), env.data(), {}, gate, news,
              {gate_, news_}};
  start.filter = {static_cast<unsigned short>(code.size()), const_cast<sock_filter*>(code.data())};
  pid_ = ::fork();
  if (pid_ == 0) start.run();
  const int error = errno;
  ::close(gate);
  ::close(news);
  if (pid_ < 0) {
    ::close(gate_);
    ::close(news_);
    throw Failure::system("fork", program_, error);
  }
}

Child::~Child() {
  if (gate_ >= 0) ::close(gate_);
  ::close(news_);
}

void Child::go() {
  // A child that has died already is told by its exit status; the thread of the tracer has SIGPIPE blocked.
  [[maybe_unused]] const ssize_t written = ::write(gate_, "", 1);
  ::close(gate_);
  gate_ = -1;
}

void Child::check() {
  News news;
  if (::read(news_, &news, sizeof news) != sizeof news) return;
  switch (news.step) {
    case Step::folder: throw Failure::system("chdir", job_.cwd, news.error);
    case Step::program:
      throw is_unable(news.error) ? not_executable(program_, news.error)
                                  : Failure::system("execve", program_, news.error);
    default: break;
  }
  Failure failure("UNSUPPORTED", std::string("file accesses cannot be traced here: no seccomp filter can be set: ") +
                                     std::strerror(news.error));
  failure.error = news.error;
  throw failure;
}

}  // namespace cd
#endif
