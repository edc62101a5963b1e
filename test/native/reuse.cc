// A deployed tree as the base of another: what is linked, copied, rewritten; what is refused, and read from the archive.
#include <fcntl.h>
#include "archive_builder.h"
#include "check.h"
#include "jobs.h"
#include "tree.h"

using namespace cd;

static const std::string kOld = "/opt/old-prefix-with-room-for-more";

static build::Archive sample(const std::string& changed) {
  build::Archive a({kOld});
  a.directory("bin");
  const std::string script = "#!" + kOld + "/bin/python\n";
  a.file("bin/run", script, build::spots_of(script, kOld, 0), 0755);
  a.directory("lib");
  const std::string library = "\177ELF" + kOld + "/lib" + std::string(20, '\0');
  a.file("lib/lib.so", library, build::spots_of(library, kOld, 40), 0755);
  a.hardlink("lib/second", "lib/lib.so");
  for (int i = 0; i < 200; ++i)
    a.file("lib/plain" + std::to_string(i), std::string(300, static_cast<char>('a' + i % 26)));
  a.file("lib/changed", changed);
  a.symlink("link", "lib");
  const std::string record = "\"" + std::string(64, '0') + "\"";
  a.file("record", record, {{Encoding::digest, 1, 1, 0}});
  return a;
}

static Extracted run(const std::string& archive, const std::string& root, const std::string& prefix,
                     const std::string& base, Share share, bool read_only = true, bool check = false) {
  std::filesystem::create_directory(root);
  ExtractJob job;
  job.archive = archive;
  job.root = root;
  job.prefix = prefix;
  job.read_only = read_only;
  job.threads = 3;
  job.base = base;
  job.share = share;
  job.check = check;
  return extract(job, Progress());
}

static void expect_equal(const std::string& one, const std::string& other) {
  for (const auto& e : std::filesystem::recursive_directory_iterator(one)) {
    const std::string there = other + e.path().string().substr(one.size());
    struct stat a {
    }, b{};
    CHECK_MORE(::lstat(e.path().c_str(), &a) == 0 && ::lstat(there.c_str(), &b) == 0, there);
    if (S_ISREG(a.st_mode)) CHECK_MORE(slurp(e.path().string()) == slurp(there), there);
    CHECK_MORE(a.st_mode == b.st_mode, there);
    if (there.find(".conda-deploy") == std::string::npos) CHECK_MORE(a.st_mtime == b.st_mtime, there);
  }
}

// Files of several pieces: a string across the border of two, and one in the last piece which fills its slot, so that what was
// written is taken back and made by its hash.
static void large_files(const Folder& folder) {
  build::Archive a({kOld});
  const auto add = [&](const std::string& name, const std::string& before, uint32_t slot) {
    const std::string content = before + kOld + "/lib" + std::string(30, '\0') + std::string(9, 'z');
    a.file(name, content, build::spots_of(content, kOld, slot), 0755);
  };
  for (const int back : {0, 1, 20, 60, 100})
    add("across" + std::to_string(back), std::string((256 << 10) - back, 'x'), 40);
  add("fills", std::string(700'000, 'y'), 34);
  const std::string archive = a.write(folder / "large"), base = folder / "large-base", full = folder / "large-full";
  const std::string filling = "/a/prefix" + std::string(25, 'p');
  run(archive, base, filling, "", Share::never);
  run(archive, full, "/another", "", Share::never);
  const std::string at = folder / "large-at";
  const Extracted r = run(archive, at, "/another", base, Share::read_only);
  expect_equal(full, at);
  CHECK(r.reused.rewritten == 6 && r.reused.refused == 0);
  // Of the right size and time, but without its prefix.
  const std::string path = base + "/across20";
  struct stat st {};
  CHECK(::stat(path.c_str(), &st) == 0 && ::chmod(path.c_str(), 0755) == 0);
  CHECK(::truncate(path.c_str(), 1000) == 0 && ::truncate(path.c_str(), st.st_size) == 0);
  const timespec times[2] = {{0, UTIME_OMIT}, st.st_mtim};
  CHECK(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0 && ::chmod(path.c_str(), st.st_mode & 07777) == 0);
  const std::string again = folder / "large-again";
  CHECK(run(archive, again, "/another", base, Share::read_only).reused.refused == 1);
  expect_equal(full, again);
}

int main() {
  Folder folder;
  large_files(folder);
  const std::string first = sample("old").write(folder / "first"), second = sample("new").write(folder / "second");
  const std::string base = folder / "base", full = folder / "full";
  run(first, base, "/a/prefix", "", Share::never);
  run(second, full, "/another", "", Share::never);
  int round = 0;
  const auto next = [&] { return folder / ("t" + std::to_string(round++)); };

  for (const Share share : {Share::never, Share::read_only, Share::always}) {
    const std::string at = next();
    const Extracted r = run(second, at, "/another", base, share);
    expect_equal(full, at);
    const uint64_t linked = share == Share::never ? 0 : 200;
    CHECK(r.reused.linked == linked && r.reused.linked + r.reused.copied + r.reused.cloned == 200);
    CHECK(r.reused.rewritten == 3 && r.reused.refused == 0 && r.files == 204 && r.rewritten == 3);
    CHECK(r.read_bytes < std::filesystem::file_size(second));
  }

  // Without an archive: all of it, and back.
  const std::string there = next(), back = next();
  CHECK(run("", there, "/another", base, Share::always).reused.linked == 201);
  CHECK(run("", back, "/a/prefix", there, Share::always).read_bytes == 0);
  expect_equal(base, back);
  THROWS("INVALID_OPTION", run("", next(), "/another", "", Share::never));
  THROWS("PREFIX_TOO_LONG", run("", next(), '/' + std::string(40, 'p'), base, Share::never));

  // Hashed: content that size and time do not tell.
  const std::string path = base + "/lib/plain7";
  struct stat st {};
  CHECK(::stat(path.c_str(), &st) == 0);
  CHECK(::chmod(path.c_str(), 0644) == 0);
  std::ofstream(path) << std::string(300, '?');
  CHECK(::chmod(path.c_str(), 0444) == 0);
  const timespec times[2] = {{0, UTIME_OMIT}, st.st_mtim};
  CHECK(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
  const std::string hashed = next();
  const Extracted r = run(second, hashed, "/another", base, Share::read_only, true, true);
  CHECK(r.reused.refused == 1 && r.reused.why.find("lib/plain7") != std::string::npos && r.reused.linked == 0);
  CHECK(slurp(hashed + "/lib/plain7") == std::string(300, 'h'));
  THROWS("VERIFY_FAILED", run("", next(), "/another", base, Share::never, true, true));

  // A base that is none.
  const Extracted none = run(second, next(), "/another", folder / "missing", Share::read_only);
  CHECK(none.reused.linked == 0 && !none.reused.why.empty() && none.files == 204);
  return check::done();
}
