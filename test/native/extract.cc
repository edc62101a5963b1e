// Extraction of small archives: contents, modes, times, links, spots, divided files, digests, the index; and of hostile
// ones: nothing is written where it must not be.
#include <fcntl.h>
#include <sys/wait.h>
#include "archive_builder.h"
#include "check.h"
#include "deny.h"
#include "forge.h"
#include "jobs.h"
#include "tree.h"

using namespace cd;

static const std::string kOld = "/opt/old-prefix";
static const std::string kNew = "/scratch/job/env";

static std::string z(size_t n) { return std::string(n, '\0'); }

static std::string noise(size_t size, unsigned seed) {
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>((seed = seed * 1664525u + 1013904223u) >> 24);
  return out;
}

static struct stat status(const std::string& path) {
  struct stat st {};
  CHECK_MORE(::lstat(path.c_str(), &st) == 0, path);
  return st;
}

static Extracted run(const Folder& folder, const std::string& archive, const std::string& name,
                     const std::string& prefix = kNew, bool read_only = true, unsigned threads = 3) {
  std::filesystem::create_directory(folder / name);
  return extract({archive, folder / name, prefix, read_only, threads}, Progress());
}

static std::string digest_of(const std::string& s) { return hex(sha256(s.data(), s.size())); }

// Everything an archive can hold; contents as they must be deployed are in `expected`.
static build::Archive sample(std::map<std::string, std::string>& expected) {
  build::Archive a({kOld});
  a.directory("bin");
  const std::string script = "#!" + kOld + "/bin/python\nprint('" + kOld + "')\n";
  a.file("bin/run", script, build::spots_of(script, kOld, 0), 0755);
  expected["bin/run"] = "#!" + kNew + "/bin/python\nprint('" + kNew + "')\n";
  a.directory("conda-meta");
  const std::string meta =
      "{\"sha256_in_prefix\": \"" + std::string(64, '0') + "\", \"plain\": \"" + std::string(64, '0') + "\"}";
  std::vector<Spot> digests(2);
  digests[0] = {Encoding::digest, 22, 1, 0};
  digests[1] = {Encoding::digest, 22 + 64 + 13, 0, 0};
  const uint32_t meta_number = a.file("conda-meta/p.json", meta, digests);
  a.directory("lib");
  a.file("lib/empty", "");
  const std::string library = "\177ELF" + kOld + "/lib:" + kOld + z(2 * 30 + 1) + noise(500, 1);
  a.file("lib/lib.so", library, build::spots_of(library, kOld, 45), 0755);
  expected["lib/lib.so"] = "\177ELF" + kNew + "/lib:" + kNew + z(2 * 29 + 1) + noise(500, 1);
  const std::string large = noise(100000, 2);
  const uint32_t large_number = a.file("lib/large", large);
  expected["lib/large"] = large;
  std::string text, grown;
  for (int i = 0; i < 4000; ++i) {
    text += "line " + std::to_string(i) + " " + kOld + "\n";
    grown += "line " + std::to_string(i) + " " + kNew + "\n";
  }
  a.file("lib/large.txt", text, build::spots_of(text, kOld, 0));
  expected["lib/large.txt"] = grown;
  std::string binary, moved;
  for (int i = 0; i < 300; ++i) {
    binary += noise(200, 3) + kOld + "/x" + z(6);
    moved += noise(200, 3) + kNew + "/x" + z(5);
  }
  a.file("lib/large.so", binary, build::spots_of(binary, kOld, 20));
  expected["lib/large.so"] = moved;
  a.table.entries[meta_number].spots[1].refers = large_number;
  expected["conda-meta/p.json"] =
      "{\"sha256_in_prefix\": \"" + digest_of(expected["bin/run"]) + "\", \"plain\": \"" + digest_of(large) + "\"}";
  expected["lib/empty"] = "";
  for (int i = 0; i < 200; ++i) {
    const std::string path = "lib/small" + std::to_string(i);
    a.file(path, expected[path] = noise(static_cast<size_t>(i) * 7, 4));
  }
  a.hardlink("lib/second", "lib/lib.so");
  a.hardlink("lib/third", "lib/lib.so");
  a.symlink("lib/link", "lib.so");
  a.symlink("outside", "/etc");
  return a;
}

