#include "input.h"
#include <algorithm>
#include <cstring>
#include "failure.h"
#include "root.h"

namespace cd {

Input::Input(int fd, const std::string& path, uint64_t position, uint64_t limit)
    : fd_(fd), path_(path), buffer_(new uint8_t[kBack + kSize + kPadding]) {
  std::memset(buffer_.get(), 0, kBack);
  restart(position, limit);
}

void Input::restart(uint64_t position, uint64_t limit) {
  p = end = buffer_.get() + kBack;
  eof = false;
  position_ = position;
  limit_ = limit;
}

void Input::fill() {
  uint8_t* const begin = buffer_.get() + kBack;
  const size_t rest = static_cast<size_t>(end - p);
  std::memmove(begin - kBack, p - kBack, kBack + rest);
  const size_t wanted = static_cast<size_t>(std::min<uint64_t>(kSize - rest, limit_ - position_));
  const ssize_t got = read_all_at(fd_, begin + rest, wanted, position_);
  if (got < 0) throw Failure::system("pread", path_);
  position_ += static_cast<uint64_t>(got);
  p = begin;
  end = begin + rest + got;
  eof = static_cast<size_t>(got) < wanted || position_ == limit_;
  std::memset(begin + rest + got, 0, kPadding);
}

}  // namespace cd
