// The frames of an archive for threads that unpack them. Where reading them turns out to be slow, because the file system is distant or
// busy, more threads read than unpack: what is waited for is an answer, not a core.
#pragma once
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>
#include "frames.h"

namespace cd {

class Ahead {
 public:
  // `wanted`: the numbers of frames. Borrows both. `patience`: microseconds that a read may take, beside what its bytes take at 500 MB/s.
  Ahead(const Archive& archive, const std::vector<uint32_t>& wanted, unsigned threads, double patience = kPatience);
  ~Ahead();
  Ahead(const Ahead&) = delete;
  Ahead& operator=(const Ahead&) = delete;

  // Loads and decodes the i-th of the wanted ones; each once, handed out ascending. `packed` is the caller's own, and may stay unused.
  void read(size_t i, Decompressor&, Room& packed, Room& out);

 private:
  // From memory 1 MB takes 150 µs; a parallel file system answers after 1 to 50 ms.
  static constexpr double kPatience = 2000;
  enum class State : uint8_t { untouched, taken, read };
  struct Slot {
    State state = State::untouched;
    Room* room = nullptr;  // of a reader; null: its asker reads it itself
    std::exception_ptr failure;
  };

  Room& fetch(size_t i, Room& own);
  void start();
  void run();

  const Archive& archive_;
  const std::vector<uint32_t>& wanted_;
  const unsigned threads_;
  const double patience_;
  std::mutex guard_;
  std::condition_variable changed_;
  std::vector<Slot> slots_;
  std::vector<Room> rooms_;
  std::vector<Room*> free_;
  std::vector<std::thread> readers_;
  size_t next_ = 0;  // all before it are taken
  unsigned slow_ = 0;
  bool started_ = false, ended_ = false;
};

}  // namespace cd
