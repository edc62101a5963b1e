// Entries → the frames of an archive, in one pass: every small file is opened and read once, hashed, brought into the form in which it is
// stored, and compressed together with its neighbours. What is generated afterwards is appended by seal.cc.
#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <unordered_map>
#include "assembly.h"
#include "draft.h"
#include "frames.h"
#include "study.h"
#include "tar.h"
#include "team.h"

namespace cd {
namespace {

// A frame to make: entries [first, last), or part `part` of `parts` of the large file `first`.
struct Task { size_t first = 0, last = 0, part = 0, parts = 0; };

class Packing {
 public:
  Packing(const PackJob& job, Progress progress)
      : job_(job), progress_(progress), entries_(job.entries.size()), studied_(job.entries.size()), dropped_(job.entries.size(), 0),
        cuts_(job.entries.size()), assembly_(job.output, true, 0, {}) {
    root_ = open(job.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_ < 0) throw Failure::system("open", job.root);
    assembly_.expect_entries(entries_.size());
    for (size_t i = 0; i < entries_.size(); ++i) {
      entries_[i] = job.entries[i].entry;
      if (job.entries[i].in_memory) entries_[i].size = job.entries[i].data.size;
    }
    plan();
    find_companions();
  }
  ~Packing() { close(root_); }

  Packed run() {
    progress_.expect(entries_.size());
    // Large files are studied first, so that no thread stands and waits for one whose parts come next.
    run_team(large_.size() + tasks_.size(), job_.threads, [this] {
      auto own = std::make_shared<Worker>(job_);
      return [this, own](size_t i) {
        try {
          if (i < large_.size()) study_large(large_[i]);
          else make_frame(tasks_[i - large_.size()], i - large_.size(), *own);
        } catch (...) {
          assembly_.fail(std::current_exception());
          throw;
        }
      };
    });
    Packed packed = result();
    assembly_.keep();
    return packed;
  }

 private:
  struct Worker {
    explicit Worker(const PackJob& job) : compressor(job.level) {}
    Compressor compressor;
    std::string content, raw, packed;
  };

  bool is_file(size_t i) const { return entries_[i].kind == Kind::file; }
  bool is_large(size_t i) const { return is_file(i) && entries_[i].size > job_.frame_bytes; }

  // Cuts by planned sizes alone, so that the frames do not depend on the threads.
  void plan() {
    uint64_t size = 0;
    size_t first = 0;
    const auto flush = [&](size_t end) {
      if (end > first) tasks_.push_back({first, end, 0, 0});
      first = end;
      size = 0;
    };
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (is_large(i)) {
        flush(i);
        const size_t parts = static_cast<size_t>((entries_[i].size + job_.frame_bytes - 1) / job_.frame_bytes);
        for (size_t part = 0; part < parts; ++part) tasks_.push_back({i, i + 1, part, parts});
        large_.push_back(i);
        first = i + 1;
        continue;
      }
      const uint64_t member = 512 + (is_file(i) ? entries_[i].size + tar_padding(entries_[i].size) : 0);
      if (size > 0 && size + member > job_.frame_bytes) flush(i);
      size += member;
    }
    flush(entries_.size());
  }

  void find_companions() {
    std::unordered_map<std::string, size_t> numbers;
    for (size_t i = 0; i < entries_.size(); ++i)
      if (!job_.entries[i].unless_rewritten.empty()) numbers.emplace(job_.entries[i].unless_rewritten, SIZE_MAX);
    if (numbers.empty()) return;
    companions_.assign(entries_.size(), SIZE_MAX);
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (!job_.entries[i].unless_rewritten.empty()) companions_[i] = numbers[job_.entries[i].unless_rewritten];
      const auto found = numbers.find(entries_[i].path);
      if (found != numbers.end()) found->second = i;
    }
  }

  // Waits, where it must, until the entry on which this one depends is decided: that one stands earlier, so some thread is at it.
  bool is_dropped(size_t i) {
    if (companions_.empty() || companions_[i] == SIZE_MAX) return false;
    assembly_.wait_for(companions_[i]);
    return !studied_[companions_[i]].spots.empty();
  }

  std::unique_ptr<Source> open_source(size_t i) const {
    const PackEntry& e = job_.entries[i];
    if (e.in_memory) return std::make_unique<Memory>(e.data.data, e.data.size);
    return std::make_unique<OpenFile>(root_, job_.root, e.entry, static_cast<size_t>(job_.frame_bytes));
  }

  void settle(size_t i, Studied studied) {
    progress_.add(1, entries_[i].size);
    entries_[i].size = studied.size;
    entries_[i].sha256 = studied.sha256;
    studied_[i] = std::move(studied);
    assembly_.decide(i);
  }

  void study_large(size_t i) {
    progress_.check();
    if (is_dropped(i)) {
      dropped_[i] = 1;
      cuts_[i] = {0};
      return assembly_.decide(i);
    }
    const std::unique_ptr<Source> source = open_source(i);
    const uint64_t planned = entries_[i].size;
    Studied studied = study(*source, job_.entries[i], job_.prefixes, job_.marker);
    if (const auto* file = dynamic_cast<const OpenFile*>(source.get())) file->check_unchanged();
    cut(i, studied, static_cast<size_t>((planned + job_.frame_bytes - 1) / job_.frame_bytes));
    settle(i, std::move(studied));
  }

