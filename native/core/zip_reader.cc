#include "zip_reader.h"
#include <sys/stat.h>
#include <algorithm>
#include <cstring>
#include <ctime>
#include "crc32.h"
#include "frames.h"

namespace cd {
namespace {

constexpr uint64_t kEnd = 22, kEnd64 = 56, kLocator = 20, kHeader = 46, kLocal = 30;
constexpr uint64_t kMostDirectory = 1u << 28, kMostLink = 4095;
constexpr size_t kChunk = 256 << 10;

uint16_t two(const char* p) {
  const auto* b = reinterpret_cast<const uint8_t*>(p);
  return static_cast<uint16_t>(b[0] | b[1] << 8);
}
uint32_t four(const char* p) { return two(p) | uint32_t{two(p + 2)} << 16; }
uint64_t eight(const char* p) { return four(p) | uint64_t{four(p + 4)} << 32; }
std::string quoted(const std::string& name) { return '"' + name + '"'; }

// Local time, in steps of two seconds, as in the file systems of DOS.
int64_t dos_time(uint16_t time, uint16_t date) {
  std::tm parts{};
  parts.tm_year = (date >> 9) + 80;
  parts.tm_mon = std::max(1, date >> 5 & 15) - 1;
  parts.tm_mday = std::max(1, date & 31);
  parts.tm_hour = time >> 11;
  parts.tm_min = time >> 5 & 63;
  parts.tm_sec = (time & 31) * 2;
  parts.tm_isdst = -1;
  return static_cast<int64_t>(std::mktime(&parts));
}

}  // namespace

void ZipReader::broken(const std::string& what) const {
  throw Failure("ARCHIVE_CORRUPT", archive_ + " is no whole zip: " + what, archive_);
}

void ZipReader::broken(const Item& item, const std::string& what) const {
  throw Failure("ARCHIVE_CORRUPT", archive_ + ": " + quoted(item.name) + ' ' + what, item.name);
}

std::string ZipReader::bytes(uint64_t at, uint64_t size) const {
  std::string out(static_cast<size_t>(size), '\0');
  read_at(fd_, &out[0], out.size(), at, archive_);
  return out;
}

ZipReader::ZipReader(int fd, const std::string& archive, uint64_t size, uint64_t most_members)
    : fd_(fd), archive_(archive), input_(fd, archive, 0), inflate_(input_) {
  const Directory directory = find(size);
  parse(bytes(directory.at, directory.size), directory, most_members);
  check_overlaps(directory.at);
}

// From the end: the record that names the directory, behind which only a comment of the length it says may stand.
ZipReader::Directory ZipReader::find(uint64_t size) const {
  if (size < kEnd) broken("it is too short");
  const uint64_t look = std::min<uint64_t>(size, kEnd + 0xFFFF), base = size - look;
  const std::string tail = bytes(base, look);
  size_t at = tail.size() - kEnd + 1;
  do {
    if (at == 0) broken("the record of its directory is missing: it was cut off");
    --at;
  } while (std::memcmp(&tail[at], "PK\5\6", 4) != 0 || at + kEnd + two(&tail[at + 20]) != tail.size());
  const char* p = &tail[at];
  Directory found{four(p + 16), four(p + 12), two(p + 10), base + at};
  if (two(p + 4) != 0 || two(p + 6) != 0 || two(p + 8) != two(p + 10))
    if (two(p + 4) != 0xFFFF) broken("it is one of several volumes");
  if (found.end >= kLocator) {
    const std::string locator = bytes(found.end - kLocator, kLocator);
    if (std::memcmp(locator.data(), "PK\6\7", 4) == 0) {
      const uint64_t record = eight(&locator[8]);
      if (found.end - kLocator < kEnd64 || record > found.end - kLocator - kEnd64)
        broken("its zip64 record is not where it says");
      const std::string end64 = bytes(record, kEnd64);
      if (std::memcmp(end64.data(), "PK\6\6", 4) != 0) broken("its zip64 record is not where it says");
      found = {eight(&end64[48]), eight(&end64[40]), eight(&end64[32]), record};
    }
  }
  if (found.at > found.end || found.size > found.end - found.at) broken("its directory is not where it says");
  if (found.size > kMostDirectory) broken("its directory has " + std::to_string(found.size) + " bytes");
  return found;
}

void ZipReader::parse(const std::string& text, const Directory& directory, uint64_t most_members) {
  size_t at = 0;
  if (directory.count > most_members)
    throw Failure("LIMIT_EXCEEDED", archive_ + " has more than " + std::to_string(most_members) + " members", archive_);
  while (at < text.size()) {
    const char* p = &text[at];
    if (text.size() - at < kHeader || std::memcmp(p, "PK\1\2", 4) != 0) broken("its directory does not parse");
    const size_t name = two(p + 28), extra = two(p + 30), comment = two(p + 32);
    if (name + extra + comment > text.size() - at - kHeader) broken("its directory does not parse");
    Item item;
    item.name.assign(p + kHeader, name);
    item.is_unix = p[5] == 3 || p[5] == 19;
    item.flags = two(p + 8);
    item.method = two(p + 10);
    item.mtime = dos_time(two(p + 12), two(p + 14));
    item.crc = four(p + 16);
    item.packed = four(p + 20);
    item.size = four(p + 24);
    item.attributes = four(p + 38);
    item.header = four(p + 42);
    const char *field = p + kHeader + name, *end = field + extra;
    while (end - field >= 4) {
      const uint16_t id = two(field), size = two(field + 2);
      const char* value = field + 4;
      if (size > end - value) break;  // what follows is padding
      field = value + size;
      if (id == 0x5455 && size >= 5 && (value[0] & 1)) item.mtime = static_cast<int32_t>(four(value + 1));
      if (id != 1) continue;
      for (uint64_t* number : {&item.size, &item.packed, &item.header})
        if (*number == 0xFFFFFFFFu) {
          if (field - value < 8) broken(item, "has a zip64 field that is too short");
          *number = eight(value);
          value += 8;
        }
    }
    items_.push_back(std::move(item));
    at += kHeader + name + extra + comment;
    if (items_.size() > directory.count) broken("its directory has more members than it says");
  }
  if (items_.size() != directory.count) broken("its directory has fewer members than it says");
}

// Members that share bytes are how a small zip unpacks to any size.
void ZipReader::check_overlaps(uint64_t end) const {
  std::vector<const Item*> order;
  for (const Item& item : items_) order.push_back(&item);
  std::sort(order.begin(), order.end(), [](const Item* a, const Item* b) { return a->header > b->header; });
  for (const Item* item : order) {
    const uint64_t least = kLocal + item->name.size();
    if (item->header > end || end - item->header < least || item->packed > end - item->header - least)
      broken(*item, "does not lie where the directory says, or shares bytes with another");
    end = item->header;
  }
}

bool ZipReader::next(BatchMember& member) {
  item_ = nullptr;
  if (next_ == items_.size()) return false;
  const Item& item = items_[next_++];
  packed_ += item.packed;
  member = BatchMember();
  Entry& entry = member.entry;
  entry.path = item.name;
  entry.mtime = item.mtime;
  const uint32_t mode = item.is_unix ? item.attributes >> 16 : 0;
  const bool is_folder = !item.name.empty() && item.name.back() == '/';
  entry.mode = mode != 0 ? mode & 07777 : is_folder ? 0755 : 0644;
  const uint32_t type = mode & S_IFMT;
  if (type != 0 && type != S_IFREG && type != S_IFDIR && type != S_IFLNK)
    throw Failure("UNSUPPORTED",
                  archive_ + ": " + quoted(item.name) + " is a device, socket or fifo; an environment holds none",
                  item.name);
  entry.kind = type == S_IFLNK ? Kind::symlink : type == S_IFDIR || is_folder ? Kind::directory : Kind::file;
  if (item.flags & 1) throw Failure("UNSUPPORTED", archive_ + ": " + quoted(item.name) + " is encrypted", item.name);
  if (item.method != 0 && item.method != 8)
    throw Failure("UNSUPPORTED",
                  archive_ + ": " + quoted(item.name) + " is packed by method " + std::to_string(item.method) +
                      "; deflate (8) and stored (0) are read",
                  item.name);
  if (entry.kind == Kind::directory) {
    if (item.size != 0) broken(item, "is a directory with content");
    return true;
  }
  open(item);
  if (entry.kind == Kind::file) {
    entry.size = item.size;
    if (item.size == 0) read(nullptr, 0);
    return true;
  }
  if (item.size > kMostLink) broken(item, "is a symbolic link of " + std::to_string(item.size) + " bytes");
  entry.target.resize(static_cast<size_t>(item.size));
  read(reinterpret_cast<uint8_t*>(&entry.target[0]), entry.target.size());
  return true;
}

void ZipReader::open(const Item& item) {
  const std::string local = bytes(item.header, kLocal + item.name.size());
  if (std::memcmp(local.data(), "PK\3\4", 4) != 0 || two(&local[8]) != item.method ||
      two(&local[26]) != item.name.size() || local.compare(kLocal, std::string::npos, item.name) != 0)
    broken(item, "is not what the directory says");
  data_ = item.header + local.size() + two(&local[28]);
  if (item.method == 0 && item.packed != item.size) broken(item, "is stored, but has two sizes");
  item_ = &item;
  input_.restart(data_, data_ + item.packed);
  inflate_.start();
  if (!buffer_) buffer_.reset(new uint8_t[Inflate::kWindow + kChunk + Inflate::kSlack]);
  ready_size_ = 0;
  made_ = crc_ = 0;
  left_ = item.size;
  ended_ = false;
}

// Decodes a piece, behind a window of what was decoded before.
void ZipReader::more() {
  uint8_t* const begin = buffer_.get() + Inflate::kWindow;
  if (item_->method == 0) {
    input_.want(Input::kLeast);
    const uint64_t have = std::min<uint64_t>(static_cast<uint64_t>(input_.end - input_.p), item_->size - made_);
    ready_ = input_.p;
    ready_size_ = static_cast<size_t>(have);
    input_.p += have;
    made_ += have;
    ended_ = made_ == item_->size;
    if (have == 0 && !ended_) broken(*item_, "is cut off");
  } else {
    const uint64_t behind = std::min<uint64_t>(made_, Inflate::kWindow);
    if (behind > 0) {  // the last piece was at least as long as a window, or all there is
      const size_t last = static_cast<size_t>(std::min<uint64_t>(behind, last_));
      std::memmove(buffer_.get(), buffer_.get() + last, Inflate::kWindow - last);
      std::memmove(begin - last, begin + last_ - last, last);
    }
    uint8_t* out = begin;
    ended_ = inflate_.run(begin - behind, out, begin + kChunk, Inflate::kNowhere) == Inflate::Stop::end;
    ready_ = begin;
    ready_size_ = last_ = static_cast<size_t>(out - begin);
    made_ += ready_size_;
  }
  crc_ = crc32(crc_, ready_, ready_size_);
  if (made_ > item_->size) broken(*item_, "has more content than the directory says");
}

void ZipReader::read(uint8_t* out, size_t size) {
  for (size_t done = 0; done < size;) {
    if (ready_size_ == 0) {
      if (ended_) broken(*item_, "has less content than the directory says");
      more();
    }
    const size_t n = std::min(ready_size_, size - done);
    std::memcpy(out + done, ready_, n);
    ready_ += n;
    ready_size_ -= n;
    done += n;
  }
  left_ -= size;
  if (left_ > 0) return;
  while (!ended_) more();
  if (crc_ != item_->crc) broken(*item_, "does not have the checksum that the directory names");
  if (item_->method != 0 && inflate_.position() - data_ != item_->packed)
    broken(*item_, "does not have the packed size that the directory names");
}

}  // namespace cd
