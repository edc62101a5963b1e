#include "reuse.h"
#include <sys/ioctl.h>
#include <unistd.h>
#include <algorithm>
#include <memory>
#include <string_view>
#include <unordered_map>
#include "parts.h"
#include "restore.h"
#include "sha256.h"
#include "skeleton.h"
#include "team.h"

namespace cd {
namespace {

constexpr unsigned long kClone = 0x40049409;  // FICLONE of linux/fs.h
constexpr size_t kChunk = 256u << 10;
constexpr size_t kNear = 16;  // entries of the base among which the next one is likely
constexpr size_t kRun = 32;   // entries handed out at once: neighbours share their directories
// Files brought back to what was stored are held in memory, three times: of larger ones one at a time.
constexpr uint64_t kLarge = 32u << 20;

uint64_t size_of(const Entry& e) { return e.has_deployed ? e.deployed_size : e.size; }

std::string wrong_size(const struct stat& st, const Entry& entry) {
  if (static_cast<uint64_t>(st.st_size) == size_of(entry)) return "";
  return "has " + std::to_string(st.st_size) + " bytes, expected " + std::to_string(size_of(entry));
}

bool as_told(const struct stat& st, const Entry& entry) {
  return st.st_mtime == entry.mtime && ((st.st_mode ^ entry.mode) & 07555) == 0;
}

}  // namespace

std::string unlike(const struct stat& st, const Entry& entry) {
  const std::string wrong = wrong_size(st, entry);
  return wrong.empty() && !as_told(st, entry) ? "has another mode or time" : wrong;
}

// Two tables of one environment name mostly the same, in the same order: only what differs is looked for by its name.
std::vector<uint32_t> same_paths(const std::vector<Entry>& old, const std::vector<Entry>& entries) {
  std::vector<uint32_t> matches(entries.size(), kUnmet);
  std::vector<char> met(old.size());
  std::vector<uint32_t> apart;
  uint32_t next = 0;
  for (uint32_t i = 0; i < entries.size(); ++i) {
    uint32_t at = next;
    const uint32_t end = static_cast<uint32_t>(std::min<size_t>(old.size(), size_t{next} + kNear));
    while (at < end && old[at].path != entries[i].path) ++at;
    if (at == end) {
      apart.push_back(i);
    } else {
      met[matches[i] = at] = 1;
      next = at + 1;
    }
  }
  if (apart.empty()) return matches;
  std::unordered_map<std::string_view, uint32_t> numbers;
  for (uint32_t i = 0; i < old.size(); ++i)
    if (!met[i]) numbers.emplace(old[i].path, i);
  for (const uint32_t number : apart)
    if (const auto found = numbers.find(entries[number].path); found != numbers.end()) matches[number] = found->second;
  return matches;
}

struct Reuse::Refuse {
  std::string why;
};

struct Reuse::Hand {
  Hand(const Root& base, const Root& root) : from(base), to(root) {}
  Walker from, to;
  std::string parent = "/";  // of the last file; no path has this one
  bool own = false;          // nobody else can put things there
  std::vector<char> chunk = std::vector<char>(kChunk);
};

struct Reuse::Found {
  Walker::Place place;
  struct stat st;
  bool own;      // nobody else could have written or put it there
  bool as_told;  // size, mode and time are those of the base's index
};

Reuse::Reuse(const Deployed& base, const ExtractJob& job, Table& table, const Root& root, uint32_t lost,
             Progress progress, std::vector<char>& done)
    : base_(base), job_(job), table_(table), root_(root), lost_(lost), progress_(progress), done_(done),
      user_(::geteuid()), can_link_(job.share != Share::never) {
  match();
}

void Reuse::match() {
  matches_ = same_paths(base_.table.entries, table_.entries);
  for (size_t i = 0; i < matches_.size(); ++i) {
    if (matches_[i] == kUnmet) continue;
    const Entry &entry = table_.entries[i], &its = base_.table.entries[matches_[i]];
    const bool same = entry.kind == Kind::file && its.kind == Kind::file && its.size == entry.size;
    if (!same || its.sha256 != entry.sha256) matches_[i] = kUnmet;
  }
}

void Reuse::run(bool digests) {
  std::vector<uint32_t> large, wanted;
  for (uint32_t i = 0; i < matches_.size(); ++i) {
    if (matches_[i] == kUnmet || done_[i] || has_digests(table_.entries[i]) != digests) continue;
    (changes(i) && table_.entries[i].size > kChunk ? large : wanted).push_back(i);
  }
  // One by one and largest first, so that no thread is left with one at the end.
  std::stable_sort(large.begin(), large.end(),
                   [&](uint32_t a, uint32_t b) { return table_.entries[a].size > table_.entries[b].size; });
  const size_t runs = large.size() + (wanted.size() + kRun - 1) / kRun;
  run_team(runs, job_.threads, [&] {
    auto hand = std::make_shared<Hand>(base_.root, root_);
    const auto one = [this, hand](uint32_t number) {
      try {
        take(*hand, number);
        done_[number] = 1;
      } catch (const Refuse& refused) { refuse(number, refused.why); }
    };
    return [&, one](size_t run) {
      progress_.check();
      if (run < large.size()) return one(large[run]);
      const size_t begin = (run - large.size()) * kRun;
      for (size_t i = begin; i < std::min(wanted.size(), begin + kRun); ++i) one(wanted[i]);
    };
  });
}

bool Reuse::changes(uint32_t number) const {
  return !table_.entries[number].spots.empty() || !base_.table.entries[matches_[number]].spots.empty();
}

void Reuse::take(Hand& hand, uint32_t number) {
  Entry& entry = table_.entries[number];
  const Entry& old = base_.table.entries[matches_[number]];
  const Found found = look(hand, entry, old);
  if (changes(number)) {
    render(hand, entry, old, found);
  } else if (!link(hand, entry, found)) {
    copy(hand, entry, old, found);
  }
  bytes_ += size_of(entry);
  progress_.add(1, size_of(entry));
}

Reuse::Found Reuse::look(Hand& hand, const Entry& entry, const Entry& old) const {
  Found found{};
  try {
    found.place = hand.from.at(entry.path);
  } catch (const Failure& failure) { throw Refuse{failure.what()}; }
  struct stat& st = found.st;
  const std::string_view parent(entry.path.data(), static_cast<size_t>(found.place.name - entry.path.data()));
  if (hand.parent != parent) {
    if (::fstat(found.place.directory, &st) != 0) throw Refuse{std::strerror(errno)};
    hand.own = (st.st_uid == user_ || st.st_uid == 0) && !(st.st_mode & 022);
    hand.parent = parent;
  }
  if (::fstatat(found.place.directory, found.place.name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    throw Refuse{std::strerror(errno)};
  if (!S_ISREG(st.st_mode)) throw Refuse{"is no file"};
  if (const std::string wrong = wrong_size(st, old); !wrong.empty()) throw Refuse{wrong};
  found.own = hand.own && st.st_uid == user_ && !(st.st_mode & 022);
  found.as_told = as_told(st, old);
  return found;
}

bool Reuse::link(Hand& hand, const Entry& entry, const Found& found) {
  const struct stat& st = found.st;
  const bool same =
      (st.st_mode & 07777) == wanted_mode(entry) && st.st_mtim.tv_sec == entry.mtime && st.st_mtim.tv_nsec == 0;
  const bool shared = job_.share == Share::always || (job_.read_only && (st.st_mode & 0222) == 0);
  if (!can_link_ || job_.check || !found.own || !found.as_told || !same || !shared) return false;
  const Walker::Place to = hand.to.at(entry.path);
  if (::linkat(found.place.directory, found.place.name, to.directory, to.name, 0) == 0) {
    ++linked_;
    return true;
  }
  switch (errno) {
    case EXDEV:
    case EOPNOTSUPP:
    case ENOSYS: can_link_ = false; return false;
    case EMLINK:  // ext4 takes 65,000
    case EPERM: return false;
    case ENOENT:
    case ESTALE: throw Refuse{std::strerror(errno)};
    default: throw Failure::system("link", root_.full(entry.path));
  }
}

namespace {

Fd open_old(Walker::Place place) {
  Fd fd(::openat(place.directory, place.name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  return fd;
}

}  // namespace

void Reuse::copy(Hand& hand, const Entry& entry, const Entry& old, const Found& found) {
  const Fd from = open_old(found.place);
  if (!from) throw Refuse{std::strerror(errno)};
  const std::string full = root_.full(entry.path);
  const Walker::Place to = hand.to.at(entry.path);
  Fd fd = create_file(to, entry, job_.read_only, lost_, root_);
  const bool hashed = job_.check || !found.own || !found.as_told;
  const auto refuse = [&](const std::string& why) {
    fd = Fd();
    if (::unlinkat(to.directory, to.name, 0) != 0) throw Failure::system("unlink", full);
    throw Refuse{why};
  };
  const auto clone = [&] {
    if (hashed || !can_clone_) return false;
    if (::ioctl(fd.get(), kClone, from.get()) == 0) return true;
    can_clone_ = false;
    return false;
  };
  if (clone()) {
    ++cloned_;
  } else {
    char* chunk = hand.chunk.data();
    Sha256 hash;
    uint64_t size = 0;
    for (size_t n = kChunk; n == kChunk; size += n) {
      const ssize_t got = read_all_at(from.get(), chunk, kChunk, size);
      if (got < 0) refuse(std::strerror(errno));
      n = static_cast<size_t>(got);
      if (hashed) hash.update(chunk, n);
      if (!write_all(fd.get(), chunk, n)) throw Failure::system("write", full);
    }
    if (size != old.size || (hashed && hash.finish() != entry.sha256)) refuse("has another content");
    ++copied_;
  }
  finish(std::move(fd), entry);
}

void Reuse::render(Hand& hand, Entry& entry, const Entry& old, const Found& found) {
  const Fd from = open_old(found.place);
  if (!from) throw Refuse{std::strerror(errno)};
  // What is as the index tells is believed, as it is where it is linked; then only what is written has to be hashed.
  if (!job_.check && found.own && found.as_told && same_spots(entry, old) && repoint(hand, entry, old, from)) return;
  std::unique_lock<std::mutex> one(large_, std::defer_lock);
  if (entry.size > kLarge) one.lock();
  const size_t size = static_cast<size_t>(size_of(old));
  std::string deployed(size, '\0'), stored;
  const ssize_t got = read_all_at(from.get(), deployed.data(), size, 0);
  if (got < 0) throw Refuse{std::strerror(errno)};
  if (static_cast<size_t>(got) != size) throw Refuse{"became shorter"};
  if (old.spots.empty()) {
    stored = std::move(deployed);
    if (sha256(stored.data(), stored.size()) != entry.sha256) throw Refuse{"has another content"};
  } else if (!restore_spots(deployed, old, base_.table.prefixes, base_.table.prefixes.back(), base_.table.entries,
                            stored)) {
    throw Refuse{"is not what was deployed there"};
  }
  if (entry.spots.empty()) return write(hand, entry, stored.data(), stored.size());
  std::vector<std::string> digests;
  for (const Spot& spot : entry.spots) {
    if (spot.encoding != Encoding::digest) continue;
    const Entry& meant = table_.entries[spot.refers];
    digests.push_back(hex(meant.has_deployed ? meant.deployed_sha256 : meant.sha256));
  }
  Rewriting done;
  try {
    stored = rewrite_spots(reinterpret_cast<const uint8_t*>(stored.data()), stored.size(), 0, entry.spots.data(),
                           entry.spots.size(), table_.prefixes, job_.prefix, digests, done);
  } catch (const Failure& failure) { throw Failure(failure.code, entry.path + ": " + failure.what(), entry.path); }
  if (done.trampoline) ++trampolines_;
  if (done.by_path) {
    std::lock_guard<std::mutex> lock(guard_);
    by_path_.push_back(entry.path);
  }
  write(hand, entry, stored.data(), stored.size());
}

// Where only prefixes in C strings change. false: it is not as simple as that, and nothing was written.
bool Reuse::repoint(Hand& hand, Entry& entry, const Entry& old, const Fd& from) {
  Repoint strings(old, base_.table.prefixes, base_.table.prefixes.back(), job_.prefix);
  if (!strings.possible()) return false;
  const uint64_t size = size_of(old);
  const Walker::Place to = hand.to.at(entry.path);
  Fd fd = create_file(to, entry, job_.read_only, lost_, root_);
  Sha256 hash;
  uint64_t at = 0;
  while (at < size) {
    const ssize_t got =
        read_all_at(from.get(), hand.chunk.data(), std::min<uint64_t>(hand.chunk.size(), size - at), at);
    const size_t ready = got > 0 ? strings.piece(hand.chunk.data(), static_cast<size_t>(got), at) : 0;
    if (ready == 0) break;
    hash.update(hand.chunk.data(), ready);
    if (!write_all(fd.get(), hand.chunk.data(), ready)) throw Failure::system("write", root_.full(entry.path));
    at += ready;
  }
  if (at != size || !strings.done()) {
    fd = Fd();
    if (::unlinkat(to.directory, to.name, 0) != 0) throw Failure::system("unlink", root_.full(entry.path));
    return false;
  }
  deployed(entry, size, hash.finish());
  finish(std::move(fd), entry);
  ++rewritten_;
  return true;
}

bool Reuse::same_spots(const Entry& entry, const Entry& old) const {
  const auto same = [&](const Spot& a, const Spot& b) {
    return a.encoding == b.encoding && a.offset == b.offset && a.slot == b.slot && a.encoding != Encoding::digest &&
           table_.prefixes[a.refers] == base_.table.prefixes[b.refers];
  };
  return std::equal(entry.spots.begin(), entry.spots.end(), old.spots.begin(), old.spots.end(), same);
}

void Reuse::write(Hand& hand, Entry& entry, const char* data, size_t size) {
  if (!entry.spots.empty()) deployed(entry, size, sha256(data, size));
  Fd fd = create_file(hand.to.at(entry.path), entry, job_.read_only, lost_, root_);
  if (!write_all(fd.get(), data, size)) throw Failure::system("write", root_.full(entry.path));
  finish(std::move(fd), entry);
  ++rewritten_;
}

void Reuse::deployed(Entry& entry, uint64_t size, const Digest& sha256) {
  entry.has_deployed = true;
  entry.deployed_size = size;
  entry.deployed_sha256 = sha256;
  spots_ += entry.spots.size();
}

void Reuse::finish(Fd fd, const Entry& entry) const {
  if (!set_mtime(fd.get(), entry.mtime)) throw Failure::system("futimens", root_.full(entry.path));
  if (!fd.close()) throw Failure::system("close", root_.full(entry.path));
}

void Reuse::refuse(uint32_t number, const std::string& why) {
  const std::string full = base_.root.full(table_.entries[number].path), said = full + ": " + why;
  if (job_.archive.empty()) throw Failure("VERIFY_FAILED", said, full);
  std::lock_guard<std::mutex> lock(guard_);
  if (refused_++ == 0) why_ = said;
}

void Reuse::add_to(Extracted& result) const {
  result.files += linked_ + cloned_ + copied_ + rewritten_;
  result.bytes += bytes_;
  result.spots += spots_;
  result.trampolines += trampolines_;
  result.by_path.insert(result.by_path.end(), by_path_.begin(), by_path_.end());
  for (size_t i = 0; i < matches_.size(); ++i)
    if (matches_[i] != kUnmet && done_[i] && !table_.entries[i].spots.empty()) ++result.rewritten;
  result.reused = {linked_, cloned_, copied_, rewritten_, bytes_, refused_, why_};
}

}  // namespace cd