  // Where the parts of a large file begin in its stored content: never inside a stretch that must stay whole.
  void cut(size_t i, const Studied& s, size_t parts) {
    std::vector<uint64_t>& cuts = cuts_[i];
    for (size_t part = 0; part < parts; ++part) {
      uint64_t at = std::min(s.size, part * job_.frame_bytes);
      const auto after = std::upper_bound(s.solid.begin(), s.solid.end(), at, [](uint64_t v, const Range& r) { return v < r.end; });
      if (after != s.solid.end() && after->begin < at) at = after->end;
      cuts.push_back(at);
    }
    cuts.push_back(s.size);
  }

  void make_frame(const Task& task, size_t number, Worker& own) {
    progress_.check();
    own.raw.clear();
    if (task.parts > 0) append_part(task, number, own.raw);
    else
      for (size_t i = task.first; i < task.last; ++i) append_member(i, number, own);
    if (job_.output.empty()) return;
    own.packed.clear();
    if (!own.raw.empty()) own.compressor.compress(own.raw.data(), own.raw.size(), own.packed);
    assembly_.put(number, std::move(own.packed), static_cast<uint32_t>(own.raw.size()));
    own.packed = {};
  }

  void append_member(size_t i, size_t number, Worker& own) {
    Entry& e = entries_[i];
    if (e.kind != Kind::file) {
      own.raw += tar_header(e);
      progress_.add(1, 0);
      return assembly_.decide(i);
    }
    if (is_dropped(i)) {
      dropped_[i] = 1;
      return assembly_.decide(i);
    }
    const PackEntry& plan = job_.entries[i];
    Bytes bytes = plan.data;
    if (!plan.in_memory) {
      OpenFile(root_, job_.root, e, static_cast<size_t>(job_.frame_bytes)).read_all(own.content);
      bytes = {reinterpret_cast<const uint8_t*>(own.content.data()), own.content.size()};
    }
    Memory source(bytes.data, bytes.size);
    Studied studied = study(source, plan, job_.prefixes, job_.marker);
    if (!job_.output.empty()) {
      e.size = studied.size;
      own.raw += tar_header(e);
      e.frame = static_cast<uint32_t>(number);
      e.offset = own.raw.size();
      render(source, studied.edits, {0, studied.size}, own.raw);
      own.raw.append(static_cast<size_t>(tar_padding(studied.size)), '\0');
    }
    settle(i, std::move(studied));
  }

  void append_part(const Task& task, size_t number, std::string& raw) {
    const size_t i = task.first;
    assembly_.wait_for(i);
    if (dropped_[i] || job_.output.empty()) return;
    Entry& e = entries_[i];
    if (task.part == 0) {
      raw += tar_header(e);
      e.frame = static_cast<uint32_t>(number);
      e.offset = raw.size();
    }
    const std::unique_ptr<Source> source = open_source(i);
    render(*source, studied_[i].edits, {cuts_[i][task.part], cuts_[i][task.part + 1]}, raw);
    if (task.part + 1 == task.parts) {
      raw.append(static_cast<size_t>(tar_padding(e.size)), '\0');
      if (const auto* file = dynamic_cast<const OpenFile*>(source.get())) file->check_unchanged();
    }
  }

  Packed result() {
    Packed packed;
    Draft draft;
    PrefixList prefixes(draft.table.prefixes);
    for (size_t i = 0; i < entries_.size(); ++i) {
      Entry& e = entries_[i];
      Studied& s = studied_[i];
      if (dropped_[i]) {
        packed.outcomes.push_back({e.path, State::unknown, 0, {}, {}, 0, 0, true});
        continue;
      }
      for (Spot& spot : s.spots) spot.refers = prefixes.number(spot.refers == kPlaceholder ? job_.entries[i].placeholder : job_.prefixes[spot.refers]);
      e.spots = s.spots;
      if (is_file(i) && !job_.output.empty()) e.frame = assembly_.index_of(e.frame);
      if (is_file(i)) {
        packed.bytes += e.size;
        const bool plain = s.state == State::proven && s.spots.empty() && s.kept_prefix + s.kept_placeholder == 0;
        if (!plain) packed.outcomes.push_back({e.path, s.state, e.size, e.sha256, std::move(s.spots), s.kept_prefix, s.kept_placeholder, false});
      }
      draft.table.entries.push_back(std::move(e));
    }
    packed.entries = draft.table.entries.size();
    packed.prefixes = draft.table.prefixes;
    if (!job_.output.empty()) {
      draft.frames = assembly_.frames();
      draft.position = assembly_.position();
      packed.draft = encode_draft(draft);
    }
    return packed;
  }

  const PackJob& job_;
  Progress progress_;
  int root_ = -1;
  std::vector<Entry> entries_;
  std::vector<Studied> studied_;
  std::vector<uint8_t> dropped_;
  std::vector<std::vector<uint64_t>> cuts_;
  std::vector<size_t> companions_;  // of each entry: the entry that decides whether it is left out, SIZE_MAX: none
  std::vector<size_t> large_;
  std::vector<Task> tasks_;
  Assembly assembly_;
};

}  // namespace

Packed pack(const PackJob& job, Progress progress) { return Packing(job, progress).run(); }

}  // namespace cd
