// Scanning a tree: kinds, order, links not followed, names beneath the root that are passed over, any number of threads.
#include "check.h"
#include "jobs.h"
#include "tree.h"

using namespace cd;

int main() {
  Folder folder;
  folder.write("bin/python", "#!", 0755);
  folder.write("lib/a-b/x", "1");
  folder.write("lib/a/x", "22");
  folder.write("pkgs/skipped", "");
  folder.write("lib/pkgs/kept", "");
  std::filesystem::create_directory(folder / "empty");
  std::filesystem::create_directory_symlink("a", folder / "lib/link");
  std::filesystem::create_symlink("/nowhere", folder / "dangling");
  std::filesystem::create_hard_link(folder / "lib/a/x", folder / "lib/a/y");
  std::filesystem::create_hard_link(folder / "lib/a-b/x", folder / "pkgs/x");  // outside of what is scanned
  mkfifo((folder / "fifo").c_str(), 0600);

  for (const unsigned threads : {1u, 2u, 8u}) {
    const auto found = scan({folder.path(), {"pkgs"}, threads}, Progress());
    std::string names;
    for (const auto& s : found) names += s.path + " ";
    CHECK_MORE(names ==
                   "bin bin/python dangling empty fifo lib lib/a lib/a-b lib/a-b/x lib/a/x lib/a/y lib/link lib/pkgs "
                   "lib/pkgs/kept ",
               names);
    for (const auto& s : found) {
      if (s.path == "fifo") CHECK(s.kind == Kind::other);
      if (s.path == "empty") CHECK(s.kind == Kind::directory);
      if (s.path == "bin/python")
        CHECK(s.kind == Kind::file && s.mode == 0755 && s.size == 2 && s.inode.empty() && s.mtime > 1000000000);
      if (s.path == "lib/link") CHECK(s.kind == Kind::symlink && s.target == "a");
      if (s.path == "dangling") CHECK(s.target == "/nowhere");
      if (s.path == "lib/a/x" || s.path == "lib/a/y") CHECK(!s.inode.empty() && s.size == 2);
      if (s.path == "lib/a-b/x") CHECK(s.inode.empty());
      CHECK(s.outside == 0);
    }
  }
  for (const auto& s : scan({folder.path(), {"pkgs"}, 2, true}, Progress()))
    CHECK(s.outside == (s.path == "lib/a-b/x" ? 1 : 0));  // a/x and a/y are names of one file, both inside
  THROWS("IO", scan({folder / "absent", {}, 1}, Progress()));
  std::atomic<uint64_t> counters[4] = {};
  counters[2] = 1;
  THROWS("CANCELLED", scan({folder.path(), {}, 2}, Progress(counters)));
  return check::done();
}
