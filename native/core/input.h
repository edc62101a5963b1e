// A regular file read in order, with zeros behind its end, so that a decoder may look a few bytes ahead without asking.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

namespace cd {

class Input {
 public:
  static constexpr size_t kPadding = 64;  // bytes that may be looked at behind `end`
  static constexpr size_t kBack = 8;
  // `fd` is borrowed, and read by pread: several inputs share it. `path`: for messages.
  Input(int fd, const std::string& path, uint64_t position, uint64_t limit = UINT64_MAX);
  // Goes on at another position, as if the file ended at `limit`.
  void restart(uint64_t position, uint64_t limit);

  const uint8_t* p;    // the next byte; moved by the reader, at most kPadding behind `end`, and back by at most kBack
  const uint8_t* end;  // of what was read so far
  bool eof = false;    // nothing follows `end`

  // At least `size` bytes (at most kLeast) from `p`, or all there are.
  void want(size_t size) {
    if (p + size > end && !eof) fill();
  }
  uint64_t position() const { return position_ - static_cast<uint64_t>(end - p); }  // of `p` in the file
  const std::string& path() const { return path_; }
  static constexpr size_t kLeast = 64 << 10;

 private:
  void fill();
  static constexpr size_t kSize = 256 << 10;
  int fd_;
  const std::string& path_;
  uint64_t position_, limit_;  // of `end`
  std::unique_ptr<uint8_t[]> buffer_;
};

}  // namespace cd
