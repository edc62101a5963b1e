// Files taken from another deployed tree instead of an archive: linked, cloned or copied where nothing in them changes,
// restored and rewritten where the prefix stands in them. What the base's index says is never believed of a file that it
// does not fit, or that another user could have written: such files are proven by their hash, or refused.
#pragma once
#include <atomic>
#include <mutex>
#include "jobs.h"
#include "root.h"

namespace cd {

// A deployed tree, by its own index.
struct Deployed {
  explicit Deployed(const std::string& path) : root(path), table(read_index(path + '/' + kOwnFolder + "/index")) {}
  Root root;
  Table table;
};

inline constexpr uint32_t kUnmet = UINT32_MAX;
// For each entry the number of the old one with its path, or kUnmet.
std::vector<uint32_t> same_paths(const std::vector<Entry>& old, const std::vector<Entry>& entries);

// How a file differs from what its entry in the index of a deployed tree tells, by its size, mode and time; empty: in nothing.
std::string unlike(const struct stat& st, const Entry& entry);

class Reuse {
 public:
  // `done[n]` becomes 1 for every entry that stands; the others are the caller's. Without an archive a refusal is
  // VERIFY_FAILED.
  Reuse(const Deployed& base, const ExtractJob& job, Table& table, const Root& root, uint32_t lost, Progress progress,
        std::vector<char>& done);

  // One round, as in Fill.
  void run(bool digests);
  void add_to(Extracted& result) const;

 private:
  struct Hand;    // what one thread owns
  struct Found;   // a file of the base, looked at
  struct Refuse;  // thrown: why a file of the base is not taken

  void match();
  bool changes(uint32_t number) const;  // not the same bytes in both trees
  void take(Hand& hand, uint32_t number);
  Found look(Hand& hand, const Entry& entry, const Entry& old) const;
  bool link(Hand& hand, const Entry& entry, const Found& found);
  void copy(Hand& hand, const Entry& entry, const Entry& old, const Found& found);
  void render(Hand& hand, Entry& entry, const Entry& old, const Found& found);
  bool repoint(Hand& hand, Entry& entry, const Entry& old, const Fd& from);
  bool same_spots(const Entry& entry, const Entry& old) const;  // and no digests among them
  void write(Hand& hand, Entry& entry, const char* data, size_t size);
  void deployed(Entry& entry, uint64_t size, const Digest& sha256);
  void finish(Fd fd, const Entry& entry) const;  // all of it is written
  void refuse(uint32_t number, const std::string& why);
  uint32_t wanted_mode(const Entry& entry) const { return entry.mode & (job_.read_only ? 0555u : 0777u); }

  const Deployed& base_;
  const ExtractJob& job_;
  Table& table_;
  const Root& root_;
  const uint32_t lost_;
  Progress progress_;
  std::vector<char>& done_;
  std::vector<uint32_t> matches_;  // for each entry the number of the base's with the same path and content, or kUnmet
  const uid_t user_;
  std::atomic<bool> can_link_, can_clone_{true};
  std::atomic<uint64_t> linked_{0}, cloned_{0}, copied_{0}, rewritten_{0}, bytes_{0}, spots_{0}, trampolines_{0};
  std::mutex guard_, large_;
  uint64_t refused_ = 0;
  std::string why_;
  std::vector<std::string> by_path_;
};

}  // namespace cd
