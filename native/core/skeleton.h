// What stands around the contents of the files when a tree is written: directories, links, the index. Shared by extracting
// from an archive and from another tree.
#pragma once
#include "entry.h"
#include "progress.h"
#include "root.h"

namespace cd {

// The entries of a table by kind, in its order, but for those that are done. Borrows the table.
struct Skeleton {
  Skeleton(const Table& table, const std::vector<char>& done);
  std::vector<const Entry*> directories, hardlinks, symlinks;

  // Makes our own folder and all directories, open to their owner alone. Returns the mode bits that new files lose to the
  // umask or a default ACL.
  uint32_t make_directories(const Root& root, unsigned threads) const;
  // Hard links, then symbolic links: nothing is ever written through one. The files must be there.
  void make_links(const Root& root, unsigned threads, Progress progress) const;
  // Last of all: final modes and times, deepest first.
  void finish(const Root& root, bool read_only, unsigned threads, Progress progress) const;
};

// A new file for an entry, with its final mode (never setuid, setgid, sticky); `lost` as make_directories told.
Fd create_file(Walker::Place place, const Entry& entry, bool read_only, uint32_t lost, const Root& root);

// Writes the index of a tree.
void write_index(const Root& root, const std::string& bytes, bool read_only);

}  // namespace cd
