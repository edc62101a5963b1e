// The streams that decode in the thread that reads them: plain files, zstd, and the programs of the system.
#include "stream.h"
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>
#include "root.h"

extern char** environ;

namespace cd {
namespace {

constexpr size_t kChunk = 1u << 20;

class Plain final : public Stream {
 public:
  Plain(int fd, const std::string& path) : fd_(fd), path_(path), chunk_(kChunk, '\0') {}
  Bytes next() override {
    const ssize_t got = read_all_at(fd_, &chunk_[0], chunk_.size(), position_);
    if (got < 0) throw Failure::system("pread", path_);
    position_ += static_cast<uint64_t>(got);
    return {reinterpret_cast<const uint8_t*>(chunk_.data()), static_cast<size_t>(got)};
  }
  uint64_t packed() const override { return position_; }

 private:
  int fd_;
  const std::string& path_;
  std::string chunk_;
  uint64_t position_ = 0;
};

// Frames one after another; skippable ones are passed over. Windows beyond 128 MiB (zstd --long=28 and more) are refused.
class Zstd final : public Stream {
 public:
  Zstd(int fd, const std::string& path)
      : file_(fd, path), path_(path), out_(kChunk, '\0'), context_(ZSTD_createDCtx()) {
    if (!context_) throw std::bad_alloc();
  }
  ~Zstd() override { ZSTD_freeDCtx(context_); }
  Bytes next() override {
    ZSTD_outBuffer out{&out_[0], out_.size(), 0};
    while (out.pos == 0) {
      if (in_.pos == in_.size && !flushing_) {
        const Bytes more = file_.next();
        in_ = {more.data, more.size, 0};
        if (more.size == 0) {
          if (missing_ != 0) fail("the file ends inside a zstd frame");
          return {};
        }
      }
      const size_t got = ZSTD_decompressStream(context_, &out, &in_);
      if (ZSTD_isError(got)) {
        if (ZSTD_getErrorCode(got) == ZSTD_error_frameParameter_windowTooLarge)
          throw Failure("UNSUPPORTED",
                        path_ + ": its zstd window is larger than 128 MiB; compress it again without --long", path_);
        fail(ZSTD_getErrorName(got));
      }
      missing_ = got;
      flushing_ = out.pos == out.size && got != 0;
    }
    return {reinterpret_cast<const uint8_t*>(out_.data()), out.pos};
  }
  uint64_t packed() const override { return file_.packed() - (in_.size - in_.pos); }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Failure("ARCHIVE_CORRUPT", path_ + ": compressed data is broken: " + what, path_);
  }
  Plain file_;
  const std::string& path_;
  std::string out_;
  ZSTD_DCtx* context_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  size_t missing_ = 0;     // 0: a frame has just ended
  bool flushing_ = false;  // the decoder holds more than there was room for
};

class Tool final : public Stream {
 public:
  Tool(int fd, const std::string& path, const std::vector<std::string>& command)
      : fd_(fd), path_(path), name_(command.at(0)), chunk_(kChunk, '\0') {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw Failure::system("pipe", path_);
    out_ = Fd(ends[0]);
    Fd in(ends[1]);
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) throw Failure::system("pipe", path_);
    words_ = Fd(ends[0]);
    Fd said(ends[1]);  // what does not fit into the pipe is lost: the tool never waits for a reader
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    // The child's own description of the file: its offset is not shared with anyone.
    const std::string source = "/proc/self/fd/" + std::to_string(fd_);
    Fd file(::open(source.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) throw Failure::system("open", path_);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, file.get(), 0);
    ::posix_spawn_file_actions_adddup2(&actions, in.get(), 1);
    ::posix_spawn_file_actions_adddup2(&actions, said.get(), 2);
    const int error = ::posix_spawnp(&child_, arguments[0], &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error == ENOENT)
      throw Failure("UNSUPPORTED",
                    name_ + " is not installed, but " + path_ +
                        " needs it: install it, or pack the archive as .tar.gz or .tar.zst",
                    path_);
    if (error != 0) throw Failure::system("posix_spawn", name_, error);
    file_ = std::move(file);
  }
  ~Tool() override {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    int status;
    while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {}
  }
  Bytes next() override {
    ssize_t got;
    do got = ::read(out_.get(), &chunk_[0], chunk_.size());
    while (got < 0 && errno == EINTR);
    if (got < 0) throw Failure::system("read", name_);
    if (got == 0) finish();
    return {reinterpret_cast<const uint8_t*>(chunk_.data()), static_cast<size_t>(got)};
  }
  uint64_t packed() const override {  // where the child has read to: the description is shared with it
    const off_t at = ::lseek(file_.get(), 0, SEEK_CUR);
    return at < 0 ? 0 : static_cast<uint64_t>(at);
  }

 private:
  void finish() {
    if (child_ <= 0) return;
    int status = 0;
    pid_t got;
    do got = ::waitpid(child_, &status, 0);
    while (got < 0 && errno == EINTR);
    child_ = 0;
    if (got < 0) throw Failure::system("waitpid", name_);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    throw Failure("ARCHIVE_CORRUPT",
                  path_ + ": " + name_ + " could not decompress it (" +
                      (WIFEXITED(status) ? "status " + std::to_string(WEXITSTATUS(status))
                                         : "signal " + std::to_string(WTERMSIG(status))) +
                      "): " + words(),
                  path_);
  }
  // What it said, in one line.
  std::string words() const {
    char buffer[1000];
    const ssize_t got = ::read(words_.get(), buffer, sizeof buffer);
    std::string said(buffer, got > 0 ? static_cast<size_t>(got) : 0);
    while (!said.empty() && said.back() == '\n') said.pop_back();
    for (char& c : said)
      if (static_cast<unsigned char>(c) < ' ') c = ' ';
    return said.empty() ? "it said nothing" : said;
  }
  int fd_;
  const std::string& path_;
  std::string name_, chunk_;
  Fd out_, words_, file_;
  pid_t child_ = 0;
};

}  // namespace

std::unique_ptr<Stream> plain_stream(int fd, const std::string& path) { return std::make_unique<Plain>(fd, path); }
std::unique_ptr<Stream> zstd_stream(int fd, const std::string& path) { return std::make_unique<Zstd>(fd, path); }
std::unique_ptr<Stream> tool_stream(int fd, const std::string& path, const std::vector<std::string>& command) {
  return std::make_unique<Tool>(fd, path, command);
}

}  // namespace cd
