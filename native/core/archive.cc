// Finding the parts of an archive from its end, and proving that its table fits its frames. See src/archive/FORMAT.md.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cstring>
#include "failure.h"
#include "frames.h"
#include "rules.h"
#include "sha256.h"
#include "table.h"
#include "tar.h"

namespace cd {
namespace {

constexpr uint64_t kFooter = 9, kSkippableHeader = 8;
constexpr uint64_t kTail = kMaxSummary + (1u << 20);  // holds the summary and the seek table of an archive of 512 GiB

uint32_t get32(const char* at) {
  const auto* p = reinterpret_cast<const uint8_t*>(at);
  return uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
}

// Do the last frames stand as in an archive of ours, a summary and then a seek table that fills the file? Then what leads to them is
// damaged: without the tables the tar would be taken for someone else's, and nothing but its frames would be proven.
bool ends_like_ours(const std::string& tail) {
  const std::string magic = skippable(kSummaryMagic, {}).substr(0, 4);
  for (size_t at = tail.find(magic); at != std::string::npos; at = tail.find(magic, at + 1)) {
    if (tail.size() - at < 2 * kSkippableHeader || tail.compare(at + kSkippableHeader, 4, "CDSM") != 0) continue;
    const uint64_t seek = at + kSkippableHeader + get32(&tail[at + 4]);
    if (seek + kSkippableHeader > tail.size() || get32(&tail[seek]) != kSeekMagic) continue;
    if (seek + kSkippableHeader + get32(&tail[seek + 4]) == tail.size()) return true;
  }
  return false;
}

// Walks the content of the entries through the frames, in the order of the tar.
class Places {
 public:
  Places(const std::vector<Frame>& frames, const std::string& path) : frames_(frames), path_(path) {
    for (const Frame& f : frames) {
      begins_.push_back(total_);
      total_ += f.size;
    }
  }

  void admit(const Entry& e, const std::vector<std::array<uint64_t, 3>>& units) {
    cursor_ += 512;  // its header
    if (e.kind != Kind::file) return;
    if (e.frame >= frames_.size() || e.offset > frames_[e.frame].size) broken(e, "begins beyond its frame");
    const uint64_t begin = begins_[e.frame] + e.offset;
    if (begin < cursor_) broken(e, "begins inside what stands before it");
    cursor_ = begin + e.size + tar_padding(e.size);
    if (cursor_ + kTarEnd > total_) broken(e, "ends beyond the last frame");
    size_t last = e.frame;  // frame of the byte looked at
    if (e.size > frames_[e.frame].size - e.offset) {
      while (begins_[last] + frames_[last].size < begin + e.size) ++last;
      const uint64_t rest = begins_[last] + frames_[last].size - cursor_;
      const bool ends = cursor_ <= begins_[last] + frames_[last].size &&
                        (rest == 0 || (rest == kTarEnd && last + 1 == frames_.size()));
      if (!ends) broken(e, "the last frame of a divided file holds more than its end");
    }
    check_spots(e, begin, units);
  }

  void finish() const {
    if (cursor_ + kTarEnd > total_)
      throw Failure("ARCHIVE_CORRUPT", path_ + ": the frames are shorter than the entries", path_);
  }

 private:
  void check_spots(const Entry& e, uint64_t begin, const std::vector<std::array<uint64_t, 3>>& units) const {
    static const std::array<uint64_t, 3> none{};
    size_t frame = e.frame;
    for (const Spot& s : e.spots) {
      const uint64_t length = spot_length(s, s.encoding == Encoding::digest ? none : units[s.refers]).slot;
      const uint64_t at = begin + s.offset;
      while (frame + 1 < frames_.size() && begins_[frame + 1] <= at) ++frame;
      if (at + length > begins_[frame] + frames_[frame].size) broken(e, "a spot is divided by the end of its frame");
    }
  }

  [[noreturn]] void broken(const Entry& e, const char* message) const {
    throw Failure("ARCHIVE_CORRUPT", path_ + ": " + e.path + ": " + message, path_);
  }

