// many archives → as many trees, one archive to a thread: tars as they are packed, or all tars that a zip holds, one into another. What a
// later member names again takes the place of the earlier one, as with tar. No member is written through a link.
#include <unistd.h>
#include <algorithm>
#include "frames.h"
#include "jobs.h"
#include "root.h"
#include "stream.h"
#include "table.h"
#include "tar_reader.h"
#include "team.h"
#include "zip_reader.h"

namespace cd {
namespace {

constexpr size_t kChunk = 1u << 20;
constexpr uint64_t kMostMembers = 1u << 22;  // the largest packages there are have some ten thousand

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The content of one member of a zip.
class Part final : public Stream {
 public:
  Part(ZipReader& zip, uint64_t size) : zip_(zip), left_(size), chunk_(std::min<uint64_t>(size, kChunk), '\0') {}
  Bytes next() override {
    const size_t size = static_cast<size_t>(std::min<uint64_t>(left_, chunk_.size()));
    auto* data = reinterpret_cast<uint8_t*>(&chunk_[0]);
    if (size > 0) zip_.read(data, size);
    left_ -= size;
    return {data, size};
  }
  uint64_t packed() const override { return zip_.packed(); }

 private:
  ZipReader& zip_;
  uint64_t left_;
  std::string chunk_;
};

// "./a/b/" is a/b; the root itself is nothing.
std::string plain(std::string path) {
  while (path.compare(0, 2, "./") == 0) path.erase(0, 2);
  while (!path.empty() && path.back() == '/') path.pop_back();
  return path == "." ? "" : path;
}

class Tree {  // being filled from one archive
 public:
  Tree(const UnpackItem& item, const UnpackJob& job, Progress progress, std::string& chunk)
      : item_(item), job_(job), progress_(progress), chunk_(chunk), root_(item.root), walker_(root_), other_(root_),
        directories_(root_, 0777) {}

  void take(TarReader& tar) {
    for (BatchMember member; tar.next(member);) {
      progress_.check();
      Entry& entry = member.entry;
      entry.path = plain(std::move(entry.path));
      if (entry.path.empty() && entry.kind == Kind::directory) continue;
      check_path(entry.path);
      count(entry);
      switch (entry.kind) {
        case Kind::directory: directories_.make(entry.path); break;
        case Kind::file: file(entry, tar); break;
        case Kind::symlink: symlink(entry); break;
        case Kind::hardlink: hardlink(entry); break;
        case Kind::other: break;  // the reader lets none through
      }
    }
  }
  Unpacked result() const { return result_; }

 private:
  void count(const Entry& entry) {
    ++result_.entries;
    result_.bytes += entry.size;
    if (result_.entries > kMostMembers || result_.bytes > job_.most_bytes)
      throw Failure("LIMIT_EXCEEDED",
                    item_.archive + " unpacks to more than " + std::to_string(job_.most_bytes) + " bytes or " +
                        std::to_string(kMostMembers) + " members",
                    item_.archive);
  }

  // `make(place)` returns what the system call did: below 0 failed.
  template <class Make>
  int create(const char* call, const std::string& path, Make make) {
    directories_.make_parents(path);
    const Walker::Place place = walker_.at(path);
    int got = make(place);
    if (got < 0 && errno == EEXIST && ::unlinkat(place.directory, place.name, 0) == 0) got = make(place);
    if (got < 0) throw Failure::system(call, root_.full(path));
    return got;
  }

  void file(const Entry& entry, TarReader& tar) {
    // The kernel takes away what the user's umask does; never setuid and its like. Who made it can read it.
    const mode_t mode = (entry.mode & 0777) | 0400;
    Fd fd(create("open", entry.path, [&](Walker::Place at) {
      return ::openat(at.directory, at.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    }));
    for (uint64_t left = entry.size; left > 0;) {
      const size_t size = static_cast<size_t>(std::min<uint64_t>(left, chunk_.size()));
      tar.read(reinterpret_cast<uint8_t*>(&chunk_[0]), size);
      if (!write_all(fd.get(), chunk_.data(), size)) throw Failure::system("write", root_.full(entry.path));
      left -= size;
      if (left > 0) progress_.check();
    }
    if (!set_mtime(fd.get(), entry.mtime)) throw Failure::system("futimens", root_.full(entry.path));
    if (!fd.close()) throw Failure::system("close", root_.full(entry.path));
    progress_.add(0, entry.size);
  }

  void symlink(const Entry& entry) {
    if (entry.target.empty() || entry.target.find('\0') != std::string::npos)
      throw Failure("UNSAFE_PATH", item_.archive + ": " + entry.path + ": the text of the link is empty or holds a NUL",
                    entry.path);
    create("symlink", entry.path,
           [&](Walker::Place at) { return ::symlinkat(entry.target.c_str(), at.directory, at.name); });
  }

  void hardlink(const Entry& entry) {
    const std::string target = plain(entry.target);
    check_path(target);
    if (target == entry.path) return;
    const auto lost = [&] {
      return Failure(
          "ARCHIVE_CORRUPT",
          item_.archive + ": " + entry.path + " is a hard link to " + target + ", which is no file before it",
          entry.path);
    };
    Walker::Place from{};
    try {
      from = other_.at(target);
    } catch (const Failure& failure) {
      if (failure.error == ENOENT) throw lost();
      throw;
    }
    struct stat st;
    if (::fstatat(from.directory, from.name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) throw lost();
    create("link", entry.path,
           [&](Walker::Place at) { return ::linkat(from.directory, from.name, at.directory, at.name, 0); });
  }

  const UnpackItem& item_;
  const UnpackJob& job_;
  Progress progress_;
  std::string& chunk_;
  Root root_;
  Walker walker_, other_;
  Directories directories_;
  Unpacked result_;
};

Unpacked unpack_one(const UnpackItem& item, const UnpackJob& job, Progress progress, std::string& chunk) {
  uint64_t size;
  const Fd fd(open_regular(item.archive, size));
  if (::mkdir(item.root.c_str(), 0777) != 0) throw Failure::system("mkdir", item.root);
  Tree tree(item, job, progress, chunk);
  const auto take = [&](Stream& stream) {
    TarReader tar(stream, item.archive);
    tree.take(tar);
  };
  if (item.container == "zip") {
    ZipReader zip(fd.get(), item.archive, size, kMostMembers);
    uint64_t tars = 0;
    for (BatchMember member; zip.next(member);) {
      if (member.entry.kind != Kind::file || !ends_with(member.entry.path, ".tar.zst")) continue;
      ++tars;
      take(*zstd_stream(std::make_unique<Part>(zip, member.entry.size), item.archive));
    }
    if (tars == 0) throw Failure("ARCHIVE_CORRUPT", item.archive + " holds no .tar.zst", item.archive);
  } else if (item.container == "zstd") {
    take(*zstd_stream(fd.get(), item.archive));
  } else if (item.container == "tool") {
    take(*tool_stream(fd.get(), item.archive, item.command));
  } else {
    throw std::invalid_argument("container must be one of zip, zstd, tool, got " + item.container);
  }
  progress.add(1, 0);
  return tree.result();
}

}  // namespace

std::vector<Unpacked> unpack(const UnpackJob& job, Progress progress) {
  std::vector<Unpacked> out(job.items.size());
  progress.expect(out.size());
  run_team(out.size(), job.threads, [&] {
    auto chunk = std::make_shared<std::string>(kChunk, '\0');
    return [&, chunk](size_t i) { out[i] = unpack_one(job.items[i], job, progress, *chunk); };
  });
  return out;
}

}  // namespace cd
