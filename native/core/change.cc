// What stands in a stage takes its place in a tree, name by name, and what it replaces is kept aside, so that all of it can be taken
// back, by this process or by one that finds the three trees after it died. Whether a step was done is told by the names alone: what is
// still in the stage has not been placed, what is aside has been put there. No inode numbers, which some file systems make up anew.
#include <sys/syscall.h>
#include <unistd.h>
#include <unordered_set>
#include "jobs.h"
#include "root.h"
#include "table.h"
#include "team.h"

namespace cd {
namespace {

constexpr size_t kBatch = 32;       // steps handed to a thread at a time: neighbours share their directories
constexpr unsigned kNoReplace = 1;  // linux/fs.h

struct At {  // a name that may not be there, nor the directory it would be in
  bool reached = false;
  int directory = -1;
  const char* name = nullptr;
  struct stat st {};
  bool there = false;
  bool is(mode_t type) const { return there && (st.st_mode & S_IFMT) == type; }
};

At find(Walker& walker, const std::string& path) {
  At at;
  try {
    const Walker::Place place = walker.at(path);
    at.directory = place.directory;
    at.name = place.name;
    at.reached = true;
  } catch (const Failure& failure) {
    if (failure.error == ENOENT || failure.error == ENOTDIR) return at;
    throw;
  }
  if (::fstatat(at.directory, at.name, &at.st, AT_SYMLINK_NOFOLLOW) == 0)
    at.there = true;
  else if (errno != ENOENT && errno != ENOTDIR)
    throw Failure::system("fstatat", walker.root().full(path));
  return at;
}

class Changer {
 public:
  Changer(const ChangeJob& job, Progress progress)
      : job_(job), root_(job.root), fresh_(job.fresh), aside_(job.aside), progress_(progress) {
    uint64_t steps = 0;
    for (const std::vector<Step>& group : job.groups) {
      for (const Step& step : group)
        if (!step.path.empty() || !is_mode(step)) check_path(step.path);
      steps += group.size();
    }
    progress_.expect(steps);
  }

  Changed run() {
    const size_t n = job_.groups.size();
    for (size_t i = 0; i < n; ++i) one_group(job_.groups[job_.back ? n - 1 - i : i]);
    return {steps_, moments_};
  }

 private:
  struct Thread {
    Thread(const Root& root, const Root& fresh, const Root& aside) : to(root), from(fresh), kept(aside) {}
    Walker to, from, kept;
  };

  static bool is_mode(const Step& step) { return step.how == StepHow::open || step.how == StepHow::close; }

  // Those that make room by removing directories come deepest first, and are done in their order.
  static bool in_order(const std::vector<Step>& group) {
    return std::any_of(group.begin(), group.end(),
                       [](const Step& s) { return s.how == StepHow::clear || s.how == StepHow::tidy; });
  }

  void one_group(const std::vector<Step>& group) {
    if (!job_.back) make_room(group);
    const size_t n = group.size(), batch = in_order(group) ? n : kBatch;
    if (n == 0) return;
    run_team((n + batch - 1) / batch, job_.threads, [&] {
      auto own = std::make_shared<Thread>(root_, fresh_, aside_);
      return [&, own, n, batch](size_t number) {
        for (size_t i = number * batch; i < std::min((number + 1) * batch, n); ++i) {
          progress_.check();
          const Step& step = group[job_.back ? n - 1 - i : i];
          if (job_.back)
            take_back(*own, step);
          else
            take(*own, step);
          steps_.fetch_add(1, std::memory_order_relaxed);
          progress_.add(1, 0);
        }
      };
    });
  }

  // The directories in which things are kept aside.
  void make_room(const std::vector<Step>& group) {
    Walker walker(aside_);
    for (const Step& step : group) {
      if (step.how == StepHow::replace || step.how == StepHow::remove) make_directory(walker, parent(step.path));
      if (step.how == StepHow::clear) make_directory(walker, step.path);
    }
  }

  static std::string parent(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? std::string() : path.substr(0, slash);
  }

  void make_directory(Walker& walker, const std::string& path) {
    if (path.empty() || !made_.insert(path).second) return;
    make_directory(walker, parent(path));
    const Walker::Place place = walker.at(path);
    if (::mkdirat(place.directory, place.name, 0700) != 0 && errno != EEXIST)
      throw Failure::system("mkdir", aside_.full(path));
  }

