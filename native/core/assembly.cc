#include "assembly.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "failure.h"
#include "frames.h"

namespace cd {

void check_frame_bytes(uint64_t bytes) {
  constexpr uint64_t least = 1024, most = kMaxFrame / 8;  // content may grow by its placeholders
  if (bytes < least || bytes > most)
    throw Failure("INVALID_OPTION", "frames of " + std::to_string(bytes) + " bytes, expected " + std::to_string(least) +
                                        " to " + std::to_string(most));
}

Assembly::Assembly(std::string path, Output how, uint64_t position, std::vector<Frame> frames, size_t entries,
                   unsigned threads, int descriptor)
    : path_(std::move(path)), ahead_(2 * size_t{threads} + 2), fates_(entries, Fate::open), frames_(std::move(frames)),
      position_(position) {
  if (descriptor >= 0) {
    path_ = "the output";
    fd_ = Fd(fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
    if (!fd_) throw Failure::system("dup", path_);
    return;
  }
  if (path_.empty()) return;
  const int flags = how == Output::create ? O_CREAT | O_EXCL : 0;
  fd_ = Fd(open(path_.c_str(), O_WRONLY | O_CLOEXEC | flags, 0666));
  if (!fd_ && how == Output::create && errno == EEXIST)
    throw Failure("OUTPUT_EXISTS", path_ + " exists already", path_);
  if (!fd_) throw Failure::system("open", path_);
  if (how == Output::append) {
    struct stat st;
    if (fstat(fd_.get(), &st) != 0) throw Failure::system("stat", path_);
    if (!S_ISREG(st.st_mode) || static_cast<uint64_t>(st.st_size) != position_) {
      const std::string sizes = std::to_string(st.st_size) + " bytes, expected " + std::to_string(position_);
      throw Failure("IO", path_ + " is not as pack left it: " + sizes, path_);
    }
    if (lseek(fd_.get(), 0, SEEK_END) < 0) throw Failure::system("seek", path_);
  }
  keep_ = false;
}

Assembly::~Assembly() {
  if (!keep_) unlink(path_.c_str());
}

void Assembly::stop_if_failed() const {
  if (failure_) std::rethrow_exception(failure_);
}

void Assembly::append(const char* bytes, size_t count) {
  if (fd_ && !write_all(fd_.get(), bytes, count)) throw Failure::system("write", path_);
  position_ += count;
}

void Assembly::finish() {
  // Network file systems may keep the news of a full disk until now.
  if (fd_ && close(fd_.release()) != 0) throw Failure::system("close", path_);
  keep_ = true;
}

void Assembly::write_next(const Room& packed, uint32_t size) {
  indices_.push_back(static_cast<uint32_t>(frames_.size()));
  if (packed.size() == 0) return;
  frames_.push_back({position_, static_cast<uint32_t>(packed.size()), size});
  append(packed.data(), packed.size());
}

void Assembly::put(size_t number, Room& packed, uint32_t size) {
  std::unique_lock<std::mutex> lock(guard_);
  ++full_;
  changed_.wait(lock, [&] { return failure_ || number < next_ + ahead_; });
  --full_;
  stop_if_failed();
  if (number != next_) {
    // Whoever brings, or is writing, the missing frame takes it along.
    waiting_.emplace(number, std::make_pair(std::move(packed), size));
    if (spare_.empty()) return;
    packed = std::move(spare_.back());
    spare_.pop_back();
    return;
  }
  lock.unlock();
  write_next(packed, size);
  lock.lock();
  for (;;) {
    ++next_;
    if (full_ > 0) changed_.notify_all();
    const auto first = waiting_.begin();
    if (first == waiting_.end() || first->first != next_) break;
    auto frame = std::move(first->second);
    waiting_.erase(first);
    lock.unlock();
    write_next(frame.first, frame.second);
    lock.lock();
    spare_.push_back(std::move(frame.first));
  }
}

void Assembly::decide(size_t entry) {
  std::lock_guard<std::mutex> lock(guard_);
  // Waking whoever waits at every entry would cost a tenth of the job.
  if (std::exchange(fates_[entry], Fate::decided) == Fate::awaited) changed_.notify_all();
}

void Assembly::wait_for(size_t entry) {
  std::unique_lock<std::mutex> lock(guard_);
  if (fates_[entry] == Fate::open) fates_[entry] = Fate::awaited;
  changed_.wait(lock, [&] { return failure_ || fates_[entry] == Fate::decided; });
  stop_if_failed();
}

void Assembly::fail(std::exception_ptr failure) {
  std::lock_guard<std::mutex> lock(guard_);
  if (!failure_) failure_ = failure;
  changed_.notify_all();
}

}  // namespace cd
