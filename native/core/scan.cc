// A tree on disk → what stands in it. Directories are read level by level, those of one level by all threads.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <string_view>
#include <unordered_map>
#include "jobs.h"
#include "team.h"

namespace cd {
namespace {

struct Directory {  // closes what it opened
  DIR* stream = nullptr;
  ~Directory() {
    if (stream) closedir(stream);
  }
};

std::string read_link(int dir, const std::string& name, const std::string& path, size_t hint) {
  std::string target(std::max<size_t>(hint + 1, 256), '\0');
  for (;;) {
    const ssize_t n = readlinkat(dir, name.c_str(), target.data(), target.size());
    if (n < 0) throw Failure::system("readlink", path);
    if (static_cast<size_t>(n) < target.size()) {
      target.resize(static_cast<size_t>(n));
      return target;
    }
    target.resize(target.size() * 2);
  }
}

Kind kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return Kind::directory;
  if (S_ISREG(mode)) return Kind::file;
  return S_ISLNK(mode) ? Kind::symlink : Kind::other;
}

void read_directory(const ScanJob& job, int root, const std::string& relative, std::vector<Scanned>& out,
                    Progress& progress) {
  const std::string full = relative.empty() ? job.root : job.root + "/" + relative;
  // The root itself may be named through a symlink; nothing beneath it is followed.
  const int fd = openat(root, relative.empty() ? "." : relative.c_str(),
                        O_RDONLY | O_DIRECTORY | O_CLOEXEC | (relative.empty() ? 0 : O_NOFOLLOW));
  if (fd < 0) throw Failure::system("open", full);
  Directory directory{fdopendir(fd)};
  if (!directory.stream) {
    const int error = errno;
    close(fd);
    throw Failure::system("opendir", full, error);
  }
  for (;;) {
    errno = 0;
    const dirent* e = readdir(directory.stream);
    if (!e) {
      if (errno != 0) throw Failure::system("readdir", full);
      return;
    }
    const std::string name = e->d_name;
    if (name == "." || name == "..") continue;
    if (relative.empty() && std::find(job.skip.begin(), job.skip.end(), name) != job.skip.end()) continue;
    progress.check();
    Scanned s;
    s.path = relative.empty() ? name : relative + "/" + name;
    struct stat st;
    if (fstatat(fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT)
        continue;  // removed since it was listed: a program that runs from the tree may write and remove files
      throw Failure::system("stat", job.root + "/" + s.path);
    }
    s.kind = kind_of(st.st_mode);
    s.mode = st.st_mode & 07777;
    s.mtime = st.st_mtim.tv_sec;  // tv_nsec is never negative: this is the floor
    if (s.kind == Kind::file) {
      s.size = static_cast<uint64_t>(st.st_size);
      if (st.st_nlink > 1) {
        s.inode = std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino);
        if (job.outside) s.outside = st.st_nlink;
      }
    } else if (s.kind == Kind::symlink) {
      s.target = read_link(fd, name, job.root + "/" + s.path, static_cast<size_t>(st.st_size));
    }
    progress.add(1, s.size);
    out.push_back(std::move(s));
  }
}

// From all names of a file to those that are not in the tree.
void count_outside(std::vector<Scanned>& all) {
  std::unordered_map<std::string_view, uint64_t> inside;
  for (const Scanned& s : all)
    if (!s.inode.empty()) ++inside[s.inode];
  for (Scanned& s : all)
    if (!s.inode.empty()) s.outside -= std::min(s.outside, inside[s.inode]);
}

// A file linked from a package cache has more links than the tree holds: what is alone here needs no inode.
void forget_lone_inodes(std::vector<Scanned>& all) {
  std::unordered_map<std::string_view, Scanned*> first;  // null: seen again
  std::vector<Scanned*> lone;
  for (Scanned& s : all) {
    if (s.inode.empty()) continue;
    const auto [at, fresh] = first.emplace(s.inode, &s);
    if (!fresh) at->second = nullptr;
  }
  for (const auto& [inode, only] : first)
    if (only) lone.push_back(only);
  for (Scanned* s : lone) s->inode.clear();  // the keys of the map look at these
}

}  // namespace

std::vector<Scanned> scan(const ScanJob& job, Progress progress) {
  const int root = open(job.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) throw Failure::system("open", job.root);
  const struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } closer{root};

  std::vector<Scanned> all;
  std::vector<std::string> level{""};
  while (!level.empty()) {
    std::vector<std::vector<Scanned>> found(level.size());
    run_team(level.size(), job.threads,
             [&] { return [&](size_t i) { read_directory(job, root, level[i], found[i], progress); }; });
    level.clear();
    for (auto& directory : found)
      for (auto& s : directory) {
        if (s.kind == Kind::directory) level.push_back(s.path);
        all.push_back(std::move(s));
      }
  }
  std::sort(all.begin(), all.end(), [](const Scanned& a, const Scanned& b) { return a.path < b.path; });
  if (job.outside) count_outside(all);
  forget_lone_inodes(all);
  return all;
}

}  // namespace cd
