// The content of one file while it is packed: in memory when it is small, read in windows when it is large.
#pragma once
#include <algorithm>
#include <string>
#include "entry.h"
#include "root.h"

namespace cd {

class Source {
 public:
  virtual ~Source() = default;
  uint64_t size() const { return size_; }
  // Bytes [offset, offset + n), valid until the next call; the range lies inside the file.
  virtual const uint8_t* at(uint64_t offset, size_t n) = 0;
  // The same, to a place of the caller's; of any size.
  virtual void read(uint64_t offset, size_t n, uint8_t* out) = 0;
  // The largest n worth asking `at` for at once.
  virtual size_t window() const = 0;

 protected:
  uint64_t size_ = 0;
};

class Memory : public Source {  // borrows
 public:
  Memory(const uint8_t* data, size_t size) : data_(data) { size_ = size; }
  const uint8_t* at(uint64_t offset, size_t) override { return data_ + offset; }
  void read(uint64_t offset, size_t n, uint8_t* out) override { std::copy_n(data_ + offset, n, out); }
  size_t window() const override { return static_cast<size_t>(size_); }

 private:
  const uint8_t* data_;
};

// Tells whether a file is still the one that was read before.
struct Version {
  int64_t seconds = 0, nanoseconds = 0;
  uint64_t inode = 0;
  bool operator!=(const Version& o) const {
    return seconds != o.seconds || nanoseconds != o.nanoseconds || inode != o.inode;
  }
};

// A regular file beneath `root`, opened once; refuses with SOURCE_CHANGED when it is not what the plan says.
class OpenFile : public Source {
 public:
  // `source`: another path to read it from, beneath the root or absolute; empty: its own.
  OpenFile(int root, const std::string& root_path, const std::string& path, uint64_t size, const std::string& source);
  const uint8_t* at(uint64_t offset, size_t n) override;
  void read(uint64_t offset, size_t n, uint8_t* out) override;
  size_t window() const override { return 256 << 10; }  // stays in a core's cache while it is hashed and searched
  void read_all(uint8_t* out);                          // size() bytes; then checks that nothing changed meanwhile
  const Version& version() const { return version_; }
  void check_unchanged(const Version& since) const;

 private:
  std::string path_;
  Fd fd_;
  Version version_;
  std::string buffer_;
};

}  // namespace cd
