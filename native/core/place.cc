// Putting whole things under their names, atomically, and locks by flock. No policy: src/deploy decides what to do with
// the answers.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cstdio>
#include "jobs.h"
#include "root.h"

namespace cd {
namespace {

constexpr unsigned kNoReplace = 1, kExchange = 2;  // linux/fs.h

int rename_with(const std::string& from, const std::string& to, unsigned flags) {
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
}

// The file system (NFS, old Lustre) or the kernel does not know the flag.
bool not_known(int error) { return error == EINVAL || error == ENOSYS || error == ENOTSUP; }

std::string pair(const std::string& from, const std::string& to) { return from + " -> " + to; }

// A name is reserved by making it; only an empty directory can be renamed over, so nothing of another's is ever
// replaced.
bool rename_directory_by_reserving(const std::string& from, const std::string& to) {
  if (::mkdir(to.c_str(), 0700) != 0) {
    if (errno == EEXIST) return false;
    throw Failure::system("mkdir", to);
  }
  if (::rename(from.c_str(), to.c_str()) == 0) return true;
  const int error = errno;
  if (error == ENOTEMPTY || error == EEXIST || error == ENOTDIR) return false;  // another took the name in between
  ::rmdir(to.c_str());
  throw Failure::system("rename", pair(from, to), error);
}

bool rename_by_linking(const std::string& from, const std::string& to) {
  if (::linkat(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), 0) != 0) {
    if (errno == EEXIST) return false;
    throw Failure::system("link", pair(from, to));
  }
  if (::unlink(from.c_str()) != 0) throw Failure::system("unlink", from);
  return true;
}

}  // namespace

bool rename_no_replace(const std::string& from, const std::string& to) {
  if (rename_with(from, to, kNoReplace) == 0) return true;
  const int error = errno;
  if (error == EEXIST || error == ENOTEMPTY) return false;
  if (!not_known(error)) throw Failure::system("rename", pair(from, to), error);
  struct stat st;
  if (::lstat(from.c_str(), &st) != 0) throw Failure::system("lstat", from);
  return S_ISDIR(st.st_mode) ? rename_directory_by_reserving(from, to) : rename_by_linking(from, to);
}

bool rename_exchange(const std::string& from, const std::string& to) {
  if (rename_with(from, to, kExchange) == 0) return true;
  const int error = errno;
  if (error == ENOENT) return false;
  // Three renames would leave a moment without `to`: the caller must know, so nothing is tried.
  if (not_known(error))
    throw Failure("UNSUPPORTED", "the file system cannot exchange two names: " + pair(from, to), to);
  throw Failure::system("rename", pair(from, to), error);
}

std::pair<int, int> make_pipe() {
  int ends[2];
#ifdef __linux__
  const bool made = pipe2(ends, O_CLOEXEC) == 0;
#else
  const bool made =
      pipe(ends) == 0 && fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0;
#endif
  if (!made) throw Failure::system("pipe", "");
#ifdef F_SETPIPE_SZ
  fcntl(ends[1], F_SETPIPE_SZ,
        1 << 20);  // fewer turns between the two sides; where it is not allowed the pipe is as it was
#endif
  return {ends[0], ends[1]};
}

int lock_file(const std::string& path, bool exclusive, unsigned mode) {
  constexpr int kFlags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  for (;;) {
    Fd fd(::open(path.c_str(), kFlags | O_RDWR | O_CREAT, mode));
    // Another user's lock file: in a sticky directory it may not be opened with O_CREAT (fs.protected_regular), or only
    // be read.
    if (!fd && errno == EACCES) {
      fd = Fd(::open(path.c_str(), kFlags | O_RDONLY));
      if (!fd && errno == ENOENT) errno = EACCES;  // none is there, and none may be made
    }
    if (!fd && errno == EINTR) continue;
    if (!fd && errno == ELOOP)
      throw Failure("UNSAFE_PATH", path + ": a symbolic link stands where the lock belongs", path);
    if (!fd) throw Failure::system("open", path);
    struct stat st;
    if (::fstat(fd.get(), &st) != 0) throw Failure::system("fstat", path);
    if (!S_ISREG(st.st_mode)) throw Failure("IO", "lock " + path + ": not a regular file", path);
    int got;
    do got = ::flock(fd.get(), (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
    while (got != 0 && errno == EINTR);
    if (got != 0 && errno == EWOULDBLOCK) return -1;
    if (got != 0) throw Failure::system("flock", path);
    if (::fstat(fd.get(), &st) != 0) throw Failure::system("fstat", path);
    if (st.st_nlink > 0) return fd.release();
    // Its holder removed it while we opened it: a lock on a file without a name keeps nobody out.
  }
}

void unlock_file(int fd) {
  if (::close(fd) != 0 && errno != EINTR) throw Failure::system("close", "lock");
}

}  // namespace cd