static void contents(bool read_only, unsigned threads) {
  Folder folder;
  std::map<std::string, std::string> expected;
  build::Archive a = sample(expected);
  const std::string archive = a.write(folder / "a.tar.zst"), root = folder / "t";
  const mode_t before = ::umask(read_only ? 0077 : 0022);
  const Extracted r = run(folder, archive, "t", kNew, read_only, threads);
  ::umask(before);
  CHECK(a.frames.size() > 40);
  uint64_t bytes = 0;
  for (const auto& [path, content] : expected) {
    CHECK_MORE(slurp(root + "/" + path) == content, path);
    bytes += content.size();
  }
  CHECK(r.files == expected.size() && r.directories == 3 && r.symlinks == 2 && r.hardlinks == 2 && r.bytes == bytes);
  CHECK(r.rewritten == 5 && r.spots == 2 + 2 + 2 + 4000 + 300 && r.trampolines == 0 && r.by_path.empty());
  const uint64_t size = std::filesystem::file_size(archive);
  CHECK(r.read_bytes > size - 1000 && r.read_bytes < size + size / 10);  // the frame with digests is read twice

  const unsigned take = read_only ? 0222 : 0;
  for (const Entry& e : a.table.entries) {
    const struct stat st = status(root + "/" + e.path);
    if (e.kind != Kind::hardlink) CHECK_MORE(st.st_mtim.tv_sec == e.mtime && st.st_mtim.tv_nsec == 0, e.path);
    if (e.kind == Kind::file || e.kind == Kind::directory) CHECK_MORE((st.st_mode & 07777) == (e.mode & ~take), e.path);
  }
  CHECK(status(root + "/lib/second").st_ino == status(root + "/lib/lib.so").st_ino &&
        status(root + "/lib/third").st_nlink == 3);
  CHECK(std::filesystem::read_symlink(root + "/outside") == "/etc" &&
        std::filesystem::read_symlink(root + "/lib/link") == "lib.so");
  CHECK((status(root + "/.conda-deploy").st_mode & 07777) == (0755 & ~take));
  CHECK((status(root + "/.conda-deploy/index").st_mode & 07777) == (0644 & ~take));

  const std::string bytes_of_index = slurp(root + "/.conda-deploy/index");
  const Table index = decode_table(reinterpret_cast<const uint8_t*>(bytes_of_index.data()), bytes_of_index.size());
  CHECK(index.deployed && index.prefixes == (std::vector<std::string>{kOld, kNew}) &&
        index.entries.size() == a.table.entries.size());
  for (const Entry& e : index.entries) {
    CHECK_MORE(e.has_deployed == !e.spots.empty(), e.path);
    if (e.has_deployed)
      CHECK_MORE(hex(e.deployed_sha256) == digest_of(expected[e.path]) && e.deployed_size == expected[e.path].size(),
                 e.path);
  }
}

static void scripts() {
  Folder folder;
  build::Archive a({kOld});
  const std::string python = "#!" + kOld + "/bin/python\n", fish = "#!" + kOld + "/bin/fish\n";
  a.file("a", python, build::spots_of(python, kOld, 0), 0755);
  a.file("b", fish, build::spots_of(fish, kOld, 0), 0755);
  // A text of several frames whose first line becomes longer than its prefix alone would make it.
  std::string large = python;
  while (large.size() < 50000) large += "x = '" + kOld + "'\n";
  a.file("c", large, build::spots_of(large, kOld, 0), 0755);
  const std::string archive = a.write(folder / "a");
  const std::string prefix = "/with a blank";
  const Extracted r = run(folder, archive, "t", prefix);
  CHECK(r.trampolines == 2 && r.by_path == std::vector<std::string>{"b"});
  CHECK(slurp(folder / "t/a") == "#!/bin/sh\n'''exec' \"/with a blank/bin/python\" \"$0\" \"$@\" #'''\n");
  std::string expected = slurp(folder / "t/a");
  while (large.size() > python.size() && expected.size() < 1u << 20) {
    expected += "x = '" + prefix + "'\n";
    large.resize(large.size() - ("x = '" + kOld + "'\n").size());
  }
  CHECK(slurp(folder / "t/c") == expected);
}

