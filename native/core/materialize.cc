// entries → tree: files from memory or from other files, prefixes looked for on the way. What exists is replaced by
// rename, never written into; no parent may be a symbolic link. For archives made by others, and for generated files.
#include <unistd.h>
#include <algorithm>
#include <map>
#include <unordered_set>
#include "jobs.h"
#include "root.h"
#include "sha256.h"
#include "table.h"
#include "team.h"

namespace cd {
namespace {

constexpr size_t kChunk = 1u << 20;
constexpr size_t kProbe = 8;            // files from which on an example is cheaper than setting every mode
constexpr uint64_t kLarge = 32u << 20;  // files to be searched are held in memory, twice: of larger ones one at a time

std::string temporary_name() {
  static std::atomic<uint64_t> number{0};
  return ".conda-deploy-" + std::to_string(::getpid()) + "-" + std::to_string(number++);
}

// A name that comes to be with the whole thing behind it: at once where the name is free, by rename where it is taken.
class NewName {
 public:
  NewName(Walker::Place place, const std::string& full) : place_(place), full_(full) {}
  ~NewName() {
    if (!temporary_.empty()) ::unlinkat(place_.directory, temporary_.c_str(), 0);
  }
  // `make(name)` returns what the system call did: below 0 failed.
  template <class Make>
  int make(const char* call, Make make) {
    int got = make(place_.name);
    if (got >= 0 || errno != EEXIST) return check(call, got);
    const std::string name = temporary_name();
    got = check(call, make(name.c_str()));
    temporary_ = name;
    return got;
  }
  void publish() {
    if (temporary_.empty()) return;
    if (::renameat(place_.directory, temporary_.c_str(), place_.directory, place_.name) != 0)
      throw Failure::system("rename", full_);
    // Renaming one hard link over another of the same file does nothing, and leaves both.
    ::unlinkat(place_.directory, temporary_.c_str(), 0);
    temporary_.clear();
  }

 private:
  int check(const char* call, int got) const {
    if (got < 0) throw Failure::system(call, full_);
    return got;
  }
  Walker::Place place_;
  const std::string& full_;
  std::string temporary_;
};

struct Source {
  Source(const std::string& path) : path(path), fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (!fd) throw Failure::system("open", path);
    if (::fstat(fd.get(), &st) != 0) throw Failure::system("fstat", path);
    if (!S_ISREG(st.st_mode)) throw Failure("IO", path + ": not a regular file", path);
  }
  std::string read() const {
    std::string content(static_cast<size_t>(st.st_size), '\0');
    const ssize_t n = read_all_at(fd.get(), &content[0], content.size(), 0);
    if (n < 0) throw Failure::system("pread", path);
    content.resize(static_cast<size_t>(n));
    return content;
  }
  const std::string& path;
  Fd fd;
  struct stat st {};
};

class Materializer {
 public:
  Materializer(const MaterializeJob& job, Progress progress) : job_(job), root_(job.root), progress_(progress) {
    std::unordered_set<std::string> paths;
    for (const MaterializeEntry& e : job.entries) {
      check_path(e.entry.path);
      if (e.entry.path.compare(0, e.entry.path.find('/'), kOwnFolder) == 0)
        throw Failure("UNSAFE_PATH", e.entry.path + ": this folder is not for entries", e.entry.path);
      if (!paths.insert(e.entry.path).second)
        throw Failure("UNSAFE_PATH", e.entry.path + ": named twice", e.entry.path);
      if (e.entry.kind == Kind::hardlink) check_path(e.entry.target);
      if (e.entry.kind == Kind::symlink && (e.entry.target.empty() || e.entry.target.find('\0') != std::string::npos))
        throw Failure("UNSAFE_PATH", e.entry.path + ": the text of the link is empty or holds a NUL", e.entry.path);
      if (e.in_contents && (e.at > job.contents.size || e.entry.size > job.contents.size - e.at))
        throw Failure("IO", e.entry.path + ": its content lies outside of the contents", e.entry.path);
      if (!e.rewrites.empty()) check_prefix(job.prefix);
      for (const Rewrite& rewrite : e.rewrites)
        if (numbers_.emplace(rewrite.prefix, numbers_.size()).second) result_.table.prefixes.push_back(rewrite.prefix);
      result_.table.entries.push_back(e.entry);
      result_.table.entries.back().mode &= 0777;  // never setuid, setgid, sticky
    }
    progress_.expect(job.entries.size());
  }

