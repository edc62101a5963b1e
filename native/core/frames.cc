#include "frames.h"
#define ZSTD_STATIC_LINKING_ONLY  // for ZSTD_c_blockSplitterLevel
#include <zstd.h>
#include <algorithm>
#include <cstring>
#include "failure.h"

namespace cd {
namespace {

void put32(std::string& out, uint32_t value) {
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(value >> 8 * i));
}

[[noreturn]] void corrupt(const std::string& what, const std::string& message) {
  throw Failure("ARCHIVE_CORRUPT", what + ": " + message);
}

// A frame is its own window: zstd's levels 1 to 8 look back 0.5 to 2 MiB of it, and the rest is found in the same time (0.6 % less at
// level 3, 2.3 % at 1 and 2). Level 4's two tables of 1 MiB each fill a core's cache, which the frame needs as well: with a half of the
// one and an eighth of the other it takes a quarter less time on two busy cores for 1 % more bytes (Jupyter environment, 341 MB), and stays
// above level 3, which gets the next smaller table of short matches. Large frames, which are those of large archives, have the first table
// whole: 2 % less bytes for a tenth more time, on two busy cores a fifth. Blocks are divided where a closer look shows that it pays: in what
// is of one kind 1 % less bytes and 4 % less time to decode, elsewhere the same. Small frames keep zstd's own parameters for them.
void tune(ZSTD_CCtx* ctx, int level, size_t size) {
  if (level > 8 || size <= 256 << 10) return;
  ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, 23);
  if (level == 3 || level == 4) {
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_hashLog, level == 4 && size > 11 << 19 ? 18 : 17);
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_chainLog, level == 4 ? 15 : 14);
    ZSTD_CCtx_setParameter(ctx, ZSTD_c_blockSplitterLevel, 4);
  }
}

std::string skippable_head(uint32_t magic, size_t size) {
  if (size > UINT32_MAX) throw Failure("UNSUPPORTED", "a skippable frame of " + std::to_string(size) + " bytes");
  std::string out;
  put32(out, magic);
  put32(out, static_cast<uint32_t>(size));
  return out;
}

}  // namespace

// A compressed block has at least three bytes and holds at most 128 KiB: no frame grows by more.
bool can_hold(uint64_t packed, uint64_t size) { return size / ZSTD_BLOCKSIZE_MAX <= packed / 3; }

Compressor::Compressor(int level) : ctx_(ZSTD_createCCtx()), level_(level) {
  if (!ctx_) throw std::bad_alloc();
}

Compressor::~Compressor() { ZSTD_freeCCtx(ctx_); }

void Compressor::compress(const void* data, size_t size, Room& out) {
  ZSTD_CCtx_reset(ctx_, ZSTD_reset_session_and_parameters);
  ZSTD_CCtx_setParameter(ctx_, ZSTD_c_compressionLevel, level_);
  ZSTD_CCtx_setParameter(ctx_, ZSTD_c_checksumFlag, 1);
  tune(ctx_, level_, size);
  const size_t most = ZSTD_compressBound(size);
  const size_t packed = ZSTD_compress2(ctx_, out.fresh(most), most, data, size);
  if (ZSTD_isError(packed)) throw Failure("IO", std::string("zstd cannot compress: ") + ZSTD_getErrorName(packed));
  out.shrink(packed);
}

std::string Compressor::compressed(const void* data, size_t size) {
  Room out;
  compress(data, size, out);
  return std::string(out.data(), out.size());
}

Decompressor::Decompressor() : ctx_(ZSTD_createDCtx()) {
  if (!ctx_) throw std::bad_alloc();
}

Decompressor::~Decompressor() { ZSTD_freeDCtx(ctx_); }

void Decompressor::decompress(const void* packed, size_t packed_size, void* out, size_t expected,
                              const std::string& what) {
  const auto* bytes = static_cast<const uint8_t*>(packed);
  const size_t found = ZSTD_findFrameCompressedSize(packed, packed_size);
  if (ZSTD_isError(found)) corrupt(what, std::string("not a zstd frame: ") + ZSTD_getErrorName(found));
  if (found != packed_size)
    corrupt(what, "the frame ends after " + std::to_string(found) + " of " + std::to_string(packed_size) + " bytes");
  if (ZSTD_getFrameContentSize(packed, packed_size) != expected)
    corrupt(what, "the frame does not hold " + std::to_string(expected) + " bytes");
  // Bit 2 of the frame header descriptor, RFC 8878 §3.1.1.1.1: without a checksum a changed byte could pass.
  if (packed_size < 5 || !(bytes[4] & 4)) corrupt(what, "the frame has no checksum");
  const size_t size = ZSTD_decompressDCtx(ctx_, out, expected, packed, packed_size);
  if (ZSTD_isError(size)) corrupt(what, std::string("cannot be decompressed: ") + ZSTD_getErrorName(size));
  if (size != expected) corrupt(what, "holds " + std::to_string(size) + " bytes, expected " + std::to_string(expected));
}

std::string skippable(uint32_t magic, const std::string& content) {
  return skippable_head(magic, content.size()) + content;
}

std::string table_head(uint64_t size, size_t packed) {
  std::string out = skippable_head(kTableMagic, 8 + packed);
  put32(out, static_cast<uint32_t>(size));
  put32(out, static_cast<uint32_t>(size >> 32));
  return out;
}

std::string seek_table(const std::vector<Frame>& frames) {
  std::string content;
  content.reserve(frames.size() * 8 + 9);
  for (const Frame& f : frames) {
    put32(content, f.packed);
    put32(content, f.size);
  }
  put32(content, static_cast<uint32_t>(frames.size()));
  content.push_back('\0');
  put32(content, kSeekFooterMagic);
  return skippable(kSeekMagic, content);
}

void Archive::load(size_t i, Room& packed) const {
  const Frame& frame = frames_.at(i);
  packed.reserve(most_packed_);
  read_at(fd_, packed.fresh(frame.packed), frame.packed, frame.position, path_);
  bytes_read_.fetch_add(packed.size(), std::memory_order_relaxed);
}

void Archive::decode(size_t i, Decompressor& decompressor, const Room& packed, Room& out) const {
  const Frame& frame = frames_.at(i);
  const std::string what = path_ + ": frame " + std::to_string(i);
  if (!can_hold(frame.packed, frame.size))
    corrupt(what, std::to_string(frame.packed) + " bytes cannot hold " + std::to_string(frame.size));
  out.reserve(most_plain_);
  decompressor.decompress(packed.data(), packed.size(), out.fresh(frame.size), frame.size, what);
}

uint64_t Archive::bytes_read() const { return bytes_read_.load(std::memory_order_relaxed); }

}  // namespace cd
