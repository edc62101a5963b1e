// Bytes ↔ Table and Summary. What a table must obey stands in rules.cc; both directions pass through it, but for the index of a table that
// was read.
#include "table.h"
#include <algorithm>
#include <cstring>
#include "failure.h"
#include "pages.h"
#include "rules.h"
#include "sha256.h"

namespace cd {
namespace {

constexpr uint16_t kVersion = 1;
constexpr uint64_t kDeployed = 1, kHasRoot = 2;  // flags of a table
// The heap of a thread grows page by page, with a system call for each that stops all threads (glibc 2.36; 7 of the 88 ms of an update). It
// grows by more at once where as much is asked for, and keeps what is given back. A block takes kHeapBlock beside its bytes.
constexpr size_t kHeapStep = 96u << 10, kHeapBlock = 16;
constexpr uint8_t kHasSpots = 0x10, kHasDeployed = 0x20, kKindMask = 0x0F;

Failure corrupt(const std::string& what, const std::string& message) {
  return Failure("ARCHIVE_CORRUPT", what + ": " + message);
}

class Writer {
 public:
  std::string out;
  void fixed(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> 8 * i));
  }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
  }
  void zigzag(uint64_t difference) { varint(difference << 1 ^ (difference >> 63 ? ~uint64_t{0} : 0)); }
  void digest(const Digest& d) { out.append(reinterpret_cast<const char*>(d.data()), d.size()); }
  void text(const std::string& s, size_t from = 0) {
    varint(s.size() - from);
    out.append(s, from, std::string::npos);
  }
};

class Reader {  // never moves beyond the end; what is missing is ARCHIVE_CORRUPT
 public:
  Reader(const uint8_t* data, size_t size, const char* what) : p_(data), end_(data + size), what_(what) {}
  size_t left() const { return static_cast<size_t>(end_ - p_); }
  const uint8_t* take(uint64_t size) {
    if (size > left())
      throw corrupt(what_, "needs " + std::to_string(size) + " more bytes, has " + std::to_string(left()));
    const uint8_t* at = p_;
    p_ += size;
    return at;
  }
  uint64_t fixed(int bytes) {
    const uint8_t* at = take(static_cast<uint64_t>(bytes));
    uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= uint64_t{at[i]} << 8 * i;
    return value;
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
      const uint8_t byte = *take(1);
      if (shift == 63 && byte > 1) break;
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (!(byte & 0x80)) return value;
    }
    throw corrupt(what_, "a number of more than 64 bits");
  }
  uint32_t small(const char* field) {
    const uint64_t value = varint();
    if (value > UINT32_MAX)
      throw corrupt(what_, std::string(field) + " is " + std::to_string(value) + ", beyond 32 bits");
    return static_cast<uint32_t>(value);
  }
  uint64_t zigzag() {
    const uint64_t value = varint();
    return value >> 1 ^ (value & 1 ? ~uint64_t{0} : 0);
  }
  void digest(Digest& d) { std::memcpy(d.data(), take(d.size()), d.size()); }
  std::string text() {
    const uint64_t size = varint();
    const uint8_t* at = take(size);
    return std::string(reinterpret_cast<const char*>(at), size);
  }
  void magic(const char* expected) {
    if (std::memcmp(take(4), expected, 4) != 0) throw corrupt(what_, std::string("does not begin with ") + expected);
  }
  void version() {
    const uint64_t version = fixed(2);
    if (version != kVersion)
      throw Failure("UNSUPPORTED", std::string(what_) + ": format version " + std::to_string(version) +
                                       ", this program reads version " + std::to_string(kVersion));
  }
  void end() const {
    if (left()) throw corrupt(what_, std::to_string(left()) + " bytes after its end");
  }

 private:
  const uint8_t* p_;
  const uint8_t* end_;
  const char* what_;
};

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

void write_deployed(Writer& w, const Entry& e) {
  if (!e.has_deployed) throw corrupt("entry table", e.path + ": has places to rewrite, and was not written");
  w.varint(e.deployed_size);
  w.digest(e.deployed_sha256);
}

// All but its deployed state, which stands at the end; `has_deployed`: it has one.
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
                size_t entries) {
  w.out.reserve(1024 + entries * 96);
  w.out = "CDTB";
  w.fixed(kVersion, 2);
  w.fixed((deployed ? kDeployed : 0) | (root.empty() ? 0 : kHasRoot), 2);
  if (!root.empty()) w.text(root);
  w.varint(prefixes.size());
  for (const std::string& prefix : prefixes) w.text(prefix);
  w.varint(entries);
}

}  // namespace

std::string encode_table(const Table& table) {
  Rules rules(table);
  if (!table.root.empty()) {
    if (table.deployed) throw corrupt("entry table", "a deployed tree has no folder of a tar");
    check_path(table.root);
  }
  Writer w;
  write_head(w, table.deployed, table.root, table.prefixes, table.entries.size());
  const Entry none;
  const Entry* before = &none;
  for (const Entry& entry : table.entries) {
    rules.admit(entry);
    write_entry(w, entry, entry.has_deployed, before->path, before->mtime);
    if (entry.has_deployed) write_deployed(w, entry);
    before = &entry;
  }
  rules.finish();
  return std::move(w.out);
}

