// archive → batches of members → files: one job for every container of a tar, and for zip. One thread decodes (and those of its stream);
// others write what is answered.
#include <unistd.h>
#include <algorithm>
#include <filesystem>
#include <system_error>
#include <thread>
#include "batches.h"
#include "frames.h"
#include "make.h"
#include "sha256.h"
#include "stream.h"
#include "tar_reader.h"
#include "zip_reader.h"

namespace cd {
namespace {

constexpr uint64_t kGroup = 1 << 20;  // bytes that are hashed, in two lanes, and then written: what is in the caches

std::unique_ptr<Stream> open_stream(const DecodeJob& job, int fd, Exchange& exchange, const Progress& progress) {
  if (job.container == "plain") return plain_stream(fd, job.archive);
  if (job.container == "gzip") return gzip_stream(fd, job.archive, job.threads, exchange, progress);
  if (job.container == "zstd") return zstd_stream(fd, job.archive);
  if (job.container == "tool") return tool_stream(fd, job.archive, job.command);
  throw std::invalid_argument("container must be one of plain, gzip, zstd, tool, zip, got " + job.container);
}

void read_all(const DecodeJob& job, Exchange& exchange, const Hand& hand, Progress& progress, Decoded& decoded) {
  uint64_t size;
  const Fd fd(open_regular(job.archive, size));
  Batches batches(job, exchange, hand, progress);
  const auto all = [&](auto& reader) {
    for (BatchMember member; reader.next(member);) batches.add(std::move(member), reader);
    decoded.bytes = batches.bytes();
  };
  if (job.container == "zip") {
    ZipReader zip(fd.get(), job.archive, size, job.most_members);
    all(zip);
    decoded.packed = size;
  } else {
    const std::unique_ptr<Stream> stream = open_stream(job, fd.get(), exchange, progress);
    TarReader tar(*stream, job.archive);
    all(tar);
    decoded.packed = stream->packed();
  }
  batches.finish();
}

// The threads that write what is answered.
class Crew {
 public:
  Crew(const DecodeJob& job, Exchange& exchange, Progress progress)
      : job_(job), exchange_(exchange), progress_(progress), maker_(job.root, job.prefix, job.read_only, true) {
    try {
      for (unsigned t = 0; t < std::max(1u, job.threads); ++t) threads_.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {
      if (threads_.empty()) throw Failure::system("pthread_create", "", error.code().value());
    }  // fewer threads than wished
  }
  ~Crew() { join(); }

  void join() {
    for (std::thread& t : threads_) t.join();
    threads_.clear();
  }

  Materialized result() {
    Materialized out;
    maker_.tell(out);
    size_t count = 0;
    for (const auto& [number, entries] : written_) count += entries.size();
    out.table.entries.reserve(count);
    for (auto& [number, entries] : written_)
      std::move(entries.begin(), entries.end(), std::back_inserter(out.table.entries));
    return out;
  }

 private:
  void work() {
    try {
      Maker::Hand hand(maker_);
      for (Answer answer; exchange_.next(answer, progress_); exchange_.written(answer)) {
        std::vector<Entry> entries = write(hand, answer);
        const std::lock_guard<std::mutex> lock(guard_);
        written_.emplace(answer.batch.number, std::move(entries));
      }
    } catch (...) { exchange_.fail(std::current_exception()); }
  }

  std::vector<Entry> write(Maker::Hand& hand, const Answer& answer) {
    const std::vector<BatchMember>& members = answer.batch.members;
    std::vector<Entry> entries;
    entries.reserve(answer.files.size());
    for (const Answer::File& file : answer.files) {
      Maker::check(file.path);
      if (file.member >= members.size() || members[file.member].entry.kind != Kind::file)
        throw Failure("IO", file.path + ": no file of its batch", file.path);
      const Entry& member = members[file.member].entry;
      Entry entry;
      entry.path = file.path;
      entry.mode = file.mode & 0777;  // never setuid, setgid, sticky
      entry.mtime = member.mtime;
      entry.size = member.size;
      entry.sha256 = member.sha256;
      entries.push_back(std::move(entry));
    }
    Plain plain;
    for (size_t i = 0; i < entries.size(); ++i) {
      const BatchMember& member = members[answer.files[i].member];
      const auto& rewrites = answer.files[i].rewrites;
      const Bytes content{exchange_.data(answer.batch.buffer) + member.at, static_cast<size_t>(entries[i].size)};
      if (rewrites.empty() && member.part.empty()) {
        plain.add(entries[i], content);
        if (plain.bytes >= kGroup) flush(hand, plain);
        continue;
      }
      if (member.part.empty())
        maker_.search(hand, entries[i], content, rewrites);
      else if (rewrites.empty())
        maker_.take(hand, entries[i], member.part);
      else
        maker_.copy(hand, entries[i], member.part, rewrites);
      count(entries[i]);
    }
    flush(hand, plain);
    for (const BatchMember& member : members)
      if (!member.part.empty() && ::unlink(member.part.c_str()) != 0 && errno != ENOENT)
        throw Failure::system("unlink", member.part);
    return entries;
  }

  struct Plain {  // files that are written as they are
    std::vector<Entry*> entries;
    std::vector<Bytes> contents;
    std::vector<Digest> digests;
    uint64_t bytes = 0;
    void add(Entry& entry, Bytes content) {
      entries.push_back(&entry);
      contents.push_back(content);
      bytes += content.size;
    }
  };

  void flush(Maker::Hand& hand, Plain& plain) {
    progress_.check();
    plain.digests.resize(plain.entries.size());
    sha256_all(plain.contents.data(), plain.contents.size(), plain.digests.data());
    for (size_t i = 0; i < plain.entries.size(); ++i) {
      plain.entries[i]->sha256 = plain.digests[i];
      maker_.write(hand, *plain.entries[i], plain.contents[i]);
      count(*plain.entries[i]);
    }
    plain = {};
  }

  // What is read is limited where it is read; a prefix that stands everywhere makes more of it.
  void count(const Entry& entry) {
    const uint64_t size = entry.has_deployed ? entry.deployed_size : entry.size;
    if ((bytes_ += size) > job_.most_bytes)
      throw Failure("LIMIT_EXCEEDED",
                    job_.archive + " makes files of more than " + std::to_string(job_.most_bytes) + " bytes",
                    job_.archive);
    progress_.add(1, size);
  }

  const DecodeJob& job_;
  Exchange& exchange_;
  Progress progress_;
  Maker maker_;
  std::atomic<uint64_t> bytes_{0};
  std::mutex guard_;
  std::map<size_t, std::vector<Entry>> written_;  // by the number of the batch
  std::vector<std::thread> threads_;
};

}  // namespace

Decoded decode(const DecodeJob& job, Exchange& exchange, const Hand& hand, Progress progress) {
  // A job that ended early leaves what the judge may still be reading.
  std::error_code failed;
  std::filesystem::remove_all(parts_of(job.root), failed);
  if (failed) throw Failure::system("rmdir", parts_of(job.root), failed.value());
  Decoded decoded;
  Crew crew(job, exchange, progress);
  try {
    read_all(job, exchange, hand, progress, decoded);
  } catch (...) { exchange.fail(std::current_exception()); }
  crew.join();
  exchange.settle();
  if (::rmdir(parts_of(job.root).c_str()) != 0 && errno != ENOENT) throw Failure::system("rmdir", parts_of(job.root));
  decoded.written = crew.result();
  return decoded;
}

}  // namespace cd
