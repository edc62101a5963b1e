// Directories and links of a tree, and its index: see skeleton.h.
#include "skeleton.h"
#include <unistd.h>
#include <algorithm>
#include <memory>
#include "team.h"

namespace cd {
namespace {

// By way of the walker: mkdirat with the whole path would follow a link that somebody put in place of a parent.
void make_directory(Walker& walker, const std::string& path, mode_t mode) {
  const Walker::Place place = walker.at(path);
  if (::mkdirat(place.directory, place.name, mode) != 0) throw Failure::system("mkdir", walker.root().full(path));
}

// Level by level: those of one level by all threads.
void make_levels(const Root& root, const std::vector<const Entry*>& directories, unsigned threads) {
  std::vector<std::vector<const Entry*>> levels;
  for (const Entry* directory : directories) {
    const size_t depth = static_cast<size_t>(std::count(directory->path.begin(), directory->path.end(), '/'));
    if (depth >= levels.size()) levels.resize(depth + 1);
    levels[depth].push_back(directory);
  }
  for (const auto& level : levels)
    run_team(level.size(), threads, [&] {
      auto walker = std::make_shared<Walker>(root);
      return [&, walker](size_t i) { make_directory(*walker, level[i]->path, 0700); };
    });
}

// Makes our own folder, and tells which mode bits new things lose to the umask or a default ACL.
uint32_t make_own_folder(const Root& root) {
  Walker walker(root);
  make_directory(walker, kOwnFolder, 0777);
  struct stat st;
  const Fd fd = root.directory(kOwnFolder, O_RDONLY);
  if (::fstat(fd.get(), &st) != 0) throw Failure::system("fstat", root.full(kOwnFolder));
  if (::fchmod(fd.get(), 0700) != 0) throw Failure::system("fchmod", root.full(kOwnFolder));
  return 0777 & ~st.st_mode;
}

void finish_directory(const Root& root, const std::string& path, mode_t mode, const int64_t* mtime, bool read_only) {
  const Fd fd = root.directory(path, O_RDONLY);
  if (::fchmod(fd.get(), mode & (read_only ? 0555 : 0777)) != 0) throw Failure::system("fchmod", root.full(path));
  if (mtime && !set_mtime(fd.get(), *mtime)) throw Failure::system("futimens", root.full(path));
}

void make_hardlinks(const Root& root, const std::vector<const Entry*>& links, Progress progress) {
  Walker from(root), to(root);
  for (const Entry* link : links) {
    const Walker::Place file = from.at(link->target), place = to.at(link->path);
    if (::linkat(file.directory, file.name, place.directory, place.name, 0) != 0)
      throw Failure::system("link", root.full(link->path));
    progress.add(1, 0);
  }
}

void make_symlinks(const Root& root, const std::vector<const Entry*>& links, unsigned threads, Progress progress) {
  run_team(links.size(), threads, [&] {
    auto walker = std::make_shared<Walker>(root);
    return [&, walker](size_t i) {
      const Entry& link = *links[i];
      const Walker::Place place = walker->at(link.path);
      if (::symlinkat(link.target.c_str(), place.directory, place.name) != 0)
        throw Failure::system("symlink", root.full(link.path));
      if (!set_link_mtime(place, link.mtime)) throw Failure::system("utimensat", root.full(link.path));
      progress.add(1, 0);
    };
  });
}

}  // namespace

Skeleton::Skeleton(const Table& table, const std::vector<char>& done) {
  for (size_t i = 0; i < table.entries.size(); ++i) {
    const Entry& entry = table.entries[i];
    if (done[i]) continue;
    if (entry.kind == Kind::directory) directories.push_back(&entry);
    if (entry.kind == Kind::hardlink) hardlinks.push_back(&entry);
    if (entry.kind == Kind::symlink) symlinks.push_back(&entry);
  }
}

uint32_t Skeleton::make_directories(const Root& root, unsigned threads) const {
  const uint32_t lost = make_own_folder(root);
  make_levels(root, directories, threads);
  return lost;
}

void Skeleton::make_links(const Root& root, unsigned threads, Progress progress) const {
  make_hardlinks(root, hardlinks, progress);
  make_symlinks(root, symlinks, threads, progress);
}

void Skeleton::finish(const Root& root, bool read_only, unsigned threads, Progress progress) const {
  // Deepest first: parents stand before their children in a table.
  run_team(directories.size(), threads, [&] {
    return [&](size_t i) {
      const Entry& directory = *directories[directories.size() - 1 - i];
      finish_directory(root, directory.path, directory.mode | 0700, &directory.mtime, read_only);
      progress.add(1, 0);
    };
  });
}

Fd create_file(Walker::Place place, const Entry& entry, bool read_only, uint32_t lost, const Root& root) {
  const mode_t mode = entry.mode & (read_only ? 0555u : 0777u);
  Fd fd(::openat(place.directory, place.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) throw Failure::system("open", root.full(entry.path));
  if ((mode & lost) && ::fchmod(fd.get(), mode) != 0) throw Failure::system("fchmod", root.full(entry.path));
  return fd;
}

void write_index(const Root& root, const std::string& bytes, bool read_only) {
  const std::string path = std::string(kOwnFolder) + "/index";
  const mode_t mode = read_only ? 0444 : 0644;
  Walker walker(root);
  const Walker::Place place = walker.at(path);
  Fd fd(::openat(place.directory, place.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) throw Failure::system("open", root.full(path));
  if (!write_all(fd.get(), bytes.data(), bytes.size())) throw Failure::system("write", root.full(path));
  if (::fchmod(fd.get(), mode) != 0) throw Failure::system("fchmod", root.full(path));
  if (!fd.close()) throw Failure::system("close", root.full(path));
  finish_directory(root, kOwnFolder, 0755, nullptr, read_only);
}

}  // namespace cd
