// archive → batches of members: one job for every container of a tar, and for zip.
#include "batches.h"
#include "frames.h"
#include "root.h"
#include "stream.h"
#include "tar_reader.h"
#include "zip_reader.h"

namespace cd {
namespace {

std::unique_ptr<Stream> open_stream(const DecodeJob& job, int fd) {
  if (job.container == "plain") return plain_stream(fd, job.archive);
  if (job.container == "gzip") return gzip_stream(fd, job.archive, job.threads);
  if (job.container == "zstd") return zstd_stream(fd, job.archive);
  if (job.container == "tool") return tool_stream(fd, job.archive, job.command);
  throw std::invalid_argument("container must be one of plain, gzip, zstd, tool, zip, got " + job.container);
}

}  // namespace

Decoded decode(const DecodeJob& job, Receiver& receiver, Progress progress) {
  uint64_t size;
  const Fd fd(open_regular(job.archive, size));
  if (job.container == "zip") {
    ZipReader zip(fd.get(), job.archive, size, job.most_members);
    Batches batches(job, receiver, progress, [&] { return zip.packed(); });
    for (BatchMember member; zip.next(member);)
      batches.add(std::move(member), [&](uint8_t* out, size_t n) { zip.read(out, n); });
    batches.finish();
    return {size, batches.bytes()};
  }
  const std::unique_ptr<Stream> stream = open_stream(job, fd.get());
  Batches batches(job, receiver, progress, [&] { return stream->packed(); });
  TarReader tar(*stream, job.archive);
  for (BatchMember member; tar.next(member);)
    batches.add(std::move(member), [&](uint8_t* out, size_t n) { tar.read(out, n); });
  batches.finish();
  return {stream->packed(), batches.bytes()};
}

}  // namespace cd
