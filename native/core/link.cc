// packages → tree: files that stand unpacked elsewhere come into one tree as clones, hard links or copies, prefixes written into those that
// name a place. Nothing that exists is replaced; neither side is walked through a link.
#include <sys/ioctl.h>
#include <unistd.h>
#include <algorithm>
#include <climits>
#include <optional>
#ifdef __linux__
#include <linux/fs.h>
#endif
#include "jobs.h"
#include "lanes.h"
#include "prefix.h"
#include "room.h"
#include "root.h"
#include "sha256.h"
#include "table.h"
#include "team.h"

namespace cd {
namespace {

constexpr size_t kChunk = 1u << 20;
constexpr size_t kFew = 16;             // entries at a time that are written: they differ most in size
constexpr size_t kMany = 512;           // neighbours: threads in one directory wait for each other, and each opens it
constexpr size_t kPiece = 256u << 10;   // of binaries to be rewritten
constexpr uint64_t kFile = 5u << 10;    // bytes of binaries in the time that linking a file takes
constexpr uint64_t kLarge = 32u << 20;  // texts to be rewritten are held in memory: of larger ones one at a time

class Linker {
 public:
  Linker(const LinkJob& job, Progress progress) : job_(job), root_(job.root), progress_(progress) {
    check_prefix(job.prefix);
    for (const std::string& source : job.sources) sources_.emplace_back(source);
    progress_.expect(job.entries.size());
  }

  Linked run() {
    // Before any file: a link that a package brings must not stand where a directory is made.
    const std::vector<size_t> many = bounds_of(kMany);
    run_team(many.size() - 1, job_.threads, [&] {
      auto own = std::make_shared<Directories>(root_, 0777);
      return [&, own](size_t number) {
        for (size_t i = many[number]; i < many[number + 1]; ++i) {
          check(job_.entries[i]);
          own->make_parents(job_.entries[i].path);
        }
      };
    });
    std::vector<const LinkEntry*> binaries;
    const std::vector<Lanes> lanes = in_lanes(binaries);
    const std::vector<size_t> bounds = bounds_of(kFew);
    run_team(lanes.size() + bounds.size() - 1, job_.threads, [&] {
      auto own = std::make_shared<Thread>(root_);
      return [&, own](size_t number) {
        if (number < lanes.size()) return rewrite_binaries(*own, binaries, lanes[number]);
        batch(*own, bounds[number - lanes.size()], bounds[number - lanes.size() + 1]);
      };
    });
    std::sort(result_.written.begin(), result_.written.end(),
              [](const Linked::Written& a, const Linked::Written& b) { return a.path < b.path; });
    std::sort(result_.by_path.begin(), result_.by_path.end());
    result_.linked = linked_;
    result_.cloned = cloned_;
    result_.copied = copied_;
    result_.trampolines = trampolines_;
    return std::move(result_);
  }

 private:
  struct Thread {
    explicit Thread(const Root& root) : to(root) {}
    Walker to;
    std::unique_ptr<Walker> from;
    size_t source = SIZE_MAX;
    uint64_t linked = 0, cloned = 0, copied = 0;  // of this batch
    Room content, other;  // kept, as the others are: memory is not asked for again for every file
    std::string chunk, text;
  };

  void check(const LinkEntry& e) const {
    check_path(e.path);
    if (!e.from.empty()) check_path(e.from);
    if (e.how != LinkHow::write && e.source >= job_.sources.size())
      throw std::invalid_argument("source must be the number of one of the sources");
  }

  Walker::Place source_of(Thread& t, const LinkEntry& e) {
    if (t.source != e.source) {
      t.from = std::make_unique<Walker>(sources_[e.source]);
      t.source = e.source;
    }
    return t.from->at(e.origin());
  }

  // Of batches of entries: `few` of those that are written, many of those that are shared.
  std::vector<size_t> bounds_of(size_t few) const {
    std::vector<size_t> bounds{0};
    for (size_t at = 0; at < job_.entries.size(); bounds.push_back(at))
      at = std::min(at + (job_.entries[at].how == LinkHow::share ? kMany : few), job_.entries.size());
    return bounds;
  }

