// The contents of the files, frame by frame: what a thread that holds a decoded frame has to deal with. Shared by
// extract and verify.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>
#include "entry.h"

namespace cd {

struct Part {  // bytes of one file in one frame
  uint32_t entry = 0;
  uint32_t number = 0;  // 0, 1, … of the parts of its file
  uint64_t base = 0;    // offset of its first byte in the file
  uint64_t offset = 0;  // and in the frame, decompressed
  uint64_t size = 0;
};

inline bool whole(const Part& part, const Entry& entry) { return part.size == entry.size; }
inline bool last(const Part& part, const Entry& entry) { return part.base + part.size == entry.size; }

// For each frame its parts, in the order of the table, of the files that are `wanted`, by their numbers; default: all. The places must have
// been checked (Archive::table does).
std::vector<std::vector<Part>> parts_of(const Table& table, const std::vector<Frame>& frames,
                                        const std::function<bool(uint32_t)>& wanted = {});

// Does it hold the hash of another entry as deployed? It can only be written after that one.
bool has_digests(const Entry& entry);

// The spots of an entry which lie in a part.
struct SpotRange {
  const Spot* first;
  size_t count;
};
SpotRange spots_in(const Part& part, const Entry& entry);

// Lets the parts of a divided file pass one after another, whichever threads hold them: its hash can be computed in no
// other order. Parts must be handed out ascending; then the one waited for is always in the hands of a thread that does
// not wait for a later one.
class Turns {
 public:
  bool wait(uint32_t number);  // until it is this part's turn; false: given up, because another thread failed
  void pass();
  void give_up();

 private:
  std::mutex guard_;
  std::condition_variable moved_;
  uint32_t next_ = 0;
  bool given_up_ = false;
};

}  // namespace cd
