// One gzip stream by several threads. conda-pack -j N, pigz -i, bgzip and our own writer leave places in it where nothing before is
// referred to: the empty block of a full flush (00 00 FF FF), or a new member. They are looked for, not trusted: what was decoded
// from such a place counts only if the stream, decoded from its beginning, arrives exactly there; else that part is decoded again.
#include <sys/stat.h>
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include "crc32.h"
#include "exchange.h"
#include "gzip.h"
#include "root.h"
#include "stream.h"

namespace cd {
namespace {

using Stop = Inflate::Stop;

constexpr uint64_t kSegment = 512 << 10;  // packed bytes to a segment, at least
constexpr uint64_t kReach = 8u << 20;     // behind it a place to begin is looked for: further on there will be none
constexpr size_t kSerial =
    1u << 20;  // bytes that are decoded in one go by the thread that reads: what is in the caches
constexpr unsigned kMostThreads = 8;  // writing keeps up with no more
constexpr size_t kLeastBlock = 256 << 10;

struct Start {
  uint64_t at = 0;
  bool inside = false;
};

// The first place in [from, from + kReach) where decoding may begin.
bool find_start(int fd, const std::string& path, uint64_t from, std::string& chunk, Start& found) {
  constexpr size_t kLook = 10;  // what a head takes
  // Most often it is near: what is read here is read again by whoever decodes it.
  chunk.resize(32 << 10);
  for (uint64_t at = from; at < from + kReach; chunk.resize(256 << 10)) {
    const ssize_t got = read_all_at(fd, &chunk[0], chunk.size(), at);
    if (got < 0) throw Failure::system("pread", path);
    const uint8_t* begin = reinterpret_cast<const uint8_t*>(chunk.data());
    const uint8_t* end = begin + got;
    const auto* flush = static_cast<const uint8_t*>(::memmem(begin, static_cast<size_t>(got), "\0\0\xFF\xFF", 4));
    const uint8_t* until = flush ? flush : end;
    for (const uint8_t* p = begin;
         (p = static_cast<const uint8_t*>(std::memchr(p, 0x1F, static_cast<size_t>(until - p)))); ++p)
      if (end - p >= static_cast<ptrdiff_t>(kLook) && looks_like_gzip(p)) {
        found = {at + static_cast<uint64_t>(p - begin), false};
        return true;
      }
    if (flush) {
      found = {at + static_cast<uint64_t>(flush - begin) + 4, true};
      return true;
    }
    if (static_cast<size_t>(got) < chunk.size()) return false;
    at += static_cast<uint64_t>(got) - kLook;
  }
  return false;
}

struct Segment {
  Start start;
  uint64_t stop = Inflate::kNowhere;
  std::unique_ptr<Gzip> reader;  // stands behind what was decoded
  Held block;
  uint8_t* used = nullptr;
  std::vector<Gzip::End> ends;
  std::vector<uint32_t> sums;
  Stop how = Stop::full;
  bool done = false, failed = false;
};

// Of what stands before each end, and behind the last.
std::vector<uint32_t> sums_of(const uint8_t* begin, const uint8_t* end, const std::vector<Gzip::End>& ends) {
  std::vector<uint32_t> sums;
  for (size_t i = 0; i <= ends.size(); ++i) {
    const uint8_t* until = i < ends.size() ? ends[i].at : end;
    sums.push_back(crc32(0, begin, static_cast<size_t>(until - begin)));
    begin = until;
  }
  return sums;
}

// A block: room for what is carried over from the one before, of which decoding needs a window, then what is decoded. What does not fit
// of a segment is decoded when it is its turn.
class GzipStream final : public Stream {
 public:
  GzipStream(int fd, const std::string& path, unsigned threads, Exchange& exchange, Progress progress)
      : fd_(fd), path_(path), exchange_(exchange), progress_(progress), carry_(exchange.block_size() / 5) {
    if (exchange.block_size() < kLeastBlock || exchange.blocks() < 3)
      throw std::invalid_argument("gzip wants three blocks of " + std::to_string(kLeastBlock) + " bytes or more");
    struct stat st;
    if (::fstat(fd, &st) != 0) throw Failure::system("fstat", path);
    // One block each, one for every segment that waits, and those of a thread that is alone: it never waits for a thread that waits.
    const size_t most = (exchange.blocks() - 3) / 2;
    threads = most < 2 ? 0 : static_cast<unsigned>(std::min<size_t>({threads, kMostThreads, most - 1}));
    most_ = threads + 2;
    const bool alone = threads < 2 || static_cast<uint64_t>(st.st_size) < 2 * kSegment;
    no_more_ = alone;  // not looked at again here: threads write it
    try {
      for (unsigned t = 0; t < threads && !alone; ++t) crew_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {}  // fewer threads than wished
    if (!crew_.empty()) return;
    no_more_ = true;
    continue_alone({});
  }

  ~GzipStream() override {
    {
      std::lock_guard<std::mutex> lock(guard_);
      leave_ = true;
    }
    changed_.notify_all();
    for (std::thread& t : crew_) t.join();
  }

  Bytes next() override { return next_behind({}); }

  Bytes next_behind(Bytes rest) override {
    if (rest.size > carry_) return rest;
    remember();
    for (;;) {
      if (ended_) return rest;
      if (!reader_ || at_boundary_) choose();
      const Bytes bytes = reader_ ? decode() : take();
      if (bytes.size == 0) continue;
      last_ = bytes;
      // What was decoded here has its window before it, of which the rest may be a part: they are the same bytes.
      uint8_t* const begin = const_cast<uint8_t*>(bytes.data) - rest.size;
      if (rest.size > 0) std::memcpy(begin, rest.data, rest.size);
      shown_ = Held(std::move(made_));  // and what was shown before is free
      return {begin, rest.size + bytes.size};
    }
  }

  size_t block() const override { return shown_.number(); }
  uint64_t packed() const override { return packed_; }

 private:
  // Who decodes what follows: this thread with `reader_`, or the segment at the front, if it begins exactly here.
  void choose() {
    std::unique_lock<std::mutex> lock(guard_);
    const Start here = reader_ ? Start{reader_->position(), reader_->inside()} : Start{};
    const bool aligned = !reader_ || reader_->aligned();
    for (;;) {
      changed_.wait(lock, [&] { return !queue_.empty() || no_more_; });
      if (queue_.empty()) break;
      const Start start = queue_.front()->start;
      if (start.at > here.at) break;
      if (start.at == here.at && start.inside == here.inside && aligned) {
        reader_.reset();
        at_boundary_ = false;
        return;
      }
      queue_.pop_front();  // the stream has gone past it: it was no place to begin
      changed_.notify_all();
    }
    stop_at_ = queue_.empty() ? Inflate::kNowhere : queue_.front()->start.at;
    at_boundary_ = false;
  }

  // What the segment at the front holds; nothing if it has to be decoded again, knowing what comes before.
  Bytes take() {
    std::shared_ptr<Segment> segment;
    {
      std::unique_lock<std::mutex> lock(guard_);
      changed_.wait(lock, [&] { return queue_.front()->done; });
      segment = std::move(queue_.front());
      queue_.pop_front();
      segment->failed ? ++failures_ : ++successes_;
      if (failures_ > 3 && failures_ > successes_) {  // as in what pigz writes: blocks that refer to those before
        no_more_ = true;
        queue_.clear();
      }
      stop_at_ = no_more_ && queue_.empty() ? Inflate::kNowhere : segment->stop;
    }
    changed_.notify_all();
    if (segment->failed) {
      continue_alone(segment->start);
      return {};
    }
    made_ = std::move(segment->block);
    const Bytes bytes = decoded(segment->used);
    account(bytes, segment->ends, segment->sums);
    settle(std::move(segment->reader), segment->how);
    return bytes;
  }

  Bytes decode() {
    made_ = {exchange_, exchange_.take(0, progress_)};
    uint8_t* out = made_.data() + carry_;
    std::memcpy(out - Inflate::kWindow, window_.get(), Inflate::kWindow);
    std::vector<Gzip::End> ends;
    const size_t behind = static_cast<size_t>(std::min<uint64_t>(length_, Inflate::kWindow));
    const Stop how = reader_->run(behind, out, out + std::min(kSerial, room(made_)), stop_at_, ends);
    const Bytes bytes = decoded(out);
    account(bytes, ends, sums_of(bytes.data, out, ends));
    settle(std::move(reader_), how);
    return bytes;
  }

  // Bytes of a block that can be decoded into.
  size_t room(const Held& block) const { return block.size() - carry_ - Inflate::kSlack; }
  Bytes decoded(const uint8_t* end) const {
    const uint8_t* begin = made_.data() + carry_;
    return {begin, static_cast<size_t>(end - begin)};
  }

  void continue_alone(Start start) {
    reader_ = std::make_unique<Gzip>(fd_, path_, start.at, start.inside);
    at_boundary_ = false;
  }

  void settle(std::unique_ptr<Gzip> reader, Stop how) {
    packed_ = reader->position();
    at_boundary_ = how == Stop::boundary;
    ended_ = how == Stop::end;
    reader_ = std::move(reader);
  }

  // The end of what was decoded last, which decoding on may refer to.
  void remember() {
    const size_t size = std::min<size_t>(last_.size, Inflate::kWindow);
    if (size == 0) return;
    std::memmove(window_.get(), window_.get() + size, Inflate::kWindow - size);
    std::memcpy(window_.get() + Inflate::kWindow - size, last_.data + last_.size - size, size);
    last_ = {};
  }

  void account(Bytes bytes, const std::vector<Gzip::End>& ends, const std::vector<uint32_t>& sums) {
    const uint8_t* p = bytes.data;
    for (size_t i = 0;; ++i) {
      const uint8_t* until = i < ends.size() ? ends[i].at : bytes.data + bytes.size;
      const uint64_t size = static_cast<uint64_t>(until - p);
      crc_ = crc32_joined(crc_, sums[i], size);
      length_ += size;
      p = until;
      if (i == ends.size()) return;
      if (crc_ != ends[i].crc || static_cast<uint32_t>(length_) != ends[i].size)
        throw Failure("ARCHIVE_CORRUPT", path_ + ": what it decompresses to does not have the checksum it names",
                      path_);
      crc_ = 0;
      length_ = 0;
    }
  }

  void work() {
    std::string chunk;
    for (;;) {
      const auto segment = std::make_shared<Segment>();
      bool wanted = true;
      try {
        // Before its place in the queue: the segment at the front always has one.
        segment->block = {exchange_, exchange_.take(0, progress_)};
      } catch (const Failure&) { wanted = false; }  // whoever reads on learns it too
      {
        std::unique_lock<std::mutex> lock(guard_);
        no_more_ = no_more_ || !wanted;
        changed_.wait(lock, [&] { return leave_ || no_more_ || queue_.size() < most_; });
        if (leave_ || no_more_) break;
        segment->start = next_;
        try {
          if (find_start(fd_, path_, next_.at + kSegment, chunk, next_))
            segment->stop = next_.at;
          else
            no_more_ = true;
        } catch (const Failure&) { no_more_ = true; }  // whoever reads this part says so
        queue_.push_back(segment);
      }
      changed_.notify_all();
      bool failed = false;
      try {
        uint8_t* const begin = segment->block.data() + carry_;
        segment->used = begin;
        segment->reader = std::make_unique<Gzip>(fd_, path_, segment->start.at, segment->start.inside);
        segment->how =
            segment->reader->run(0, segment->used, begin + room(segment->block), segment->stop, segment->ends);
        segment->sums = sums_of(begin, segment->used, segment->ends);
      } catch (const std::exception&) { failed = true; }
      {
        std::lock_guard<std::mutex> lock(guard_);
        segment->failed = failed;
        segment->done = true;
      }
      changed_.notify_all();
    }
    changed_.notify_all();
  }

  const int fd_;
  const std::string& path_;
  Exchange& exchange_;
  const Progress progress_;
  const size_t carry_;
  // Of the thread that reads.
  const std::unique_ptr<uint8_t[]> window_{new uint8_t[Inflate::kWindow]()};
  std::unique_ptr<Gzip> reader_;  // where the stream has been decoded to; none: the front segment is next
  uint64_t stop_at_ = Inflate::kNowhere;
  bool at_boundary_ = false, ended_ = false;
  Held made_, shown_;  // the block that was decoded last, and whose bytes were handed out
  Bytes last_;
  uint32_t crc_ = 0;
  uint64_t length_ = 0, packed_ = 0;  // of the member so far; of the file
  unsigned failures_ = 0, successes_ = 0;
  // Of all.
  std::mutex guard_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Segment>> queue_;
  Start next_;
  size_t most_ = 0;
  bool no_more_ = false, leave_ = false;  // no further segments; end at once
  std::vector<std::thread> crew_;
};

}  // namespace

std::unique_ptr<Stream> gzip_stream(int fd, const std::string& path, unsigned threads, Exchange& exchange,
                                    Progress progress) {
  return std::make_unique<GzipStream>(fd, path, threads, exchange, progress);
}

}  // namespace cd
