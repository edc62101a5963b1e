// Completes what pack.cc began: generated entries, the end of the tar, the entry table, the summary, the seek table.
#include <algorithm>
#include <iterator>
#include <unordered_map>
#include "assembly.h"
#include "codec.h"
#include "draft.h"
#include "frames.h"
#include "sha256.h"
#include "study.h"
#include "table.h"
#include "tar.h"
#include "tasks.h"
#include "team.h"

namespace cd {
namespace {

constexpr size_t kDigits = 64;

// Generated entries are few: one thread makes their frames, all compress them. Their contents are copied one at a time.
class Sealing {
 public:
  Sealing(const SealJob& job, Progress progress)
      : job_(job), progress_(progress), draft_(decode_draft(job.draft)),
        assembly_(job.output, Assembly::Output::append, draft_.position, draft_.frames, 0, job.threads, job.descriptor),
        table_prefixes_(draft_.table.head().prefixes), prefixes_(table_prefixes_),
        table_(draft_.table.head().root, table_prefixes_), made_before_(read_draft()),
        marks_(job.entries.size(), Mark::open), contents_(job.entries.size()) {
    entries_.reserve(job.entries.size());
    for (const PackEntry& e : job.entries) {
      if (e.entry.kind == Kind::file && !e.in_memory && !(e.spooled && job.spool >= 0))
        throw Failure("INVALID_OPTION", "seal: " + e.entry.path + " has no content", e.entry.path);
      numbers_.emplace(e.entry.path, static_cast<uint32_t>(made_before_ + entries_.size()));
      entries_.push_back(e.entry);
      total_ += planned(e);
    }
    left_ = total_;
  }

  Sealed run() {
    progress_.expect(job_.entries.size());
    for (size_t i = 0; i < job_.entries.size(); ++i) {
      complete(i);
      append_member(i);
      if (frames_.size() >= job_.threads) write_frames(false);
    }
    for (const Entry& e : entries_) table_.add(e);
    flush();
    if (frames_.empty()) frames_.emplace_back();
    frames_.back().append(kTarEnd, '\0');
    write_frames(true);
    return write_index();
  }

 private:
  enum class Mark : uint8_t { open, busy, complete };
  using Digests = std::vector<std::pair<uint64_t, std::string>>;

  // Compresses and writes what there is. The table says where entries stand in the frames, not where these stand in the file: it is packed
  // beside the last of them, and first.
  void write_frames(bool last) {
    run_team(last + frames_.size(), job_.threads, [&] {
      const std::shared_ptr<Encoder> encoder = Encoder::make(job_.codec, job_.level);
      return [this, last, encoder, packed = std::make_shared<Room>()](size_t task) {
        try {
          progress_.check();
          if (last && task == 0) return pack_table();
          const std::string& frame = frames_[task - last];
          encoder->encode(frame.data(), frame.size(), *packed);
          assembly_.put(written_ + task - last, *packed, static_cast<uint32_t>(frame.size()));
        } catch (...) {
          assembly_.fail(std::current_exception());
          throw;
        }
      };
    });
    written_ += frames_.size();
    frames_.clear();
  }

  Entry& entry(size_t i) { return entries_[i]; }
  static uint64_t planned(const PackEntry& e) { return e.spooled ? e.entry.size : e.data.size; }

  // What is packed already, of which no more is kept than others may ask for.
  size_t read_draft() {
    size_t count = 0;
    for (Entry e; draft_.table.next(e); ++count) {
      table_.pass(e);
      hashes_.push_back(e.sha256);
      has_spots_.push_back(!e.spots.empty());
      if (e.kind == Kind::hardlink) shared_.emplace(static_cast<uint32_t>(count), table_.find(e.target));
    }
    return count;
  }

  void find_text_spots(size_t i, Digests& digests) {
    if (job_.entries[i].policy == Policy::report) return;
    std::vector<Spot>& spots = entry(i).spots;
    const auto* content = reinterpret_cast<const uint8_t*>(contents_[i].data());
    struct Hit {
      Spot spot;
      size_t length;
    };
    std::vector<Hit> hits;
    for (const std::string& prefix : job_.prefixes)
      for (const Spot& s : find_text(content, contents_[i].size(), prefix, true)) {
        hits.push_back({s, prefix.size()});
        hits.back().spot.refers = static_cast<uint32_t>(&prefix - job_.prefixes.data());
      }
    std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) {
      return a.spot.offset < b.spot.offset || (a.spot.offset == b.spot.offset && a.length > b.length);
    });
    uint64_t free = 0;
    for (Hit& h : hits) {
      if (h.spot.offset < free) continue;
      free = h.spot.offset + h.length;
      if (job_.dest.empty()) h.spot.refers = prefixes_.number(job_.prefixes[h.spot.refers]);
      spots.push_back(h.spot);
    }
    if (!job_.dest.empty() && !spots.empty()) put_dest(i, digests);
  }

