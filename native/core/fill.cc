#include "fill.h"
#include <algorithm>
#include "ahead.h"
#include "skeleton.h"
#include "team.h"

namespace cd {
namespace {

// What all threads together may hold of frames; the rest of the promise of 300 MB is the table's and the host
// process's.
constexpr uint64_t kMemory = 160u << 20;

}  // namespace

struct Fill::Hand {
  explicit Hand(const Root& root) : walker(root) {}
  Walker walker;
  Decompressor decompressor;
  Room packed, plain;
};

// What is written of a part: the bytes before its first place are those of the archive, and are neither copied nor hashed twice.
struct Fill::Written {
  const char* data = nullptr;  // of the part, as stored
  size_t kept = 0;             // bytes of it that stay, from the first on
  std::string rest;            // what becomes of the others
  uint64_t size() const { return kept + rest.size(); }
};

struct Fill::Divided {
  std::mutex guard;
  Fd fd;
  std::atomic<uint32_t> left{0};
  Turns turns;
  Sha256Pair hashes;  // these two belong to the part whose turn it is
  uint64_t size = 0;
};

Fill::Fill(const ExtractJob& job, const Archive& archive, Table& table, const Root& root, uint32_t lost,
           Progress progress, const std::vector<char>& done)
    : job_(job), archive_(archive), table_(table), root_(root), lost_(lost), progress_(progress), done_(done) {}

Fill::~Fill() = default;

// The parts of one round by frame; frames in which nothing is wanted have none, and are not read.
std::vector<std::vector<Part>> Fill::parts_for(bool digests) {
  auto parts = parts_of(table_, archive_.frames(), [&](uint32_t entry) { return wanted(entry, digests); });
  for (const auto& of_frame : parts)
    for (const Part& part : of_frame) {
      if (whole(part, table_.entries[part.entry])) continue;
      auto& file = divided_[part.entry];
      if (!file) file = std::make_unique<Divided>();
      ++file->left;
    }
  return parts;
}

// Frames with most work first, so that no thread is left with a long one at the end. The frames of a divided file that
// is hashed stay in their order (see Turns).
std::vector<uint32_t> Fill::order(const std::vector<std::vector<Part>>& parts) const {
  // Making a file (6 µs on tmpfs) costs what decoding and writing so many bytes does.
  constexpr uint64_t kFile = 4u << 10;
  std::vector<uint64_t> cost(parts.size());
  std::vector<uint32_t> order;
  for (uint32_t frame = 0; frame < parts.size(); ++frame) {
    if (parts[frame].empty()) continue;
    order.push_back(frame);
    for (const Part& part : parts[frame]) {
      const Entry& entry = table_.entries[part.entry];
      cost[frame] += kFile + part.size;
      if (whole(part, entry) || entry.spots.empty()) continue;
      cost[frame] = entry.size;
      break;
    }
  }
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return cost[a] > cost[b]; });
  return order;
}

unsigned Fill::threads() const {
  uint64_t frame = 1;
  for (const Frame& f : archive_.frames())
    frame = std::max<uint64_t>(frame, uint64_t{f.packed} + 2 * uint64_t{f.size});  // packed, plain, rewritten
  return static_cast<unsigned>(std::max<uint64_t>(1, std::min<uint64_t>(job_.threads, kMemory / frame)));
}

std::shared_ptr<Fill::Hand> Fill::next_hand(size_t& taken) {
  std::lock_guard<std::mutex> lock(guard_);
  if (taken == hands_.size()) hands_.push_back(std::make_shared<Hand>(root_));
  return hands_[taken++];
}

bool Fill::wanted(uint32_t entry, bool digests) const {
  return table_.entries[entry].kind == Kind::file && !done_[entry] && has_digests(table_.entries[entry]) == digests;
}

void Fill::run(bool digests) {
  uint32_t first = 0;
  while (first < table_.entries.size() && !wanted(first, digests)) ++first;
  if (first == table_.entries.size()) return;
  const std::vector<std::vector<Part>> parts = parts_for(digests);
  const std::vector<uint32_t> frames = order(parts);
  Ahead ahead(archive_, frames, threads());
  size_t taken = 0;
  run_team(frames.size(), threads(), [&] {
    auto hand = next_hand(taken);
    return [&, hand](size_t i) {
      try {
        progress_.check();
        ahead.read(i, hand->decompressor, hand->packed, hand->plain);
        for (const Part& part : parts[frames[i]]) {
          Entry& entry = table_.entries[part.entry];
          if (whole(part, entry))
            write_whole(*hand, entry, part);
          else
            write_part(*hand, entry, part, *divided_.at(part.entry));
        }
      } catch (...) {
        for (auto& file : divided_) file.second->turns.give_up();
        throw;
      }
    };
  });
}

