// Files beneath a root: opened by relative path, never through a symbolic link, never outside. Knows no archive.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include "failure.h"

namespace cd {

class Fd {  // owns a descriptor
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  bool close();  // false: failed. Network file systems may keep the news of a full disk until now
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

class Root {
 public:
  explicit Root(const std::string& path);  // an existing directory, not a link to one
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  std::string full(std::string_view beneath) const {
    return beneath.empty() ? path_ : path_ + '/' + std::string(beneath);
  }  // for messages

  // Opens a file or directory beneath ("": the root itself); no component may be a symbolic link. No descriptor: errno
  // says why (ELOOP: a link in the way). O_CLOEXEC and O_NOFOLLOW are added; creates nothing.
  Fd open(const std::string& beneath, int flags) const;
  Fd directory(const std::string& beneath, int flags = O_PATH) const;  // throws; UNSAFE_PATH for a link in the way

 private:
  std::string path_;
  Fd fd_;
};

// One thread's way through a root: keeps the directories it used last, so that neighbours, and those of a parent, cost no second walk.
class Walker {
 public:
  explicit Walker(const Root& root) : root_(root) {}
  struct Place {
    int directory;     // open until kKept others have been asked for
    const char* name;  // in `beneath`, which a NUL follows
  };
  Place at(std::string_view beneath);
  void close();  // what is kept open
  const Root& root() const { return root_; }

 private:
  static constexpr size_t kKept = 4;
  struct Kept {
    std::string path;
    Fd fd;
  };
  const Root& root_;
  Kept kept_[kKept];   // no descriptor: nothing
  size_t newest_ = 0;  // of them
};

// Directories beneath a root, each asked for once. What stands there already stays; a link in the way is UNSAFE_PATH, as for Walker.
class Directories {
 public:
  Directories(const Root& root, mode_t mode) : walker_(root), mode_(mode) {}
  void make(const std::string& path);        // with all above it
  void make_parents(std::string_view path);  // all above it

 private:
  Walker walker_;
  const mode_t mode_;
  std::unordered_set<std::string> made_;
  std::string last_;  // made: neighbours share theirs
};

// false: failed, errno says why. Callers name the path only then: building it for every file would cost more than some
// of the calls.
bool write_all(int fd, const void* data, size_t size);
bool write_all_at(int fd, const void* data, size_t size, uint64_t offset);
// Modification time in whole seconds; the access time stays.
bool set_mtime(int fd, int64_t mtime);
bool set_link_mtime(Walker::Place place, int64_t mtime);
// At most `size` bytes from `offset`, less only at the end of the file; -1: failed.
ssize_t read_all_at(int fd, void* data, size_t size, uint64_t offset);

}  // namespace cd
