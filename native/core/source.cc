#include "source.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "failure.h"

namespace cd {
namespace {

Version version_of(const struct stat& st) { return {st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ino}; }

// What the plan calls a file is a link now, or gone, or lies beneath a directory that is.
bool no_longer_there(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENXIO; }

}  // namespace

OpenFile::OpenFile(int root, const std::string& root_path, const std::string& path, uint64_t size,
                   const std::string& source)
    : path_(source.empty()     ? root_path + "/" + path
            : source[0] == '/' ? source
                               : root_path + "/" + source),
      fd_(openat(root, (source.empty() ? path : source).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {
  if (!fd_ && !no_longer_there(errno)) throw Failure::system("open", path_);
  struct stat st;
  if (fd_ && fstat(fd_.get(), &st) != 0) throw Failure::system("stat", path_);
  if (!fd_ || !S_ISREG(st.st_mode) || static_cast<uint64_t>(st.st_size) != size) {
    const std::string planned = " is no longer the file of " + std::to_string(size) + " bytes that was planned";
    throw Failure("SOURCE_CHANGED", path_ + planned, path_);
  }
  size_ = size;
  version_ = version_of(st);
}

void OpenFile::read(uint64_t offset, size_t n, uint8_t* out) {
  const ssize_t got = read_all_at(fd_.get(), out, n, offset);
  if (got < 0) throw Failure::system("pread", path_);
  if (static_cast<size_t>(got) != n)
    throw Failure("SOURCE_CHANGED", path_ + " became shorter while it was read", path_);
}

const uint8_t* OpenFile::at(uint64_t offset, size_t n) {
  if (buffer_.size() < n) buffer_.resize(n);
  auto* out = reinterpret_cast<uint8_t*>(buffer_.data());
  read(offset, n, out);
  return out;
}

void OpenFile::read_all(uint8_t* out) {
  read(0, static_cast<size_t>(size_), out);
  check_unchanged(version_);
}

void OpenFile::check_unchanged(const Version& since) const {
  struct stat st;
  if (fstat(fd_.get(), &st) != 0) throw Failure::system("stat", path_);
  if (static_cast<uint64_t>(st.st_size) != size_ || version_of(st) != since)
    throw Failure("SOURCE_CHANGED", path_ + " changed while it was read", path_);
}

}  // namespace cd
