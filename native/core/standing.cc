#include "standing.h"
#include <unistd.h>
#include <algorithm>
#include <climits>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include "parts.h"
#include "table.h"
#include "team.h"

namespace cd {
namespace {

constexpr size_t kNamed = 5;  // files that an error names

std::string_view parent_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == path.npos ? std::string_view() : path.substr(0, slash);
}

// What is wrong with a file or link of the tree; empty: nothing.
std::string fault_of(Walker& walker, const Entry& entry) {
  struct stat st;
  Walker::Place place;
  try {
    place = walker.at(entry.path);
  } catch (const Failure& failure) { return failure.what(); }
  if (::fstatat(place.directory, place.name, &st, AT_SYMLINK_NOFOLLOW) != 0) return std::strerror(errno);
  if (entry.kind == Kind::symlink) {
    if (!S_ISLNK(st.st_mode)) return "is no link";
    char target[PATH_MAX];
    const ssize_t n = ::readlinkat(place.directory, place.name, target, sizeof target);
    if (n < 0) return std::strerror(errno);
    return std::string_view(target, static_cast<size_t>(n)) == entry.target ? "" : "leads elsewhere";
  }
  if (!S_ISREG(st.st_mode)) return "is no file";
  if (entry.kind == Kind::hardlink) return st.st_nlink > 1 ? "" : "is a file of its own";
  return unlike(st, entry);
}

}  // namespace

Standing::Standing(const Deployed& base, const ExtractJob& job, Table& table, std::vector<char>& done)
    : base_(base), job_(job), table_(table), done_(done), matches_(same_paths(base.table.entries, table.entries)),
      met_(base.table.entries.size()) {
  if (base.table.prefixes.back() != job.prefix)
    throw Failure("NOT_A_DEPLOYMENT", base.root.path() + " was deployed to " + base.table.prefixes.back(),
                  base.root.path());
  for (const uint32_t match : matches_)
    if (match != kUnmet) met_[match] = 1;
  // Those with the hashes of others stay only where these do.
  std::vector<size_t> with_digests;
  for (size_t i = 0; i < matches_.size(); ++i) {
    const Entry& entry = table_.entries[i];
    if (matches_[i] == kUnmet || entry.kind == Kind::directory) continue;
    if (has_digests(entry))
      with_digests.push_back(i);
    else
      done_[i] = stays(entry, old()[matches_[i]]);
  }
  for (const size_t i : with_digests) done_[i] = stays(table_.entries[i], old()[matches_[i]]);
  keep_families();
  for (size_t i = 0; i < matches_.size(); ++i) {
    Entry& entry = table_.entries[i];
    if (!done_[i] || entry.spots.empty()) continue;
    const Entry& its = old()[matches_[i]];
    entry.has_deployed = its.has_deployed;
    entry.deployed_size = its.deployed_size;
    entry.deployed_sha256 = its.deployed_sha256;
  }
  choose_folders();
}

bool Standing::stays(const Entry& entry, const Entry& its) const {
  if (its.kind != entry.kind || its.mtime != entry.mtime) return false;
  if (entry.kind != Kind::file) return its.target == entry.target;
  return its.mode == entry.mode && its.size == entry.size && its.sha256 == entry.sha256 && same_spots(entry, its);
}

bool Standing::same_spots(const Entry& entry, const Entry& its) const {
  const auto same = [&](const Spot& a, const Spot& b) {
    if (a.encoding != b.encoding || a.offset != b.offset || a.slot != b.slot) return false;
    if (a.encoding == Encoding::digest) return done_[a.refers] && matches_[a.refers] == b.refers;
    return table_.prefixes[a.refers] == base_.table.prefixes[b.refers];
  };
  return std::equal(entry.spots.begin(), entry.spots.end(), its.spots.begin(), its.spots.end(), same);
}

// A file and all its names stay together, or are written together.
void Standing::keep_families() {
  std::unordered_set<std::string_view> broken;
  for (size_t i = 0; i < matches_.size(); ++i)
    if (const Entry& entry = table_.entries[i]; entry.kind == Kind::hardlink && !done_[i]) broken.insert(entry.target);
  for (size_t i = 0; i < matches_.size(); ++i) {
    const Entry& entry = table_.entries[i];
    if (entry.kind == Kind::file && !broken.empty() && broken.count(entry.path)) done_[i] = 0;
    if (entry.kind == Kind::file && !done_[i]) broken.insert(entry.path);
  }
  for (size_t i = 0; i < matches_.size(); ++i)
    if (const Entry& entry = table_.entries[i]; entry.kind == Kind::hardlink && broken.count(entry.target))
      done_[i] = 0;
}

