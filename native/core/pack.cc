// Entries → the frames of an archive, in one pass: every small file is opened and read once, hashed, brought into the form in which it is
// stored, and compressed together with its neighbours. What is generated afterwards is appended by seal.cc.
#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <algorithm>
#include "assembly.h"
#include "codec.h"
#include "draft.h"
#include "frames.h"
#include "rebase.h"
#include "sha256.h"
#include "study.h"
#include "tar.h"
#include "tasks.h"
#include "team.h"

namespace cd {
namespace {

constexpr size_t kHeaders = 256 << 10;  // that a frame may have beyond its bytes: what the texts in it grow by
constexpr size_t kRun = 512 << 10;      // bytes of members that are hashed together

// A file that is read, and how it stands in the frame: from where its header begins, where its content does.
struct Member {
  size_t entry = 0, begin = 0, content = 0;
};

struct Large : LargeFile {
  explicit Large(const LargeFile& file) : LargeFile(file) {}
  std::vector<uint64_t> cuts;      // where its parts begin, and its end
  std::unique_ptr<Rebase> rebase;  // null: its parts stay as they are
  Version version;                 // of the file that was studied
  uint64_t planned = 0;            // its size there
};

void check(const PackJob& job) {
  check_frame_bytes(job.frame_bytes);
  if (!job.dest.empty()) check_prefix(job.dest);
  for (const std::string& prefix : job.prefixes)
    if (prefix.empty()) throw Failure("INVALID_OPTION", "pack: a prefix to look for is empty");
  for (const PackEntry& e : job.entries) {
    const char* why = nullptr;
    if (e.entry.kind == Kind::other)
      why = " is neither directory, file nor link";
    else if (!e.digests.empty())
      why = " asks for digests, which only seal knows";
    if (why) throw Failure("INVALID_OPTION", "pack: " + e.entry.path + why, e.entry.path);
  }
}

class Packing {
 public:
  Packing(PackJob&& job, Progress progress)
      : job_(std::move(job)), progress_(progress), studied_(job_.entries.size()), dropped_(job_.entries.size(), 0),
        assembly_(job_.output, Assembly::Output::create, 0, {}, job_.entries.size(), job_.threads, job_.descriptor) {
    root_ = Fd(open(job_.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root_) throw Failure::system("open", job_.root);
    for (PackEntry& e : job_.entries)
      if (e.in_memory) e.entry.size = e.data.size;
    companions_ = companions_of(job_.entries);
    Division division = divide(job_.entries, companions_, job_.frame_bytes, job_.threads);
    tasks_ = std::move(division.tasks);
    for (const LargeFile& file : division.large) large_.emplace_back(file);
  }

  Packed run() {
    progress_.expect(job_.entries.size());
    run_team(tasks_.size(), job_.threads, [this] {
      auto own = std::make_shared<Worker>(job_);
      return [this, own](size_t i) {
        try {
          progress_.check();
          if (tasks_[i].frame == kNone)
            study_large(large_[tasks_[i].large]);
          else
            make_frame(tasks_[i], *own);
        } catch (...) {
          assembly_.fail(std::current_exception());
          throw;
        }
      };
    });
    Packed packed = result();
    assembly_.finish();
    return packed;
  }

 private:
  struct Worker {
    explicit Worker(const PackJob& job) : encoder(Encoder::make(job.codec, job.level)) {
      raw.reserve(static_cast<size_t>(job.frame_bytes) + kHeaders);
    }
    std::unique_ptr<Encoder> encoder;
    Room raw, packed;
    std::string stored;
    std::vector<Member> run;
    std::vector<Bytes> contents;
    std::vector<Digest> hashes;
  };

  // As planned, until it is settled: then as it is stored.
  Entry& entry(size_t i) { return job_.entries[i].entry; }
  bool is_file(size_t i) { return entry(i).kind == Kind::file; }
  bool writes() const { return !job_.output.empty() || job_.descriptor >= 0; }
  std::string header(const Entry& e) const { return tar_header(e, job_.arcroot); }

  // The entry's companion stands before it: it is decided, or in the hands of a thread that waits for nothing later.
  bool is_dropped(size_t i) {
    if (companions_[i] == kNone) return false;
    assembly_.wait_for(companions_[i]);
    return !studied_[companions_[i]].spots.empty();
  }

  void drop(size_t i) {
    dropped_[i] = 1;
    progress_.add(1, entry(i).size);
    assembly_.decide(i);
  }

  void settle(size_t i, Studied studied) {
    progress_.add(1, entry(i).size);
    entry(i).size = studied.size;
    entry(i).sha256 = studied.sha256;
    studied_[i] = std::move(studied);
    assembly_.decide(i);
  }

  void study_large(Large& large) {
    const size_t i = large.entry;
    if (is_dropped(i)) return drop(i);
    const PackEntry& plan = job_.entries[i];
    Studied studied;
    large.planned = plan.entry.size;
    if (plan.in_memory) {
      Memory source(plan.data.data, plan.data.size);
      study_parts(i, source, large, studied);
    } else {
      OpenFile source(root_.get(), job_.root, plan.entry.path, plan.entry.size, plan.source);
      study_parts(i, source, large, studied);
      large.version = source.version();
      source.check_unchanged(large.version);
    }
    settle(i, std::move(studied));
  }

  static void pad(Room& raw, uint64_t content) {
    const size_t n = static_cast<size_t>(tar_padding(content));
    std::fill_n(raw.grow(n), n, '\0');
  }

  bool rebase_to_dest(size_t i, const Rebase& rebase, Source& source, const std::vector<uint64_t>& cuts, Studied& s) {
    bool by_path = false;
    if (!rebase_study(rebase, source, cuts, s, by_path)) return false;
    if (by_path) {
      std::lock_guard<std::mutex> lock(guard_);
      by_path_.push_back(entry(i).path);
    }
    return true;
  }

  void study_parts(size_t i, Source& source, Large& large, Studied& studied) {
    studied = study(source, job_.entries[i], job_.prefixes, job_.marker);
    large.cuts = cut(studied.size, large.parts, studied.solid);
    if (job_.dest.empty()) return;
    auto rebase = std::make_unique<Rebase>(job_, job_.entries[i], studied.spots);
    if (rebase_to_dest(i, *rebase, source, large.cuts, studied)) large.rebase = std::move(rebase);
  }

  void make_frame(const Task& task, Worker& own) {
    own.raw.shrink(0);
    if (task.frame == 0) append_folders(own);
    if (task.large != kNone)
      append_part(task, own);
    else
      for (size_t i = task.first; i < task.last;) i = append_run(i, task, own);
    if (!writes()) return;
    own.packed.fresh(0);
    if (own.raw.size() > 0) own.encoder->encode(own.raw.data(), own.raw.size(), own.packed);
    assembly_.put(task.frame, own.packed, static_cast<uint32_t>(own.raw.size()));
  }

  // The folders in which all members lie, so that every reader gives them a mode and the same time.
  void append_folders(Worker& own) {
    for (size_t end = 0; end < job_.arcroot.size();) {
      end = std::min(job_.arcroot.find('/', end + 1), job_.arcroot.size());
      Entry folder;
      folder.path = job_.arcroot.substr(0, end);
      folder.kind = Kind::directory;
      folder.mode = 0755;
      folder.mtime = entry(0).mtime;
      own.raw.append(tar_header(folder));
    }
  }

  // Reads members from `first` on and hashes them together, two at a time, which takes 0.6 of the time; returns the next one.
  size_t append_run(size_t first, const Task& task, Worker& own) {
    own.run.clear();
    size_t i = first;
    for (const size_t begin = own.raw.size(); i < task.last && own.raw.size() - begin < kRun; ++i) {
      if (companions_[i] != kNone && companions_[i] >= first) break;  // it is decided with this run
      append_member(i, task.frame, own);
    }
    hash_run(own);
    size_t grown = 0;
    const Digest* hash = own.hashes.data();
    for (Member& member : own.run) {
      member.begin += grown;
      member.content += grown;
      grown += study_member(member, proves(job_.entries[member.entry]) ? nullptr : hash++, own);
    }
    return i;
  }

  // As it stands in the source, where it stays if nothing in it changes.
  void append_member(size_t i, size_t frame, Worker& own) {
    Entry& e = entry(i);
    if (e.kind != Kind::file) {
      own.raw.append(header(e));
      progress_.add(1, 0);
      return assembly_.decide(i);
    }
    if (is_dropped(i)) return drop(i);
    const PackEntry& plan = job_.entries[i];
    const size_t begin = own.raw.size();
    own.raw.append(header(e));
    own.run.push_back({i, begin, own.raw.size()});
    e.frame = static_cast<uint32_t>(frame);
    auto* content = reinterpret_cast<uint8_t*>(own.raw.grow(static_cast<size_t>(e.size)));
    if (plan.in_memory)
      std::copy_n(plan.data.data, plan.data.size, content);
    else
      OpenFile(root_.get(), job_.root, e.path, e.size, plan.source).read_all(content);
    pad(own.raw, e.size);
  }

  void hash_run(Worker& own) {
    own.contents.clear();
    for (const Member& member : own.run)
      if (!proves(job_.entries[member.entry]))
        own.contents.push_back({reinterpret_cast<const uint8_t*>(own.raw.data()) + member.content,
                                static_cast<size_t>(entry(member.entry).size)});
    own.hashes.resize(own.contents.size());
    sha256_all(own.contents.data(), own.contents.size(), own.hashes.data());
  }

  // Returns by how much it has grown, modulo 2^64.
  size_t study_member(const Member& member, const Digest* hash, Worker& own) {
    const size_t i = member.entry, size = static_cast<size_t>(entry(i).size);
    const PackEntry& plan = job_.entries[i];
    Entry& e = entry(i);
    e.offset = member.content;
    Memory source(reinterpret_cast<const uint8_t*>(own.raw.data()) + member.content, size);
    Studied studied = study(source, plan, job_.prefixes, job_.marker, hash);
    const bool moves = !job_.dest.empty() && !studied.spots.empty();
    size_t grown = 0;
    if (!studied.edits.empty() || moves) {
      own.stored.clear();
      render(source, studied.edits, {0, studied.size}, own.stored);
      if (moves) {
        const Rebase rebase(job_, plan, studied.spots);
        rebase_to_dest(i, rebase, source, {0, studied.size}, studied);
        own.stored = rebase.part(own.stored, 0, 0).bytes;
      }
      studied.edits = {};
      grown = put_stored(member, size, studied.size, own);
    }
    settle(i, std::move(studied));
    return grown;
  }

  // The stored content, with its header and padding, in place of the `old_size` bytes of the source with theirs.
  size_t put_stored(const Member& member, size_t old_size, uint64_t size, Worker& own) {
    Entry& e = entry(member.entry);
    Entry changed = e;
    changed.size = size;
    const std::string head = header(changed);
    const size_t padding = static_cast<size_t>(tar_padding(size)), now = head.size() + own.stored.size() + padding;
    const size_t end = member.content + old_size + static_cast<size_t>(tar_padding(old_size));
    char* at = own.raw.refit(member.begin, end, now);
    at = std::copy(head.begin(), head.end(), at);
    at = std::copy(own.stored.begin(), own.stored.end(), at);
    std::fill_n(at, padding, '\0');
    e.offset = member.begin + head.size();
    return now - (end - member.begin);
  }

  void append_part(const Task& task, Worker& own) {
    const size_t i = task.first;
    assembly_.wait_for(i);
    if (dropped_[i] || !writes()) return;
    Entry& e = entry(i);
    if (task.part == 0) {
      own.raw.append(header(e));
      e.frame = static_cast<uint32_t>(task.frame);
      e.offset = own.raw.size();
    }
    const PackEntry& plan = job_.entries[i];
    const Large& large = large_[task.large];
    const Range range{large.cuts[task.part], large.cuts[task.part + 1]};
    if (plan.in_memory) {
      Memory source(plan.data.data, plan.data.size);
      append_range(i, source, large, range, own);
    } else {
      OpenFile source(root_.get(), job_.root, plan.entry.path, large.planned, plan.source);
      append_range(i, source, large, range, own);
      source.check_unchanged(large.version);
    }
    if (ends_with(large.cuts, task.part)) pad(own.raw, e.size);
  }

  void append_range(size_t i, Source& source, const Large& large, Range range, Worker& own) {
    if (studied_[i].edits.empty() && !large.rebase) {
      const size_t n = static_cast<size_t>(range.end - range.begin);
      return source.read(range.begin, n, reinterpret_cast<uint8_t*>(own.raw.grow(n)));
    }
    own.stored.clear();
    render(source, studied_[i].edits, range, own.stored);
    if (large.rebase) own.stored = large.rebase->part(own.stored, range.begin, 0).bytes;
    own.raw.append(own.stored);
  }

  Packed result() {
    Packed packed;
    Draft draft;
    draft.table.root = job_.arcroot;
    draft.table.entries.reserve(job_.entries.size());
    PrefixList prefixes(draft.table.prefixes);
    for (size_t i = 0; i < job_.entries.size(); ++i) {
      Entry& e = entry(i);
      Studied& s = studied_[i];
      if (dropped_[i]) {
        packed.outcomes.push_back({e.path, State::unknown, 0, {}, {}, 0, 0, true});
        continue;
      }
      for (Spot& spot : s.spots)
        spot.refers = prefixes.number(!job_.dest.empty()            ? job_.dest
                                      : spot.refers == kPlaceholder ? job_.entries[i].placeholder
                                                                    : job_.prefixes[spot.refers]);
      if (is_file(i)) {
        if (writes()) e.frame = assembly_.index_of(e.frame);
        packed.bytes += e.size;
        const bool plain = s.state == State::proven && s.spots.empty() && s.kept_prefix + s.kept_placeholder == 0;
        if (!plain)
          packed.outcomes.push_back(
              {e.path, s.state, e.size, e.sha256, s.spots, s.kept_prefix, s.kept_placeholder, false});
      }
      e.spots = std::move(s.spots);
      draft.table.entries.push_back(std::move(e));
    }
    packed.entries = draft.table.entries.size();
    packed.prefixes = draft.table.prefixes;
    std::sort(by_path_.begin(), by_path_.end());
    packed.by_path = std::move(by_path_);
    if (writes()) {
      draft.frames = assembly_.frames();
      draft.position = assembly_.position();
      packed.draft = encode_draft(draft);
    }
    return packed;
  }

  PackJob job_;
  Progress progress_;
  Fd root_;
  std::vector<Studied> studied_;
  std::vector<uint8_t> dropped_;
  std::vector<size_t> companions_;  // of each entry: the one that decides whether it is left out, or kNone
  std::vector<Large> large_;
  std::vector<Task> tasks_;
  std::mutex guard_;
  std::vector<std::string> by_path_;
  Assembly assembly_;
};

// What was freed goes back to the system: an allocator keeps it for each thread that took it, and other threads are next.
void give_back() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace

Packed pack(PackJob job, Progress progress) {
  check(job);
  give_back();
  Packed packed = Packing(std::move(job), progress).run();
  give_back();
  return packed;
}

}  // namespace cd
