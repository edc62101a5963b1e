#include "tasks.h"
#include <algorithm>
#include <unordered_map>
#include "failure.h"
#include "tar.h"

namespace cd {
namespace {

constexpr uint64_t kFrames = 64, kFrame = 4 << 20;         // into so many at least, or of so many bytes
constexpr uint64_t kLastFrames = 8, kLastFrame = 2 << 20;  // the same for what is left

uint64_t bytes_of(const PackEntries& entries, size_t i) { return entries.kind(i) == Kind::file ? entries.bytes(i) : 0; }
uint64_t member_bytes(uint64_t size) { return 512 + size + tar_padding(size); }

}  // namespace

uint64_t frame_limit(uint64_t frame_bytes, uint64_t total, uint64_t left) {
  return std::min({frame_bytes, std::max(kFrame, total / kFrames), std::max(kLastFrame, left / kLastFrames)});
}

std::vector<size_t> companions_of(const PackEntries& entries) {
  std::unordered_map<std::string_view, size_t> numbers;
  for (size_t i = 0; i < entries.size(); ++i)
    if (const std::string_view named = entries.unless_rewritten(i); !named.empty()) numbers.emplace(named, kNone);
  std::vector<size_t> companions(entries.size(), kNone);
  if (numbers.empty()) return companions;
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto own = numbers.find(entries.path(i));
    if (own != numbers.end()) own->second = i;
    const std::string_view named = entries.unless_rewritten(i);
    if (named.empty()) continue;
    companions[i] = numbers[named];
    if (companions[i] >= i) {  // to wait for a later entry could be to wait for oneself
      const std::string path(entries.path(i));
      throw Failure("INVALID_OPTION",
                    "pack: " + path + " depends on " + std::string(named) + ", which is no entry before it", path);
    }
  }
  return companions;
}

Division divide(const PackEntries& entries, const std::vector<size_t>& companions, uint64_t frame_bytes,
                unsigned threads) {
  Division out;
  struct Placed {
    uint64_t at;
    Task task;
  };
  std::vector<Placed> placed;
  uint64_t total = 0;
  for (size_t i = 0; i < entries.size(); ++i) total += member_bytes(bytes_of(entries, i));
  uint64_t position = 0, begin = 0;  // bytes of members before this one, and before the frame
  size_t first = 0, frame = 0;
  const auto flush = [&](size_t end) {
    if (end > first) placed.push_back({begin, {first, end, frame++, kNone, 0}});
    first = end;
    begin = position;
  };
  for (size_t i = 0; i < entries.size(); ++i) {
    const uint64_t size = bytes_of(entries, i), member = member_bytes(size);
    const uint64_t alone = frame_limit(frame_bytes, total, total - position);
    if (size > alone) {
      flush(i);
      const size_t parts = static_cast<size_t>((size + alone - 1) / alone);
      // A file is hashed by one thread, about eight times as fast as it is compressed: early enough, and nobody waits for it.
      const uint64_t lead = companions[i] == kNone ? std::min(position, size / 8 * threads) : 0;
      placed.push_back({position - lead, {i, i + 1, kNone, out.large.size(), 0}});
      for (size_t part = 0; part < parts; ++part)
        placed.push_back({position, {i, i + 1, frame++, out.large.size(), part}});
      out.large.push_back({i, parts});
      first = i + 1;
      begin = position + member;
    } else if (position > begin && position - begin + member > frame_limit(frame_bytes, total, total - begin)) {
      flush(i);
    }
    position += member;
  }
  flush(entries.size());
  std::stable_sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return a.at < b.at; });
  for (const Placed& p : placed) out.tasks.push_back(p.task);
  return out;
}

}  // namespace cd
