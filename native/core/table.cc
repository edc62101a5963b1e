// Bytes ↔ Table and Summary. What a table must obey stands in rules.cc; both directions pass through it, but for the index of a table that
// was read.
#include "table.h"
#include <algorithm>
#include "pages.h"
#include "sha256.h"
#include "table_bytes.h"

namespace cd {

using namespace bytes;

namespace {

// The heap of a thread grows page by page, with a system call for each that stops all threads (glibc 2.36; 7 of the 88 ms of an update). It
// grows by more at once where as much is asked for, and keeps what is given back. A block takes kHeapBlock beside its bytes.
constexpr size_t kHeapStep = 96u << 10, kHeapBlock = 16;

constexpr size_t kEntry = 96, kHead = 1024;  // bytes of an encoded table, about

}  // namespace

std::string encode_table(const Table& table) {
  const AdmittedEntries entries(table.entries);
  Rules rules(table.prefixes, table.deployed, entries, table.entries.size());
  if (!table.root.empty()) {
    if (table.deployed) throw corrupt("entry table", "a deployed tree has no folder of a tar");
    check_path(table.root);
  }
  Writer w;
  w.out.reserve(kHead + table.entries.size() * kEntry);
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
  w.out.reserve(kHead + table.entries.size() * kEntry);
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
  Table table;
  const uint64_t count = read_head(r, table);
  // No claim is believed: an entry of a real table takes 40 bytes and more, larger counts grow as they are read.
  table.entries.reserve(std::min<uint64_t>(count, r.left() / 40));
  prefer_large_pages(table.entries.data(), table.entries.capacity() * sizeof(Entry));
  const AdmittedEntries entries(table.entries);
  Rules rules(table.prefixes, table.deployed, entries, table.entries.capacity());
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

Digest digest_of(const std::string& encoded, const std::string& json) {
  Sha256 hash;
  hash.update(encoded.data(), encoded.size());
  hash.update(json.data(), json.size());
  return hash.finish();
}

void count(Summary& s, const Entry& e) {
  ++s.entries;
  if (e.kind != Kind::file) return;
  ++s.files;
  s.bytes += e.size;
  s.largest_file = std::max(s.largest_file, e.size);
  if (!e.spots.empty()) ++s.rewritten;
  for (const Spot& spot : e.spots)
    if (spot.encoding != Encoding::text && spot.encoding != Encoding::digest)
      s.longest_prefix = std::min(s.longest_prefix, spot.slot);
}

Summary summarize(const Table& table, const std::string& encoded, std::string json) {
  Summary s;
  s.digest = digest_of(encoded, json);
  s.json = std::move(json);
  for (const Entry& e : table.entries) count(s, e);
  return s;
}

}  // namespace cd
