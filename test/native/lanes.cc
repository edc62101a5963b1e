// Contents in pairs of lanes: each once, the largest first, both lanes about as long, and no more together than was said.
#include "lanes.h"
#include <algorithm>
#include "check.h"

using namespace cd;

int main() {
  CHECK(lanes_of({}, 100).empty());
  CHECK(lanes_of({7}, 0).size() == 1);
  const std::vector<uint64_t> sizes{5, 31, 2, 6, 6, 1};
  for (const uint64_t most : {0, 17, 30, 1000}) {
    std::vector<size_t> seen;
    for (const Lanes& lanes : lanes_of(sizes, most)) {
      uint64_t largest = 0;
      for (int lane = 0; lane < 2; ++lane) {
        uint64_t sum = 0;
        for (const size_t number : lanes.of[lane]) {
          seen.push_back(number);
          sum += sizes[number];
          largest = std::max(largest, sizes[number]);
        }
        CHECK(sum == lanes.bytes[lane]);
      }
      const uint64_t all = lanes.bytes[0] + lanes.bytes[1];
      CHECK(all <= most || lanes.of[0].size() + lanes.of[1].size() == 1);
      CHECK(std::max(lanes.bytes[0], lanes.bytes[1]) - std::min(lanes.bytes[0], lanes.bytes[1]) <= largest);
      CHECK(sizes[lanes.of[0][0]] == largest);
    }
    std::sort(seen.begin(), seen.end());
    CHECK(seen == (std::vector<size_t>{0, 1, 2, 3, 4, 5}));
  }
  CHECK(lanes_of(sizes, 1000).size() == 1);
  return check::done();
}
