// Where the threads of a pack job meet: frames are written in their order by whoever completes the next one, entries are decided once.
#pragma once
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <vector>
#include "entry.h"
#include "room.h"
#include "root.h"

namespace cd {

// Bytes of members to a frame: 1 KiB to 128 MiB, otherwise throws INVALID_OPTION.
void check_frame_bytes(uint64_t bytes);

class Assembly {
 public:
  enum class Output { create, append };
  // Creates the file, or continues it at `position`; an empty path writes nothing. OUTPUT_EXISTS when what is to be created is there.
  // A `descriptor` that is not negative is written to instead, and stays open.
  // `threads` bounds the frames that may wait for an earlier one, and so the memory of a job.
  Assembly(std::string path, Output how, uint64_t position, std::vector<Frame> frames, size_t entries, unsigned threads,
           int descriptor = -1);
  ~Assembly();  // removes the file, unless finish() was called
  Assembly(const Assembly&) = delete;
  Assembly& operator=(const Assembly&) = delete;

  // Frame `number` (from 0 for the first one of this job) of `size` bytes; empty: there is none of that number. Blocks while too many
  // others wait. Every number must come, and a number must not depend on a later one. Afterwards `packed` holds something else.
  void put(size_t number, Room& packed, uint32_t size);
  // After the last frame: bytes that are no frame of the tar.
  void append(const std::string& bytes) { append(bytes.data(), bytes.size()); }
  void append(const char* bytes, size_t count);
  void finish();  // closes the file, which stays

  void decide(size_t entry);  // what the entry is, is known now
  void wait_for(size_t entry);

  // Ends the waiting of all threads with this exception.
  void fail(std::exception_ptr failure);

  const std::vector<Frame>& frames() const { return frames_; }
  // Which of frames() the number became; only for one that was not empty.
  uint32_t index_of(size_t number) const { return indices_[number]; }
  uint64_t position() const { return position_; }

 private:
  enum class Fate : uint8_t { open, awaited, decided };
  void write_next(const Room& packed, uint32_t size);
  void stop_if_failed() const;
  std::string path_;
  Fd fd_;
  bool keep_ = true;
  const size_t ahead_;
  std::mutex guard_;
  std::condition_variable changed_;
  size_t next_ = 0, full_ = 0;  // full_: threads that wait until there is room
  std::map<size_t, std::pair<Room, uint32_t>> waiting_;
  std::vector<Room> spare_;  // of frames that waited and are written
  std::vector<Fate> fates_;
  std::exception_ptr failure_;
  // Touched only by the thread that has frame next_, without the lock.
  std::vector<Frame> frames_;
  std::vector<uint32_t> indices_;
  uint64_t position_;
};

}  // namespace cd
