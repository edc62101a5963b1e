// Writes the contents of files beneath a root, frame by frame, with the prefix put in on the way. The working part of
// extract.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>
#include "frames.h"
#include "jobs.h"
#include "parts.h"
#include "root.h"
#include "sha256.h"

namespace cd {

class Fill {
 public:
  // `lost`: mode bits that the umask or a default ACL takes from new files. The directories must be there.
  // `done`: entries that stand there already, by number; looked at when a round begins.
  Fill(const ExtractJob& job, const Archive& archive, Table& table, const Root& root, uint32_t lost, Progress progress,
       const std::vector<char>& done);
  ~Fill();

  // One round: every file without digest spots, or every one with them. Those hold the hashes of what the first round
  // wrote. Files with spots get their deployed state in the table.
  void run(bool digests);
  void add_to(Extracted& result) const;

 private:
  struct Hand;     // what one thread owns
  struct Divided;  // a file in several frames, while it is written
  struct Written;

  std::shared_ptr<Hand> next_hand(size_t& taken);
  bool wanted(uint32_t entry, bool digests) const;  // in this round
  std::vector<std::vector<Part>> parts_for(bool digests);
  std::vector<uint32_t> order(const std::vector<std::vector<Part>>& parts) const;
  unsigned threads() const;
  void write_whole(Hand& hand, Entry& entry, const Part& part);
  void write_part(Hand& hand, Entry& entry, const Part& part, Divided& file);
  void check_stored(const Entry& entry, const Digest& found) const;
  Written rewritten(const Entry& entry, const Part& part, const char* plain);
  static void hash(const Part& part, const Written& out, Sha256Pair& hashes);
  void written(Entry& entry, uint64_t size);

  const ExtractJob& job_;
  const Archive& archive_;
  Table& table_;
  const Root& root_;
  const uint32_t lost_;
  Progress progress_;
  const std::vector<char>& done_;
  std::unordered_map<uint32_t, std::unique_ptr<Divided>> divided_;
  std::atomic<uint64_t> files_{0}, bytes_{0}, rewritten_{0}, spots_{0}, trampolines_{0};
  std::mutex guard_;
  std::vector<std::shared_ptr<Hand>> hands_;  // of the round before: their memory is touched already
  std::vector<std::string> by_path_;
};

}  // namespace cd
