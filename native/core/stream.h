// What is inside a packed file, in order, a piece at a time: memory stays bounded whatever a packed byte expands to.
#pragma once
#include <memory>
#include <string>
#include "jobs.h"

namespace cd {

class Stream {
 public:
  virtual ~Stream() = default;
  // The next bytes, valid until the next call; empty: the end. Throws ARCHIVE_CORRUPT for what does not decode or ends early.
  virtual Bytes next() = 0;
  // Bytes of the packed file used so far.
  virtual uint64_t packed() const = 0;
};

// `fd` is borrowed, `path` for messages; both outlive the stream.
std::unique_ptr<Stream> plain_stream(int fd, const std::string& path);
std::unique_ptr<Stream> zstd_stream(int fd, const std::string& path);
// What `packed` decodes to.
std::unique_ptr<Stream> zstd_stream(std::unique_ptr<Stream> packed, const std::string& path);
// One gzip member after another. With several threads it looks for places where decoding can begin, and decodes ahead from there.
std::unique_ptr<Stream> gzip_stream(int fd, const std::string& path, unsigned threads);
// What the program `tool` of the system writes when it is run as `tool -dc` with the file as its input.
std::unique_ptr<Stream> tool_stream(int fd, const std::string& path, const std::vector<std::string>& command);

}  // namespace cd
