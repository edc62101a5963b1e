#include "codec.h"
#include <zlib.h>
#include <algorithm>
#include <limits>
#include "failure.h"
#include "frames.h"

namespace cd {
namespace {

class Zstd : public Encoder {
 public:
  explicit Zstd(int level) : compressor_(level) {}
  void encode(const void* data, size_t size, Room& out) override { compressor_.compress(data, size, out); }

 private:
  Compressor compressor_;
};

// Header of a member, RFC 1952: no time, no name, and the subfield "IG", which holds the size of the whole member (u32), as pgzip and
// mgzip write it: their readers, like ours, go from member to member without decoding.
constexpr char kHead[] = "\x1f\x8b\x08\x04\0\0\0\0\0\xff\x08\0IG\x04\0";
constexpr size_t kHeadSize = sizeof kHead - 1 + 4, kTailSize = 8;

void put32(char* at, uint64_t value) {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<char>(value >> 8 * i);
}

class Gzip : public Encoder {
 public:
  explicit Gzip(int level) {
    if (deflateInit2(&stream_, level, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::bad_alloc();
  }
  ~Gzip() override { deflateEnd(&stream_); }

  void encode(const void* data, size_t size, Room& out) override {
    const auto* bytes = static_cast<const Bytef*>(data);
    if (size > std::numeric_limits<uInt>::max()) throw Failure("UNSUPPORTED", "a gzip member of more than 4 GiB");
    if (deflateReset(&stream_) != Z_OK) throw Failure("IO", "zlib cannot begin a stream");
    char* const at = out.fresh(kHeadSize + deflateBound(&stream_, static_cast<uLong>(size)) + kTailSize);
    stream_.next_in = const_cast<Bytef*>(bytes);
    stream_.avail_in = static_cast<uInt>(size);
    stream_.next_out = reinterpret_cast<Bytef*>(at + kHeadSize);
    stream_.avail_out = static_cast<uInt>(out.size() - kHeadSize - kTailSize);
    if (deflate(&stream_, Z_FINISH) != Z_STREAM_END) throw Failure("IO", "zlib cannot compress");
    out.shrink(kHeadSize + stream_.total_out + kTailSize);
    std::copy_n(kHead, sizeof kHead - 1, at);
    put32(at + sizeof kHead - 1, out.size());
    put32(at + out.size() - kTailSize, crc32(crc32(0, nullptr, 0), bytes, static_cast<uInt>(size)));
    put32(at + out.size() - 4, size);
  }

 private:
  z_stream stream_{};
};

class Stored : public Encoder {
 public:
  void encode(const void* data, size_t size, Room& out) override {
    std::copy_n(static_cast<const char*>(data), size, out.fresh(size));
  }
};

}  // namespace

std::unique_ptr<Encoder> Encoder::make(Codec codec, int level) {
  const int most = codec == Codec::zstd ? 19 : 9;
  if (codec != Codec::stored && (level < 0 || level > most))
    throw Failure("INVALID_OPTION",
                  "compression level " + std::to_string(level) + ", expected 0 to " + std::to_string(most));
  switch (codec) {
    case Codec::gzip: return std::make_unique<Gzip>(level);
    case Codec::stored: return std::make_unique<Stored>();
    default: return std::make_unique<Zstd>(level);
  }
}

}  // namespace cd
