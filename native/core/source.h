// The content of one file while it is packed: in memory when it is small, read in windows when it is large.
#pragma once
#include <memory>
#include "entry.h"

namespace cd {

class Source {
 public:
  virtual ~Source() = default;
  uint64_t size() const { return size_; }
  // Bytes [offset, offset + n), valid until the next call; the range lies inside the file.
  virtual const uint8_t* at(uint64_t offset, size_t n) = 0;
  // The largest n worth asking for at once.
  virtual size_t window() const = 0;

 protected:
  uint64_t size_ = 0;
};

class Memory : public Source {  // borrows
 public:
  Memory(const uint8_t* data, size_t size) : data_(data) { size_ = size; }
  const uint8_t* at(uint64_t offset, size_t) override { return data_ + offset; }
  size_t window() const override { return static_cast<size_t>(size_); }

 private:
  const uint8_t* data_;
};

// A regular file beneath `root`, opened once; refuses with SOURCE_CHANGED when it is not what the plan says.
class OpenFile : public Source {
 public:
  OpenFile(int root, const std::string& root_path, const Entry& plan, size_t window);
  ~OpenFile() override;
  const uint8_t* at(uint64_t offset, size_t n) override;
  size_t window() const override { return window_; }
  void read_all(std::string& out);  // the whole content; also checks that nothing changed meanwhile
  void check_unchanged() const;

 private:
  void read_at(uint64_t offset, void* out, size_t n);
  int fd_;
  std::string path_;
  size_t window_;
  int64_t mtime_sec_, mtime_nsec_;
  std::string buffer_;
};

}  // namespace cd
