#include "plan.h"
#include <cstring>
#include "failure.h"

namespace cd {

// Memory that is not used costs nothing; growing step by step would take twice what is.
void PackEntries::reserve(size_t entries) {
  rows_.reserve(entries);
  texts_.reserve(entries * 128);
  hashes_.reserve(entries);
}

uint32_t PackEntries::hash(const Digest& digest) {
  hashes_.push_back(digest);
  return static_cast<uint32_t>(hashes_.size());
}

Bytes* PackEntries::push_back(const PackEntry& e) {
  Row row;
  row.texts = texts_.size();
  for (const std::string* text : {&e.entry.path, &e.entry.target, &e.unless_rewritten, &e.source})
    texts_.append(text->c_str(), text->size() + 1);
  row.mtime = e.entry.mtime;
  row.size = e.entry.size;
  row.mode = static_cast<uint16_t>(e.entry.mode);
  row.kind = e.entry.kind;
  row.policy = e.policy;
  row.slot = e.slot;
  row.recorded = static_cast<int8_t>(e.mode);
  row.pristine = e.pristine;
  row.for_seal = !e.digests.empty() || e.spooled;
  if (e.has_sha256) row.sha256 = hash(e.sha256);
  if (e.has_in_prefix) row.in_prefix = e.has_sha256 && e.in_prefix == e.sha256 ? row.sha256 : hash(e.in_prefix);
  if (!e.placeholder.empty()) {
    const auto [at, fresh] = numbers_.emplace(e.placeholder, static_cast<uint32_t>(placeholders_.size() + 1));
    if (fresh) placeholders_.push_back(e.placeholder);
    row.placeholder = at->second;
  }
  if (e.in_memory) {
    data_.push_back(e.data);
    row.data = static_cast<uint32_t>(data_.size());
  }
  rows_.push_back(row);
  return e.in_memory ? &data_.back() : nullptr;
}

std::string_view PackEntries::unless_rewritten(size_t i) const {
  const char* target = &texts_[rows_[i].texts] + path(i).size() + 1;
  return target + std::strlen(target) + 1;
}

std::string_view PackEntries::placeholder(size_t i) const {
  return rows_[i].placeholder > 0 ? std::string_view(placeholders_[rows_[i].placeholder - 1]) : std::string_view();
}

PackEntry PackEntries::operator[](size_t i) const {
  const Row& row = rows_[i];
  PackEntry e;
  const char* text = &texts_[row.texts];
  for (std::string* to : {&e.entry.path, &e.entry.target, &e.unless_rewritten, &e.source}) {
    *to = text;
    text += to->size() + 1;
  }
  e.entry.kind = row.kind;
  e.entry.mode = row.mode;
  e.entry.mtime = row.mtime;
  e.entry.size = bytes(i);
  e.policy = row.policy;
  e.slot = row.slot;
  e.mode = row.recorded;
  e.pristine = row.pristine;
  if ((e.has_sha256 = row.sha256 > 0)) e.sha256 = hashes_[row.sha256 - 1];
  if ((e.has_in_prefix = row.in_prefix > 0)) e.in_prefix = hashes_[row.in_prefix - 1];
  e.placeholder = placeholder(i);
  if ((e.in_memory = row.data > 0)) e.data = data_[row.data - 1];
  return e;
}

void PackEntries::check_packable() const {
  for (size_t i = 0; i < rows_.size(); ++i) {
    const char* why = nullptr;
    if (rows_[i].kind == Kind::other)
      why = " is neither directory, file nor link";
    else if (rows_[i].for_seal)
      why = " has digests or a spooled content, which only seal knows";
    if (!why) continue;
    const std::string named(path(i));
    throw Failure("INVALID_OPTION", "pack: " + named + why, named);
  }
}

}  // namespace cd
