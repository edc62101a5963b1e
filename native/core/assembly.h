// Where the threads of a pack job meet: frames are written in their order by whoever completes the next one, entries are decided once.
#pragma once
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include "entry.h"

namespace cd {

class Assembly {
 public:
  // Continues a file at `position`; an empty path writes nothing (frames are only counted).
  Assembly(std::string path, bool create, uint64_t position, std::vector<Frame> frames);
  ~Assembly();  // removes the file that it created unless keep() was called

  // Frame `number` (from 0 for the first one of this job); empty: there is none of that number. Blocks while too many later frames wait.
  void put(size_t number, std::string packed, uint32_t size);
  // After the last frame: bytes that are no frame of the tar.
  void append(const std::string& bytes);

  void decide(size_t entry);       // what the entry is, is known now
  void wait_for(size_t entry);

  // Ends the waiting of all threads with this exception.
  void fail(std::exception_ptr failure);

  const std::vector<Frame>& frames() const { return frames_; }
  // Which of frames() the number became; only for one that was not empty.
  uint32_t index_of(size_t number) const { return indices_[number]; }
  uint64_t position() const { return position_; }
  void keep() { keep_ = true; }
  void expect_entries(size_t n) { decided_.assign(n, false); }

 private:
  void write(const std::string& bytes);
  void stop_if_failed() const;
  std::string path_;
  int fd_ = -1;
  bool created_ = false, keep_ = false;
  uint64_t position_;
  size_t next_ = 0;
  std::vector<Frame> frames_;
  std::vector<uint32_t> indices_;
  std::map<size_t, std::pair<std::string, uint32_t>> waiting_;
  std::vector<bool> decided_;
  std::exception_ptr failure_;
  std::mutex guard_;
  std::condition_variable changed_;
};

}  // namespace cd
