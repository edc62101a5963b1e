// SHA-256 (FIPS 180-4): SHA-NI where the processor has it, portable C++ elsewhere. Why our own: the core links nothing but libc and zstd.
#pragma once
#include <cstddef>
#include "entry.h"

namespace cd {

class Sha256 {
 public:
  Sha256();
  void update(const void* data, size_t size);
  Digest finish();

 private:
  uint32_t state_[8];
  uint8_t block_[64];
  uint64_t length_ = 0;
};

Digest sha256(const void* data, size_t size);
std::string hex(const Digest&);
bool from_hex(const std::string&, Digest&);
bool sha256_is_hardware();

}  // namespace cd
