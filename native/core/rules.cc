#include "rules.h"
#include <algorithm>
#include <cstring>
#include <functional>
#include "failure.h"
#include "table.h"

namespace cd {
namespace {

constexpr size_t kSlots = 1u << 18;  // at first: a hint of how many entries there will be is believed so far

Failure broken(const Entry& entry, const std::string& message) {
  return Failure("ARCHIVE_CORRUPT", "entry table: " + entry.path + ": " + message, entry.path);
}

Failure broken(const Entry& entry, const Spot& spot, const std::string& message) {
  return broken(entry, "spot at " + std::to_string(spot.offset) + ": " + message);
}

bool begins_with_own_folder(const std::string& path) {
  const size_t size = std::strlen(kOwnFolder);
  return path.compare(0, size, kOwnFolder) == 0 && (path.size() == size || path[size] == '/');
}

}  // namespace

void check_path(std::string_view path, size_t known) {
  const auto refuse = [&](const char* why) {
    const std::string shown(path.substr(0, path.find('\0')));
    throw Failure("UNSAFE_PATH", "unsafe path '" + shown + "': " + why, shown);
  };
  if (path.empty()) refuse("empty");
  if (path.size() > kPathMax) refuse("longer than 4095 bytes");
  if (path.find('\0', known) != path.npos) refuse("holds a NUL");
  for (size_t begin = known;;) {
    const size_t at = std::min(path.find('/', begin), path.size()), size = at - begin;
    const char* const name = path.data() + begin;
    if (size == 0) refuse(begin == 0 ? "absolute" : "an empty component");
    if (size == 1 && name[0] == '.') refuse("a component '.'");
    if (size == 2 && name[0] == '.' && name[1] == '.') refuse("a component '..'");
    if (at == path.size()) return;
    begin = at + 1;
  }
}

std::array<uint64_t, 3> units_of(const std::string& prefix) {
  uint64_t points = 0, wide = 0;  // wide: beyond the basic plane, two UTF-16 units
  for (const char c : prefix) {
    const auto byte = static_cast<unsigned char>(c);
    points += (byte & 0xC0) != 0x80;
    wide += byte >= 0xF0;
  }
  return {prefix.size(), points + wide, points};
}

SpotLength spot_length(const Spot& spot, const std::array<uint64_t, 3>& prefix_units) {
  if (spot.encoding == Encoding::digest) return {64, 64};
  const uint64_t unit = unit_of(spot.encoding);
  const uint64_t prefix = prefix_units[unit / 2] * unit;
  return {prefix, std::max(prefix, spot.slot * unit)};
}

void AdmittedPaths::add(const Entry& entry, uint32_t directory) {
  names_.append(entry.path, entry.path.rfind('/') + 1, std::string::npos);
  ends_.push_back(static_cast<uint32_t>(names_.size()));
  directories_.push_back(directory);
  kinds_.push_back(entry.kind);
}

std::string_view AdmittedPaths::name(uint32_t number) const {
  const uint32_t begin = number == 0 ? 0 : ends_[number - 1];
  return std::string_view(names_).substr(begin, ends_[number] - begin);
}

bool AdmittedPaths::is(uint32_t number, std::string_view path) const {
  for (;;) {
    const std::string_view own = name(number);
    if (path.size() < own.size() || path.substr(path.size() - own.size()) != own) return false;
    path.remove_suffix(own.size());
    number = directories_[number];
    if (number == Rules::kNone) return path.empty();
    if (path.empty() || path.back() != '/') return false;
    path.remove_suffix(1);
  }
}

std::string AdmittedPaths::path(uint32_t number) const {
  const std::string own(name(number));
  return directories_[number] == Rules::kNone ? own : path(directories_[number]) + '/' + own;
}

Rules::Rules(const std::vector<std::string>& prefixes, bool deployed, const Admitted& admitted, size_t expected)
    : prefixes_(prefixes), deployed_(deployed), entries_(admitted) {
  size_t slots = 1024;
  while (slots < kSlots && slots < 2 * expected) slots *= 2;
  slots_.assign(slots, kNone);
  take_prefixes();
  if (deployed && prefixes.empty()) throw Failure("ARCHIVE_CORRUPT", "entry table: a deployed tree without a prefix");
}

void Rules::take_prefixes() {
  if (prefixes_.size() > kMaxPrefixes + deployed_)
    throw Failure("ARCHIVE_CORRUPT", "entry table: more prefixes than a table may have");
  while (lengths_.size() < prefixes_.size()) {
    const std::string& prefix = prefixes_[lengths_.size()];
    if (prefix.empty() || prefix.size() > kPathMax || prefix.find('\0') != std::string::npos)
      throw Failure("ARCHIVE_CORRUPT", "entry table: a prefix is empty, longer than 4095 bytes or holds a NUL");
    lengths_.push_back(units_of(prefix));
  }
}

uint32_t Rules::hash(std::string_view path) { return static_cast<uint32_t>(std::hash<std::string_view>()(path)); }

uint32_t Rules::find(std::string_view path, uint32_t hash) const {
  for (size_t at = hash;; ++at) {
    const uint64_t slot = slots_[at & (slots_.size() - 1)];
    const auto number = static_cast<uint32_t>(slot);
    if (number == kNone || (slot >> 32 == hash && entries_.is(number, path))) return number;
  }
}

void Rules::insert(uint32_t hash) {
  const auto place = [](std::vector<uint64_t>& slots, uint64_t slot) {
    size_t at = slot >> 32;
    while (static_cast<uint32_t>(slots[at & (slots.size() - 1)]) != kNone) ++at;
    slots[at & (slots.size() - 1)] = slot;
  };
  if (2 * size_t{admitted_} >= slots_.size()) {
    std::vector<uint64_t> more(slots_.size() * 4, kNone);
    for (const uint64_t slot : slots_)
      if (static_cast<uint32_t>(slot) != kNone) place(more, slot);
    slots_ = std::move(more);
  }
  place(slots_, uint64_t{hash} << 32 | admitted_++);
}

void Rules::admit(const Entry& e) {
  const size_t slash = e.path.rfind('/');
  const bool nested = slash != std::string::npos;
  if (nested) {
    const std::string_view parent = std::string_view(e.path).substr(0, slash);
    if (directory_ == kNone || !entries_.is(directory_, parent)) directory_ = find(parent);
  } else {
    directory_ = kNone;
  }
  // Of what stands in a directory that was admitted, only the name is new.
  check_path(e.path, directory_ != kNone ? slash + 1 : 0);
  if (begins_with_own_folder(e.path))
    throw Failure("UNSAFE_PATH", "entry table: " + e.path + " is not for archives", e.path);
  if (admitted_ == kMaxEntries) throw broken(e, "more entries than a table may have");
  if ((path_bytes_ += e.path.size()) > kMaxPathBytes) throw broken(e, "the paths of a table have at most 1 GiB");
  if (nested && directory_ == kNone) throw broken(e, "its directory is not an entry before it");
  if (nested && entries_.kind(directory_) != Kind::directory) throw broken(e, "its parent is not a directory");

  const uint32_t hashed = hash(e.path);
  if (find(e.path, hashed) != kNone) throw broken(e, "occurs twice");

  if (e.mode > 07777) throw broken(e, "mode " + std::to_string(e.mode) + " is more than permission bits");
  if (e.mtime > static_cast<int64_t>(kNumberMax) || e.mtime < -static_cast<int64_t>(kNumberMax))
    throw broken(e, "mtime " + std::to_string(e.mtime) + " is beyond 2^53");
  if (e.size > kNumberMax || e.deployed_size > kNumberMax) throw broken(e, "size is beyond 2^53");

  switch (e.kind) {
    case Kind::directory: break;
    case Kind::file: check_spots(e); break;
    case Kind::symlink:
      if (e.target.empty() || e.target.size() > kPathMax || e.target.find('\0') != std::string::npos)
        throw broken(e, "the text of the link is empty, longer than 4095 bytes or holds a NUL");
      break;
    case Kind::hardlink: {
      const uint32_t file = find(e.target);
      if (file == kNone || entries_.kind(file) != Kind::file)
        throw broken(e, "hard link to " + e.target + ", which is not a file entry before it");
      break;
    }
    case Kind::other: throw broken(e, "neither directory, file nor link");
  }
  if (e.kind != Kind::file && (!e.spots.empty() || e.has_deployed)) throw broken(e, "spots of what is no file");
  insert(hashed);
}

void Rules::check_spots(const Entry& e) {
  if (lengths_.size() < prefixes_.size()) take_prefixes();
  if (e.has_deployed && !deployed_) throw broken(e, "deployed state in the table of an archive");
  if (deployed_ && e.spots.empty() == e.has_deployed) throw broken(e, "deployed state and spots belong together");
  uint64_t end = 0;  // of the spot before
  for (const Spot& s : e.spots) {
    if (s.encoding != Encoding::digest && s.refers >= lengths_.size())
      throw broken(e, s, "prefix number " + std::to_string(s.refers) + " of " + std::to_string(lengths_.size()));
    static const std::array<uint64_t, 3> none{};
    const SpotLength length = spot_length(s, s.encoding == Encoding::digest ? none : lengths_[s.refers]);
    if (s.offset < end) throw broken(e, s, "does not stand behind the spot before it");
    if (s.offset > e.size || length.slot > e.size - s.offset) throw broken(e, s, "reaches beyond the end of the file");
    if (s.encoding == Encoding::text || s.encoding == Encoding::digest) {
      if (s.slot != 0) throw broken(e, s, "slot " + std::to_string(s.slot) + " where none is");
    } else if (uint64_t{s.slot} * unit_of(s.encoding) < length.prefix) {
      throw broken(e, s, "slot " + std::to_string(s.slot) + " is shorter than the prefix that stands there");
    }
    end = s.offset + length.prefix;
    if (s.encoding == Encoding::digest) digests_.push_back({admitted_, s.refers, s.offset});
  }
}

void Rules::finish() const {
  const auto has_digests = [&](uint32_t entry) {
    const auto at = std::lower_bound(digests_.begin(), digests_.end(), entry,
                                     [](const Meant& meant, uint32_t number) { return meant.entry < number; });
    return at != digests_.end() && at->entry == entry;
  };
  for (const Meant& meant : digests_) {
    const auto refuse = [&](const std::string& message) {
      const std::string path = entries_.path(meant.entry);
      throw Failure("ARCHIVE_CORRUPT",
                    "entry table: " + path + ": spot at " + std::to_string(meant.offset) + ": " + message, path);
    };
    if (meant.number >= admitted_)
      refuse("entry number " + std::to_string(meant.number) + " of " + std::to_string(admitted_));
    // Without the second condition digests could depend on each other in a circle.
    if (entries_.kind(meant.number) != Kind::file || has_digests(meant.number))
      refuse("the digest of " + entries_.path(meant.number) + " cannot be meant");
  }
}

}  // namespace cd
