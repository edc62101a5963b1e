// An archive against itself: every frame decoded (its checksum), every file's SHA-256, what stands at every spot, and
// the tar members against the entry table, so that an ordinary tar extracts the same tree.
#include <algorithm>
#include <memory>
#include <numeric>
#include <string_view>
#include <unordered_map>
#include "ahead.h"
#include "faults.h"
#include "frames.h"
#include "members.h"
#include "parts.h"
#include "sha256.h"
#include "tar.h"
#include "team.h"

namespace cd {
namespace {

class ArchiveCheck {
 public:
  ArchiveCheck(const VerifyJob& job, const Archive& archive, const Table& table, Progress progress)
      : job_(job), archive_(archive), table_(table), entries_(table.entries), progress_(progress),
        parts_(parts_of(table, archive.frames())), runs_(parts_.size()) {
    for (size_t i = 0; i < entries_.size(); ++i) numbers_.emplace(entries_[i].path, i);
    for (const auto& parts : parts_)
      for (const Part& part : parts)
        if (!whole(part, entries_[part.entry])) divided_.emplace(part.entry, std::make_unique<Divided>());
  }

  Verified run() {
    progress_.expect(entries_.size());
    std::vector<uint32_t> all(parts_.size());
    std::iota(all.begin(), all.end(), 0u);
    Ahead ahead(archive_, all, job_.threads);
    run_team(parts_.size(), job_.threads, [&] {
      struct Own {
        Decompressor decompressor;
        Room packed, plain;
      };
      auto own = std::make_shared<Own>();
      return [&, own](size_t i) {
        try {
          progress_.check();
          frame(i, ahead, own->decompressor, own->packed, own->plain);
        } catch (...) {
          for (auto& file : divided_) file.second->turns.give_up();
          throw;
        }
      };
    });
    check_order();
    return {entries_.size(), bytes_, faults_.take()};
  }

 private:
  struct Divided {  // a file in several frames; belongs to the part whose turn it is
    Turns turns;
    Sha256 hash;
    bool broken = false;
  };
  struct Run {  // the entries whose members stand in a frame
    bool known = false;
    size_t first = 0, count = 0;
  };

  void frame(size_t i, Ahead& ahead, Decompressor& decompressor, Room& packed, Room& plain) {
    std::string error;
    try {
      ahead.read(i, decompressor, packed, plain);
    } catch (const Failure& failure) {
      error = failure.what();
      if (parts_[i].empty()) faults_.add("", "unreadable", "frame " + std::to_string(i), error);
    }
    if (error.empty()) {
      try {
        members(i, plain);
      } catch (const Failure& failure) {  // contents are compared all the same
        const std::string path = parts_[i].empty() ? "" : entries_[parts_[i][0].entry].path;
        faults_.add(path, "unreadable", "the tar headers of frame " + std::to_string(i), failure.what());
      }
    }
    for (const Part& part : parts_[i]) {
      const Entry& entry = entries_[part.entry];
      const auto* data = reinterpret_cast<const uint8_t*>(plain.data()) + part.offset;
      if (!error.empty())
        faults_.add(entry.path, "unreadable", "frame " + std::to_string(i), error);
      else
        spots(part, entry, data);
      if (whole(part, entry)) {
        if (error.empty()) compare(entry, sha256(data, part.size));
        progress_.add(1, part.size);
      } else {
        divided(part, entry, data, !error.empty());
      }
      bytes_ += part.size;
    }
  }

  void divided(const Part& part, const Entry& entry, const uint8_t* data, bool broken) {
    Divided& file = *divided_.at(part.entry);
    if (!file.turns.wait(part.number)) return;
    file.broken = file.broken || broken;
    if (!file.broken) file.hash.update(data, part.size);
    if (last(part, entry) && !file.broken) compare(entry, file.hash.finish());
    file.turns.pass();
    progress_.add(last(part, entry) ? 1 : 0, part.size);
  }

  void compare(const Entry& entry, const Digest& found) {
    if (found != entry.sha256) faults_.add(entry.path, "content", hex(entry.sha256), hex(found));
  }

  // A prefix of one byte fits every slot: rewriting with it fails only when the stored bytes are not what the spots
  // say.
  void spots(const Part& part, const Entry& entry, const uint8_t* data) {
    const SpotRange range = spots_in(part, entry);
    if (range.count == 0) return;
    const std::vector<std::string> digests(range.count, std::string(64, '0'));
    Rewriting done;
    try {
      rewrite_spots(data, part.size, part.base, range.first, range.count, table_.prefixes, "/", digests, done);
    } catch (const Failure& failure) {
      faults_.add(entry.path, "content", "prefixes where the spots say", failure.what());
    }
  }

