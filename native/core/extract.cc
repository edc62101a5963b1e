// archive → tree. Everything that can be known before is checked before the first write; directories first, then
// contents, then what only names them; symbolic links last, so that nothing is ever written through one. A failure
// leaves a stage for the caller to remove.
#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include "fill.h"
#include "table.h"
#include "team.h"

namespace cd {
namespace {

// Refuses a prefix that does not fit every slot, naming the first files and what would fit; and texts that would grow without measure.
void check_fits(const Table& table, const std::string& prefix) {
  uint64_t growth = 0;
  uint64_t needed[6] = {};  // characters, by encoding; 0: not yet known
  std::vector<const Entry*> tight;
  uint32_t longest = UINT32_MAX;
  for (const Entry& entry : table.entries) {
    bool fits = true;
    for (const Spot& spot : entry.spots) {
      if (spot.encoding == Encoding::text) growth += prefix.size();
      if (spot.encoding == Encoding::text || spot.encoding == Encoding::digest) continue;
      uint64_t& characters = needed[static_cast<unsigned>(spot.encoding)];
      if (characters == 0) characters = encode_as(prefix, spot.encoding).size() / unit_of(spot.encoding);
      longest = std::min(longest, spot.slot);
      fits = fits && characters <= spot.slot;
    }
    if (!fits) tight.push_back(&entry);
  }
  check_growth(growth);
  if (tight.empty()) return;
  constexpr size_t kNamed = 5;
  std::string names;
  for (size_t i = 0; i < std::min(tight.size(), kNamed); ++i) names += (i ? ", " : "") + tight[i]->path;
  if (tight.size() > kNamed) names += " and " + std::to_string(tight.size() - kNamed) + " more";
  throw Failure("PREFIX_TOO_LONG",
                "the prefix " + prefix + " is " + std::to_string(prefix.size()) +
                    " bytes long, the longest that fits is " + std::to_string(longest) + "; too long for " + names,
                tight[0]->path);
}

// By way of the walker: mkdirat with the whole path would follow a link that somebody put in place of a parent.
void make_directory(Walker& walker, const std::string& path, mode_t mode) {
  const Walker::Place place = walker.at(path);
  if (::mkdirat(place.directory, place.name, mode) != 0) throw Failure::system("mkdir", walker.root().full(path));
}

// Level by level: those of one level by all threads.
void make_directories(const Root& root, const std::vector<const Entry*>& directories, unsigned threads) {
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

void write_index(const Root& root, Table& table, const ExtractJob& job) {
  table.deployed = true;
  table.root.clear();
  table.prefixes.push_back(job.prefix);
  const std::string bytes = encode_table(table), path = std::string(kOwnFolder) + "/index";
  const mode_t mode = job.read_only ? 0444 : 0644;
  Walker walker(root);
  const Walker::Place place = walker.at(path);
  Fd fd(::openat(place.directory, place.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) throw Failure::system("open", root.full(path));
  if (!write_all(fd.get(), bytes.data(), bytes.size())) throw Failure::system("write", root.full(path));
  if (::fchmod(fd.get(), mode) != 0) throw Failure::system("fchmod", root.full(path));
  if (!fd.close()) throw Failure::system("close", root.full(path));
}

}  // namespace

Extracted extract(const ExtractJob& job, Progress progress) {
  if (!job.stored) check_prefix(job.prefix);
  const std::unique_ptr<Archive> archive = Archive::open(job.archive);
  if (!archive) throw Failure("ARCHIVE_UNKNOWN", job.archive + ": not an archive of conda-deploy", job.archive);
  Table table = archive->table();
  if (job.stored)
    for (Entry& entry : table.entries) entry.spots.clear();
  else
    check_fits(table, job.prefix);
  std::vector<const Entry*> directories, hardlinks, symlinks;
  for (const Entry& entry : table.entries) {
    if (entry.kind == Kind::directory) directories.push_back(&entry);
    if (entry.kind == Kind::hardlink) hardlinks.push_back(&entry);
    if (entry.kind == Kind::symlink) symlinks.push_back(&entry);
  }
  progress.expect(table.entries.size());
  progress.check();

  const Root root(job.root);
  const uint32_t lost = make_own_folder(root);
  make_directories(root, directories, job.threads);

  Fill fill(job, *archive, table, root, lost, progress);
  fill.run();
  make_hardlinks(root, hardlinks, progress);
  make_symlinks(root, symlinks, job.threads, progress);
  if (job.stored) {
    if (::unlinkat(root.fd(), kOwnFolder, AT_REMOVEDIR) != 0) throw Failure::system("rmdir", root.full(kOwnFolder));
  } else {
    write_index(root, table, job);
    finish_directory(root, kOwnFolder, 0755, nullptr, job.read_only);
  }
  // Deepest first: parents stand before their children in a table.
  run_team(directories.size(), job.threads, [&] {
    return [&](size_t i) {
      const Entry& directory = *directories[directories.size() - 1 - i];
      finish_directory(root, directory.path, directory.mode | 0700, &directory.mtime, job.read_only);
      progress.add(1, 0);
    };
  });

  Extracted result;
  fill.add_to(result);
  result.directories = directories.size();
  result.hardlinks = hardlinks.size();
  result.symlinks = symlinks.size();
  result.read_bytes = archive->bytes_read();
  return result;
}

}  // namespace cd
