#include "parts.h"
#include <algorithm>
#include "failure.h"

namespace cd {

std::vector<std::vector<Part>> parts_of(const Table& table, const std::vector<Frame>& frames,
                                        const std::function<bool(uint32_t)>& wanted) {
  std::vector<std::vector<Part>> parts(frames.size());
  for (size_t i = 0; i < table.entries.size(); ++i) {
    const Entry& entry = table.entries[i];
    if (entry.kind != Kind::file || (wanted && !wanted(static_cast<uint32_t>(i)))) continue;
    Part part;
    part.entry = static_cast<uint32_t>(i);
    part.offset = entry.offset;
    for (size_t frame = entry.frame;; ++frame) {
      if (frame >= frames.size() || part.offset > frames[frame].size)
        throw Failure("ARCHIVE_CORRUPT", entry.path + ": its content lies outside the frames", entry.path);
      part.size = std::min<uint64_t>(entry.size - part.base, frames[frame].size - part.offset);
      parts[frame].push_back(part);
      part.base += part.size;
      if (part.base == entry.size) break;
      part.offset = 0;
      ++part.number;
    }
  }
  return parts;
}

bool has_digests(const Entry& entry) {
  return std::any_of(entry.spots.begin(), entry.spots.end(),
                     [](const Spot& s) { return s.encoding == Encoding::digest; });
}

SpotRange spots_in(const Part& part, const Entry& entry) {
  const auto before = [](const Spot& spot, uint64_t offset) { return spot.offset < offset; };
  const auto begin = std::lower_bound(entry.spots.begin(), entry.spots.end(), part.base, before);
  const auto end = std::lower_bound(begin, entry.spots.end(), part.base + part.size, before);
  return {entry.spots.data() + (begin - entry.spots.begin()), static_cast<size_t>(end - begin)};
}

bool Turns::wait(uint32_t number) {
  std::unique_lock<std::mutex> lock(guard_);
  moved_.wait(lock, [&] { return given_up_ || next_ == number; });
  return !given_up_;
}

void Turns::pass() {
  std::lock_guard<std::mutex> lock(guard_);
  ++next_;
  moved_.notify_all();
}

void Turns::give_up() {
  std::lock_guard<std::mutex> lock(guard_);
  given_up_ = true;
  moved_.notify_all();
}

}  // namespace cd
