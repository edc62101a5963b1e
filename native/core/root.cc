#include "root.h"
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <climits>

namespace cd {
namespace {

// linux/openat2.h and the number in sys/syscall.h are missing where the machine that builds is older than the one that
// runs.
constexpr long kOpenat2 = 437;
constexpr uint64_t kNoSymlinks = 0x04, kBeneath = 0x08;
struct OpenHow {
  uint64_t flags, mode, resolve;
};

// Without openat2 (before Linux 5.6, or hidden by a container's filter): one open a component, none through a link.
// Serves paths longer than the kernel takes, too.
Fd open_by_component(int from, const std::string& beneath, int flags) {
  Fd at;
  for (size_t begin = 0;;) {
    const size_t end = std::min(beneath.find('/', begin), beneath.size());
    const bool last = end == beneath.size();
    const std::string name = beneath.substr(begin, end - begin);
    if (name.empty() || name == "..") {
      errno = EINVAL;
      return Fd();
    }
    Fd next(::openat(at ? at.get() : from, name.c_str(), last ? flags : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) {
      // O_DIRECTORY wins over O_NOFOLLOW: a link in the way is ENOTDIR to the kernel.
      const int error = errno;
      struct stat st {};
      const bool link = error == ENOTDIR &&
                        ::fstatat(at ? at.get() : from, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                        S_ISLNK(st.st_mode);
      errno = link ? ELOOP : error;
      return Fd();
    }
    if (last) return next;
    at = std::move(next);
    begin = end + 1;
  }
}

}  // namespace

Fd::~Fd() {
  if (fd_ < 0) return;
  const int kept = errno;
  ::close(fd_);
  errno = kept;
}

bool Fd::close() { return ::close(release()) == 0 || errno == EINTR; }

Root::Root(const std::string& path) : path_(path) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();  // a closing slash would follow a link
  fd_ = Fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd_) throw Failure::system("open", path_);
}

Fd Root::open(const std::string& beneath, int flags) const {
  static std::atomic<bool> has_openat2{true};
  flags |= O_CLOEXEC | O_NOFOLLOW;
  if (beneath.empty()) return Fd(::openat(fd(), ".", flags));
  if (has_openat2.load(std::memory_order_relaxed) && beneath.size() < PATH_MAX) {
    const OpenHow how{static_cast<uint64_t>(flags), 0, kBeneath | kNoSymlinks};
    for (;;) {
      Fd found(static_cast<int>(::syscall(kOpenat2, fd(), beneath.c_str(), &how, sizeof how)));
      if (found) return found;
      if (errno == EAGAIN || errno == EINTR) continue;  // a rename elsewhere raced the walk
      if (errno != ENOSYS && errno != EPERM && errno != ENOTDIR) return found;
      break;  // ENOTDIR may be a link in the way: the walk tells
    }
    if (errno == ENOSYS) has_openat2.store(false, std::memory_order_relaxed);
  }
  return open_by_component(fd(), beneath, flags);
}

Fd Root::directory(const std::string& beneath, int flags) const {
  Fd found = open(beneath, flags | O_DIRECTORY);
  if (found) return found;
  if (errno == ELOOP)
    throw Failure("UNSAFE_PATH", full(beneath) + ": a symbolic link stands in the way", full(beneath));
  throw Failure::system("open", full(beneath));
}

Walker::Place Walker::at(std::string_view beneath) {
  const size_t slash = beneath.rfind('/');
  if (slash == beneath.npos) return {root_.fd(), beneath.data()};
  const char* name = beneath.data() + slash + 1;
  for (size_t i = 0; i < kKept; ++i) {
    const size_t number = (newest_ + kKept - i) % kKept;
    const Kept& kept = kept_[number];
    if (!kept.fd || beneath.substr(0, slash) != kept.path) continue;
    return {kept.fd.get(), name};
  }
  const size_t next = (newest_ + 1) % kKept;
  Kept& kept = kept_[next];
  kept.path = beneath.substr(0, slash);
  kept.fd = Fd();
  kept.fd = root_.directory(kept.path);
  newest_ = next;
  return {kept.fd.get(), name};
}

void Walker::close() {
  for (Kept& kept : kept_) kept.fd = Fd();
}

void Directories::make(const std::string& path) {
  if (!made_.insert(path).second) return;
  make_parents(path);
  const Walker::Place place = walker_.at(path);
  if (::mkdirat(place.directory, place.name, mode_) != 0 && errno != EEXIST)
    throw Failure::system("mkdir", walker_.root().full(path));
}

void Directories::make_parents(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == path.npos || path.substr(0, slash) == last_) return;
  std::string parent(path.substr(0, slash));
  make(parent);
  last_ = std::move(parent);
}

bool write_all(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool write_all_at(int fd, const void* data, size_t size, uint64_t offset) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = ::pwrite(fd, at, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    at += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<size_t>(n);
  }
  return true;
}

ssize_t read_all_at(int fd, void* data, size_t size, uint64_t offset) {
  size_t done = 0;
  while (done < size) {
    const ssize_t n = ::pread(fd, static_cast<char*>(data) + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return static_cast<ssize_t>(done);
}

bool set_mtime(int fd, int64_t mtime) {
  const timespec times[2] = {{0, UTIME_OMIT}, {static_cast<time_t>(mtime), 0}};
  return ::futimens(fd, times) == 0;
}

bool set_link_mtime(Walker::Place place, int64_t mtime) {
  const timespec times[2] = {{0, UTIME_OMIT}, {static_cast<time_t>(mtime), 0}};
  return ::utimensat(place.directory, place.name, times, AT_SYMLINK_NOFOLLOW) == 0;
}

}  // namespace cd
