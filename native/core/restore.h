// The way back of rewrite_spots: what was stored, from what was deployed. Pure.
#pragma once
#include "entry.h"

namespace cd {

// Gives the stored content of a file with spots that was deployed at `prefix`. `interpreters`: paths of files of the same tree;
// a shebang that finds its program by PATH has lost its folder, which is looked for among them. false: `deployed` is not
// what deploying gives, or what it lost cannot be found. What is returned has the SHA-256 of the entry.
bool restore_spots(const std::string& deployed, const Entry& entry, const std::vector<std::string>& prefixes,
                   const std::string& prefix, const std::vector<Entry>& interpreters, std::string& stored);

// Changes the prefix of deployed content whose spots are all C strings, where it stands: its size stays. Takes the content in
// pieces, so that each is read, changed, hashed and written while the processor has it at hand. Borrows what it is given.
class Repoint {
 public:
  Repoint(const Entry& entry, const std::vector<std::string>& prefixes, const std::string& from, const std::string& to)
      : spots_(entry.spots), prefixes_(prefixes), from_(from), to_(to) {}
  bool possible() const;  // all spots are C strings

  // The content from `offset` on: how many bytes of it are as they are to be; the next piece begins behind them, with a string that
  // this one cuts. 0: the prefix is not there, its string is longer than the piece, or it fills a slot, so that where it ends
  // cannot be told without the stored hash.
  size_t piece(char* data, size_t size, uint64_t offset);
  bool done() const { return next_ == spots_.size(); }

 private:
  const std::vector<Spot>& spots_;
  const std::vector<std::string>& prefixes_;
  const std::string &from_, &to_;
  size_t next_ = 0;  // of the spots
  std::string made_;
};

}  // namespace cd
