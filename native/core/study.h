// What one file is, beside what was recorded of it: proven, changed, or unknown; and which of its bytes are a prefix.
#pragma once
#include "jobs.h"
#include "source.h"

namespace cd {

struct Range {
  uint64_t begin = 0, end = 0;
};

// A stretch of the source that stands differently in the archive.
struct Edit {
  Range source;
  uint64_t stored = 0;  // where its text stands in the stored content
  std::string text;
};

inline constexpr uint32_t kPlaceholder = 0xFFFFFFFEu;  // Spot::refers: the entry's own placeholder

struct Studied {
  State state = State::unknown;
  uint64_t size = 0;  // stored
  Digest sha256{};    // of the stored content
  std::vector<Edit> edits;
  std::vector<Spot> spots;   // in terms of the stored content; refers: number in the job's prefixes, or kPlaceholder
  std::vector<Range> solid;  // stretches of the stored content that one frame must hold whole
  uint64_t kept_prefix = 0, kept_placeholder = 0;
};

// Whether a proof is due, which hashes what the package had: the hash of the file as it is matters only when there is none.
inline bool proves(const PackEntry& entry) { return !entry.pristine && entry.has_sha256 && !entry.placeholder.empty(); }

// `hash`: of the content, where it is known.
Studied study(Source& source, const PackEntry& entry, const std::vector<std::string>& prefixes,
              const std::string& marker, const Digest* hash = nullptr);

// Stored bytes [range.begin, range.end), appended to out.
void render(Source& source, const std::vector<Edit>& edits, Range range, std::string& out);

// Where the parts of a large file begin in its stored content, and at last its size: about even, never inside a solid stretch.
std::vector<uint64_t> cut(uint64_t size, size_t parts, const std::vector<Range>& solid);
// Does the content end with this part? Where what must not be divided reaches to the end, those behind it have nothing.
inline bool ends_with(const std::vector<uint64_t>& cuts, size_t part) {
  return cuts[part] < cuts.back() && cuts[part + 1] == cuts.back();
}

}  // namespace cd
