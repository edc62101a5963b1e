// Stored content brought to the prefix at which the environment will stand, while it is packed. What comes out is what a plain reader of
// the archive needs; its spots tell where that prefix stands now, so that it can be relocated again.
#pragma once
#include "prefix.h"
#include "study.h"

namespace cd {

struct Rebased {
  std::string bytes;
  std::vector<Spot> spots;  // offsets in the new content; refers is left 0
  uint64_t lost = 0;        // occurrences that cannot be spots: quoted inside the trampoline of a shebang
  bool by_path = false;     // the script finds its interpreter by PATH now
};

class Rebase {
 public:
  // Of one file: `spots` are those of its study.
  Rebase(const PackJob& job, const PackEntry& entry, std::vector<Spot> spots);
  // The part of the stored content at [base, base + size). `moved`: where it begins in the new content. Throws PREFIX_TOO_LONG.
  Rebased part(const std::string& stored, uint64_t base, uint64_t moved) const;

 private:
  const std::string path_;
  const std::string& to_;
  std::vector<std::string> prefixes_;
  std::vector<Spot> spots_;
};

// Makes a study that of the new content, whose parts are rendered between `cuts`; false: nothing is to be changed in this file.
// `by_path`: as in Rebased.
bool rebase_study(const Rebase& rebase, Source& source, const std::vector<uint64_t>& cuts, Studied& studied,
                  bool& by_path);

}  // namespace cd
