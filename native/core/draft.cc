#include "draft.h"
#include "table.h"
#include "table_bytes.h"

namespace cd {

using namespace bytes;

namespace {

// Bytes of a table and of an entry in it, seldom more: memory that is not used costs nothing, growing step by step takes twice what is.
constexpr size_t kHead = 1024, kEntry = 128;

}  // namespace

void EncodedEntries::reserve(size_t entries) { bytes_.reserve(kHead + entries * kEntry); }

void EncodedEntries::add(const Entry& entry) {
  Writer w;
  w.out = std::move(bytes_);
  write_entry(w, entry, false, path_before_, mtime_before_);
  bytes_ = std::move(w.out);
  pass(entry);
}

void EncodedEntries::pass(const Entry& entry) {
  path_before_ = entry.path;
  mtime_before_ = entry.mtime;
  ++count_;
}

std::string EncodedEntries::finish(const std::string& root, const std::vector<std::string>& prefixes) {
  Writer w;
  write_head(w, false, root, prefixes, count_);
  bytes_.insert(0, w.out);
  return std::move(bytes_);
}

TableWriter::TableWriter(std::string root, const std::vector<std::string>& prefixes)
    : root_(std::move(root)), prefixes_(prefixes), rules_(prefixes, false, paths_, 0) {
  if (!root_.empty()) check_path(root_);
}

void TableWriter::admit(const Entry& entry) {
  rules_.admit(entry);
  paths_.add(entry, rules_.directory());
  count(counts_, entry);
}

void TableWriter::pass(const Entry& entry) {
  admit(entry);
  entries_.pass(entry);
}

void TableWriter::add(const Entry& entry) {
  admit(entry);
  entries_.add(entry);
}

std::string TableWriter::finish(std::string_view before) {
  rules_.finish();
  Writer w;
  write_head(w, false, root_, prefixes_, counts_.entries);
  w.out.reserve(w.out.size() + before.size() + entries_.bytes().size());
  w.out.append(before).append(entries_.bytes());
  return std::move(w.out);
}

TableReader::TableReader(const uint8_t* data, size_t size) : at_(data), end_(data + size) {
  Reader r(data, size, "entry table");
  left_ = read_head(r, head_);
  if (head_.deployed) throw corrupt("entry table", "of a deployed tree, not of an archive");
  at_ = end_ - r.left();
  entries_ = {reinterpret_cast<const char*>(at_), r.left()};
}

bool TableReader::next(Entry& entry) {
  Reader r(at_, static_cast<size_t>(end_ - at_), "entry table");
  if (left_ == 0) {
    r.end();
    return false;
  }
  --left_;
  entry = {};
  read_entry(r, entry, before_.path, before_.mtime);
  before_.path = entry.path;
  before_.mtime = entry.mtime;
  at_ = end_ - r.left();
  return true;
}

// The table comes first, and moves for nothing.
std::string encode_draft(std::string table, const std::vector<Frame>& frames, uint64_t position) {
  const uint64_t numbers[2] = {position, frames.size()};
  table.append(reinterpret_cast<const char*>(frames.data()), frames.size() * sizeof(Frame));
  return table.append(reinterpret_cast<const char*>(numbers), sizeof numbers);
}

Draft decode_draft(Bytes bytes) {
  uint64_t numbers[2];
  const auto invalid = [] { return Failure("INVALID_OPTION", "seal: the draft is not one that pack returned"); };
  if (bytes.size < sizeof numbers) throw invalid();
  size_t end = bytes.size - sizeof numbers;
  std::memcpy(numbers, bytes.data + end, sizeof numbers);
  if (numbers[1] > end / sizeof(Frame)) throw invalid();
  std::vector<Frame> frames(static_cast<size_t>(numbers[1]));
  end -= frames.size() * sizeof(Frame);
  if (!frames.empty()) std::memcpy(frames.data(), bytes.data + end, frames.size() * sizeof(Frame));
  return {std::move(frames), numbers[0], TableReader(bytes.data, end)};
}

}  // namespace cd
