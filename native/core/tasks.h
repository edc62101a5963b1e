// How the work of a pack job is divided. A task never waits for one after it.
#pragma once
#include "jobs.h"

namespace cd {

inline constexpr size_t kNone = SIZE_MAX;

// Work for one thread: the frame of entries [first, last); or of the large file `first` one part of several, or its study.
struct Task {
  size_t first = 0, last = 0;
  size_t frame = kNone;  // kNone: a study
  size_t large = kNone, part = 0;
};

struct LargeFile {
  size_t entry = 0, parts = 0;
};

struct Division {
  std::vector<Task> tasks;  // in the order in which they are begun
  std::vector<LargeFile> large;
};

// Of each entry: the one before it that decides whether it is left out, or kNone. INVALID_OPTION when that is no entry before it.
std::vector<size_t> companions_of(const PackEntries& entries);

// Bytes for the frame that begins when `left` of `total` bytes of members are to come, at most `frame_bytes`. More of a large archive, which
// is smaller for it and has frames enough for all threads; less towards the end, so that threads that take one frame after another end
// together, here and where the archive is deployed.
uint64_t frame_limit(uint64_t frame_bytes, uint64_t total, uint64_t left);

// Cuts by planned sizes alone, so that the frames do not depend on the threads.
Division divide(const PackEntries& entries, const std::vector<size_t>& companions, uint64_t frame_bytes,
                unsigned threads);

}  // namespace cd
