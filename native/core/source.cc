#include "source.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "failure.h"

namespace cd {

OpenFile::OpenFile(int root, const std::string& root_path, const Entry& plan, size_t window)
    : fd_(openat(root, plan.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)), path_(root_path + "/" + plan.path), window_(window) {
  if (fd_ < 0) throw Failure::system("open", path_);
  struct stat st;
  if (fstat(fd_, &st) != 0 || !S_ISREG(st.st_mode) || static_cast<uint64_t>(st.st_size) != plan.size) {
    close(fd_);
    throw Failure("SOURCE_CHANGED", path_ + " is no longer the file of " + std::to_string(plan.size) + " bytes that was planned", path_);
  }
  size_ = plan.size;
  mtime_sec_ = st.st_mtim.tv_sec;
  mtime_nsec_ = st.st_mtim.tv_nsec;
}

OpenFile::~OpenFile() { close(fd_); }

void OpenFile::read_at(uint64_t offset, void* out, size_t n) {
  for (size_t done = 0; done < n;) {
    const ssize_t got = pread(fd_, static_cast<char*>(out) + done, n - done, static_cast<off_t>(offset + done));
    if (got < 0) {
      if (errno == EINTR) continue;
      throw Failure::system("read", path_);
    }
    if (got == 0) throw Failure("SOURCE_CHANGED", path_ + " became shorter while it was read", path_);
    done += static_cast<size_t>(got);
  }
}

const uint8_t* OpenFile::at(uint64_t offset, size_t n) {
  if (buffer_.size() < n) buffer_.resize(n);
  read_at(offset, buffer_.data(), n);
  return reinterpret_cast<const uint8_t*>(buffer_.data());
}

void OpenFile::read_all(std::string& out) {
  out.resize(static_cast<size_t>(size_));
  read_at(0, out.data(), out.size());
  check_unchanged();
}

void OpenFile::check_unchanged() const {
  struct stat st;
  if (fstat(fd_, &st) != 0) throw Failure::system("stat", path_);
  if (static_cast<uint64_t>(st.st_size) != size_ || st.st_mtim.tv_sec != mtime_sec_ || st.st_mtim.tv_nsec != mtime_nsec_)
    throw Failure("SOURCE_CHANGED", path_ + " changed while it was read", path_);
}

}  // namespace cd