// What is refused before the first write: the stage stays empty.
template <class Change>
static void refused(const char* code, Change change, const std::string& prefix = kNew, const std::string& says = "") {
  Folder folder;
  build::Archive a({kOld});
  a.directory("lib");
  const std::string c = "x" + kOld + "/a" + z(6) + "y";
  a.file("lib/first", c, build::spots_of(c, kOld, 20));
  a.file("lib/second", c, build::spots_of(c, kOld, 18));
  a.symlink("link", "/etc");
  change(a);
  const std::string archive = a.write(folder / "a");
  try {
    run(folder, archive, "t", prefix);
    CHECK_MORE(false, std::string("nothing was thrown, expected ") + code + " " + says);
  } catch (const Failure& failure) {
    CHECK_MORE(failure.code == code && std::string(failure.what()).find(says) != std::string::npos,
               failure.code + ": " + failure.what());
  }
  CHECK(std::filesystem::is_empty(folder / "t"));
}

static void before_the_first_write() {
  const auto nothing = [](build::Archive&) {};
  refused("PREFIX_TOO_LONG", nothing, "/nineteen/chars/abc", "is 18; too long for lib/second");
  refused("PREFIX_TOO_LONG", nothing, "/twenty-one/chars/abc", "too long for lib/first, lib/second");
  refused("INVALID_OPTION", nothing, "relative");
  refused("INVALID_OPTION", nothing, "/a\nb");
  refused("INVALID_OPTION", nothing, "/a" + z(1));
  refused("INVALID_OPTION", nothing, "");
  const auto forged = [](const std::string& bytes, uint64_t entries) {
    return [=](build::Archive& a) { a.forged = forge::table(forge::varint(0), entries, bytes); };
  };
  refused("UNSAFE_PATH", forged(forge::directory("../up"), 1));
  refused("UNSAFE_PATH", forged(forge::directory("/etc"), 1));
  refused("UNSAFE_PATH", forged(forge::directory(".conda-deploy"), 1));
  refused("UNSAFE_PATH", forged(forge::directory(".conda-deploy/ready"), 1));
  refused("ARCHIVE_CORRUPT", forged(forge::link(2, "link", "/tmp") + forge::file("link/through", 0), 2));
  refused("ARCHIVE_CORRUPT", forged(forge::link(2, "link", "/tmp") + forge::file("link", 0), 2));  // over a link
  refused("ARCHIVE_CORRUPT",
          forged(forge::file("f", 0) + forge::link(3, "g", "f") + forge::link(3, "h", "g"), 3));         // a chain
  refused("ARCHIVE_CORRUPT", forged(forge::link(2, "s", "/etc/passwd") + forge::link(3, "h", "s"), 2));  // to a link
}