  // The prefix that is asked for takes the place of those that were found: offsets move, those of digests too.
  void put_dest(size_t i, Digests& digests) {
    std::string& content = contents_[i];
    std::vector<Spot>& spots = entry(i).spots;
    std::string out;
    size_t at = 0;
    std::vector<std::pair<uint64_t, int64_t>> shifts;  // from this offset on
    for (Spot& spot : spots) {
      out.append(content, at, static_cast<size_t>(spot.offset) - at);
      at = static_cast<size_t>(spot.offset) + job_.prefixes[spot.refers].size();
      spot.offset = out.size();
      spot.refers = prefixes_.number(job_.dest);
      out += job_.dest;
      shifts.emplace_back(at, static_cast<int64_t>(out.size()) - static_cast<int64_t>(at));
    }
    content = out.append(content, at, std::string::npos);
    for (auto& digest : digests) {
      const auto next = std::upper_bound(shifts.begin(), shifts.end(), digest.first,
                                         [](uint64_t offset, const auto& shift) { return offset < shift.first; });
      if (next != shifts.begin()) digest.first += static_cast<uint64_t>(std::prev(next)->second);
    }
  }

  // What is known of the file entry that is meant by its path, or that of a hard link to it.
  struct Meant {
    uint32_t number;
    Digest sha256;
    bool has_spots;
  };

  Meant file_named(const std::string& path, const Entry& by) {
    const uint32_t before = table_.find(path);
    if (const auto made = numbers_.find(path); before == Rules::kNone && made != numbers_.end()) {
      const size_t i = made->second - made_before_;
      const Entry& e = entries_[i];
      if (e.kind == Kind::hardlink && e.target != path) return file_named(e.target, by);
      if (e.kind == Kind::file) {
        complete(i);
        return {made->second, e.sha256, !e.spots.empty()};
      }
    }
    const auto link = shared_.find(before);
    const uint32_t number = link == shared_.end() ? before : link->second;
    if (number == Rules::kNone || table_.kind(number) != Kind::file)
      throw Failure("INVALID_OPTION",
                    "seal: " + by.path + " asks for the digest of '" + path + "', which is no file of the archive",
                    path);
    return {number, hashes_[number], has_spots_[number]};
  }

  // Writes the digests which an entry asks for, and its own hash. A file that is stored as it will be deployed has its hash written now;
  // that of one with spots is known only at its target, and becomes a spot.
  void complete(size_t i) {
    Entry& e = entry(i);
    if (e.kind != Kind::file || marks_[i] == Mark::complete) return;
    if (marks_[i] == Mark::busy)
      throw Failure("INVALID_OPTION", "seal: " + e.path + " asks for its own digest", e.path);
    marks_[i] = Mark::busy;
    const PackEntry& plan = job_.entries[i];
    if (plan.spooled) {
      contents_[i].resize(static_cast<size_t>(plan.entry.size));
      read_at(job_.spool, &contents_[i][0], contents_[i].size(), plan.spool_offset, "the spool");
    } else {
      contents_[i].assign(reinterpret_cast<const char*>(plan.data.data), plan.data.size);
    }
    Digests digests = plan.digests;
    find_text_spots(i, digests);
    for (const auto& [offset, path] : digests) {
      if (offset > contents_[i].size() || contents_[i].size() - offset < kDigits)
        throw Failure("INVALID_OPTION", "seal: a digest of " + e.path + " lies outside its content", e.path);
      const Meant meant = file_named(path, e);
      if (meant.has_spots) e.spots.push_back({Encoding::digest, offset, meant.number, 0});
      // With a prefix in place, what is stored is what will be deployed there.
      const bool known = !meant.has_spots || !job_.dest.empty();
      contents_[i].replace(static_cast<size_t>(offset), kDigits, known ? hex(meant.sha256) : std::string(kDigits, '0'));
    }
    std::sort(e.spots.begin(), e.spots.end(), [](const Spot& a, const Spot& b) { return a.offset < b.offset; });
    e.size = contents_[i].size();
    e.sha256 = sha256(contents_[i].data(), contents_[i].size());
    marks_[i] = Mark::complete;
  }