  Materialized run() {
    const auto of = [&](Kind kind) {
      std::vector<size_t> numbers;
      for (size_t i = 0; i < job_.entries.size(); ++i)
        if (job_.entries[i].entry.kind == kind) numbers.push_back(i);
      return numbers;
    };
    Walker walker(root_);
    Directories parents(root_, 0755);
    for (const MaterializeEntry& e : job_.entries)
      e.entry.kind == Kind::directory ? parents.make(e.entry.path) : parents.make_parents(e.entry.path);
    const std::vector<size_t> files = of(Kind::file);
    if (files.size() >= kProbe) lost_ = lost_bits();
    run_team(files.size(), job_.threads, [&] {
      auto own = std::make_shared<Walker>(root_);
      return [&, own](size_t i) {
        progress_.check();
        Entry& entry = result_.table.entries[files[i]];
        entry.size = 0;
        file(*own, job_.entries[files[i]], entry);
        progress_.add(1, entry.size);
      };
    });
    for (const size_t i : of(Kind::hardlink)) hardlink(walker, job_.entries[i].entry);
    for (const size_t i : of(Kind::symlink)) symlink(walker, job_.entries[i].entry);
    std::vector<size_t> directories = of(Kind::directory);
    std::sort(directories.begin(), directories.end(),
              [&](size_t a, size_t b) { return job_.entries[a].entry.path > job_.entries[b].entry.path; });
    for (const size_t i : directories) finish_directory(result_.table.entries[i]);
    result_.trampolines = trampolines_;
    std::sort(result_.by_path.begin(), result_.by_path.end());
    return std::move(result_);
  }

