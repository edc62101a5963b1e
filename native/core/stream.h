// What is inside a packed file, in order, a piece at a time: memory stays bounded whatever a packed byte expands to.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include "jobs.h"

namespace cd {

class Stream {
 public:
  virtual ~Stream() = default;
  // The next bytes, valid until the next call; empty: the end. Throws ARCHIVE_CORRUPT for what does not decode or ends early.
  virtual Bytes next() = 0;
  // A stream that decodes into blocks of an exchange gives away what stays where it is for as long as somebody holds it. `rest` is what
  // was not used of the bytes before, and comes back with those that follow behind it, in one place; unchanged where it cannot.
  virtual Bytes next_behind(Bytes rest) { return rest; }
  // The block in which the last bytes are; kNowhere: in none.
  virtual size_t block() const { return kNowhere; }
  static constexpr size_t kNowhere = SIZE_MAX;
  // Bytes of the packed file used so far.
  virtual uint64_t packed() const = 0;
};

// The content of the member that a reader stands at.
class MemberContent {
 public:
  virtual ~MemberContent() = default;
  // Exactly `size` further bytes of it.
  virtual void read(uint8_t* out, size_t size) = 0;
  // They, where they are in the block `block()`; null: not in one place, they have to be read.
  virtual const uint8_t* view(size_t) { return nullptr; }
  virtual size_t block() const { return Stream::kNowhere; }
};

// `fd` is borrowed, `path` for messages; both outlive the stream.
std::unique_ptr<Stream> plain_stream(int fd, const std::string& path);
std::unique_ptr<Stream> zstd_stream(int fd, const std::string& path);
// What `packed` decodes to.
std::unique_ptr<Stream> zstd_stream(std::unique_ptr<Stream> packed, const std::string& path);
// One gzip member after another, in blocks of the exchange: three at least, of 256 kB, beside a larger buffer for what lies across two.
// With several threads, and more blocks, it looks for places where decoding can begin, and decodes ahead from there.
std::unique_ptr<Stream> gzip_stream(int fd, const std::string& path, unsigned threads, Exchange&, Progress);
// What the program `tool` of the system writes when it is run as `tool -dc` with the file as its input.
std::unique_ptr<Stream> tool_stream(int fd, const std::string& path, const std::vector<std::string>& command);

}  // namespace cd
