// Trees go whole, read-only ones too; what links point at stays.
#include "check.h"
#include "jobs.h"
#include "tree.h"

using namespace cd;

static void whole(unsigned threads) {
  Folder folder;
  folder.write("victim/file", "untouched");
  const std::string t = folder / "t";
  uint64_t entries = 1, bytes = 0;
  for (int i = 0; i < 40; ++i) {
    std::string directory = "t/d" + std::to_string(i);
    entries += 1;
    for (int k = 0; k < i % 7; ++k, ++entries) directory += "/deep";
    for (int k = 0; k < 5; ++k, ++entries, bytes += 7)
      folder.write(directory + "/f" + std::to_string(k), "content", 0444);
    if (i % 7 == 0) std::filesystem::create_directories(folder / directory);
  }
  std::filesystem::create_directory_symlink(folder / "victim", t + "/link");
  std::filesystem::create_hard_link(folder / "victim/file", t + "/d0/hard");
  std::filesystem::create_symlink("/nowhere", t + "/d1/dangling");
  entries += 3;
  for (const auto& e : std::filesystem::recursive_directory_iterator(t))
    if (e.is_directory() && !e.is_symlink()) ::chmod(e.path().c_str(), 0555);
  ::chmod((t + "/d3").c_str(), 0000);
  ::chmod(t.c_str(), 0111);
  const Removed r = remove_tree(t, threads, Progress());
  CHECK(!std::filesystem::exists(t));
  CHECK_MORE(r.entries == entries && r.bytes == bytes,
             std::to_string(r.entries) + " of " + std::to_string(entries) + ", " + std::to_string(r.bytes));
  CHECK(slurp(folder / "victim/file") == "untouched" && std::filesystem::hard_link_count(folder / "victim/file") == 1);
}

static void refused() {
  Folder folder;
  folder.write("victim/file", "untouched");
  std::filesystem::create_directory_symlink(folder / "victim", folder / "link");
  THROWS("IO", remove_tree(folder / "link", 2, Progress()));
  THROWS("IO", remove_tree(folder / "link/", 2, Progress()));
  THROWS("IO", remove_tree(folder / "victim/file", 2, Progress()));
  THROWS("IO", remove_tree(folder / "absent", 2, Progress()));
  CHECK(slurp(folder / "victim/file") == "untouched");
  std::atomic<uint64_t> counters[4] = {};
  counters[2] = 1;
  std::filesystem::create_directories(folder / "t/a/b");
  THROWS("CANCELLED", remove_tree(folder / "t", 2, Progress(counters)));
  CHECK(remove_tree(folder / "t", 2, Progress()).entries == 3);
}

// Deeper than the longest path the kernel takes in one call.
static void deep() {
  Folder folder;
  const std::string name(250, 'd');
  std::filesystem::create_directory(folder / "t");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder / "t");
  for (int i = 0; i < 20; ++i) { CHECK(::mkdir(name.c_str(), 0755) == 0 && ::chdir(name.c_str()) == 0); }
  std::filesystem::current_path(before);
  CHECK(remove_tree(folder / "t", 2, Progress()).entries == 21 && !std::filesystem::exists(folder / "t"));
}

int main() {
  for (const unsigned threads : {1, 2, 8}) whole(threads);
  refused();
  deep();
  return check::done();
}
