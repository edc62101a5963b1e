// Bytes of one thread that are overwritten again and again. Nothing is cleared, and nothing copied that is not asked for: a page that is
// touched first costs a fault, which under a hypervisor takes as long as decoding what it holds.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace cd {

class Room {
 public:
  Room() = default;
  Room(Room&& other) noexcept { *this = std::move(other); }
  Room& operator=(Room&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  size_t size() const { return size_; }
  char* data() { return bytes_.get(); }
  const char* data() const { return bytes_.get(); }

  // `size` bytes; what stood there is gone.
  char* fresh(size_t size) {
    if (size > capacity_) {
      bytes_.reset();
      bytes_.reset(new char[size]);
      capacity_ = size;
    }
    size_ = size;
    return data();
  }
  // Empty, with room for so many bytes: growing to them step by step would touch new pages at every step.
  void reserve(size_t most) {
    fresh(most);
    size_ = 0;
  }
  // `more` bytes behind those that are there.
  char* grow(size_t more) {
    if (more > capacity_ - size_) {
      const size_t wanted = std::max(size_ + more, capacity_ + capacity_ / 2);
      std::unique_ptr<char[]> larger(new char[wanted]);
      std::copy_n(data(), size_, larger.get());
      bytes_ = std::move(larger);
      capacity_ = wanted;
    }
    size_ += more;
    return data() + (size_ - more);
  }
  // Makes `size` bytes of those from `begin` to `end`, to be written; what stands behind them moves.
  char* refit(size_t begin, size_t end, size_t size) {
    const size_t behind = size_ - end;
    if (size > end - begin) grow(size - (end - begin));
    std::memmove(data() + begin + size, data() + end, behind);
    size_ = begin + size + behind;
    return data() + begin;
  }
  void shrink(size_t size) { size_ = std::min(size_, size); }
  void append(const std::string& bytes) { std::copy(bytes.begin(), bytes.end(), grow(bytes.size())); }

 private:
  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace cd
