// Entries → the frames of an archive, in one pass: every small file is opened and read once, hashed, brought into the form in which it is
// stored, and compressed together with its neighbours. What is generated afterwards is appended by seal.cc.
#include <fcntl.h>
#include <algorithm>
#include <unordered_map>
#include "assembly.h"
#include "codec.h"
#include "draft.h"
#include "give_back.h"
#include "rebase.h"
#include "sha256.h"
#include "study.h"
#include "table.h"
#include "tar.h"
#include "tasks.h"
#include "team.h"

namespace cd {
namespace {

constexpr size_t kHeaders = 256 << 10;  // that a frame may have beyond its bytes: what the texts in it grow by
constexpr size_t kRun = 512 << 10;      // bytes of members that are hashed together

// A file that is read, and how it stands in the frame: from where its header begins, where its content does.
struct Member {
  size_t entry = 0;
  PackEntry plan;
  size_t begin = 0, content = 0;
};

struct Large : LargeFile {
  explicit Large(const LargeFile& file) : LargeFile(file) {}
  std::vector<uint64_t> cuts;      // where its parts begin, and its end
  std::vector<Edit> edits;         // of its study
  std::unique_ptr<Rebase> rebase;  // null: its parts stay as they are
  Version version;                 // of the file that was studied
};

// How an entry is stored.
struct Stored {
  uint64_t size = 0, offset = 0;
  uint32_t frame = 0;
  State state = State::unknown;
  bool dropped = false, rewritten = false;  // rewritten: there are spots
};

void check(const PackJob& job) {
  check_frame_bytes(job.frame_bytes);
  if (!job.dest.empty()) check_prefix(job.dest);
  if (!job.arcroot.empty()) check_path(job.arcroot);
  for (const std::string& prefix : job.prefixes)
    if (prefix.empty()) throw Failure("INVALID_OPTION", "pack: a prefix to look for is empty");
  job.entries.check_packable();
}

class Packing {
 public:
  Packing(PackJob&& job, Progress progress)
      : job_(std::move(job)), progress_(progress), stored_(job_.entries.size()),
        assembly_(job_.output, Assembly::Output::create, 0, {}, job_.entries.size(), job_.threads, job_.descriptor) {
    root_ = Fd(open(job_.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root_) throw Failure::system("open", job_.root);
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
    give_back(job_.entries.size());
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

  bool writes() const { return !job_.output.empty() || job_.descriptor >= 0; }
  std::string header(const Entry& e) const { return tar_header(e, job_.arcroot); }

  // The entry's companion stands before it: it is decided, or in the hands of a thread that waits for nothing later.
  bool is_dropped(size_t i) {
    if (companions_[i] == kNone) return false;
    assembly_.wait_for(companions_[i]);
    return stored_[companions_[i]].rewritten;
  }

  void drop(size_t i, uint64_t size) {
    stored_[i].dropped = true;
    progress_.add(1, size);
    assembly_.decide(i);
  }

  void settle(size_t i, uint64_t planned, Studied studied) {
    progress_.add(1, planned);
    Stored& stored = stored_[i];
    stored.size = studied.size;
    stored.state = studied.state;
    stored.rewritten = !studied.spots.empty();
    if (stored.state != State::proven || stored.rewritten || studied.kept_prefix + studied.kept_placeholder > 0) {
      studied.edits = {};
      studied.solid = {};
      std::lock_guard<std::mutex> lock(guard_);
      studied_.emplace(i, std::move(studied));
    }
    assembly_.decide(i);
  }

  void study_large(Large& large) {
    const size_t i = large.entry;
    const PackEntry plan = job_.entries[i];
    if (is_dropped(i)) return drop(i, plan.entry.size);
    Studied studied;
    if (plan.in_memory) {
      Memory source(plan.data.data, plan.data.size);
      study_parts(plan, source, large, studied);
    } else {
      OpenFile source(root_.get(), job_.root, plan.entry.path, plan.entry.size, plan.source);
      study_parts(plan, source, large, studied);
      large.version = source.version();
      source.check_unchanged(large.version);
    }
    large.edits = std::move(studied.edits);
    settle(i, plan.entry.size, std::move(studied));
  }

  static void pad(Room& raw, uint64_t content) { raw.append(std::string(tar_padding(content), '\0')); }

  bool rebase_to_dest(const PackEntry& plan, const Rebase& rebase, Source& source, const std::vector<uint64_t>& cuts,
                      Studied& s) {
    bool by_path = false;
    if (!rebase_study(rebase, source, cuts, s, by_path)) return false;
    if (by_path) {
      std::lock_guard<std::mutex> lock(guard_);
      by_path_.push_back(plan.entry.path);
    }
    return true;
  }

  void study_parts(const PackEntry& plan, Source& source, Large& large, Studied& studied) {
    studied = study(source, plan, job_.prefixes, job_.marker);
    large.cuts = cut(studied.size, large.parts, studied.solid);
    if (job_.dest.empty()) return;
    auto rebase = std::make_unique<Rebase>(job_, plan, studied.spots);
    if (rebase_to_dest(plan, *rebase, source, large.cuts, studied)) large.rebase = std::move(rebase);
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
      folder.mtime = job_.entries[0].entry.mtime;
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
      grown += study_member(member, proves(member.plan) ? nullptr : hash++, own);
    }
    return i;
  }

  // As it stands in the source, where it stays if nothing in it changes.
  void append_member(size_t i, size_t frame, Worker& own) {
    PackEntry plan = job_.entries[i];
    const Entry& e = plan.entry;
    if (e.kind != Kind::file) {
      own.raw.append(header(e));
      progress_.add(1, 0);
      return assembly_.decide(i);
    }
    if (is_dropped(i)) return drop(i, e.size);
    const size_t begin = own.raw.size();
    own.raw.append(header(e));
    const size_t at = own.raw.size();
    stored_[i].frame = static_cast<uint32_t>(frame);
    auto* content = reinterpret_cast<uint8_t*>(own.raw.grow(static_cast<size_t>(e.size)));
    if (plan.in_memory)
      std::copy_n(plan.data.data, plan.data.size, content);
    else
      OpenFile(root_.get(), job_.root, e.path, e.size, plan.source).read_all(content);
    pad(own.raw, e.size);
    own.run.push_back({i, std::move(plan), begin, at});
  }

  void hash_run(Worker& own) {
    own.contents.clear();
    for (const Member& member : own.run)
      if (!proves(member.plan))
        own.contents.push_back({reinterpret_cast<const uint8_t*>(own.raw.data()) + member.content,
                                static_cast<size_t>(member.plan.entry.size)});
    own.hashes.resize(own.contents.size());
    sha256_all(own.contents.data(), own.contents.size(), own.hashes.data());
  }

  // Returns by how much it has grown, modulo 2^64.
  size_t study_member(const Member& member, const Digest* hash, Worker& own) {
    const PackEntry& plan = member.plan;
    const size_t size = static_cast<size_t>(plan.entry.size);
    stored_[member.entry].offset = member.content;
    Memory source(reinterpret_cast<const uint8_t*>(own.raw.data()) + member.content, size);
    Studied studied = study(source, plan, job_.prefixes, job_.marker, hash);
    const bool moves = !job_.dest.empty() && !studied.spots.empty();
    size_t grown = 0;
    if (!studied.edits.empty() || moves) {
      own.stored.clear();
      render(source, studied.edits, {0, studied.size}, own.stored);
      if (moves) {
        const Rebase rebase(job_, plan, studied.spots);
        rebase_to_dest(plan, rebase, source, {0, studied.size}, studied);
        own.stored = rebase.part(own.stored, 0, 0).bytes;
      }
      grown = put_stored(member, size, studied.size, own);
    }
    settle(member.entry, plan.entry.size, std::move(studied));
    return grown;
  }

  // The stored content, with its header and padding, in place of the `old_size` bytes of the source with theirs.
  size_t put_stored(const Member& member, size_t old_size, uint64_t size, Worker& own) {
    Entry changed = member.plan.entry;
    changed.size = size;
    const std::string head = header(changed);
    const size_t padding = static_cast<size_t>(tar_padding(size)), now = head.size() + own.stored.size() + padding;
    const size_t end = member.content + old_size + static_cast<size_t>(tar_padding(old_size));
    char* at = own.raw.refit(member.begin, end, now);
    at = std::copy(head.begin(), head.end(), at);
    at = std::copy(own.stored.begin(), own.stored.end(), at);
    std::fill_n(at, padding, '\0');
    stored_[member.entry].offset = member.begin + head.size();
    return now - (end - member.begin);
  }

  void append_part(const Task& task, Worker& own) {
    const size_t i = task.first;
    assembly_.wait_for(i);
    Stored& stored = stored_[i];
    if (stored.dropped || !writes()) return;
    PackEntry plan = job_.entries[i];
    const uint64_t planned = std::exchange(plan.entry.size, stored.size);
    if (task.part == 0) {
      own.raw.append(header(plan.entry));
      stored.frame = static_cast<uint32_t>(task.frame);
      stored.offset = own.raw.size();
    }
    const Large& large = large_[task.large];
    const Range range{large.cuts[task.part], large.cuts[task.part + 1]};
    if (plan.in_memory) {
      Memory source(plan.data.data, plan.data.size);
      append_range(source, large, range, own);
    } else {
      OpenFile source(root_.get(), job_.root, plan.entry.path, planned, plan.source);
      append_range(source, large, range, own);
      source.check_unchanged(large.version);
    }
    if (ends_with(large.cuts, task.part)) pad(own.raw, stored.size);
  }

  void append_range(Source& source, const Large& large, Range range, Worker& own) {
    if (large.edits.empty() && !large.rebase) {
      const size_t n = static_cast<size_t>(range.end - range.begin);
      return source.read(range.begin, n, reinterpret_cast<uint8_t*>(own.raw.grow(n)));
    }
    own.stored.clear();
    render(source, large.edits, range, own.stored);
    if (large.rebase) own.stored = large.rebase->part(own.stored, range.begin, 0).bytes;
    own.raw.append(own.stored);
  }

  const std::string& prefix_of(const Spot& spot, const std::string& placeholder) const {
    return !job_.dest.empty() ? job_.dest : spot.refers == kPlaceholder ? placeholder : job_.prefixes[spot.refers];
  }

  Packed result() {
    Packed packed;
    PrefixList prefixes(packed.prefixes);
    EncodedEntries table;
    table.reserve(job_.entries.size());
    for (size_t i = 0; i < job_.entries.size(); ++i) {
      const Stored& stored = stored_[i];
      PackEntry plan = job_.entries[i];
      Entry& e = plan.entry;
      if (stored.dropped) {
        packed.outcomes.push_back({e.path, State::unknown, 0, {}, {}, 0, 0, true});
        continue;
      }
      ++packed.entries;
      if (e.kind == Kind::file) {
        e.size = stored.size;
        e.offset = stored.offset;
        if (writes()) e.frame = assembly_.index_of(stored.frame);
        packed.bytes += e.size;
        e.sha256 = plan.sha256;  // as most are proven to have it
        if (auto node = studied_.extract(i)) {
          Studied& found = node.mapped();
          e.sha256 = found.sha256;
          e.spots = std::move(found.spots);
          for (Spot& spot : e.spots) spot.refers = prefixes.number(prefix_of(spot, plan.placeholder));
          packed.outcomes.push_back(
              {e.path, stored.state, e.size, e.sha256, e.spots, found.kept_prefix, found.kept_placeholder, false});
        }
      }
      if (writes()) table.add(e);
    }
    std::sort(by_path_.begin(), by_path_.end());
    packed.by_path = std::move(by_path_);
    if (writes())
      packed.draft =
          encode_draft(table.finish(job_.arcroot, packed.prefixes), assembly_.frames(), assembly_.position());
    return packed;
  }

  PackJob job_;
  Progress progress_;
  Fd root_;
  std::vector<Stored> stored_;
  std::vector<size_t> companions_;  // of each entry: the one that decides whether it is left out, or kNone
  std::vector<Large> large_;
  std::vector<Task> tasks_;
  std::mutex guard_;
  std::unordered_map<size_t, Studied> studied_;  // of files with something in them to tell of
  std::vector<std::string> by_path_;
  Assembly assembly_;
};

}  // namespace

Packed pack(PackJob job, Progress progress) {
  check(job);
  const size_t entries = job.entries.size();
  Packed packed = Packing(std::move(job), progress).run();
  give_back(entries);
  return packed;
}

}  // namespace cd
