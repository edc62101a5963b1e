#include "lanes.h"
#include <algorithm>
#include <numeric>

namespace cd {

std::vector<Lanes> lanes_of(const std::vector<uint64_t>& sizes, uint64_t most) {
  std::vector<size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  std::vector<Lanes> all;
  for (const size_t number : order) {
    if (all.empty() || all.back().bytes[0] + all.back().bytes[1] + sizes[number] > most) all.emplace_back();
    Lanes& lanes = all.back();
    const size_t shorter = lanes.bytes[1] < lanes.bytes[0];
    lanes.of[shorter].push_back(number);
    lanes.bytes[shorter] += sizes[number];
  }
  return all;
}

}  // namespace cd