  // Threads count for themselves, and tell a batch at a time: a number that all write to goes from processor to processor.
  void batch(Thread& t, size_t begin, size_t end) {
    progress_.check();
    t.linked = t.cloned = t.copied = 0;
    size_t done = 0;
    for (size_t i = begin; i < end; ++i) {
      if (is_binary(job_.entries[i])) continue;
      one(t, job_.entries[i]);
      ++done;
    }
    linked_ += t.linked;
    cloned_ += t.cloned;
    copied_ += t.copied;
    progress_.add(done, 0);
  }

  static bool is_binary(const LinkEntry& e) { return e.how == LinkHow::rewrite && !e.rewrite.text; }

  [[noreturn]] void failed(const char* call, const LinkEntry& e) const {
    const int error = errno;
    const std::string full = sources_[e.source].full(e.origin());
    if (error == ENOENT)
      throw Failure("PACKAGE_DAMAGED", full + " is missing, but its package lists it: unpack the package again", full);
    throw Failure::system(call, root_.full(e.path), error);
  }

  void one(Thread& t, const LinkEntry& e) {
    switch (e.how) {
      case LinkHow::write: write(t, e, e.data.data, e.data.size, e.mode); break;
      case LinkHow::symlink: symlink(t, e); break;
      case LinkHow::rewrite: rewrite_text(t, e); break;
      case LinkHow::copy: copy(t, e); break;
      case LinkHow::share: share(t, e); break;
    }
  }

  void share(Thread& t, const LinkEntry& e) {
    if (clones_.load(std::memory_order_relaxed) && clone(t, e)) {
      ++t.cloned;
      return;
    }
    if (links_.load(std::memory_order_relaxed)) {
      const Walker::Place from = source_of(t, e), to = t.to.at(e.path);
      if (::linkat(from.directory, from.name, to.directory, to.name, 0) == 0) {
        ++t.linked;
        return;
      }
      // EXDEV: another file system. EPERM: not ours to link. EMLINK: this one file has all the names it can have.
      if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != ENOTSUP) failed("link", e);
      if (errno == EXDEV) links_.store(false);
    }
    copy(t, e);
  }

  // false: this file system makes none.
  bool clone(Thread& t, const LinkEntry& e) {
#ifdef FICLONE
    struct stat st;
    const Fd from = open_source(t, e, st);
    Fd to = create(t, e, st.st_mode);
    if (::ioctl(to.get(), FICLONE, from.get()) == 0) {
      finish(to, e, static_cast<int64_t>(st.st_mtime));
      return true;
    }
    const Walker::Place place = t.to.at(e.path);
    if (::unlinkat(place.directory, place.name, 0) != 0) throw Failure::system("unlink", root_.full(e.path));
#endif
    clones_.store(false);
    return false;
  }

