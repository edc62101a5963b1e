// A whole archive from its last byte on: seek table, summary, entry table, frames, tar members. The raw bytes of a file.
#include <sys/mman.h>
#include <unistd.h>
#include "frames.h"
#include "fuzz.h"
#include "jobs.h"

namespace {

int file_with(const uint8_t* data, size_t size) {
  const int fd = ::memfd_create("archive", MFD_CLOEXEC);
  fuzz::check(fd >= 0 && ::write(fd, data, size) == static_cast<ssize_t>(size), "memory for the input");
  return fd;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const int fd = file_with(data, size);
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const cd::Progress progress;
  fuzz::accepted([&] { cd::index(path, true); });
  fuzz::accepted([&] { cd::verify({"", path, 1}, progress); });
  ::close(fd);
  return 0;
}