Indexing::Indexing(const Table& table, const std::string& prefix, const std::vector<char>& done)
    : entries_(table.entries) {
  Writer w;
  std::vector<std::string> prefixes = table.prefixes;
  prefixes.push_back(prefix);
  write_head(w, true, {}, prefixes, table.entries.size());
  const Entry none;
  const Entry* before = &none;
  for (size_t i = 0; i < table.entries.size(); ++i) {
    const Entry& entry = table.entries[i];
    const bool has_deployed = !entry.spots.empty();
    write_entry(w, entry, has_deployed, before->path, before->mtime);
    if (has_deployed && done[i]) write_deployed(w, entry);
    if (has_deployed && !done[i]) gaps_.push_back({w.out.size(), static_cast<uint32_t>(i)});
    before = &entry;
  }
  out_ = std::move(w.out);
}

std::string Indexing::finish() const {
  Writer w;
  w.out.reserve(out_.size() + gaps_.size() * 48);
  size_t at = 0;
  for (const Gap& gap : gaps_) {
    const Entry& entry = entries_[gap.entry];
    w.out.append(out_, at, gap.at - at);
    write_deployed(w, entry);
    at = gap.at;
  }
  w.out.append(out_, at, std::string::npos);
  return std::move(w.out);
}

Table decode_table(const uint8_t* data, size_t size) {
  Reader r(data, size, "entry table");
  r.magic("CDTB");
  r.version();
  Table table;
  const uint64_t flags = r.fixed(2);
  if (flags > kHasRoot) throw Failure("UNSUPPORTED", "entry table: unknown flags " + std::to_string(flags));
  table.deployed = flags == kDeployed;
  if (flags == kHasRoot) check_path(table.root = r.text());
  const uint64_t prefixes = r.varint();
  if (prefixes > kMaxPrefixes + table.deployed)
    throw corrupt("entry table", std::to_string(prefixes) + " prefixes, more than are allowed");
  for (uint64_t left = prefixes; left > 0; --left) table.prefixes.push_back(r.text());
  const uint64_t count = r.varint();
  // No claim is believed: an entry of a real table takes 40 bytes and more, larger counts grow as they are read.
  table.entries.reserve(std::min<uint64_t>(count, r.left() / 40));
  prefer_large_pages(table.entries.data(), table.entries.capacity() * sizeof(Entry));
  Rules rules(table);
  const std::string no_path;
  size_t used = kHeapStep;
  for (uint64_t i = 0; i < count; ++i) {
    if (used >= kHeapStep) {
      ::operator delete(::operator new(kHeapStep));
      used = 0;
    }
    table.entries.emplace_back();
    Entry& entry = table.entries.back();
    if (i == 0)
      read_entry(r, entry, no_path, 0);
    else
      read_entry(r, entry, table.entries[i - 1].path, table.entries[i - 1].mtime);
    rules.admit(entry);
    used += kHeapBlock + entry.path.size() + entry.target.size() + entry.spots.size() * sizeof(Spot);
  }
  r.end();
  rules.finish();
  return table;
}

std::string encode_summary(const Summary& s) {
  Writer w;
  w.out = "CDSM";
  w.fixed(kVersion, 2);
  w.fixed(0, 2);
  w.digest(s.digest);
  for (const uint64_t n : {s.entries, s.files, s.bytes, s.rewritten}) w.fixed(n, 8);
  w.fixed(s.longest_prefix, 4);
  w.fixed(s.largest_file, 8);
  w.fixed(s.json.size(), 4);
  w.out += s.json;
  if (w.out.size() > kMaxSummary)
    throw Failure("UNSUPPORTED", "summary: " + std::to_string(w.out.size()) + " bytes, at most " +
                                     std::to_string(kMaxSummary) + " are allowed");
  return std::move(w.out);
}

Summary decode_summary(const uint8_t* data, size_t size) {
  if (size > kMaxSummary) throw corrupt("summary", std::to_string(size) + " bytes, more than is allowed");
  Reader r(data, size, "summary");
  r.magic("CDSM");
  r.version();
  if (const uint64_t flags = r.fixed(2))
    throw Failure("UNSUPPORTED", "summary: unknown flags " + std::to_string(flags));
  Summary s;
  r.digest(s.digest);
  for (uint64_t* n : {&s.entries, &s.files, &s.bytes, &s.rewritten}) *n = r.fixed(8);
  s.longest_prefix = static_cast<uint32_t>(r.fixed(4));
  s.largest_file = r.fixed(8);
  const uint64_t length = r.fixed(4);
  s.json.assign(reinterpret_cast<const char*>(r.take(length)), length);
  r.end();
  return s;
}

Summary summarize(const Table& table, const std::string& encoded, std::string json) {
  Summary s;
  Sha256 hash;
  hash.update(encoded.data(), encoded.size());
  hash.update(json.data(), json.size());
  s.digest = hash.finish();
  s.json = std::move(json);
  s.entries = table.entries.size();
  for (const Entry& e : table.entries) {
    if (e.kind != Kind::file) continue;
    ++s.files;
    s.bytes += e.size;
    s.largest_file = std::max(s.largest_file, e.size);
    if (!e.spots.empty()) ++s.rewritten;
    for (const Spot& spot : e.spots)
      if (spot.encoding != Encoding::text && spot.encoding != Encoding::digest)
        s.longest_prefix = std::min(s.longest_prefix, spot.slot);
  }
  return s;
}

}  // namespace cd