  void append_member(size_t i) {
    Entry& e = entry(i);
    std::string& content = contents_[i];
    if (raw_.empty()) limit_ = frame_limit(job_.frame_bytes, total_, left_);
    if (e.size > job_.frame_bytes || raw_.size() + e.size > limit_) flush();
    if (raw_.empty())
      raw_.reserve(static_cast<size_t>(job_.frame_bytes));  // growing step by step would take twice that
    left_ -= planned(job_.entries[i]);
    raw_ += tar_header(e, draft_.table.head().root);
    if (e.kind == Kind::file) {
      e.frame = static_cast<uint32_t>(draft_.frames.size() + written_ + frames_.size());
      e.offset = raw_.size();
      const size_t parts =
          static_cast<size_t>(std::max<uint64_t>(1, (e.size + job_.frame_bytes - 1) / job_.frame_bytes));
      const std::vector<uint64_t> cuts = cut(e.size, parts, solid_of(e));
      for (size_t part = 0; part < parts; ++part) {
        if (part > 0) flush();
        raw_.append(content, static_cast<size_t>(cuts[part]), static_cast<size_t>(cuts[part + 1] - cuts[part]));
        if (parts == 1 || ends_with(cuts, part)) raw_.append(static_cast<size_t>(tar_padding(e.size)), '\0');
      }
      if (parts > 1) flush();
    }
    std::string().swap(content);  // an assignment would keep what it took
    progress_.add(1, e.size);
  }

  std::vector<Range> solid_of(const Entry& e) const {
    std::vector<Range> solid;
    for (const Spot& s : e.spots)
      solid.push_back(
          {s.offset, s.offset + (s.encoding == Encoding::digest ? kDigits : table_prefixes_[s.refers].size())});
    return solid;
  }

  void flush() {
    if (!raw_.empty()) frames_.push_back(std::move(raw_));
    raw_ = {};
  }

  void pack_table() {
    summary_ = table_.counts();
    const std::string encoded = table_.finish(draft_.table.entries());
    summary_.digest = digest_of(encoded, job_.json);
    summary_.json = job_.json;
    if (job_.codec != Codec::zstd) return;
    table_bytes_ = encoded.size();
    Compressor(job_.level).compress(encoded.data(), encoded.size(), packed_table_);
  }

  Sealed write_index() {
    Sealed sealed;
    if (job_.codec == Codec::zstd) append_index(encode_summary(summary_));
    sealed.summary = std::move(summary_);
    assembly_.finish();
    sealed.packed_bytes = assembly_.position();
    sealed.frames = assembly_.frames().size();
    return sealed;
  }

  void append_index(const std::string& summary) {
    std::vector<Frame> all = assembly_.frames();
    const auto begin = [&](size_t size) { all.push_back({assembly_.position(), static_cast<uint32_t>(size), 0}); };
    const std::string sized = table_head(table_bytes_, packed_table_.size());
    begin(sized.size() + packed_table_.size());
    assembly_.append(sized);
    assembly_.append(packed_table_.data(), packed_table_.size());
    const std::string part = skippable(kSummaryMagic, summary);
    begin(part.size());
    assembly_.append(part);
    assembly_.append(seek_table(all));
  }

  const SealJob& job_;
  Progress progress_;
  Draft draft_;
  Assembly assembly_;  // removes the output whatever fails from here on
  std::vector<std::string> table_prefixes_;
  PrefixList prefixes_;  // the same
  TableWriter table_;
  std::vector<Digest> hashes_;  // of the entries made before
  std::vector<bool> has_spots_;
  std::unordered_map<uint32_t, uint32_t> shared_;  // of hard links among them: the file
  const size_t made_before_;                       // their number
  std::vector<Mark> marks_;
  std::vector<std::string> contents_;                  // of those that are complete and not appended yet
  std::vector<Entry> entries_;                         // to append
  std::unordered_map<std::string, uint32_t> numbers_;  // theirs, by path
  std::string raw_;
  uint64_t limit_ = 0;               // bytes that it holds
  uint64_t total_ = 0;               // bytes of all contents, as planned
  uint64_t left_ = 0;                // and of those that are neither in it nor before it
  std::vector<std::string> frames_;  // that wait
  size_t written_ = 0;               // frames before them
  Room packed_table_;
  uint64_t table_bytes_ = 0;  // before
  Summary summary_;
};

}  // namespace

Sealed seal(const SealJob& job, Progress progress) {
  check_frame_bytes(job.frame_bytes);
  return Sealing(job, progress).run();
}

}  // namespace cd
