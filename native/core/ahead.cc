#include "ahead.h"
#include <algorithm>
#include <chrono>
#include <system_error>

namespace cd {
namespace {

constexpr size_t kReaders = 12;  // at 1 ms an answer of 128 kB six left a third of the time on the table, twelve none
constexpr uint64_t kMemory = 32u << 20;  // that they may hold
constexpr unsigned kSlow = 2;            // one slow read may be chance
constexpr double kBytes = 500;           // in a microsecond

double now() {
  using namespace std::chrono;
  return duration<double, std::micro>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Ahead::Ahead(const Archive& archive, const std::vector<uint32_t>& wanted, unsigned threads, double patience)
    : archive_(archive), wanted_(wanted), threads_(threads), patience_(patience), slots_(wanted.size()) {}

Ahead::~Ahead() {
  {
    std::lock_guard<std::mutex> lock(guard_);
    ended_ = true;
  }
  changed_.notify_all();
  for (std::thread& reader : readers_) reader.join();
}

void Ahead::read(size_t i, Decompressor& decompressor, Room& packed, Room& out) {
  Room& bytes = fetch(i, packed);
  archive_.decode(wanted_[i], decompressor, bytes, out);
  if (&bytes == &packed) return;
  {
    std::lock_guard<std::mutex> lock(guard_);
    free_.push_back(&bytes);
  }
  changed_.notify_all();
}

Room& Ahead::fetch(size_t i, Room& own) {
  Slot& slot = slots_[i];
  {
    std::unique_lock<std::mutex> lock(guard_);
    if (slot.state != State::untouched) {
      changed_.wait(lock, [&] { return slot.state == State::read; });
      if (slot.failure) std::rethrow_exception(slot.failure);
      return *slot.room;
    }
    slot.state = State::taken;
  }
  const double begin = now();
  archive_.load(wanted_[i], own);
  if (now() - begin > patience_ + static_cast<double>(own.size()) / kBytes) start();
  return own;
}

void Ahead::start() {
  std::lock_guard<std::mutex> lock(guard_);
  if (++slow_ < kSlow || started_) return;
  started_ = true;
  const size_t most = kMemory / std::max<uint64_t>(1, archive_.most_packed());
  const size_t count = std::min({kReaders, most, wanted_.size()});
  rooms_.resize(std::min(most, count + threads_));  // those who unpack hold one each
  for (Room& room : rooms_) free_.push_back(&room);
  try {
    while (readers_.size() < count) readers_.emplace_back([this] { run(); });
  } catch (const std::system_error&) {}  // fewer threads than wished: their askers read the rest
}

void Ahead::run() {
  std::unique_lock<std::mutex> lock(guard_);
  for (;;) {
    changed_.wait(lock, [&] { return ended_ || !free_.empty(); });
    while (next_ < slots_.size() && slots_[next_].state != State::untouched) ++next_;
    if (ended_ || next_ == slots_.size()) return;
    const size_t i = next_++;
    Slot& slot = slots_[i];
    slot.state = State::taken;
    slot.room = free_.back();
    free_.pop_back();
    lock.unlock();
    std::exception_ptr failure;
    try {
      archive_.load(wanted_[i], *slot.room);
    } catch (...) { failure = std::current_exception(); }
    lock.lock();
    slot.failure = failure;
    slot.state = State::read;
    changed_.notify_all();
  }
}

}  // namespace cd
