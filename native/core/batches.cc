#include "batches.h"
#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include "root.h"
#include "sha256.h"

namespace cd {
namespace {

constexpr size_t kMembers = 8192;  // so that an archive of empty files does not make one endless batch
constexpr size_t kEnough =
    1u << 20;  // a batch is handed over from here: what it holds is still in the caches when it is written

}  // namespace

std::string parts_of(const std::string& root) { return root + '/' + kOwnFolder + "/parts"; }

Batches::Batches(const DecodeJob& job, Exchange& exchange, const Hand& hand, Progress& progress)
    : job_(job), exchange_(exchange), hand_(hand), progress_(progress), parts_(parts_of(job.root)) {}

void Batches::add(BatchMember&& member, MemberContent& content) {
  const uint64_t size = member.entry.size;
  progress_.check();
  if (++count_ > job_.most_members)
    throw Failure("LIMIT_EXCEEDED", job_.archive + " has more than " + std::to_string(job_.most_members) + " members",
                  job_.archive);
  if (size > job_.most_bytes - bytes_)
    throw Failure("LIMIT_EXCEEDED",
                  job_.archive + " unpacks to more than " + std::to_string(job_.most_bytes) + " bytes", job_.archive);
  bytes_ += size;
  const bool large = size > exchange_.largest();
  if (large)
    write_part(member, content);
  else if (member.entry.kind == Kind::file && size > 0)
    place(member, content);
  members_.push_back(std::move(member));
  // At once after a large file, so that few of them stand on the disk twice.
  if (large || used_ >= kEnough || members_.size() >= kMembers) flush();
}

void Batches::finish() {
  flush();
  exchange_.end();
}

void Batches::place(BatchMember& member, MemberContent& content) {
  const size_t size = static_cast<size_t>(member.entry.size);
  const uint8_t* there = content.view(size);
  const size_t block = content.block();
  if (!there) {
    uint8_t* to = room(size, block != Stream::kNowhere);
    content.read(to, size);
    there = to;
  } else if (!has_ || buffer_ != block) {
    if (has_) flush();
    exchange_.hold(block);
    buffer_ = block;
    has_ = is_block_ = true;
  }
  used_ += size;
  member.at = static_cast<size_t>(there - exchange_.data(buffer_));
}

// `blocks`: those are the stream's, and what it has decoded ahead may take all of them.
uint8_t* Batches::room(size_t size, bool blocks) {
  if (has_ && (is_block_ || size > exchange_.size(buffer_) - used_)) flush();
  if (!has_) {
    buffer_ = exchange_.take(blocks ? std::max(size, exchange_.block_size() + 1) : size, progress_);
    has_ = true;
    is_block_ = false;
  }
  return exchange_.data(buffer_) + used_;
}

void Batches::flush() {
  if (members_.empty()) return;
  if (!has_) buffer_ = exchange_.take(0, progress_);
  Batch batch;
  batch.members = std::move(members_);
  batch.buffer = buffer_;
  batch.number = number_++;
  members_.clear();
  has_ = false;
  used_ = 0;
  exchange_.handed();
  hand_(std::move(batch));
}

void Batches::write_part(BatchMember& member, MemberContent& content) {
  if (has_) flush();  // no block waits for the next batch while many are read
  for (const std::string& folder : {job_.root + '/' + kOwnFolder, parts_})
    if (part_ == 0 && ::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) throw Failure::system("mkdir", folder);
  const std::string path = parts_ + '/' + std::to_string(part_++);
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) throw Failure::system("open", path);
  member.part = path;
  std::string chunk(256 << 10, '\0');
  Sha256 hash;
  for (uint64_t left = member.entry.size; left > 0;) {
    progress_.check();
    const size_t size = static_cast<size_t>(std::min<uint64_t>(left, chunk.size()));
    content.read(reinterpret_cast<uint8_t*>(&chunk[0]), size);
    hash.update(chunk.data(), size);
    if (!write_all(fd.get(), chunk.data(), size)) throw Failure::system("write", path);
    left -= size;
  }
  member.entry.sha256 = hash.finish();
  if (!fd.close()) throw Failure::system("close", path);
}

}  // namespace cd
