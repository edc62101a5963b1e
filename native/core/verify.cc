// tree × entries → faults: every directory listed once, every file read once, the biggest first so that no thread is
// left with one. What the tree says is a fault, never an exception; only an index that cannot be read is.
#include <dirent.h>
#include <unistd.h>
#include <climits>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include "faults.h"
#include "root.h"
#include "sha256.h"
#include "table.h"
#include "team.h"

namespace cd {
namespace {

constexpr size_t kChunk = 1u << 20;

Kind kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return Kind::directory;
  if (S_ISREG(mode)) return Kind::file;
  return S_ISLNK(mode) ? Kind::symlink : Kind::other;
}

class TreeCheck {
 public:
  TreeCheck(const VerifyJob& job, const Table& table, Progress progress)
      : job_(job), table_(table), entries_(table.entries), root_(job.root), progress_(progress),
        found_(entries_.size()) {
    numbers_.reserve(entries_.size());
    for (size_t i = 0; i < entries_.size(); ++i) numbers_.emplace(entries_[i].path, i);
  }

  Verified run() {
    progress_.expect(entries_.size());
    std::vector<std::string> directories{""};
    for (const Entry& entry : entries_)
      if (entry.kind == Kind::directory) directories.push_back(entry.path);
    run_team(directories.size(), job_.threads, [&] { return [&](size_t i) { list(directories[i]); }; });
    std::vector<size_t> files;
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (!found_[i].seen)
        missing(entries_[i].path);
      else if (entries_[i].kind == Kind::hardlink)
        hardlink(i);
      if (found_[i].content)
        files.push_back(i);
      else
        progress_.add(1, 0);
    }
    std::stable_sort(files.begin(), files.end(),
                     [&](size_t a, size_t b) { return size_of(entries_[a]) > size_of(entries_[b]); });
    run_team(files.size(), job_.threads, [&] {
      struct Own {
        Walker walker;
        std::string chunk;
      };
      auto own = std::make_shared<Own>(Own{Walker(root_), std::string(kChunk, '\0')});
      return [&, own](size_t i) { content(own->walker, own->chunk, entries_[files[i]]); };
    });
    return {entries_.size(), bytes_, faults_.take()};
  }

 private:
  struct Found {  // written by the thread that lists its directory
    bool seen = false, content = false;
    dev_t device = 0;
    ino_t inode = 0;
  };

  static uint64_t size_of(const Entry& e) { return e.has_deployed ? e.deployed_size : e.size; }

  void list(const std::string& directory) {
    progress_.check();
    Fd fd = root_.open(directory, O_RDONLY | O_DIRECTORY);
    if (!fd) {
      // Missing, or no directory: said where it is listed itself.
      if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) unreadable(directory, errno);
      return;
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(fd.get()), ::closedir);
    if (!stream) return unreadable(directory, errno);
    const int at = fd.release();
    for (;;) {
      errno = 0;
      const dirent* next = ::readdir(stream.get());
      if (!next && errno != 0) return unreadable(directory, errno);
      if (!next) return;
      const std::string name = next->d_name;
      if (name == "." || name == ".." || (directory.empty() && name == kOwnFolder)) continue;
      look(at, next->d_name, directory.empty() ? name : directory + '/' + name);
    }
  }

  void look(int directory, const char* name, const std::string& path) {
    struct stat st;
    if (::fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      return errno == ENOENT ? void() : unreadable(path, errno);
    const Kind kind = kind_of(st.st_mode);
    const auto known = numbers_.find(path);
    if (known == numbers_.end()) return faults_.add(path, "extra", "nothing", name_of(kind));
    const Entry& e = entries_[known->second];
    Found& found = found_[known->second];
    found.seen = true;
    found.device = st.st_dev;
    found.inode = st.st_ino;
    if (kind != (e.kind == Kind::hardlink ? Kind::file : e.kind))
      return faults_.add(path, "type", name_of(e.kind), name_of(kind));
    if (kind == Kind::symlink) {
      std::string target(PATH_MAX, '\0');
      const ssize_t n = ::readlinkat(directory, name, &target[0], target.size());
      if (n < 0) return unreadable(path, errno);
      target.resize(static_cast<size_t>(n));
      if (target != e.target) faults_.add(path, "target", e.target, target);
      return;
    }
    if (e.kind == Kind::hardlink) return;
    // Who may write is a matter of the deployment (read-only or not); a directory's owner may always enter it.
    const uint32_t mode = e.kind == Kind::directory ? e.mode | 0700 : e.mode;
    if ((mode ^ st.st_mode) & 0555) faults_.add(path, "mode", octal(mode & 0555), octal(st.st_mode & 0555));
    if (st.st_mode & 07000) faults_.add(path, "mode", octal(mode & 0777), octal(st.st_mode & 07777));
    if (e.kind != Kind::file) return;
    found.content = static_cast<uint64_t>(st.st_size) == size_of(e);
    if (!found.content) faults_.add(path, "size", std::to_string(size_of(e)), std::to_string(st.st_size));
  }

  void hardlink(size_t i) {
    const Entry& e = entries_[i];
    const Found &own = found_[i], &file = found_[numbers_.at(e.target)];
    if (file.seen && (own.device != file.device || own.inode != file.inode))
      faults_.add(e.path, "target", "the file " + e.target, "a file of its own");
  }

  // Beneath a directory which could not be read nothing is known.
  void missing(const std::string& path) {
    for (size_t slash = path.rfind('/');; slash = path.rfind('/', slash - 1)) {
      if (unreadable_.count(slash == std::string::npos ? "" : path.substr(0, slash))) return;
      if (slash == std::string::npos) break;
    }
    faults_.add(path, "missing", name_of(entries_[numbers_.at(path)].kind), "nothing");
  }

  void content(Walker& walker, std::string& chunk, const Entry& e) {
    progress_.check();
    uint64_t size = 0;
    Sha256 hash;
    try {
      const Walker::Place place = walker.at(e.path);
      const Fd fd(::openat(place.directory, place.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      if (!fd) return unreadable(e.path, errno);
      for (size_t n = chunk.size(); n == chunk.size(); size += n) {
        const ssize_t got = read_all_at(fd.get(), &chunk[0], chunk.size(), size);
        if (got < 0) return unreadable(e.path, errno);
        n = static_cast<size_t>(got);
        hash.update(chunk.data(), n);
      }
    } catch (const Failure& failure) { return faults_.add(e.path, "unreadable", "a readable file", failure.what()); }
    const Digest& expected = e.has_deployed ? e.deployed_sha256 : e.sha256;
    const Digest digest = hash.finish();
    if (digest != expected) faults_.add(e.path, "content", hex(expected), hex(digest));
    bytes_ += size;
    progress_.add(1, size);
  }

  void unreadable(const std::string& path, int error) {
    faults_.add(path, "unreadable", "readable", std::strerror(error));
    std::lock_guard<std::mutex> lock(guard_);
    unreadable_.insert(path);
  }

  const VerifyJob& job_;
  const Table& table_;
  const std::vector<Entry>& entries_;
  Root root_;
  Progress progress_;
  std::vector<Found> found_;
  std::unordered_map<std::string_view, size_t> numbers_;
  std::unordered_set<std::string> unreadable_;
  std::mutex guard_;
  std::atomic<uint64_t> bytes_{0};
  Faults faults_;
};

}  // namespace

Verified verify(const VerifyJob& job, Progress progress) {
  if (job.root.empty()) return verify_archive(job, progress);
  const Table table = read_index(job.index);
  return TreeCheck(job, table, progress).run();
}

}  // namespace cd
