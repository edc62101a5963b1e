#include "make.h"
#include <unistd.h>
#include <algorithm>
#include <cstdio>
#include "sha256.h"
#include "table.h"

namespace cd {
namespace {

constexpr size_t kChunk = 1u << 20;
constexpr uint64_t kLarge = 32u << 20;  // files to be searched are held in memory, twice: of larger ones one at a time

std::string temporary_name() {
  static std::atomic<uint64_t> number{0};
  return ".conda-deploy-" + std::to_string(::getpid()) + "-" + std::to_string(number++);
}

}  // namespace

// A name that comes to be with the whole thing behind it: at once where the name is free, by rename where it is taken.
class NewName {
 public:
  NewName(Walker::Place place, const Root& root, const std::string& path) : place_(place), root_(root), path_(path) {}
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
      throw Failure::system("rename", root_.full(path_));
    // Renaming one hard link over another of the same file does nothing, and leaves both.
    ::unlinkat(place_.directory, temporary_.c_str(), 0);
    temporary_.clear();
  }

 private:
  int check(const char* call, int got) const {
    if (got < 0) throw Failure::system(call, root_.full(path_));
    return got;
  }
  Walker::Place place_;
  const Root& root_;
  const std::string& path_;
  std::string temporary_;
};

struct Maker::Source {
  explicit Source(const std::string& at) : path(at), fd(::open(at.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
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

Maker::Maker(const std::string& root, const std::string& prefix, bool read_only, bool many)
    : root_(root), prefix_(prefix), read_only_(read_only), folders_(root_, 0755) {
  if (many) lost_ = lost_bits();
}

void Maker::check(const std::string& path) {
  check_path(path);
  if (path.compare(0, path.find('/'), kOwnFolder) == 0)
    throw Failure("UNSAFE_PATH", path + ": this folder is not for entries", path);
}

// What the umask or a default ACL takes from new files: known by an example.
uint32_t Maker::lost_bits() const {
  const std::string name = temporary_name();
  struct stat st {};
  if (::mkdirat(root_.fd(), name.c_str(), 0777) != 0) throw Failure::system("mkdir", root_.full(name));
  const bool known = ::fstatat(root_.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (::unlinkat(root_.fd(), name.c_str(), AT_REMOVEDIR) != 0 || !known)
    throw Failure::system("rmdir", root_.full(name));
  return 0777 & ~st.st_mode;
}

void Maker::folders(Hand& hand, const std::string& path) {
  const size_t slash = path.rfind('/');
  // Neighbours come one after another.
  if (slash == std::string::npos || path.compare(0, slash, hand.folder) == 0) return;
  const std::string folder = path.substr(0, slash);
  {
    const std::lock_guard<std::mutex> lock(guard_);
    folders_.make(folder);
  }
  hand.folder = folder;
}

void Maker::write(Hand& hand, const Entry& entry, Bytes content, Bytes rest) {
  folders(hand, entry.path);
  NewName name(hand.walker.at(entry.path), root_, entry.path);
  Fd fd = create(hand, entry, name);
  if (!write_all(fd.get(), content.data, content.size) || !write_all(fd.get(), rest.data, rest.size))
    throw Failure::system("write", root_.full(entry.path));
  finish(fd.get(), entry, lost_);
  if (!fd.close()) throw Failure::system("close", root_.full(entry.path));
  name.publish();
}

void Maker::search(Hand& hand, Entry& entry, Bytes content, const std::vector<Rewrite>& rewrites) {
  if (!rewrite(hand, entry, content, rewrites)) write(hand, entry, content);
}

// false: nothing of it was found, and nothing was written.
bool Maker::rewrite(Hand& hand, Entry& entry, Bytes in, const std::vector<Rewrite>& rewrites) {
  entry.size = in.size;
  size_t kept;
  std::string& out = hand.room;
  Rewriting done;
  try {
    if (!rewrite_search_behind({reinterpret_cast<const char*>(in.data), in.size}, rewrites, prefix_, kept, out,
                               entry.spots, done)) {
      entry.sha256 = sha256(in.data, in.size);
      return false;
    }
  } catch (const Failure& failure) {
    if (!failure.path.empty()) throw;
    throw Failure(failure.code, entry.path + ": " + failure.what(), entry.path);
  }
  entry.has_deployed = true;
  entry.deployed_size = kept + out.size();
  Sha256Pair hashes;
  hashes.update_shared(in.data, kept);
  hashes.update(in.data + kept, in.size - kept, out.data(), out.size());
  hashes.finish(entry.sha256, entry.deployed_sha256);
  write(hand, entry, {in.data, kept}, {reinterpret_cast<const uint8_t*>(out.data()), out.size()});
  if (done.trampoline) ++trampolines_;
  const std::lock_guard<std::mutex> lock(guard_);
  for (Spot& spot : entry.spots) {
    const std::string& prefix = rewrites[spot.refers].prefix;
    const auto [number, is_new] = numbers_.emplace(prefix, prefixes_.size());
    if (is_new) prefixes_.push_back(prefix);
    spot.refers = number->second;
  }
  if (done.by_path) by_path_.push_back(entry.path);
  return true;
}

void Maker::copy(Hand& hand, Entry& entry, const std::string& path, const std::vector<Rewrite>& rewrites) {
  folders(hand, entry.path);
  const Source source(path);
  if (rewrites.empty()) return stream(hand, entry, source);
  std::unique_lock<std::mutex> one(large_, std::defer_lock);
  if (static_cast<uint64_t>(source.st.st_size) > kLarge) one.lock();
  const std::string content = source.read();
  const Bytes in{reinterpret_cast<const uint8_t*>(content.data()), content.size()};
  if (rewrite(hand, entry, in, rewrites)) return;
  if (is_at(hand, entry, source.st)) return finish(source.fd.get(), entry, 0777);
  write(hand, entry, in);
}

void Maker::take(Hand& hand, const Entry& entry, const std::string& path) {
  folders(hand, entry.path);
  {
    const Source source(path);
    finish(source.fd.get(), entry, 0777);
  }
  const Walker::Place place = hand.walker.at(entry.path);
  if (::renameat(AT_FDCWD, path.c_str(), place.directory, place.name) != 0)
    throw Failure::system("rename", root_.full(entry.path));
}

// Is this very file what already stands there?
bool Maker::is_at(Hand& hand, const Entry& entry, const struct stat& st) const {
  struct stat there;
  const Walker::Place place = hand.walker.at(entry.path);
  return ::fstatat(place.directory, place.name, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_dev == st.st_dev &&
         there.st_ino == st.st_ino;
}

void Maker::stream(Hand& hand, Entry& entry, const Source& source) {
  const bool stays = is_at(hand, entry, source.st);
  NewName name(hand.walker.at(entry.path), root_, entry.path);
  Fd fd = stays ? Fd() : create(hand, entry, name);
  std::string chunk(std::min<uint64_t>(kChunk, static_cast<uint64_t>(source.st.st_size) + 1), '\0');
  Sha256 hash;
  entry.size = 0;
  for (size_t n = chunk.size(); n == chunk.size(); entry.size += n) {
    const ssize_t got = read_all_at(source.fd.get(), &chunk[0], chunk.size(), entry.size);
    if (got < 0) throw Failure::system("pread", source.path);
    n = static_cast<size_t>(got);
    hash.update(chunk.data(), n);
    if (!stays && !write_all(fd.get(), chunk.data(), n)) throw Failure::system("write", root_.full(entry.path));
  }
  entry.sha256 = hash.finish();
  finish(stays ? source.fd.get() : fd.get(), entry, stays ? 0777 : lost_);
  if (!stays && !fd.close()) throw Failure::system("close", root_.full(entry.path));
  name.publish();
}

Fd Maker::create(Hand& hand, const Entry& entry, NewName& name) const {
  const int directory = hand.walker.at(entry.path).directory;
  return Fd(name.make("open", [&](const char* as) {
    return ::openat(directory, as, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, allowed(entry.mode));
  }));
}

// `lost`: mode bits that the file may lack, or have although it should not.
void Maker::finish(int fd, const Entry& entry, uint32_t lost) const {
  const bool exact = lost != 0777 && (allowed(entry.mode) & lost) == 0;
  if (!exact && ::fchmod(fd, allowed(entry.mode)) != 0) throw Failure::system("fchmod", root_.full(entry.path));
  if (!set_mtime(fd, entry.mtime)) throw Failure::system("futimens", root_.full(entry.path));
}

void Maker::hardlink(Hand& hand, const Entry& entry) {
  folders(hand, entry.path);
  Walker other(root_);
  const Walker::Place file = other.at(entry.target), place = hand.walker.at(entry.path);
  struct stat st;
  if (::fstatat(file.directory, file.name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    throw Failure::system("stat", root_.full(entry.target));
  if (!S_ISREG(st.st_mode))
    throw Failure("UNSAFE_PATH", entry.path + ": hard link to " + entry.target + ", which is no file", entry.path);
  NewName name(place, root_, entry.path);
  name.make("link", [&](const char* as) { return ::linkat(file.directory, file.name, place.directory, as, 0); });
  name.publish();
}

void Maker::symlink(Hand& hand, const Entry& entry) {
  folders(hand, entry.path);
  const Walker::Place place = hand.walker.at(entry.path);
  NewName name(place, root_, entry.path);
  name.make("symlink", [&](const char* as) { return ::symlinkat(entry.target.c_str(), place.directory, as); });
  name.publish();
  if (!set_link_mtime(place, entry.mtime)) throw Failure::system("utimensat", root_.full(entry.path));
}

void Maker::finish_directory(const Entry& entry) {
  const Fd fd = root_.directory(entry.path, O_RDONLY);
  if (::fchmod(fd.get(), allowed(entry.mode | 0700)) != 0) throw Failure::system("fchmod", root_.full(entry.path));
  if (!set_mtime(fd.get(), entry.mtime)) throw Failure::system("futimens", root_.full(entry.path));
}

void Maker::tell(Materialized& result) {
  const std::lock_guard<std::mutex> lock(guard_);
  result.table.prefixes = prefixes_;
  result.trampolines = trampolines_;
  result.by_path = by_path_;
  std::sort(result.by_path.begin(), result.by_path.end());
}

}  // namespace cd
