// gzip (RFC 1952): members one after another, from any place where decoding can begin. Who calls it checks the sums.
#pragma once
#include <vector>
#include "inflate.h"

namespace cd {

class Gzip {
 public:
  // `inside`: the position is that of a block within a member, not of a member.
  Gzip(int fd, const std::string& path, uint64_t position, bool inside);
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  struct End {          // of a member
    const uint8_t* at;  // behind its last byte in the output
    uint32_t crc, size;
  };
  // As Inflate::run, over members: `end` is that of the file, `boundary` also before a member. `behind`: how many bytes before `out`
  // belong to the member that `out` continues.
  Inflate::Stop run(size_t behind, uint8_t*& out, uint8_t* limit, uint64_t stop_at, std::vector<End>& ends);
  bool inside() const { return inside_; }
  uint64_t position() const { return inside_ ? inflate_.position() : in_.position(); }
  bool aligned() const { return !inside_ || inflate_.aligned(); }

 private:
  void header();
  bool at_end();
  uint8_t byte();
  Input in_;
  Inflate inflate_;
  bool inside_;
};

// Could a member begin here? Six bytes are looked at: one false alarm in 2^34 places.
bool looks_like_gzip(const uint8_t* p);

}  // namespace cd