  const std::vector<Frame>& frames_;
  const std::string& path_;
  std::vector<uint64_t> begins_;  // in the tar
  uint64_t total_ = 0, cursor_ = 0;
};

// The sums of a summary are believed before the entry table is read (is there room?), so what the frames cannot hold is refused here.
void check_sums(const Summary& sums, const std::vector<Frame>& frames) {
  uint64_t total = 0;
  for (const Frame& f : frames) total += f.size;
  const auto refuse = [](const char* what, uint64_t claimed, uint64_t possible) {
    throw Failure("ARCHIVE_CORRUPT", std::string("the summary claims ") + std::to_string(claimed) + " " + what +
                                         ", at most " + std::to_string(possible) + " are possible");
  };
  if (sums.entries > total / 512) refuse("entries", sums.entries, total / 512);  // each has a header
  if (sums.entries > kMaxEntries) refuse("entries", sums.entries, kMaxEntries);
  const uint64_t room = total - sums.entries * 512;
  if (sums.bytes > room) refuse("bytes of files", sums.bytes, room);
  if (sums.files > sums.entries) refuse("files", sums.files, sums.entries);
  if (sums.rewritten > sums.files) refuse("files with prefixes", sums.rewritten, sums.files);
  if (sums.largest_file > sums.bytes) refuse("bytes of one file", sums.largest_file, sums.bytes);
}

}  // namespace

int open_regular(const std::string& path, uint64_t& size) {
  int fd;
  do fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a fifo must not block
  while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR) throw Failure("ARCHIVE_NOT_FOUND", "there is no file at " + path, path);
    throw Failure::system("open", path);
  }
  struct stat st;
  if (::fstat(fd, &st) != 0) {
    const int error = errno;
    ::close(fd);
    throw Failure::system("fstat", path, error);
  }
  if (!S_ISREG(st.st_mode)) {
    ::close(fd);
    throw Failure("ARCHIVE_UNKNOWN", path + ": not a regular file", path);
  }
  size = static_cast<uint64_t>(st.st_size);
  return fd;
}

void read_at(int fd, void* out, size_t size, uint64_t position, const std::string& path) {
  auto* to = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t n = ::pread(fd, to, size, static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Failure::system("pread", path);
    if (n == 0)
      throw Failure("ARCHIVE_CORRUPT", path + ": ends at byte " + std::to_string(position) + ", while it is being read",
                    path);
    to += n;
    size -= static_cast<size_t>(n);
    position += static_cast<uint64_t>(n);
  }
}

Archive::~Archive() {
  if (fd_ >= 0) ::close(fd_);
}

std::unique_ptr<Archive> Archive::open(const std::string& path) {
  std::unique_ptr<Archive> a(new Archive);
  a->path_ = path;
  a->fd_ = open_regular(path, a->size_);
  const auto corrupt = [&](const std::string& message) {
    return Failure("ARCHIVE_CORRUPT", path + ": " + message, path);
  };
  const auto read = [&](uint64_t position, uint64_t size) {
    std::string out(size, '\0');
    read_at(a->fd_, &out[0], size, position, path);
    a->bytes_read_ += size;
    return out;
  };
  const auto foreign = [&]() -> std::unique_ptr<Archive> {
    const uint64_t size = std::min(a->size_, kTail);
    if (ends_like_ours(read(a->size_ - size, size))) throw corrupt("the seek table at its end is damaged");
    return nullptr;
  };

  if (a->size_ < kSkippableHeader + kFooter) return nullptr;
  const std::string footer = read(a->size_ - kFooter, kFooter);
  if (get32(&footer[5]) != kSeekFooterMagic) return foreign();
  const uint64_t count = get32(&footer[0]);
  const uint64_t records = count * 8, seek = kSkippableHeader + records + kFooter;
  if (seek > a->size_)
    throw corrupt("the seek table claims " + std::to_string(count) + " frames, which the file cannot hold");
  if (footer[4] != 0) return foreign();  // per-frame checksums or reserved bits: written by someone else
  if (count < 3) return foreign();
  const std::string table = read(a->size_ - seek, kSkippableHeader + records);
  if (get32(&table[0]) != kSeekMagic || get32(&table[4]) != records + kFooter)
    throw corrupt("the header of the seek table is damaged");

  uint64_t position = 0;
  std::vector<Frame> all(count);
  for (uint64_t i = 0; i < count; ++i) {
    Frame& f = all[i];
    f.position = position;
    f.packed = get32(&table[kSkippableHeader + 8 * i]);
    f.size = get32(&table[kSkippableHeader + 8 * i + 4]);
    position += f.packed;
  }
  a->summary_frame_ = all[count - 1];
  a->table_frame_ = all[count - 2];
  for (const Frame* f : {&a->table_frame_, &a->summary_frame_})
    if (f->size != 0 || f->packed < kSkippableHeader) return foreign();
  if (position != a->size_ - seek)
    throw corrupt("the frames take " + std::to_string(position) + " bytes, expected " +
                  std::to_string(a->size_ - seek));
  const std::string table_head = read(a->table_frame_.position, kSkippableHeader);
  const std::string summary_head = read(a->summary_frame_.position, kSkippableHeader);
  if (get32(&table_head[0]) != kTableMagic && get32(&summary_head[0]) != kSummaryMagic) return foreign();
  if (get32(&table_head[0]) != kTableMagic || get32(&table_head[4]) != a->table_frame_.packed - kSkippableHeader)
    throw corrupt("the header of the entry table is damaged");
  if (get32(&summary_head[0]) != kSummaryMagic ||
      get32(&summary_head[4]) != a->summary_frame_.packed - kSkippableHeader)
    throw corrupt("the header of the summary is damaged");

  for (size_t i = 0; i + 2 < count; ++i) {
    if (all[i].size == 0) continue;  // skippable frames which later versions may add
    if (all[i].packed > kMaxFrame || all[i].size > kMaxFrame)
      throw corrupt("frame " + std::to_string(i) + " is larger than 1 GiB");
    if (!can_hold(all[i].packed, all[i].size))
      throw corrupt("frame " + std::to_string(i) + ": " + std::to_string(all[i].packed) + " bytes cannot hold " +
                    std::to_string(all[i].size));
    a->frames_.push_back(all[i]);
    a->most_packed_ = std::max(a->most_packed_, all[i].packed);
    a->most_plain_ = std::max(a->most_plain_, all[i].size);
  }
  if (a->summary_frame_.packed > kMaxSummary + kSkippableHeader) throw corrupt("the summary is larger than 1 MiB");
  const std::string summary =
      read(a->summary_frame_.position + kSkippableHeader, a->summary_frame_.packed - kSkippableHeader);
  try {
    a->summary_ = decode_summary(reinterpret_cast<const uint8_t*>(summary.data()), summary.size());
    check_sums(a->summary_, a->frames_);
  } catch (const Failure& failure) { throw Failure(failure.code, path + ": " + failure.what(), path); }
  return a;
}