  void take(Thread& t, const Step& step) {
    switch (step.how) {
      case StepHow::add: add(t, step.path); break;
      case StepHow::replace: replace(t, step.path); break;
      case StepHow::remove: remove(t, step.path); break;
      case StepHow::clear: clear(t, step.path); break;
      case StepHow::tidy: tidy(t, step.path); break;
      case StepHow::open: open(step); break;
      case StepHow::close: close(step); break;
    }
  }

  void take_back(Thread& t, const Step& step) {
    switch (step.how) {
      case StepHow::add: withdraw(t, step.path); break;
      case StepHow::replace:
      case StepHow::remove: restore(t, step.path); break;
      case StepHow::clear: refill(t, step.path); break;
      case StepHow::tidy: break;
      case StepHow::open: close(step); break;
      case StepHow::close: open(step); break;
    }
  }

  // A directory whose names change needs its owner's permission; it keeps it no longer than the change lasts.
  void open(const Step& step) const { set_mode(step, step.mode | 0700, false); }
  void close(const Step& step) const { set_mode(step, step.mode, step.dated); }

  void set_mode(const Step& step, mode_t mode, bool dated) const {
    const Fd fd = root_.open(step.path, O_RDONLY | O_DIRECTORY);
    // It came with the change, or goes with it; or its user put a link in its place.
    if (!fd && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) return;
    if (!fd) throw Failure::system("open", root_.full(step.path));
    struct stat st;
    if (::fstat(fd.get(), &st) != 0) throw Failure::system("fstat", root_.full(step.path));
    // What could not be changed (another user's, immutable) need not be to be taken back.
    if ((st.st_mode & 07777) != mode && ::fchmod(fd.get(), mode) != 0)
      throw Failure::system("fchmod", root_.full(step.path));
    if (dated && st.st_mtime != step.mtime && !set_mtime(fd.get(), step.mtime))
      throw Failure::system("futimens", root_.full(step.path));
  }

  [[noreturn]] void in_the_way(const std::string& path) const {
    const std::string full = root_.full(path);
    throw Failure("TARGET_EXISTS", full + " was made by another program meanwhile", full);
  }

  void add(Thread& t, const std::string& path) {
    const Walker::Place from = t.from.at(path), to = t.to.at(path);
    if (::syscall(SYS_renameat2, from.directory, from.name, to.directory, to.name, kNoReplace) == 0) return;
    if (errno == EEXIST || errno == ENOTEMPTY) in_the_way(path);
    if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) throw Failure::system("rename", root_.full(path));
    // NFS and old Lustre. A plain rename replaces no directory that has anything in it, and no file by a directory.
    if (find(t.to, path).there) in_the_way(path);
    rename(from, to, path);
  }

  void rename(Walker::Place from, Walker::Place to, const std::string& path) const {
    if (::renameat(from.directory, from.name, to.directory, to.name) != 0)
      throw Failure::system("rename", root_.full(path));
  }

  // Who opens the path finds the old file or the new one; only where there are no hard links (between directories: BeeGFS) there is a
  // moment without either.
  void replace(Thread& t, const std::string& path) {
    const At old = find(t.to, path);
    if (!old.there) return add(t, path);
    if (old.is(S_IFDIR)) in_the_way(path);
    const Walker::Place from = t.from.at(path), to{old.directory, old.name}, kept = t.kept.at(path);
    if (::linkat(to.directory, to.name, kept.directory, kept.name, 0) != 0) {
      rename(to, kept, path);
      moments_.fetch_add(1, std::memory_order_relaxed);
    }
    rename(from, to, path);
  }

  void remove(Thread& t, const std::string& path) {
    const At old = find(t.to, path);
    if (!old.there) return;
    if (old.is(S_IFDIR)) in_the_way(path);
    const Walker::Place kept = t.kept.at(path);
    if (::renameat(old.directory, old.name, kept.directory, kept.name) == 0) return;
    const int error = errno;  // another program may have removed it meanwhile
    if (error != ENOENT || find(t.to, path).there) throw Failure::system("rename", root_.full(path), error);
  }