  void members(size_t i, const Room& plain) {
    size_t from = 0;
    if (!parts_[i].empty() && parts_[i][0].number > 0) {  // goes on from the frame before
      const Part& part = parts_[i][0];
      from = part.offset + part.size;
      if (last(part, entries_[part.entry])) from += tar_padding(entries_[part.entry].size);
    }
    bool end = false;
    std::vector<Member> members = read_members(plain.data(), plain.size(), from, end);
    if (end != (i + 1 == parts_.size()))
      throw Failure("ARCHIVE_CORRUPT", end ? "the tar ends before its last frame" : "the tar has no end");
    take_root_off(members, i == 0);
    Run& run = runs_[i];
    run.known = true;
    if (members.empty()) return;  // nothing but a part of a large file
    const auto first = numbers_.find(members[0].path);
    if (first == numbers_.end()) return unknown(run, members[0].path);
    run.first = first->second;
    for (const Member& member : members) {
      const size_t number = run.first + run.count;
      if (number >= entries_.size() || entries_[number].path != member.path) return unknown(run, member.path);
      ++run.count;
      member_of(entries_[number], member, i);
    }
  }

  // Names in the tar lie beneath the folder that the table names; the table's do not. The tar begins with that folder.
  void take_root_off(std::vector<Member>& members, bool first) const {
    if (table_.root.empty()) return;
    const std::string root = table_.root + '/';
    if (first) {
      const auto is_root = [&](const Member& m) {
        return m.kind == Kind::directory && root.compare(0, m.path.size() + 1, m.path + '/') == 0;
      };
      members.erase(members.begin(), std::find_if_not(members.begin(), members.end(), is_root));
    }
    for (Member& member : members)
      for (std::string* name : {&member.path, &member.target}) {
        if (name == &member.target && member.kind != Kind::hardlink) continue;
        if (name->compare(0, root.size(), root) != 0)
          throw Failure("ARCHIVE_CORRUPT", *name + " lies outside of " + table_.root, *name);
        name->erase(0, root.size());
      }
  }

  void unknown(Run& run, const std::string& path) {
    run.known = false;
    faults_.add(path, "extra", "the next entry of the table", "a member of the tar");
  }

  void member_of(const Entry& e, const Member& m, size_t frame) {
    if (m.kind != e.kind) return faults_.add(e.path, "type", name_of(e.kind), name_of(m.kind));
    if (e.kind == Kind::file && m.size != e.size)
      return faults_.add(e.path, "size", std::to_string(e.size), std::to_string(m.size));
    if (m.target != e.target) return faults_.add(e.path, "target", e.target, m.target);
    // A hard link has the mode of its file, and Linux gives symbolic links none.
    if ((e.kind == Kind::file || e.kind == Kind::directory) && m.mode != e.mode)
      faults_.add(e.path, "mode", octal(e.mode), octal(m.mode));
    if (e.kind != Kind::file) return progress_.add(1, 0);
    if (e.frame != frame || e.offset != m.content)
      faults_.add(e.path, "content", "frame " + std::to_string(e.frame) + ", byte " + std::to_string(e.offset),
                  "frame " + std::to_string(frame) + ", byte " + std::to_string(m.content));
  }

  // No member is missing between two frames that could be read.
  void check_order() {
    bool known = true;
    size_t next = 0;
    const auto expect = [&](size_t found) {
      if (known && found != next && next < entries_.size())
        faults_.add(entries_[next].path, "missing", "a member of the tar", "nothing");
    };
    for (const Run& run : runs_) {
      if (run.known && run.count == 0) continue;
      if (run.known) expect(run.first);
      known = run.known;
      next = run.first + run.count;
    }
    expect(entries_.size());
  }

  const VerifyJob& job_;
  const Archive& archive_;
  const Table& table_;
  const std::vector<Entry>& entries_;
  Progress progress_;
  std::vector<std::vector<Part>> parts_;
  std::vector<Run> runs_;
  std::unordered_map<std::string_view, size_t> numbers_;
  std::unordered_map<uint32_t, std::unique_ptr<Divided>> divided_;
  std::atomic<uint64_t> bytes_{0};
  Faults faults_;
};

}  // namespace

Verified verify_archive(const VerifyJob& job, Progress progress) {
  const std::unique_ptr<Archive> archive = Archive::open(job.index);
  if (!archive) throw Failure("ARCHIVE_UNKNOWN", job.index + ": not an archive of conda-deploy", job.index);
  const Table table = archive->table();
  return ArchiveCheck(job, *archive, table, progress).run();
}

}  // namespace cd
