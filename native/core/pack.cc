// Entries → the frames of an archive, in one pass: every small file is opened and read once, hashed, brought into the form in which it is
// stored, and compressed together with its neighbours. What is generated afterwards is appended by seal.cc.
#include <fcntl.h>
#include <algorithm>
#include <unordered_map>
#include "assembly.h"
#include "codec.h"
#include "draft.h"
#include "frames.h"
#include "rebase.h"
#include "study.h"
#include "tar.h"
#include "team.h"

namespace cd {
namespace {

constexpr size_t kNone = SIZE_MAX;
constexpr size_t kHeaders = 256 << 10;  // that a frame may have beyond its bytes: what the texts in it grow by

// Work for one thread: the frame of entries [first, last); or of the large file `first` one part of several, or its study.
struct Task {
  size_t first = 0, last = 0;
  size_t frame = kNone;  // kNone: a study
  size_t large = kNone, part = 0;
};

struct Large {
  size_t entry = 0, parts = 0;
  std::vector<uint64_t> cuts;      // where its parts begin, and its end
  std::unique_ptr<Rebase> rebase;  // null: its parts stay as they are
  Version version;                 // of the file that was studied
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
  Packing(const PackJob& job, Progress progress)
      : job_(job), progress_(progress), studied_(job.entries.size()), dropped_(job.entries.size(), 0),
        assembly_(job.output, Assembly::Output::create, 0, {}, job.entries.size(), job.threads, job.descriptor) {
    root_ = Fd(open(job.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!root_) throw Failure::system("open", job.root);
    entries_.reserve(job.entries.size());
    for (const PackEntry& e : job.entries) {
      entries_.push_back(e.entry);
      if (e.in_memory) entries_.back().size = e.data.size;
    }
    find_companions();
    plan();
  }

  Packed run() {
    progress_.expect(entries_.size());
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
  };

  bool is_file(size_t i) const { return entries_[i].kind == Kind::file; }
  bool writes() const { return !job_.output.empty() || job_.descriptor >= 0; }
  std::string header(const Entry& e) const { return tar_header(e, job_.arcroot); }

  // For each entry that may be left out: the one it depends on.
  void find_companions() {
    std::unordered_map<std::string, size_t> numbers;
    for (const PackEntry& e : job_.entries)
      if (!e.unless_rewritten.empty()) numbers.emplace(e.unless_rewritten, kNone);
    companions_.assign(entries_.size(), kNone);
    if (numbers.empty()) return;
    for (size_t i = 0; i < entries_.size(); ++i) {
      const auto own = numbers.find(entries_[i].path);
      if (own != numbers.end()) own->second = i;
      const std::string& named = job_.entries[i].unless_rewritten;
      if (named.empty()) continue;
      companions_[i] = numbers[named];
      if (companions_[i] >= i)  // to wait for a later entry could be to wait for oneself
        throw Failure("INVALID_OPTION",
                      "pack: " + entries_[i].path + " depends on " + named + ", which is no entry before it",
                      entries_[i].path);
    }
  }

  // Cuts by planned sizes alone, so that the frames do not depend on the threads. A task never waits for one after it.
  void plan() {
    struct Placed {
      uint64_t at;
      Task task;
    };
    std::vector<Placed> placed;
    uint64_t position = 0, begin = 0;  // bytes of members before this one, and before the frame
    size_t first = 0, frame = 0;
    const auto flush = [&](size_t end) {
      if (end > first) placed.push_back({begin, {first, end, frame++, kNone, 0}});
      first = end;
      begin = position;
    };
    for (size_t i = 0; i < entries_.size(); ++i) {
      const uint64_t size = is_file(i) ? entries_[i].size : 0;
      const uint64_t member = 512 + size + tar_padding(size);
      if (size > job_.frame_bytes) {
        flush(i);
        const size_t parts = static_cast<size_t>((size + job_.frame_bytes - 1) / job_.frame_bytes);
        // A file is hashed by one thread, about eight times as fast as it is compressed: early enough, and nobody waits for it.
        const uint64_t lead = companions_[i] == kNone ? std::min(position, size / 8 * job_.threads) : 0;
        placed.push_back({position - lead, {i, i + 1, kNone, large_.size(), 0}});
        for (size_t part = 0; part < parts; ++part)
          placed.push_back({position, {i, i + 1, frame++, large_.size(), part}});
        large_.push_back({i, parts, {}, {}, {}});
        first = i + 1;
        begin = position + member;
      } else if (position > begin && position - begin + member > job_.frame_bytes) {
        flush(i);
      }
      position += member;
    }
    flush(entries_.size());
    std::stable_sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) { return a.at < b.at; });
    for (const Placed& p : placed) tasks_.push_back(p.task);
  }

