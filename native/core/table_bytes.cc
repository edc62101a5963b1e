#include "table_bytes.h"
#include <algorithm>
#include "table.h"

namespace cd::bytes {
namespace {

constexpr uint64_t kDeployed = 1, kHasRoot = 2;  // flags of a table
constexpr uint8_t kHasSpots = 0x10, kHasDeployed = 0x20, kKindMask = 0x0F;

void write_spots(Writer& w, const std::vector<Spot>& spots) {
  w.varint(spots.size());
  uint64_t before = 0;
  for (const Spot& s : spots) {
    w.fixed(static_cast<uint8_t>(s.encoding), 1);
    w.varint(s.offset - before);
    before = s.offset;
    w.varint(s.refers);
    if (s.encoding != Encoding::digest) w.varint(s.slot);
  }
}

void read_spots(Reader& r, const std::string& path, std::vector<Spot>& spots) {
  const uint64_t count = r.varint();
  if (count == 0) throw corrupt("entry table", path + ": flagged with spots, has none");
  spots.reserve(std::min<uint64_t>(count, r.left() / 3));  // a spot has at least three bytes
  uint64_t before = 0;
  for (uint64_t i = 0; i < count; ++i) {
    Spot s;
    const uint8_t encoding = *r.take(1);
    if (encoding > static_cast<uint8_t>(Encoding::digest))
      throw corrupt("entry table", path + ": unknown encoding " + std::to_string(encoding));
    s.encoding = static_cast<Encoding>(encoding);
    const uint64_t difference = r.varint();
    if (difference > UINT64_MAX - before)
      throw corrupt("entry table", path + ": the offset of a spot is beyond 64 bits");
    s.offset = before += difference;
    s.refers = r.small("what a spot refers to");
    if (s.encoding != Encoding::digest) s.slot = r.small("a slot");
    spots.push_back(s);
  }
}

}  // namespace

void write_deployed(Writer& w, const Entry& e) {
  if (!e.has_deployed) throw corrupt("entry table", e.path + ": has places to rewrite, and was not written");
  w.varint(e.deployed_size);
  w.digest(e.deployed_sha256);
}

void write_entry(Writer& w, const Entry& e, bool has_deployed, const std::string& path_before, int64_t mtime_before) {
  const size_t limit = std::min(e.path.size(), path_before.size());
  size_t shared = 0;
  while (shared < limit && e.path[shared] == path_before[shared]) ++shared;
  const unsigned flags = (e.spots.empty() ? 0 : kHasSpots) | (has_deployed ? kHasDeployed : 0);
  w.fixed(static_cast<unsigned>(e.kind) | flags, 1);
  w.varint(shared);
  w.text(e.path, shared);
  w.varint(e.mode);
  w.zigzag(static_cast<uint64_t>(e.mtime) - static_cast<uint64_t>(mtime_before));
  if (e.kind == Kind::file) {
    w.varint(e.size);
    w.varint(e.frame);
    w.varint(e.offset);
    w.digest(e.sha256);
    if (!e.spots.empty()) write_spots(w, e.spots);
  } else if (e.kind != Kind::directory) {
    w.text(e.target);
  }
}

void read_entry(Reader& r, Entry& e, const std::string& path_before, int64_t mtime_before) {
  const uint8_t first = *r.take(1);
  const uint8_t kind = first & kKindMask;
  if (kind > static_cast<uint8_t>(Kind::hardlink) || first & ~(kKindMask | kHasSpots | kHasDeployed))
    throw corrupt("entry table", "after " + path_before + ": unknown kind " + std::to_string(first));
  e.kind = static_cast<Kind>(kind);
  if (e.kind != Kind::file && first != kind)
    throw corrupt("entry table", "after " + path_before + ": spots of what is no file");
  const uint64_t shared = r.varint();
  if (shared > path_before.size()) throw corrupt("entry table", "after " + path_before + ": shares more than there is");
  const uint64_t rest = r.varint();
  const uint8_t* bytes = r.take(rest);
  if (shared + rest > kPathMax)
    throw Failure("UNSAFE_PATH", "path of " + std::to_string(shared + rest) + " bytes after " + path_before);
  e.path.reserve(shared + rest);
  e.path.assign(path_before, 0, shared).append(reinterpret_cast<const char*>(bytes), rest);
  e.mode = r.small("a mode");
  e.mtime = static_cast<int64_t>(static_cast<uint64_t>(mtime_before) + r.zigzag());
  if (e.kind == Kind::file) {
    e.size = r.varint();
    e.frame = r.small("a frame");
    e.offset = r.varint();
    r.digest(e.sha256);
    if (first & kHasSpots) read_spots(r, e.path, e.spots);
    if (first & kHasDeployed) {
      e.has_deployed = true;
      e.deployed_size = r.varint();
      r.digest(e.deployed_sha256);
    }
  } else if (e.kind != Kind::directory) {
    e.target = r.text();
  }
}

void write_head(Writer& w, bool deployed, const std::string& root, const std::vector<std::string>& prefixes,
                uint64_t entries) {
  w.out += "CDTB";
  w.fixed(kVersion, 2);
  w.fixed((deployed ? kDeployed : 0) | (root.empty() ? 0 : kHasRoot), 2);
  if (!root.empty()) w.text(root);
  w.varint(prefixes.size());
  for (const std::string& prefix : prefixes) w.text(prefix);
  w.varint(entries);
}

uint64_t read_head(Reader& r, Table& table) {
  r.magic("CDTB");
  r.version();
  const uint64_t flags = r.fixed(2);
  if (flags > kHasRoot) throw Failure("UNSUPPORTED", "entry table: unknown flags " + std::to_string(flags));
  table.deployed = flags == kDeployed;
  if (flags == kHasRoot) check_path(table.root = r.text());
  const uint64_t prefixes = r.varint();
  if (prefixes > kMaxPrefixes + table.deployed)
    throw corrupt("entry table", std::to_string(prefixes) + " prefixes, more than are allowed");
  for (uint64_t left = prefixes; left > 0; --left) table.prefixes.push_back(r.text());
  return r.varint();
}

}  // namespace cd::bytes
