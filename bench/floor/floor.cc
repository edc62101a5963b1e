// What the machine can do at best: creates a tree from one mapped file, and decodes an archive's frames, with no more work than that.
//   floor make SOURCE BLOB          a tree into one flat file (not measured)
//   floor create BLOB TARGET N      the same tree by N threads: mkdir, open + write + close, symlink
//   floor link BLOB TARGET N BASE   the same tree, its files hard links of those of BASE: mkdir, link, symlink
//   floor decode ARCHIVE N          every data frame decoded by N threads, nothing written
//   floor list ROOT N               what is in a tree: kind, SHA-256 or target, path (not measured: compares results)
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>
#include "../../native/core/frames.h"
#include "../../native/core/sha256.h"
#include "../../native/core/team.h"

namespace {

struct Record {
  uint32_t kind, mode, path;
  uint32_t unused;
  uint64_t size;
};  // path bytes and content follow

[[noreturn]] void die(const char* what, const std::string& path) {
  std::fprintf(stderr, "floor: %s %s: %s\n", what, path.c_str(), std::strerror(errno));
  std::exit(1);
}

std::string slurp(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) die("open", path);
  struct stat st;
  fstat(fd, &st);
  std::string out(static_cast<size_t>(st.st_size), '\0');
  for (size_t at = 0; at < out.size();) {
    const ssize_t n = read(fd, out.data() + at, out.size() - at);
    if (n <= 0) die("read", path);
    at += static_cast<size_t>(n);
  }
  close(fd);
  return out;
}

void emit(FILE* out, uint32_t kind, uint32_t mode, const std::string& path, const std::string& content) {
  const Record r{kind, mode, static_cast<uint32_t>(path.size()), 0, content.size()};
  std::fwrite(&r, sizeof r, 1, out);
  std::fwrite(path.data(), 1, path.size(), out);
  std::fwrite(content.data(), 1, content.size(), out);
}

// Calls back for every directory, symlink and file, parents first.
template <class Each>
void walk(const std::string& root, const std::string& rel, const Each& each) {
  const std::string here = rel.empty() ? root : root + "/" + rel;
  DIR* d = opendir(here.c_str());
  if (!d) die("opendir", here);
  while (dirent* e = readdir(d)) {
    const std::string name = e->d_name;
    if (name == "." || name == "..") continue;
    const std::string path = rel.empty() ? name : rel + "/" + name, full = root + "/" + path;
    struct stat st;
    if (lstat(full.c_str(), &st) != 0) die("lstat", full);
    if (S_ISDIR(st.st_mode)) {
      each(0u, 0755u, path, "");
      walk(root, path, each);
    } else if (S_ISLNK(st.st_mode)) {
      std::string target(4096, '\0');
      const ssize_t n = readlink(full.c_str(), target.data(), target.size());
      if (n < 0) die("readlink", full);
      each(2u, 0777u, path, target.substr(0, static_cast<size_t>(n)));
    } else if (S_ISREG(st.st_mode)) {
      each(1u, (st.st_mode & 0100) ? 0755u : 0644u, path, "");
    }
  }
  closedir(d);
}

void make(const std::string& root, const std::string& blob) {
  FILE* out = std::fopen(blob.c_str(), "wb");
  if (!out) die("open", blob);
  walk(root, "", [&](uint32_t kind, uint32_t mode, const std::string& path, const std::string& target) {
    emit(out, kind, mode, path, kind == 1 ? slurp(root + "/" + path) : target);
  });
  if (std::fclose(out) != 0) die("close", blob);
}

void list(const std::string& root, unsigned threads) {
  struct Line {
    uint32_t kind;
    std::string path, said;
  };
  std::vector<Line> lines;
  walk(root, "", [&](uint32_t kind, uint32_t, const std::string& path, const std::string& target) {
    lines.push_back({kind, path, target});
  });
  cd::run_team(lines.size(), threads, [&] {
    return [&](size_t i) {
      if (lines[i].kind != 1) return;
      const std::string content = slurp(root + "/" + lines[i].path);
      lines[i].said = cd::hex(cd::sha256(content.data(), content.size()));
    };
  });
  for (const Line& l : lines) std::printf("%c\t%s\t%s\n", "dfl"[l.kind], l.said.c_str(), l.path.c_str());
}