  // The entry's companion stands before it: it is decided, or in the hands of a thread that waits for nothing later.
  bool is_dropped(size_t i) {
    if (companions_[i] == kNone) return false;
    assembly_.wait_for(companions_[i]);
    return !studied_[companions_[i]].spots.empty();
  }

  void drop(size_t i) {
    dropped_[i] = 1;
    progress_.add(1, entries_[i].size);
    assembly_.decide(i);
  }

  void settle(size_t i, Studied studied) {
    progress_.add(1, entries_[i].size);
    entries_[i].size = studied.size;
    entries_[i].sha256 = studied.sha256;
    studied_[i] = std::move(studied);
    assembly_.decide(i);
  }

  void study_large(Large& large) {
    const size_t i = large.entry;
    if (is_dropped(i)) return drop(i);
    const PackEntry& plan = job_.entries[i];
    Studied studied;
    if (plan.in_memory) {
      Memory source(plan.data.data, plan.data.size);
      study_parts(i, source, large, studied);
    } else {
      OpenFile source(root_.get(), job_.root, plan.entry, plan.source);
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
      by_path_.push_back(entries_[i].path);
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
      for (size_t i = task.first; i < task.last; ++i) append_member(i, task.frame, own);
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
      folder.mtime = entries_[0].mtime;
      own.raw.append(tar_header(folder));
    }
  }

  void append_member(size_t i, size_t frame, Worker& own) {
    Entry& e = entries_[i];
    if (e.kind != Kind::file) {
      own.raw.append(header(e));
      progress_.add(1, 0);
      return assembly_.decide(i);
    }
    if (is_dropped(i)) return drop(i);
    // Read to where it will stand if it is stored as it is.
    const PackEntry& plan = job_.entries[i];
    const size_t begin = own.raw.size();
    own.raw.append(header(e));
    e.frame = static_cast<uint32_t>(frame);
    e.offset = own.raw.size();
    auto* content = reinterpret_cast<uint8_t*>(own.raw.grow(static_cast<size_t>(e.size)));
    if (plan.in_memory)
      std::copy_n(plan.data.data, plan.data.size, content);
    else
      OpenFile(root_.get(), job_.root, e, plan.source).read_all(content);
    Memory source(content, static_cast<size_t>(e.size));
    Studied studied = study(source, plan, job_.prefixes, job_.marker);
    const bool moves = !job_.dest.empty() && !studied.spots.empty();
    if (!studied.edits.empty() || moves) {
      own.stored.clear();
      render(source, studied.edits, {0, studied.size}, own.stored);
      if (moves) {
        const Rebase rebase(job_, plan, studied.spots);
        rebase_to_dest(i, rebase, source, {0, studied.size}, studied);
        own.stored = rebase.part(own.stored, 0, 0).bytes;
      }
      Entry changed = e;
      changed.size = studied.size;
      own.raw.shrink(begin);
      own.raw.append(header(changed));
      e.offset = own.raw.size();
      own.raw.append(own.stored);
      studied.edits = {};
    }
    pad(own.raw, studied.size);
    settle(i, std::move(studied));
  }

  void append_part(const Task& task, Worker& own) {
    const size_t i = task.first;
    assembly_.wait_for(i);
    if (dropped_[i] || !writes()) return;
    Entry& e = entries_[i];
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
      OpenFile source(root_.get(), job_.root, plan.entry, plan.source);
      append_range(i, source, large, range, own);
      source.check_unchanged(large.version);
    }
    if (task.part + 1 == large.parts) pad(own.raw, e.size);
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
    draft.table.entries.reserve(entries_.size());
    PrefixList prefixes(draft.table.prefixes);
    for (size_t i = 0; i < entries_.size(); ++i) {
      Entry& e = entries_[i];
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

  const PackJob& job_;
  Progress progress_;
  Fd root_;
  std::vector<Entry> entries_;
  std::vector<Studied> studied_;
  std::vector<uint8_t> dropped_;
  std::vector<size_t> companions_;  // of each entry: the one that decides whether it is left out, or kNone
  std::vector<Large> large_;
  std::vector<Task> tasks_;
  std::mutex guard_;
  std::vector<std::string> by_path_;
  Assembly assembly_;
};

}  // namespace

Packed pack(const PackJob& job, Progress progress) {
  check(job);
  return Packing(job, progress).run();
}

}  // namespace cd