static void midway() {
  const auto damaged = [](const char* code, std::function<void(build::Archive&)> change, const std::string& says) {
    Folder folder;
    std::map<std::string, std::string> expected;
    build::Archive a = sample(expected);
    change(a);
    const std::string archive = a.write(folder / "a");
    for (const unsigned threads : {1, 4}) {
      try {
        run(folder, archive, "t" + std::to_string(threads), kNew, true, threads);
        CHECK_MORE(false, std::string("nothing was thrown, expected ") + code);
      } catch (const Failure& failure) {
        CHECK_MORE(failure.code == code && std::string(failure.what()).find(says) != std::string::npos,
                   failure.code + ": " + failure.what());
      }
    }
  };
  // A spot that does not hold what the table says, in a small file and in the middle of a divided one.
  damaged(
      "ARCHIVE_CORRUPT", [](build::Archive& a) { a.table.entries[1].spots[1].offset += 1; }, "bin/run");
  damaged(
      "ARCHIVE_CORRUPT",
      [](build::Archive& a) {
        a.tamper_frame = [](size_t, std::string& frame) {
          const size_t at = frame.find("line 2000 /opt/old");
          if (at != std::string::npos) frame[at + 12] = 'X';
        };
      },
      "lib/large.txt");
  damaged(
      "ARCHIVE_CORRUPT", [](build::Archive& a) { a.table.entries[3].spots[0].offset += 1; }, "conda-meta/p.json");

  // Bytes of the file itself: one changed, and a frame cut off.
  Folder folder;
  std::map<std::string, std::string> expected;
  build::Archive a = sample(expected);
  const std::string archive = a.write(folder / "a");
  std::string bytes = slurp(archive);
  bytes[a.frames[5].position + a.frames[5].packed / 2] ^= 1;
  folder.write("flipped", bytes);
  THROWS("ARCHIVE_CORRUPT", run(folder, folder / "flipped", "flipped.t"));
  folder.write("cut", slurp(archive).substr(a.frames[5].position + 100));
  THROWS("ARCHIVE_CORRUPT", run(folder, folder / "cut", "cut.t"));
  folder.write("foreign", "nothing of the kind");
  THROWS("ARCHIVE_UNKNOWN", run(folder, folder / "foreign", "foreign.t"));
  THROWS("ARCHIVE_NOT_FOUND", run(folder, folder / "absent", "absent.t"));

  // What stands in the root already is never written into or through.
  folder.write("victim", "untouched");
  for (const char* name : {"bin", "outside", ".conda-deploy"}) {
    const std::string root = folder / (std::string("taken-") + name);
    std::filesystem::create_directory(root);
    std::filesystem::create_symlink(folder / "victim", root + "/" + name);
    THROWS("IO", extract({archive, root, kNew, true, 2}, Progress()));
  }
  std::filesystem::create_directories(folder / "taken/lib/");
  THROWS("IO", run(folder, archive, "taken"));
  CHECK(slurp(folder / "victim") == "untouched");
  std::filesystem::create_directory_symlink(folder / "taken", folder / "link");
  THROWS("IO", extract({archive, folder / "link", kNew, true, 2}, Progress()));
  THROWS("IO", extract({archive, folder / "link/", kNew, true, 2}, Progress()));
}

static void counters() {
  Folder folder;
  std::map<std::string, std::string> expected;
  build::Archive a = sample(expected);
  const std::string archive = a.write(folder / "a");
  std::atomic<uint64_t> shared[4] = {};
  std::filesystem::create_directory(folder / "t");
  const Extracted r = extract({archive, folder / "t", kNew, false, 2}, Progress(shared));
  CHECK(shared[0] == a.table.entries.size() && shared[1] == r.bytes && shared[3] == a.table.entries.size());
  std::atomic<uint64_t> cancelled[4] = {};
  cancelled[2] = 1;
  std::filesystem::create_directory(folder / "c");
  THROWS("CANCELLED", extract({archive, folder / "c", kNew, false, 2}, Progress(cancelled)));
}

// The promise to users without rights: a tree of their own is written, and read-only afterwards.
static void as_a_user() {
  if (::geteuid() != 0) return;  // then all the tests run so
  Folder folder;
  std::map<std::string, std::string> expected;
  build::Archive a = sample(expected);
  const std::string archive = a.write(folder / "a");
  std::filesystem::create_directory(folder / "t");
  CHECK(::chown((folder / "t").c_str(), 65534, 65534) == 0 && ::chmod(folder.path().c_str(), 0755) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(2);
    try {
      extract({archive, folder / "t", kNew, true, 1}, Progress());
      const bool closed =
          ::open((folder / "t/lib/large").c_str(), O_WRONLY) < 0 && ::mkdir((folder / "t/lib/new").c_str(), 0755) != 0;
      const bool verified = verify({folder / "t", folder / "t/.conda-deploy/index", 1}, Progress()).faults.empty();
      const bool removed = remove_tree(folder / "t/lib", 1, Progress()).entries > 200;
      ::_exit(closed && verified && removed ? 0 : 1);
    } catch (const Failure& failure) {
      std::fprintf(stderr, "%s\n", failure.what());
      ::_exit(3);
    }
  }
  int result = -1;
  ::waitpid(child, &result, 0);
  CHECK_MORE(result == 0, std::to_string(result));
}

int main() {
  for (const bool read_only : {true, false})
    for (const unsigned threads : {1u, 4u}) contents(read_only, threads);
  constexpr unsigned kOpenat2 = 437;
  for (const unsigned error : {ENOSYS, EPERM}) with_denied(kOpenat2, error, [] { contents(true, 2); });
  scripts();
  before_the_first_write();
  midway();
  counters();
  as_a_user();
  return check::done();
}