struct View {
  uint32_t kind, mode;
  std::string path;
  const char* content;
  size_t size;
};

void write_file(const View& f, int root) {
  const int out = openat(root, f.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, f.mode);
  if (out < 0) die("open", f.path);
  for (size_t done = 0; done < f.size;) {
    const ssize_t n = write(out, f.content + done, f.size - done);
    if (n < 0) die("write", f.path);
    done += static_cast<size_t>(n);
  }
  close(out);
}

// `make_file` makes one beneath the target.
template <class MakeFile>
void create(const std::string& blob, const std::string& target, unsigned threads, const MakeFile& make_file) {
  const int fd = open(blob.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) die("open", blob);
  const char* at =
      static_cast<const char*>(mmap(nullptr, static_cast<size_t>(st.st_size), PROT_READ, MAP_SHARED, fd, 0));
  if (at == MAP_FAILED) die("mmap", blob);
  std::vector<View> files, links;
  umask(0);
  if (mkdir(target.c_str(), 0755) != 0) die("mkdir", target);
  const int root = open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (const char* end = at + st.st_size; at < end;) {
    Record r;
    std::memcpy(&r, at, sizeof r);
    at += sizeof r;
    View v{r.kind, r.mode, std::string(at, r.path), at + r.path, r.size};
    at += r.path + r.size;
    if (v.kind == 0) {
      if (mkdirat(root, v.path.c_str(), v.mode) != 0) die("mkdir", v.path);
    } else {
      (v.kind == 1 ? files : links).push_back(std::move(v));
    }
  }
  constexpr size_t batch = 64;
  cd::run_team((files.size() + batch - 1) / batch, threads, [&] {
    return [&](size_t b) {
      for (size_t i = b * batch; i < std::min(files.size(), (b + 1) * batch); ++i) make_file(files[i], root);
    };
  });
  for (const View& l : links)
    if (symlinkat(std::string(l.content, l.size).c_str(), root, l.path.c_str()) != 0) die("symlink", l.path);
}

void link(const std::string& blob, const std::string& target, unsigned threads, const std::string& base) {
  const int from = open(base.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (from < 0) die("open", base);
  create(blob, target, threads, [&](const View& f, int root) {
    if (linkat(from, f.path.c_str(), root, f.path.c_str(), 0) != 0) die("link", f.path);
  });
}

void decode(const std::string& path, unsigned threads) {
  const auto archive = cd::Archive::open(path);
  if (!archive) {
    std::fprintf(stderr, "floor: %s: no frames of ours\n", path.c_str());
    std::exit(1);
  }
  cd::run_team(archive->frames().size(), threads, [&] {
    auto d = std::make_shared<cd::Decompressor>();
    auto packed = std::make_shared<cd::Room>(), out = std::make_shared<cd::Room>();
    return [&, d, packed, out](size_t i) {
      archive->load(i, *packed);
      archive->decode(i, *d, *packed, *out);
    };
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "make" && argc == 4) {
    make(argv[2], argv[3]);
  } else if (verb == "create" && argc == 5) {
    create(argv[2], argv[3], static_cast<unsigned>(std::atoi(argv[4])), write_file);
  } else if (verb == "link" && argc == 6) {
    link(argv[2], argv[3], static_cast<unsigned>(std::atoi(argv[4])), argv[5]);
  } else if (verb == "decode" && argc == 4) {
    decode(argv[2], static_cast<unsigned>(std::atoi(argv[3])));
  } else if (verb == "list" && argc == 4) {
    list(argv[2], static_cast<unsigned>(std::atoi(argv[3])));
  } else {
    std::fprintf(stderr,
                 "usage: floor make SOURCE BLOB | create BLOB TARGET THREADS | link BLOB TARGET THREADS BASE | decode "
                 "ARCHIVE THREADS | list ROOT THREADS\n");
    return 2;
  }
  return 0;
}
