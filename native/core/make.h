// Makes the entries of a tree: files from memory or from other files, prefixes looked for on the way; links and directories. What
// exists is replaced by rename, never written into; no parent may be a symbolic link. For archives made by others, and for generated
// files. Functions that take a Hand may be called by several threads, each with its own.
#pragma once
#include <atomic>
#include <map>
#include <mutex>
#include "jobs.h"
#include "root.h"

namespace cd {

class Maker {
 public:
  // `root`: an existing directory. `many`: more than a few files will be made; modes are then right without setting each.
  Maker(const std::string& root, const std::string& prefix, bool read_only, bool many);

  class Hand {  // of one thread
   public:
    explicit Hand(const Maker& maker) : walker(maker.root_) {}

   private:
    friend Maker;
    Walker walker;
    std::string folder;  // known to exist
    std::string room;    // what was rewritten last: new memory would cost a fault a page
  };

  // Throws UNSAFE_PATH for what may not be the name of an entry.
  static void check(const std::string& path);
  void folders(Hand&, const std::string& path);  // all above `path`, which may end with a slash
  // Files; their folders come to be. Size and hash are those of what came, spots and deployed state of what was written.
  void write(Hand&, const Entry&, Bytes content, Bytes rest = {});  // as it is; size and hash are the caller's
  void search(Hand&, Entry&, Bytes content, const std::vector<Rewrite>&);
  void copy(Hand&, Entry&, const std::string& source, const std::vector<Rewrite>&);
  void take(Hand&, const Entry&, const std::string& source);  // moves a file of the same file system here; as `write`
  // Their ends must stand already.
  void hardlink(Hand&, const Entry&);
  void symlink(Hand&, const Entry&);
  void finish_directory(const Entry&);  // last of all, deepest first

  // What became of all of them, and the prefixes that their spots refer to.
  void tell(Materialized& result);

 private:
  struct Source;
  uint32_t lost_bits() const;
  mode_t allowed(mode_t mode) const { return mode & (read_only_ ? 0555 : 0777); }
  bool rewrite(Hand&, Entry&, Bytes in, const std::vector<Rewrite>&);
  bool is_at(Hand&, const Entry&, const struct stat&) const;
  Fd create(Hand&, const Entry&, class NewName&) const;
  void finish(int fd, const Entry&, uint32_t lost) const;
  void stream(Hand&, Entry&, const Source&);

  const Root root_;
  const std::string prefix_;
  const bool read_only_;
  uint32_t lost_ = 0777;  // mode bits that new files may lack; all: not known
  std::atomic<uint64_t> trampolines_{0};
  std::mutex guard_, large_;
  std::map<std::string, uint32_t> numbers_;  // of the prefixes
  std::vector<std::string> prefixes_, by_path_;
  Directories folders_;
};

}  // namespace cd