void Fill::write_whole(Hand& hand, Entry& entry, const Part& part) {
  const Written out = rewritten(entry, part, hand.plain.data() + part.offset);
  if (!entry.spots.empty()) {
    Digest stored;
    Sha256Pair hashes;
    hash(part, out, hashes);
    hashes.finish(stored, entry.deployed_sha256);
    check_stored(entry, stored);
  }
  Fd fd = create_file(hand.walker.at(entry.path), entry, job_.read_only, lost_, root_);
  if (!write_all(fd.get(), out.data, out.kept) || !write_all(fd.get(), out.rest.data(), out.rest.size()))
    throw Failure::system("write", root_.full(entry.path));
  if (!set_mtime(fd.get(), entry.mtime)) throw Failure::system("futimens", root_.full(entry.path));
  if (!fd.close()) throw Failure::system("close", root_.full(entry.path));
  written(entry, out.size());
}

void Fill::write_part(Hand& hand, Entry& entry, const Part& part, Divided& file) {
  const Written out = rewritten(entry, part, hand.plain.data() + part.offset);
  uint64_t at = part.base;
  if (!entry.spots.empty()) {
    if (!file.turns.wait(part.number)) return;
    hash(part, out, file.hashes);
    if (last(part, entry)) {
      Digest stored;
      file.hashes.finish(stored, entry.deployed_sha256);
      check_stored(entry, stored);
    }
    at = file.size;  // not part.base: texts grow
    file.size += out.size();
    file.turns.pass();
  }
  {
    std::lock_guard<std::mutex> lock(file.guard);
    if (!file.fd) file.fd = create_file(hand.walker.at(entry.path), entry, job_.read_only, lost_, root_);
  }
  if (!write_all_at(file.fd.get(), out.data, out.kept, at) ||
      !write_all_at(file.fd.get(), out.rest.data(), out.rest.size(), at + out.kept))
    throw Failure::system("pwrite", root_.full(entry.path));
  if (file.left.fetch_sub(1) != 1) return;
  if (!set_mtime(file.fd.get(), entry.mtime)) throw Failure::system("futimens", root_.full(entry.path));
  if (!file.fd.close()) throw Failure::system("close", root_.full(entry.path));
  written(entry, entry.spots.empty() ? entry.size : file.size);
}

// What is written as it is stored rests on the checksums of the frames, and on its hash where the tree is verified. What is changed
// on the way could not be told from a forgery afterwards: of a table that lies about it nothing is deployed.
void Fill::check_stored(const Entry& entry, const Digest& found) const {
  if (found == entry.sha256) return;
  throw Failure("ARCHIVE_CORRUPT",
                archive_.path() + ": " + entry.path + ": the SHA-256 of its content is " + hex(found) +
                    ", the entry table says " + hex(entry.sha256),
                entry.path);
}

void Fill::hash(const Part& part, const Written& out, Sha256Pair& hashes) {
  hashes.update_shared(out.data, out.kept);
  if (out.kept < part.size) hashes.update(out.data + out.kept, part.size - out.kept, out.rest.data(), out.rest.size());
}

// `plain`: the part as it is stored.
Fill::Written Fill::rewritten(const Entry& entry, const Part& part, const char* plain) {
  Written out;
  out.data = plain;
  const SpotRange spots = spots_in(part, entry);
  if (spots.count == 0) {
    out.kept = part.size;
    return out;
  }
  // A text may begin with a shebang, of which all of the first line may change.
  const bool shebang = part.base == 0 && spots.first->encoding == Encoding::text;
  out.kept = shebang ? 0 : static_cast<size_t>(spots.first->offset - part.base);
  std::vector<std::string> digests;
  for (size_t k = 0; k < spots.count; ++k) {
    if (spots.first[k].encoding != Encoding::digest) continue;
    const Entry& meant = table_.entries[spots.first[k].refers];
    digests.push_back(hex(meant.has_deployed ? meant.deployed_sha256 : meant.sha256));
  }
  Rewriting done;
  try {
    out.rest =
        rewrite_spots(reinterpret_cast<const uint8_t*>(plain) + out.kept, part.size - out.kept, part.base + out.kept,
                      spots.first, spots.count, table_.prefixes, job_.prefix, digests, done);
    if (done.trampoline) ++trampolines_;
    if (done.by_path) {
      std::lock_guard<std::mutex> lock(guard_);
      by_path_.push_back(entry.path);
    }
    return out;
  } catch (const Failure& failure) {
    throw Failure(failure.code, archive_.path() + ": " + entry.path + ": " + failure.what(), entry.path);
  }
}

void Fill::written(Entry& entry, uint64_t size) {
  if (!entry.spots.empty()) {
    entry.deployed_size = size;
    entry.has_deployed = true;
    ++rewritten_;
    spots_ += entry.spots.size();
  }
  ++files_;
  bytes_ += size;
  progress_.add(1, size);
}

void Fill::add_to(Extracted& result) const {
  result.files += files_;
  result.bytes += bytes_;
  result.rewritten += rewritten_;
  result.spots += spots_;
  result.trampolines += trampolines_;
  result.by_path.insert(result.by_path.end(), by_path_.begin(), by_path_.end());
}

}  // namespace cd