 private:
  // What the umask or a default ACL takes from new files: known by an example.
  uint32_t lost_bits() const {
    const std::string name = temporary_name();
    struct stat st {};
    if (::mkdirat(root_.fd(), name.c_str(), 0777) != 0) throw Failure::system("mkdir", root_.full(name));
    const bool known = ::fstatat(root_.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (::unlinkat(root_.fd(), name.c_str(), AT_REMOVEDIR) != 0 || !known)
      throw Failure::system("rmdir", root_.full(name));
    return 0777 & ~st.st_mode;
  }

  mode_t allowed(mode_t mode) const { return mode & (job_.read_only ? 0555 : 0777); }

  void file(Walker& walker, const MaterializeEntry& job, Entry& entry) {
    if (job.in_memory || job.in_contents) {
      const Bytes data = job.in_memory ? job.data : Bytes{job_.contents.data + job.at, job.entry.size};
      if (!job.rewrites.empty())
        return search(walker, job, entry, std::string(reinterpret_cast<const char*>(data.data), data.size), nullptr);
      entry.size = data.size;
      entry.sha256 = sha256(data.data, data.size);
      write(walker, entry, data.data, data.size);
    } else {
      const Source source(job.source);
      std::unique_lock<std::mutex> one(large_, std::defer_lock);
      if (job.rewrites.empty()) {
        copy(walker, entry, source);
      } else {
        if (static_cast<uint64_t>(source.st.st_size) > kLarge) one.lock();
        search(walker, job, entry, source.read(), &source);
      }
    }
  }

  void search(Walker& walker, const MaterializeEntry& job, Entry& entry, const std::string& in, const Source* source) {
    entry.size = in.size();
    entry.sha256 = sha256(in.data(), in.size());
    std::string out;
    Rewriting done;
    try {
      if (!rewrite_search(in, job.rewrites, job_.prefix, out, entry.spots, done)) {
        if (source && is_at(walker, entry, source->st)) return finish(source->fd.get(), entry, 0777);
        return write(walker, entry, in.data(), in.size());
      }
    } catch (const Failure& failure) {
      if (!failure.path.empty()) throw;
      throw Failure(failure.code, entry.path + ": " + failure.what(), entry.path);
    }
    for (Spot& spot : entry.spots) spot.refers = numbers_.at(job.rewrites[spot.refers].prefix);
    entry.has_deployed = true;
    entry.deployed_size = out.size();
    entry.deployed_sha256 = sha256(out.data(), out.size());
    write(walker, entry, out.data(), out.size());
    if (done.trampoline) ++trampolines_;
    if (done.by_path) {
      std::lock_guard<std::mutex> lock(guard_);
      result_.by_path.push_back(entry.path);
    }
  }

  // Is this very file what already stands there?
  bool is_at(Walker& walker, const Entry& entry, const struct stat& st) const {
    struct stat there;
    const Walker::Place place = walker.at(entry.path);
    return ::fstatat(place.directory, place.name, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_dev == st.st_dev &&
           there.st_ino == st.st_ino;
  }

  void write(Walker& walker, const Entry& entry, const void* data, size_t size) {
    const std::string full = root_.full(entry.path);
    NewName name(walker.at(entry.path), full);
    Fd fd = create(walker, entry, name);
    if (!write_all(fd.get(), data, size)) throw Failure::system("write", full);
    finish(fd.get(), entry, lost_);
    if (!fd.close()) throw Failure::system("close", full);
    name.publish();
  }

  void copy(Walker& walker, Entry& entry, const Source& source) {
    const std::string full = root_.full(entry.path);
    const bool stays = is_at(walker, entry, source.st);
    NewName name(walker.at(entry.path), full);
    Fd fd = stays ? Fd() : create(walker, entry, name);
    std::string chunk(std::min<uint64_t>(kChunk, static_cast<uint64_t>(source.st.st_size) + 1), '\0');
    Sha256 hash;
    for (size_t n = chunk.size(); n == chunk.size(); entry.size += n) {
      const ssize_t got = read_all_at(source.fd.get(), &chunk[0], chunk.size(), entry.size);
      if (got < 0) throw Failure::system("pread", source.path);
      n = static_cast<size_t>(got);
      hash.update(chunk.data(), n);
      if (!stays && !write_all(fd.get(), chunk.data(), n)) throw Failure::system("write", full);
    }
    entry.sha256 = hash.finish();
    finish(stays ? source.fd.get() : fd.get(), entry, stays ? 0777 : lost_);
    if (!stays && !fd.close()) throw Failure::system("close", full);
    name.publish();
  }

  Fd create(Walker& walker, const Entry& entry, NewName& name) const {
    const int directory = walker.at(entry.path).directory;
    return Fd(name.make("open", [&](const char* as) {
      return ::openat(directory, as, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, allowed(entry.mode));
    }));
  }

  // `lost`: mode bits that the file may lack, or have although it should not.
  void finish(int fd, const Entry& entry, uint32_t lost) const {
    const bool exact = lost != 0777 && (allowed(entry.mode) & lost) == 0;
    if (!exact && ::fchmod(fd, allowed(entry.mode)) != 0) throw Failure::system("fchmod", root_.full(entry.path));
    if (!set_mtime(fd, entry.mtime)) throw Failure::system("futimens", root_.full(entry.path));
  }

  void hardlink(Walker& walker, const Entry& entry) {
    const std::string full = root_.full(entry.path);
    Walker other(root_);
    const Walker::Place file = other.at(entry.target), place = walker.at(entry.path);
    struct stat st;
    if (::fstatat(file.directory, file.name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      throw Failure::system("stat", root_.full(entry.target));
    if (!S_ISREG(st.st_mode))
      throw Failure("UNSAFE_PATH", entry.path + ": hard link to " + entry.target + ", which is no file", entry.path);
    NewName name(place, full);
    name.make("link", [&](const char* as) { return ::linkat(file.directory, file.name, place.directory, as, 0); });
    name.publish();
    progress_.add(1, 0);
  }

  void symlink(Walker& walker, const Entry& entry) {
    const std::string full = root_.full(entry.path);
    const Walker::Place place = walker.at(entry.path);
    NewName name(place, full);
    name.make("symlink", [&](const char* as) { return ::symlinkat(entry.target.c_str(), place.directory, as); });
    name.publish();
    if (!set_link_mtime(place, entry.mtime)) throw Failure::system("utimensat", full);
    progress_.add(1, 0);
  }

  void finish_directory(const Entry& entry) {
    const Fd fd = root_.directory(entry.path, O_RDONLY);
    if (::fchmod(fd.get(), allowed(entry.mode | 0700)) != 0) throw Failure::system("fchmod", root_.full(entry.path));
    if (!set_mtime(fd.get(), entry.mtime)) throw Failure::system("futimens", root_.full(entry.path));
    progress_.add(1, 0);
  }

  const MaterializeJob& job_;
  Root root_;
  Progress progress_;
  Materialized result_;
  std::map<std::string, uint32_t> numbers_;  // of the prefixes
  uint32_t lost_ = 0777;                     // mode bits that new files may lack; all: not known
  std::atomic<uint64_t> trampolines_{0};
  std::mutex guard_, large_;
};

}  // namespace

Materialized materialize(const MaterializeJob& job, Progress progress) { return Materializer(job, progress).run(); }

}  // namespace cd
