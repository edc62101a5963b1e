// A deployed tree that a newer archive is to take the place of, at the same prefix: what is equal stays where it is, and only what
// differs is written, into a stage. What stays is trusted, as whoever adopts a deployment trusts it; what is to go must be as its own index
// says, or nothing is done.
#pragma once
#include "jobs.h"
#include "reuse.h"

namespace cd {

class Standing {
 public:
  // `done[n]` becomes 1 for every entry of the table that needs nothing in the stage; those that stay get their deployed state.
  Standing(const Deployed& base, const ExtractJob& job, Table& table, std::vector<char>& done);

  // Throws VERIFY_FAILED where a file or link that goes, or is replaced, is not as it was deployed, by its size, mode and time.
  void check() const;
  Difference difference() const;

 private:
  bool stays(const Entry& entry, const Entry& old) const;
  bool same_spots(const Entry& entry, const Entry& old) const;
  void keep_families();
  void choose_folders();
  const std::vector<Entry>& old() const { return base_.table.entries; }

  const Deployed& base_;
  const ExtractJob& job_;
  Table& table_;
  std::vector<char>& done_;
  std::vector<uint32_t> matches_;  // for each entry the number of the one of the tree with its path, or kUnmet
  std::vector<char> met_;          // entries of the tree whose path goes on
};

}  // namespace cd
