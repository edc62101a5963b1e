// SHA-256 (FIPS 180-4): SHA-NI where the processor has it, portable C++ elsewhere. Why our own: the core links nothing but libc and zstd.
#pragma once
#include <cstddef>
#include <string_view>
#include "entry.h"

namespace cd {

class Sha256 {
 public:
  Sha256();
  void update(const void* data, size_t size);
  Digest finish();
  // Two at once, in 0.6 of the time that one after the other takes: alone, each waits for its own last round.
  static void update_both(Sha256& a, const void* a_data, size_t a_size, Sha256& b, const void* b_data, size_t b_size);

 private:
  uint32_t state_[8];
  uint8_t block_[64];
  uint64_t length_ = 0;
};

// The hashes of two contents that begin alike: what they share is hashed once.
class Sha256Pair {
 public:
  void update_shared(const void* data, size_t size);
  void update(const void* first, size_t first_size, const void* second, size_t second_size);
  void finish(Digest& of_first, Digest& of_second);

 private:
  Sha256 first_, second_;
  bool parted_ = false;
};

Digest sha256(const void* data, size_t size);
// Many, in two lanes: as fast as update_both whatever their sizes.
void sha256_all(const struct Bytes* contents, size_t count, Digest* digests);
std::string hex(const Digest&);
bool from_hex(std::string_view, Digest&);
bool sha256_is_hardware();

}  // namespace cd
