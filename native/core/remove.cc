// A tree and everything in it goes, read-only directories too; threads share the directories. Nothing is reached
// through a link.
#include <dirent.h>
#include <unistd.h>
#include <condition_variable>
#include <deque>
#include <memory>
#include "jobs.h"
#include "root.h"
#include "team.h"

namespace cd {
namespace {

struct Directory {
  std::string path;  // beneath the root, "" the root itself
  Directory* parent = nullptr;
  std::atomic<size_t> left{1};  // itself and the directories in it that still stand
};

class Remover {
 public:
  Remover(const std::string& path, Progress progress) : root_(usable(path)), progress_(progress) {
    struct stat st;
    if (::fstat(root_.fd(), &st) != 0) throw Failure::system("fstat", root_.path());
    device_ = st.st_dev;
    add("", nullptr);
  }

  void work() {
    Walker walker(root_);
    try {
      for (Directory* directory = take(false); directory; directory = take(true)) {
        empty(*directory, walker);
        leave(directory, walker);
      }
    } catch (...) {
      stop();
      throw;
    }
  }

  Removed result() const { return {entries_, bytes_}; }

 private:
  // Directories that their owner may not read cannot be opened before they are changed; by way of O_PATH no link is
  // followed.
  static const std::string& usable(const std::string& path) {
    const Fd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (fd) make_usable(fd, path);
    return path;
  }

  static void make_usable(const Fd& fd, const std::string& path) {
    struct stat st;
    if (::fstat(fd.get(), &st) != 0) throw Failure::system("fstat", path);
    if ((st.st_mode & 0700) == 0700) return;
    const std::string self = "/proc/self/fd/" + std::to_string(fd.get());
    if (::chmod(self.c_str(), (st.st_mode & 0777) | 0700) != 0) throw Failure::system("chmod", path);
  }

  Fd open(const std::string& path, Walker& walker) const {
    Fd fd = root_.open(path, O_RDONLY | O_DIRECTORY);
    if (!fd && errno == EMFILE) {  // what has to go may be what a job left that failed for want of descriptors
      walker.close();
      fd = root_.open(path, O_RDONLY | O_DIRECTORY);
    }
    if (fd || errno != EACCES) return fd ? std::move(fd) : root_.directory(path, O_RDONLY);
    make_usable(root_.directory(path, O_PATH), root_.full(path));
    return root_.directory(path, O_RDONLY);
  }

  std::vector<std::string> names_in(DIR* stream, const std::string& directory) const {
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* found = ::readdir(stream);
      if (!found && errno != 0) throw Failure::system("readdir", root_.full(directory));
      if (!found) return names;
      const std::string name = found->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
  }

  // Unlinks everything in it but its directories, which are put on the list.
  void empty(Directory& directory, Walker& walker) {
    Fd fd = open(directory.path, walker);
    struct stat st;
    if (::fstat(fd.get(), &st) != 0) throw Failure::system("fstat", root_.full(directory.path));
    if (st.st_dev != device_)
      throw Failure("IO", root_.full(directory.path) + ": another file system is mounted here",
                    root_.full(directory.path));
    if ((st.st_mode & 0300) != 0300 && ::fchmod(fd.get(), 0700) != 0)
      throw Failure::system("fchmod", root_.full(directory.path));
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd.get()), ::closedir);
    if (!stream) throw Failure::system("fdopendir", root_.full(directory.path));
    const int at = fd.release();  // the stream's now
    uint64_t entries = 0, bytes = 0;
    // All names before the first unlink: some network file systems pass over entries of a directory that changes.
    for (const std::string& name : names_in(stream.get(), directory.path)) {
      const std::string path = directory.path.empty() ? name : directory.path + '/' + name;
      if (::fstatat(at, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        throw Failure::system("fstatat", root_.full(path));
      if (S_ISDIR(st.st_mode)) {
        add(path, &directory);
        continue;
      }
      if (::unlinkat(at, name.c_str(), 0) != 0) throw Failure::system("unlink", root_.full(path));
      ++entries;
      if (S_ISREG(st.st_mode) && st.st_nlink == 1) bytes += static_cast<uint64_t>(st.st_size);
    }
    count(entries, bytes);
    progress_.check();
  }

  // A directory goes when the last directory in it has gone, by the thread that removed that.
  void leave(Directory* directory, Walker& walker) {
    for (; directory && directory->left.fetch_sub(1) == 1; directory = directory->parent) {
      if (directory->path.empty()) {
        if (::rmdir(root_.path().c_str()) != 0) throw Failure::system("rmdir", root_.path());
      } else {
        const Walker::Place place = walker.at(directory->path);
        if (::unlinkat(place.directory, place.name, AT_REMOVEDIR) != 0)
          throw Failure::system("rmdir", root_.full(directory->path));
      }
      count(1, 0);
    }
  }

  void count(uint64_t entries, uint64_t bytes) {
    entries_ += entries;
    bytes_ += bytes;
    progress_.add(entries, bytes);
  }

  void add(const std::string& path, Directory* parent) {
    if (parent) ++parent->left;
    std::lock_guard<std::mutex> lock(guard_);
    all_.emplace_back();
    all_.back().path = path;
    all_.back().parent = parent;
    waiting_.push_back(&all_.back());
    changed_.notify_one();
  }

  // The directory added last: the deepest go first, and the list stays short. null: nothing left, or another thread
  // failed. `after`: the caller has done one before.
  Directory* take(bool after) {
    std::unique_lock<std::mutex> lock(guard_);
    if (after && --busy_ == 0 && waiting_.empty()) changed_.notify_all();
    changed_.wait(lock, [&] { return stopped_ || !waiting_.empty() || busy_ == 0; });
    if (stopped_ || waiting_.empty()) return nullptr;
    Directory* directory = waiting_.back();
    waiting_.pop_back();
    ++busy_;
    return directory;
  }

  void stop() {
    std::lock_guard<std::mutex> lock(guard_);
    stopped_ = true;
    changed_.notify_all();
  }

  Root root_;
  Progress progress_;
  dev_t device_ = 0;
  std::mutex guard_;
  std::condition_variable changed_;
  std::deque<Directory> all_;
  std::vector<Directory*> waiting_;
  size_t busy_ = 0;
  bool stopped_ = false;
  std::atomic<uint64_t> entries_{0}, bytes_{0};
};

}  // namespace

Removed remove_tree(const std::string& root, unsigned threads, Progress progress) {
  Remover remover(root, progress);
  run_team(threads, threads, [&] { return [&](size_t) { remover.work(); }; });
  return remover.result();
}

}  // namespace cd
