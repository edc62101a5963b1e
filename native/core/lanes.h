// What is hashed at once: two contents take little longer than one (Sha256::update_both), if both go on for as long. Pure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cd {

struct Lanes {
  std::vector<size_t> of[2];  // numbers of contents, one after the other in each lane
  uint64_t bytes[2] = {0, 0};
};

// The largest contents first, each lane about as long as its other; of more than `most` bytes are only those with one content.
std::vector<Lanes> lanes_of(const std::vector<uint64_t>& sizes, uint64_t most);

}  // namespace cd
