// The decoder of deflate (RFC 1951). Why our own: it can begin at any block and says where a block ends, which decoding one stream
// by several threads needs; and it takes less than half of zlib's time.
#pragma once
#include "input.h"

namespace cd {

class Inflate {
 public:
  static constexpr size_t kWindow = 32768;  // how far back a stream can refer
  static constexpr size_t kSlack = 320;  // bytes behind `limit` that may be written, and hold nothing of meaning then

  explicit Inflate(Input& in) : in_(in) {}
  // A stream, or a block of one, begins at the input's next byte.
  void start();

  enum class Stop {
    full,      // `out` has reached `limit` (and may be some bytes behind it)
    boundary,  // a block would begin at or behind the position `stop_at` of the input
    end        // of the stream: the input stands behind its last byte
  };
  // Decodes to `out`, and moves it. `oldest`: the first byte before `out` that may be referred to. Throws ARCHIVE_CORRUPT.
  Stop run(const uint8_t* oldest, uint8_t*& out, uint8_t* limit, uint64_t stop_at);
  // The input's next byte is the next of the stream: no bits of an earlier one are left.
  bool aligned() const { return count_ % 8 == 0; }
  uint64_t position() const { return in_.position() - count_ / 8; }  // of that byte in the file
  static constexpr uint64_t kNowhere = UINT64_MAX / 16;              // as `stop_at`: only the end

 private:
  enum class State { between, stored, coded };
  struct Codes;
  static constexpr unsigned kLengthBits = 11, kDistanceBits = 8;
  void refill();
  uint32_t take(unsigned bits);
  void align();
  void header();
  void fixed();
  void dynamic();
  void stored(uint8_t*& out, const uint8_t* limit);
  bool coded(const uint8_t* oldest, uint8_t*& out, const uint8_t* limit);
  [[noreturn]] void broken(const char* what) const;
  [[noreturn]] void cut() const;

  Input& in_;
  uint64_t bits_ = 0;
  unsigned count_ = 0;  // of valid bits; those above are what follows, or zeros
  State state_ = State::between;
  bool last_ = false;
  uint32_t left_ = 0;  // of a stored block
  uint32_t lengths_[2400], distances_[420];
};

}  // namespace cd