// In the stage only those stand that hold something, and new ones.
void Standing::choose_folders() {
  std::unordered_set<std::string_view> wanted;
  for (size_t i = table_.entries.size(); i-- > 0;) {  // parents stand before what they hold
    const Entry& entry = table_.entries[i];
    if (entry.kind == Kind::directory) {
      const bool is_new = matches_[i] == kUnmet || old()[matches_[i]].kind != Kind::directory;
      done_[i] = !is_new && !wanted.count(entry.path);
    }
    if (!done_[i]) wanted.insert(parent_of(entry.path));
  }
}

void Standing::check() const {
  std::vector<char> kept(old().size());
  for (size_t i = 0; i < matches_.size(); ++i)
    if (matches_[i] != kUnmet) kept[matches_[i]] = done_[i];
  Walker walker(base_.root);
  std::string named;
  size_t count = 0;
  for (size_t i = 0; i < old().size(); ++i) {
    if (kept[i] || old()[i].kind == Kind::directory) continue;
    const std::string why = fault_of(walker, old()[i]);
    if (!why.empty() && count++ < kNamed) named += (count > 1 ? ", " : "") + old()[i].path + " (" + why + ")";
  }
  if (count > kNamed) named += " and " + std::to_string(count - kNamed) + " more";
  if (count > 0)
    throw Failure("VERIFY_FAILED", base_.root.path() + " is not as it was deployed: " + named, base_.root.path());
}

Difference Standing::difference() const {
  Difference result;
  std::unordered_set<std::string_view> touched, filled;
  const auto touch = [&](std::string_view path) { touched.insert(parent_of(path)); };
  std::string_view last;  // neighbours share theirs
  for (const Entry& entry : table_.entries)
    if (const std::string_view parent = parent_of(entry.path); parent != last) filled.insert(last = parent);
  for (size_t i = 0; i < table_.entries.size(); ++i) {
    const Entry& entry = table_.entries[i];
    if (done_[i]) {
      result.kept += entry.kind != Kind::directory;
      continue;
    }
    const bool is_folder = entry.kind == Kind::directory;
    if (is_folder && (matches_[i] != kUnmet && old()[matches_[i]].kind == Kind::directory)) continue;
    touch(entry.path);
    if (is_folder) touched.insert(entry.path);
    if (!is_folder)
      result.incoming.push_back(entry.path);
    else if (!filled.count(entry.path))
      result.empty.push_back(entry.path);
  }
  for (size_t i = 0; i < matches_.size(); ++i) {
    if (matches_[i] == kUnmet || done_[i]) continue;
    const Entry& its = old()[matches_[i]];
    if (its.kind != Kind::directory)
      result.outgoing.push_back(its.path);
    else if (table_.entries[i].kind != Kind::directory)
      touched.insert(its.path);
  }
  for (size_t i = 0; i < old().size(); ++i) {
    if (met_[i]) continue;
    touch(old()[i].path);
    if (old()[i].kind != Kind::directory) {
      result.outgoing.push_back(old()[i].path);
    } else {
      touched.insert(old()[i].path);
      result.emptied.push_back(old()[i].path);
    }
  }
  const auto folder = [](const Entry& entry) { return ChangedFolder{entry.path, entry.mode, entry.mtime}; };
  for (const Entry& entry : old())
    if (entry.kind == Kind::directory && touched.count(entry.path)) result.before.push_back(folder(entry));
  for (size_t i = 0; i < table_.entries.size(); ++i) {
    const Entry& entry = table_.entries[i];
    if (entry.kind != Kind::directory) continue;
    const Entry* its = matches_[i] == kUnmet ? nullptr : &old()[matches_[i]];
    const bool other = its && (its->mode != entry.mode || its->mtime != entry.mtime);
    if (touched.count(entry.path) || other) result.after.push_back(folder(entry));
    if (other && its->kind == Kind::directory && !touched.count(entry.path)) result.before.push_back(folder(*its));
  }
  return result;
}

}  // namespace cd
