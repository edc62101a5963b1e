// Fills a planned environment with content that compresses like the real one: reads the plan that plan.ts writes, makes the files by
// all threads, in the environment and in the package cache beside it (linked where they do not differ), and prints what conda would record.
//   grow ROOT CACHE PLACEHOLDER THREADS HOLES < PLAN
// A line of the plan, fields divided by blanks, paths relative: `d PATH` and `D PATH` (a directory of ROOT, of CACHE), `l TARGET PATH`,
// `f KIND MODE SPOTS SIZE PACKAGE PATH`. Printed for each `f`: SHA-256 as packaged, SHA-256 as installed, size as packaged.
// HOLES 1: of what lies beyond the first MiB of a file, seven eighths are holes.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>
#include "../../native/core/sha256.h"
#include "../../native/core/team.h"

namespace {

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "grow: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

// xorshift64*: the same plan gives the same bytes everywhere.
struct Random {
  uint64_t state;
  uint64_t next() {
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return state * 0x2545F4914F6CDD1DULL;
  }
  size_t below(size_t n) { return static_cast<size_t>((next() >> 33) % n); }
  // Below n, small numbers more often: every power of two is as likely as the next.
  size_t spread(size_t n) {
    size_t bits = 0;
    while (n >> (bits + 1)) ++bits;
    return std::min(n - 1, below(size_t{2} << below(bits + 1)));
  }
};

// How a kind of content is made: phrases that recur, near in the file or in all files of the kind, and bytes between them that do not.
// Chosen so that zstd reaches at level 4 the ratio that it reaches on files of this kind in a real environment (profile.json).
struct Style {
  const char* letters;
  size_t longest, fresh;
};
constexpr size_t pool_size = 512 << 10;
const Style styles[] = {
    {"etaoin shrdlucmfwypvbgk._=(),:\n    ", 52, 3},  // t: text
    {nullptr, 40, 4},                                 // p: compiled Python
    {nullptr, 37, 4},                                 // b: other binaries
    {nullptr, 37, 4},                                 // e: ELF
};
constexpr char kinds[] = "tpbe";

void fresh(const Style& style, Random& random, char* out, size_t size) {
  const size_t letters = style.letters ? std::strlen(style.letters) : 0;
  for (size_t i = 0; i < size; ++i)
    out[i] = letters ? style.letters[random.below(letters)]
                     : static_cast<char>(std::min(random.below(256), random.below(256)));
}

std::string pool_of(size_t kind) {
  Random random{0x9E3779B97F4A7C15ULL * (kind + 1)};
  std::string pool(pool_size, '\0');
  fresh(styles[kind], random, pool.data(), pool.size());
  return pool;
}

std::string content_of(size_t kind, const std::string& pool, uint64_t seed, size_t size, bool holes) {
  const Style& style = styles[kind];
  Random random{seed * 0x9E3779B97F4A7C15ULL + 1};
  std::string out(size, '\0');
  if (kind == 3 && size >= 4) std::memcpy(out.data(), "\177ELF", 4);
  constexpr size_t dense = 1 << 20, period = 512 << 10, data = 64 << 10;
  for (size_t at = kind == 3 ? std::min<size_t>(size, 64) : 0; at < size;) {
    if (holes && at >= dense && (at - dense) % period >= data) {
      at += period - (at - dense) % period;
      continue;
    }
    const size_t some = std::min(size - at, random.below(2 * style.fresh));
    fresh(style, random, out.data() + at, some);
    at += some;
    const size_t copied = std::min(size - at, 6 + random.below(style.longest));
    if (at >= 128 && random.below(2) == 0) {
      std::memcpy(out.data() + at, out.data() + at - copied - random.spread(std::min<size_t>(at - copied, 32 << 10)),
                  copied);
    } else {
      std::memcpy(out.data() + at, pool.data() + random.spread(pool.size() - copied), copied);
    }
    at += copied;
  }
  return out;
}

// `count` prefixes, evenly spread: in texts a line of its own, in binaries a C string with the room that the placeholder takes.
std::string with_prefix(const std::string& content, size_t count, const std::string& prefix, size_t room, bool text) {
  if (count == 0) return content;
  std::string out;
  for (size_t i = 0; i < count; ++i) {
    const size_t from = content.size() * i / count, to = content.size() * (i + 1) / count;
    out.append(content, from, to - from);
    if (text)
      out += "\npath = " + prefix + "/lib/some/file\n";
    else
      out += '\0' + prefix + "/lib" + std::string(room - prefix.size() + 1, '\0');
  }
  return out;
}

void save(int folder, const std::string& path, const std::string& content, mode_t mode, bool holes) {
  const int fd = openat(folder, path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) die("open " + path);
  constexpr size_t block = 64 << 10;
  for (size_t at = 0; at < content.size();) {
    size_t size = content.size() - at;
    if (holes && size > block) {
      size = block;
      if (content[at] == '\0' && std::memcmp(content.data() + at, content.data() + at + 1, size - 1) == 0) {
        at += size;
        continue;
      }
    }
    const ssize_t n = pwrite(fd, content.data() + at, size, static_cast<off_t>(at));
    if (n < 0) die("write " + path);
    at += static_cast<size_t>(n);
  }
  if (holes && ftruncate(fd, static_cast<off_t>(content.size())) != 0) die("ftruncate " + path);
  const timespec times[2] = {{1600000000, 0}, {1600000000, 0}};
  futimens(fd, times);
  close(fd);
}

struct File {
  char kind;
  mode_t mode;
  size_t spots, size;
  std::string package, path, said;
};

int folder_of(const char* path) {
  const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) die(std::string("open ") + path);
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: grow ROOT CACHE PLACEHOLDER THREADS HOLES < PLAN\n");
    return 2;
  }
  const std::string prefix = argv[1], placeholder = argv[3];
  const int root = folder_of(argv[1]), cache = folder_of(argv[2]);
  const bool holes = std::atoi(argv[5]) != 0;
  umask(0);
  std::ios::sync_with_stdio(false);
  std::vector<File> files;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    std::string what, target;
    File f{};
    in >> what;
    if (what == "f") {
      in >> f.kind >> std::oct >> f.mode >> std::dec >> f.spots >> f.size >> f.package >> f.path;
      files.push_back(std::move(f));
    } else if (what == "l") {
      in >> target >> f.path;
      if (symlinkat(target.c_str(), root, f.path.c_str()) != 0) die("symlink " + f.path);
    } else {
      in >> f.path;
      if (mkdirat(what == "d" ? root : cache, f.path.c_str(), 0755) != 0) die("mkdir " + f.path);
    }
  }
  std::vector<std::string> pools;
  for (size_t kind = 0; kind < 4; ++kind) pools.push_back(pool_of(kind));
  cd::run_team(files.size(), static_cast<unsigned>(std::atoi(argv[4])), [&] {
    return [&](size_t i) {
      File& f = files[i];
      const size_t kind = static_cast<size_t>(std::strchr(kinds, f.kind) - kinds);
      const std::string content = content_of(kind, pools[kind], i + 1, f.size, holes);
      const std::string packaged = with_prefix(content, f.spots, placeholder, placeholder.size(), kind == 0);
      const std::string sha = cd::hex(cd::sha256(packaged.data(), packaged.size()));
      std::string installed_sha = sha;
      const std::string cached = f.package + '/' + f.path;
      if (f.spots == 0) {
        save(root, f.path, packaged, f.mode, holes);
        if (linkat(root, f.path.c_str(), cache, cached.c_str(), 0) != 0) die("link " + cached);
      } else {
        const std::string installed = with_prefix(content, f.spots, prefix, placeholder.size(), kind == 0);
        installed_sha = cd::hex(cd::sha256(installed.data(), installed.size()));
        save(root, f.path, installed, f.mode, holes);
        save(cache, cached, packaged, f.mode, holes);
      }
      f.said = sha + ' ' + installed_sha + ' ' + std::to_string(packaged.size()) + '\n';
    };
  });
  for (const File& f : files) std::fputs(f.said.c_str(), stdout);
  return 0;
}