Table Archive::table() const {
  const std::string what = path_ + ": entry table";
  const uint64_t packed_size = table_frame_.packed - kSkippableHeader;
  if (packed_size < 8 || packed_size > kMaxTable)
    throw Failure("ARCHIVE_CORRUPT", what + ": " + std::to_string(packed_size) + " bytes", path_);
  std::string packed(packed_size, '\0');
  read_at(fd_, &packed[0], packed_size, table_frame_.position + kSkippableHeader, path_);
  bytes_read_ += packed_size;
  const uint64_t size = get32(&packed[0]) | uint64_t{get32(&packed[4])} << 32;
  // What zstd can compress a table of distinct paths and hashes to is far from this; it only stops the absurd.
  if (size > kMaxTable || size / 1024 > packed_size)
    throw Failure("ARCHIVE_CORRUPT",
                  what + ": " + std::to_string(packed_size) + " bytes claim to hold " + std::to_string(size), path_);
  std::string plain(size, '\0');
  Decompressor().decompress(packed.data() + 8, packed_size - 8, &plain[0], size, what);

  Sha256 hash;
  hash.update(plain.data(), plain.size());
  hash.update(summary_.json.data(), summary_.json.size());
  if (hash.finish() != summary_.digest)
    throw Failure("ARCHIVE_CORRUPT", what + ": its SHA-256 is not the one in the summary", path_);
  try {
    Table table = decode_table(reinterpret_cast<const uint8_t*>(plain.data()), plain.size());
    if (table.deployed) throw Failure("ARCHIVE_CORRUPT", "entry table: flagged as that of a deployed tree");
    const Summary counted = summarize(table, {}, {});
    if (counted.entries != summary_.entries || counted.files != summary_.files || counted.bytes != summary_.bytes ||
        counted.rewritten != summary_.rewritten || counted.largest_file != summary_.largest_file ||
        counted.longest_prefix != summary_.longest_prefix)
      throw Failure("ARCHIVE_CORRUPT", "entry table: its sums are not those of the summary");
    std::vector<std::array<uint64_t, 3>> units;
    for (const std::string& prefix : table.prefixes) units.push_back(units_of(prefix));
    Places places(frames_, path_);
    for (const Entry& e : table.entries) places.admit(e, units);
    places.finish();
    return table;
  } catch (Failure& failure) {
    if (failure.path != path_) throw Failure(failure.code, path_ + ": " + failure.what(), path_);
    throw;
  }
}

}  // namespace cd
