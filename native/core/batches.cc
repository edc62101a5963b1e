#include "batches.h"
#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include "root.h"

namespace cd {
namespace {

constexpr size_t kMembers = 8192;  // so that an archive of empty files does not make one endless batch

}  // namespace

Batches::Batches(const DecodeJob& job, Receiver& receiver, Progress& progress, std::function<uint64_t()> packed)
    : job_(job), receiver_(receiver), progress_(progress), packed_(std::move(packed)) {}

void Batches::add(BatchMember&& member, const std::function<void(uint8_t*, size_t)>& read) {
  const uint64_t size = member.entry.size;
  progress_.check();
  if (++count_ > job_.most_members)
    throw Failure("LIMIT_EXCEEDED", job_.archive + " has more than " + std::to_string(job_.most_members) + " members",
                  job_.archive);
  if (size > job_.most_bytes - bytes_)
    throw Failure("LIMIT_EXCEEDED",
                  job_.archive + " unpacks to more than " + std::to_string(job_.most_bytes) + " bytes", job_.archive);
  bytes_ += size;
  const bool large = size > receiver_.size();
  if (large)
    member.part = write_part(member, read);
  else if (member.entry.kind == Kind::file && size > 0) {
    uint8_t* to = room(static_cast<size_t>(size));
    member.at = used_ - static_cast<size_t>(size);
    read(to, static_cast<size_t>(size));
  }
  members_.push_back(std::move(member));
  // At once after a large file, so that few of them stand on the disk twice.
  if (large || members_.size() >= kMembers) flush();
}

void Batches::finish() {
  flush();
  receiver_.finish();
}

uint8_t* Batches::room(size_t size) {
  if (has_ && size > receiver_.size() - used_) flush();
  if (!has_) {
    buffer_ = receiver_.take();
    has_ = true;
    used_ = 0;
  }
  used_ += size;
  return receiver_.data(buffer_) + used_ - size;
}

void Batches::flush() {
  if (members_.empty()) return;
  if (!has_) buffer_ = receiver_.take();
  Batch batch;
  batch.members = std::move(members_);
  batch.buffer = buffer_;
  batch.packed = packed_();
  members_.clear();
  has_ = false;
  receiver_.hand(std::move(batch));
}

std::string Batches::write_part(const BatchMember& member, const std::function<void(uint8_t*, size_t)>& read) {
  const std::string path = job_.parts + '/' + std::to_string(parts_++);
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throw Failure::system("open", path);
  try {
    std::string chunk(1 << 20, '\0');
    for (uint64_t left = member.entry.size; left > 0;) {
      progress_.check();
      const size_t size = static_cast<size_t>(std::min<uint64_t>(left, chunk.size()));
      read(reinterpret_cast<uint8_t*>(&chunk[0]), size);
      if (!write_all(fd.get(), chunk.data(), size)) throw Failure::system("write", path);
      left -= size;
    }
    if (!fd.close()) throw Failure::system("close", path);
  } catch (...) {
    ::unlink(path.c_str());
    throw;
  }
  return path;
}

}  // namespace cd
