// Zstandard frames, skippable frames and the seek table, over a file. Reading is by pread: one descriptor serves all threads.
#pragma once
#include <atomic>
#include <memory>
#include <vector>
#include "entry.h"
#include "room.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace cd {

inline constexpr uint32_t kTableMagic = 0x184D2A5A, kSummaryMagic = 0x184D2A5B, kSeekMagic = 0x184D2A5E;
inline constexpr uint32_t kSeekFooterMagic = 0x8F92EAB1;
inline constexpr uint32_t kMaxFrame = 1u << 30;  // a reader refuses larger frames, compressed or not
inline constexpr uint32_t kMaxTable = 1u << 28;  // and larger entry tables, uncompressed

// Whether so many bytes of a zstd frame can hold `size`: what a claim is worth before anything is allocated for it.
bool can_hold(uint64_t packed, uint64_t size);

class Compressor {  // one thread's; frames carry content size and checksum
 public:
  explicit Compressor(int level);
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  void compress(const void* data, size_t size, Room& out);  // replaces out
  std::string compressed(const void* data, size_t size);

 private:
  ZSTD_CCtx_s* ctx_;
  int level_;
};

class Decompressor {  // one thread's
 public:
  Decompressor();
  ~Decompressor();
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;
  // Decodes exactly one frame into exactly `expected` bytes; anything else is ARCHIVE_CORRUPT naming `what`.
  void decompress(const void* packed, size_t packed_size, void* out, size_t expected, const std::string& what);

 private:
  ZSTD_DCtx_s* ctx_;
};

std::string skippable(uint32_t magic, const std::string& content);
// What stands before the packed table, which is too large to be copied: the head of its skippable frame, and its own size.
std::string table_head(uint64_t size, size_t packed);
std::string seek_table(const std::vector<Frame>& frames);  // the whole skippable frame

// An archive of ours, opened for reading.
class Archive {
 public:
  // null: a regular file, but not one of ours (no seek table, or no summary). Throws for what is ours and broken.
  static std::unique_ptr<Archive> open(const std::string& path);
  ~Archive();
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;
  const std::vector<Frame>& frames() const { return frames_; }  // data frames only
  const Summary& summary() const { return summary_; }
  Table table() const;  // reads, checks the digest of the summary, decodes, checks places against the frames
  void load(size_t i, Room& packed) const;  // frame i, compressed, by pread
  void decode(size_t i, Decompressor&, const Room& packed, Room& out) const;
  uint32_t most_packed() const { return most_packed_; }
  uint64_t size() const { return size_; }
  uint64_t bytes_read() const;
  const std::string& path() const { return path_; }

 private:
  Archive() = default;
  std::string path_;
  int fd_ = -1;
  uint64_t size_ = 0;
  std::vector<Frame> frames_;
  uint32_t most_packed_ = 0, most_plain_ = 0;  // bytes of the largest of them
  Frame table_frame_, summary_frame_;
  Summary summary_;
  mutable std::atomic<uint64_t> bytes_read_{0};
};

// Opens a regular file for reading. ENOENT and ENOTDIR are ARCHIVE_NOT_FOUND, what is no regular file ARCHIVE_UNKNOWN. Sets its size.
int open_regular(const std::string& path, uint64_t& size);
// Reads all of [position, position + size); a file that ends before is ARCHIVE_CORRUPT.
void read_at(int fd, void* out, size_t size, uint64_t position, const std::string& path);

}  // namespace cd
