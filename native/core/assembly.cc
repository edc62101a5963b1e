#include "assembly.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "failure.h"

namespace cd {
namespace {
constexpr size_t kAhead = 16;  // frames that may wait for an earlier one: bounds the memory of a job
}

Assembly::Assembly(std::string path, bool create, uint64_t position, std::vector<Frame> frames)
    : path_(std::move(path)), position_(position), frames_(std::move(frames)) {
  if (path_.empty()) return;
  fd_ = open(path_.c_str(), create ? O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC : O_WRONLY | O_CLOEXEC, 0666);
  if (fd_ < 0) throw Failure::system("open", path_);
  created_ = create;
  struct stat st;
  if (!create && (fstat(fd_, &st) != 0 || static_cast<uint64_t>(st.st_size) != position_ || lseek(fd_, 0, SEEK_END) < 0)) {
    close(fd_);
    throw Failure("IO", path_ + " is not as it was left: expected " + std::to_string(position_) + " bytes", path_);
  }
}

Assembly::~Assembly() {
  if (fd_ >= 0) close(fd_);
  if (created_ && !keep_) unlink(path_.c_str());
}

void Assembly::stop_if_failed() const {
  if (failure_) std::rethrow_exception(failure_);
}

void Assembly::write(const std::string& bytes) {
  for (size_t done = 0; fd_ >= 0 && done < bytes.size();) {
    const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (n < 0) {
      if (errno == EINTR) continue;
      throw Failure::system("write", path_);
    }
    done += static_cast<size_t>(n);
  }
  position_ += bytes.size();
}

void Assembly::append(const std::string& bytes) { write(bytes); }

// Written under the lock: the order is what matters here, and the file takes bytes faster than one thread compresses them.
void Assembly::put(size_t number, std::string packed, uint32_t size) {
  std::unique_lock<std::mutex> lock(guard_);
  changed_.wait(lock, [&] { return failure_ || number < next_ + kAhead; });
  stop_if_failed();
  waiting_.emplace(number, std::make_pair(std::move(packed), size));
  while (!waiting_.empty() && waiting_.begin()->first == next_) {
    const auto& [bytes, content] = waiting_.begin()->second;
    indices_.push_back(static_cast<uint32_t>(frames_.size()));
    if (!bytes.empty()) {
      const Frame frame{position_, static_cast<uint32_t>(bytes.size()), content};
      write(bytes);
      frames_.push_back(frame);
    }
    waiting_.erase(waiting_.begin());
    ++next_;
  }
  changed_.notify_all();
}

void Assembly::decide(size_t entry) {
  std::lock_guard<std::mutex> lock(guard_);
  decided_[entry] = true;
  changed_.notify_all();
}

void Assembly::wait_for(size_t entry) {
  std::unique_lock<std::mutex> lock(guard_);
  changed_.wait(lock, [&] { return failure_ || decided_[entry]; });
  stop_if_failed();
}

void Assembly::fail(std::exception_ptr failure) {
  std::lock_guard<std::mutex> lock(guard_);
  if (!failure_) failure_ = failure;
  changed_.notify_all();
}

}  // namespace cd