  Fd open_source(Thread& t, const LinkEntry& e, struct stat& st) {
    const Walker::Place from = source_of(t, e);
    Fd fd(::openat(from.directory, from.name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
    if (!fd) failed("open", e);
    if (::fstat(fd.get(), &st) != 0) failed("fstat", e);
    if (!S_ISREG(st.st_mode)) {
      const std::string full = sources_[e.source].full(e.origin());
      throw Failure("PACKAGE_DAMAGED", full + ": expected a regular file", full);
    }
    return fd;
  }

  Fd create(Thread& t, const LinkEntry& e, mode_t mode) {
    const Walker::Place to = t.to.at(e.path);
    Fd fd(::openat(to.directory, to.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 0777));
    if (!fd) throw Failure::system("open", root_.full(e.path));
    return fd;
  }

  void finish(Fd& fd, const LinkEntry& e, int64_t mtime) const {
    if (!set_mtime(fd.get(), mtime)) throw Failure::system("futimens", root_.full(e.path));
    if (!fd.close()) throw Failure::system("close", root_.full(e.path));
  }

  void copy(Thread& t, const LinkEntry& e) {
    struct stat st;
    const Fd from = open_source(t, e, st);
    Fd to = create(t, e, st.st_mode);
    t.chunk.resize(kChunk);
    uint64_t at = 0;
    for (size_t n = kChunk; n == kChunk; at += n) {
      const ssize_t got = read_all_at(from.get(), &t.chunk[0], kChunk, at);
      if (got < 0) failed("pread", e);
      n = static_cast<size_t>(got);
      if (!write_all(to.get(), t.chunk.data(), n)) throw Failure::system("write", root_.full(e.path));
    }
    finish(to, e, static_cast<int64_t>(st.st_mtime));
    ++t.copied;
  }

  void symlink(Thread& t, const LinkEntry& e) {
    char text[PATH_MAX];
    const Walker::Place from = source_of(t, e);
    const ssize_t size = ::readlinkat(from.directory, from.name, text, sizeof text - 1);
    if (size < 0) failed("readlink", e);
    text[size] = 0;
    const Walker::Place to = t.to.at(e.path);
    if (::symlinkat(text, to.directory, to.name) != 0) throw Failure::system("symlink", root_.full(e.path));
  }

  void write(Thread& t, const LinkEntry& e, const void* data, size_t size, mode_t mode) {
    Fd fd = create(t, e, mode);
    if (!write_all(fd.get(), data, size)) throw Failure::system("write", root_.full(e.path));
    if (!fd.close()) throw Failure::system("close", root_.full(e.path));
  }

  void rewrite_text(Thread& t, const LinkEntry& e) {
    struct stat st;
    const Fd from = open_source(t, e, st);
    std::unique_lock<std::mutex> single(large_, std::defer_lock);
    if (static_cast<uint64_t>(st.st_size) > kLarge) single.lock();
    char* const in = t.content.fresh(static_cast<size_t>(st.st_size));
    const ssize_t got = read_all_at(from.get(), in, t.content.size(), 0);
    if (got < 0) failed("pread", e);
    std::string_view out(in, static_cast<size_t>(got));
    std::vector<Spot> spots;
    Rewriting done;
    naming(e, [&] {
      if (rewrite_search(out, {e.rewrite}, job_.prefix, t.text, spots, done)) out = t.text;
    });
    write(t, e, out.data(), out.size(), st.st_mode);
    written(e, sha256(out.data(), out.size()), out.size(), done);
  }

  // What goes wrong in a content is told with the name of its file.
  template <class Work>
  static void naming(const LinkEntry& e, const Work& work) {
    try {
      work();
    } catch (const Failure& failure) {
      if (!failure.path.empty()) throw;
      const std::string path(e.path);
      throw Failure(failure.code, path + ": " + failure.what(), path);
    }
  }

  void written(const LinkEntry& e, const Digest& digest, uint64_t size, const Rewriting& done) {
    trampolines_ += done.trampoline;
    const std::lock_guard<std::mutex> lock(guard_);
    result_.written.push_back({std::string(e.path), digest, size});
    if (done.by_path) result_.by_path.emplace_back(e.path);
  }

  // A binary on its way, in pieces that stay in the processor's cache while all is done to them.
  struct Binary {
    const LinkEntry& entry;
    Fd from, to;
    Room& content;
    Sha256 hash;
    uint64_t base = 0;  // where the content begins in the file
    size_t done = 0;    // bytes of it that are rewritten and written
    bool last = false;  // nothing follows it
  };

  Binary begin(Thread& t, const LinkEntry& e, Room& content) {
    struct stat st;
    Fd from = open_source(t, e, st);
    content.reserve(2 * kPiece);
    return {e, std::move(from), create(t, e, st.st_mode), content, {}};
  }

  // Has the next bytes done; false: there are none.
  bool next(Binary& b) const {
    b.content.refit(0, b.done, 0);
    b.base += std::exchange(b.done, 0);
    while (!b.last && b.done == 0) {
      // More than is left of the piece before, or a string without an end would be looked through again and again.
      const size_t left = b.content.size(), wanted = std::max(kPiece, left);
      char* const more = b.content.grow(wanted);
      const ssize_t got = read_all_at(b.from.get(), more, wanted, b.base + left);
      if (got < 0) failed("pread", b.entry);
      b.content.shrink(left + static_cast<size_t>(got));
      b.last = static_cast<size_t>(got) < wanted;
      naming(b.entry, [&] {
        b.done =
            rewrite_binary(b.content.data(), b.content.size(), b.base, b.last, b.entry.rewrite.prefix, job_.prefix);
      });
    }
    if (!write_all(b.to.get(), b.content.data(), b.done)) throw Failure::system("write", root_.full(b.entry.path));
    return b.done > 0;
  }

  void end(Binary& b) {
    if (!b.to.close()) throw Failure::system("close", root_.full(b.entry.path));
    written(b.entry, b.hash.finish(), b.base, {});
  }

  // Hashing is most of the work. No thread is to be at it when all the others have nothing left to do.
  std::vector<Lanes> in_lanes(std::vector<const LinkEntry*>& binaries) {
    Thread t(root_);
    std::vector<uint64_t> sizes;
    uint64_t all = job_.entries.size() * kFile;
    for (const LinkEntry& e : job_.entries) {
      if (!is_binary(e)) continue;
      struct stat st;
      const Walker::Place from = source_of(t, e);
      // What is wrong with it is told when it is opened.
      const bool found = ::fstatat(from.directory, from.name, &st, AT_SYMLINK_NOFOLLOW) == 0;
      binaries.push_back(&e);
      sizes.push_back(kFile + (found ? static_cast<uint64_t>(st.st_size) : 0));
      all += sizes.back();
    }
    return lanes_of(sizes, all / std::max(1u, job_.threads));
  }

  struct Lane {
    const std::vector<const LinkEntry*>& binaries;
    const std::vector<size_t>& numbers;
    Room& content;
    size_t begun = 0;
    std::optional<Binary> binary;  // of which bytes are done
  };

  // Has the next bytes of a lane done; false: it has come to its end.
  bool next(Thread& t, Lane& lane) {
    for (;;) {
      if (!lane.binary) {
        if (lane.begun == lane.numbers.size()) return false;
        progress_.check();
        lane.binary.emplace(begin(t, *lane.binaries[lane.numbers[lane.begun++]], lane.content));
      }
      if (next(*lane.binary)) return true;
      end(*lane.binary);
      lane.binary.reset();
      progress_.add(1, 0);
    }
  }

  void rewrite_binaries(Thread& t, const std::vector<const LinkEntry*>& binaries, const Lanes& lanes) {
    Lane a{binaries, lanes.of[0], t.content, 0, {}}, b{binaries, lanes.of[1], t.other, 0, {}};
    bool both = next(t, b);
    while (next(t, a)) {
      Binary& one = *a.binary;
      Binary* const other = both ? &*b.binary : nullptr;
      if (other)
        Sha256::update_both(one.hash, one.content.data(), one.done, other->hash, other->content.data(), other->done);
      else
        one.hash.update(one.content.data(), one.done);
      both = both && next(t, b);
    }
    for (; both; both = next(t, b)) b.binary->hash.update(b.binary->content.data(), b.binary->done);
  }

  const LinkJob& job_;
  Root root_;
  std::vector<Root> sources_;
  Progress progress_;
  std::atomic<bool> clones_{true}, links_{true};
  std::atomic<uint64_t> linked_{0}, cloned_{0}, copied_{0}, trampolines_{0};
  std::mutex guard_, large_;
  Linked result_;
};

}  // namespace

Linked link_packages(const LinkJob& job, Progress progress) { return Linker(job, progress).run(); }

}  // namespace cd