  // An emptied directory where something else is to stand; its place aside keeps its mode.
  void clear(Thread& t, const std::string& path) {
    const At old = find(t.to, path);
    if (!old.is(S_IFDIR)) return;
    const Walker::Place kept = t.kept.at(path);
    if (::fchmodat(kept.directory, kept.name, old.st.st_mode & 07777, 0) != 0)
      throw Failure::system("fchmodat", aside_.full(path));
    if (::unlinkat(old.directory, old.name, AT_REMOVEDIR) == 0) return;
    if (errno == ENOTEMPTY || errno == EEXIST) in_the_way(path);
    throw Failure::system("rmdir", root_.full(path));
  }

  // What is not empty, or not there, stays.
  void tidy(Thread& t, const std::string& path) {
    const At old = find(t.to, path);
    if (!old.is(S_IFDIR) || ::unlinkat(old.directory, old.name, AT_REMOVEDIR) == 0) return;
    if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT && errno != EBUSY)
      throw Failure::system("rmdir", root_.full(path));
  }

  // Into the stage again, and not removed: of what was done to it meanwhile, its owner decides.
  void withdraw(Thread& t, const std::string& path) {
    const At placed = find(t.to, path);
    if (!placed.there || find(t.from, path).there) return;
    rename({placed.directory, placed.name}, t.from.at(path), path);
  }

  void restore(Thread& t, const std::string& path) {
    const At kept = find(t.kept, path);
    // A rename between two names of one file does nothing, which is right: then it never left.
    if (kept.there) rename({kept.directory, kept.name}, t.to.at(path), path);
  }

  // With all that was kept in it, at once. Where the directory is still there, its place aside may not have its mode yet.
  void refill(Thread& t, const std::string& path) {
    const At kept = find(t.kept, path), old = find(t.to, path);
    if (kept.is(S_IFDIR) && old.reached && !old.there)
      rename({kept.directory, kept.name}, {old.directory, old.name}, path);
  }

  const ChangeJob& job_;
  const Root root_, fresh_, aside_;
  Progress progress_;
  std::unordered_set<std::string> made_;
  std::atomic<uint64_t> steps_{0}, moments_{0};
};

There kind_of(Walker& walker, const std::string& path) {
  struct stat st;
  const Walker::Place place = walker.at(path);
  if (::fstatat(place.directory, place.name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return There::nothing;
    throw Failure::system("fstatat", walker.root().full(path));
  }
  switch (st.st_mode & S_IFMT) {
    case S_IFREG: return There::file;
    case S_IFDIR: return There::directory;
    case S_IFLNK: return There::symlink;
    default: return There::other;
  }
}

}  // namespace

Changed change_tree(const ChangeJob& job, Progress progress) { return Changer(job, progress).run(); }

std::vector<There> look(const LookJob& job, Progress progress) {
  for (const std::string& path : job.paths) check_path(path);
  const Root root(job.root);
  std::vector<There> found(job.paths.size());
  progress.expect(found.size());
  run_team((found.size() + kBatch - 1) / kBatch, job.threads, [&] {
    struct Missing {
      std::string directory;
      There answer = There::nothing;
    };
    auto walker = std::make_shared<Walker>(root);
    auto missing = std::make_shared<Missing>();
    return [&, walker, missing](size_t number) {
      progress.check();
      const size_t end = std::min((number + 1) * kBatch, found.size());
      for (size_t i = number * kBatch; i < end; ++i) {
        const std::string& path = job.paths[i];
        const size_t slash = path.rfind('/');
        const bool known = slash != std::string::npos && !missing->directory.empty() &&
                           path.compare(0, slash, missing->directory) == 0;
        if (known) {
          found[i] = missing->answer;
          continue;
        }
        try {
          found[i] = kind_of(*walker, path);
        } catch (const Failure& failure) {
          const bool beyond = failure.code == "UNSAFE_PATH";
          if (!beyond && failure.error != ENOENT && failure.error != ENOTDIR) throw;
          // Neighbours share it, and to fail costs more than to look.
          missing->directory.assign(path, 0, slash);
          found[i] = missing->answer = beyond ? There::beyond : There::nothing;
        }
      }
      progress.add(end - number * kBatch, 0);
    };
  });
  return found;
}

}  // namespace cd
