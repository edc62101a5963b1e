#include "rebase.h"
#include <algorithm>
#include "failure.h"
#include "sha256.h"

namespace cd {
namespace {

bool has_nul(const std::string& part, size_t from, size_t to, unsigned unit) {
  for (; from + unit <= to; from += unit)
    if (part.find_first_not_of('\0', from) >= from + unit) return true;
  return false;
}

}  // namespace

Rebase::Rebase(const PackJob& job, const PackEntry& entry, std::vector<Spot> spots)
    : path_(entry.entry.path), to_(job.dest), prefixes_(job.prefixes), spots_(std::move(spots)) {
  prefixes_.push_back(entry.placeholder);
  for (Spot& spot : spots_)
    if (spot.refers == kPlaceholder) spot.refers = static_cast<uint32_t>(prefixes_.size() - 1);
}

Rebased Rebase::part(const std::string& stored, uint64_t base, uint64_t moved) const {
  const auto before = [](const Spot& spot, uint64_t offset) { return spot.offset < offset; };
  const auto begin = std::lower_bound(spots_.begin(), spots_.end(), base, before);
  const std::vector<Spot> own(begin, std::lower_bound(begin, spots_.end(), base + stored.size(), before));
  const auto* data = reinterpret_cast<const uint8_t*>(stored.data());
  Rebased out;
  Rewriting done;
  try {
    out.bytes = rewrite_spots(data, stored.size(), base, own.data(), own.size(), prefixes_, to_, {}, done);
  } catch (const Failure& failure) { throw Failure(failure.code, path_ + ": " + failure.what(), path_); }
  out.by_path = done.by_path;
  int64_t shift = 0;  // of what follows: for good in a text, to the end of its string in a binary
  size_t end = 0;     // of the spot before, in the part
  for (const Spot& spot : own) {
    const size_t at = static_cast<size_t>(spot.offset - base);
    if (spot.encoding != Encoding::text && has_nul(stored, end, at, unit_of(spot.encoding))) shift = 0;
    out.spots.push_back({spot.encoding, moved + at + static_cast<uint64_t>(shift), 0, spot.slot});
    const size_t from = encode_as(prefixes_[spot.refers], spot.encoding).size();
    shift += static_cast<int64_t>(encode_as(to_, spot.encoding).size()) - static_cast<int64_t>(from);
    end = at + from;
  }
  if (!done.trampoline && !done.by_path) return out;
  // The first line became another, or several: what stood in it is looked for, what follows it moved.
  const size_t line = std::min(stored.find('\n'), stored.size());
  const int64_t grown = static_cast<int64_t>(out.bytes.size() - stored.size()) - shift;
  int64_t head = static_cast<int64_t>(line) + grown;
  size_t lost = 0;
  for (; lost < own.size() && own[lost].offset - base < line; ++lost)
    head += static_cast<int64_t>(to_.size() - prefixes_[own[lost].refers].size());
  std::vector<Spot> spots =
      find_text(reinterpret_cast<const uint8_t*>(out.bytes.data()), static_cast<size_t>(head), to_, false);
  if (done.trampoline && spots.empty()) out.lost = lost;
  for (; lost < own.size(); ++lost) {
    spots.push_back(out.spots[lost]);
    spots.back().offset += static_cast<uint64_t>(grown);
  }
  out.spots = std::move(spots);
  return out;
}

bool rebase_study(const Rebase& rebase, Source& source, const std::vector<uint64_t>& cuts, Studied& studied,
                  bool& by_path) {
  if (studied.spots.empty()) return false;
  studied.spots.clear();
  Sha256 hash;
  uint64_t size = 0;
  for (size_t part = 0; part + 1 < cuts.size(); ++part) {
    std::string stored;
    render(source, studied.edits, {cuts[part], cuts[part + 1]}, stored);
    const Rebased to = rebase.part(stored, cuts[part], size);
    hash.update(to.bytes.data(), to.bytes.size());
    size += to.bytes.size();
    studied.spots.insert(studied.spots.end(), to.spots.begin(), to.spots.end());
    studied.kept_prefix += to.lost;
    by_path = by_path || to.by_path;
  }
  studied.size = size;
  studied.sha256 = hash.finish();
  return true;
}

}  // namespace cd
