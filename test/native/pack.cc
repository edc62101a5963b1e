// Packing real files: the archive holds them in their stored form, any part of it can be relocated alone, and its bytes do not depend on
// the threads.
#include <fcntl.h>
#include <algorithm>
#include <cstdlib>
#include <numeric>
#include "packing.h"
#include "parts.h"
#include "source.h"
#include "tasks.h"

using namespace cd;

// Every frame alone, deployed to where the files came from, gives the bytes that stood there.
static void deploys_to(const ReadBack& archive, const std::string& prefix, const Folder& source) {
  std::vector<Frame> frames;
  for (const std::string& f : archive.frames) frames.push_back({0, 0, static_cast<uint32_t>(f.size())});
  std::vector<std::string> deployed(archive.table.entries.size());
  const auto parts = parts_of(archive.table, frames);
  for (size_t f = 0; f < parts.size(); ++f)
    for (const Part& part : parts[f]) {
      const Entry& e = archive.table.entries[part.entry];
      const SpotRange spots = spots_in(part, e);
      const auto* data = reinterpret_cast<const uint8_t*>(archive.frames[f].data()) + part.offset;
      Rewriting done;
      deployed[part.entry] +=
          rewrite_spots(data, part.size, part.base, spots.first, spots.count, archive.table.prefixes, prefix, {}, done);
    }
  for (size_t i = 0; i < deployed.size(); ++i) {
    const Entry& e = archive.table.entries[i];
    if (e.kind != Kind::file) continue;
    CHECK_MORE(hash_of(archive.content(e)) == e.sha256, e.path);
    CHECK_MORE(deployed[i] == slurp(source / e.path), e.path);
  }
}

static std::string repeat(size_t size, const std::string& begin, const std::string& prefix, size_t spare,
                          unsigned kinds) {
  std::string s = begin;
  for (unsigned i = 0; s.size() < size; ++i) {
    if (kinds == 0)
      s += "path " + prefix + "/lib" + std::string(i % 7, 'x') + "\n";
    else
      s += prefix + "/lib" + (i % 3 == 0 ? ":" + prefix : "") + zeros(spare * (i % 3 == 0 ? 2 : 1) + 1 + i % 97);
  }
  return s;
}

static void archives() {
  Folder source, out;
  const std::string& here = source.path();
  const size_t gap = kPlaceholderText.size() - here.size();
  source.write("bin/tool", "#!" + here + "/bin/python\n", 0755);
  source.write("lib/a.py", "plain\n");
  source.write("lib/a.pyc", "code of a");
  source.write("lib/b.py", "home = '" + here + "'\n");
  source.write("lib/b.pyc",
               std::string(70000, 'b'));  // larger than a frame: its study must not run ahead of its source
  source.write("lib/empty", "");
  // Several frames, with strings that lie across every place where one could be cut.
  source.write("lib/large.so", repeat(300000, "\177ELF", here, 0, 1), 0755);
  source.write("lib/large.txt", repeat(200000, "", here, 0, 0));
  source.write("lib/proven.so", repeat(1100000, "\177ELF", here, gap, 1), 0755);
  source.write("lib/proven.txt", repeat(400000, "#!" + here + "/bin/sh\n", here, 0, 0));
  for (int i = 0; i < 300; ++i)
    source.write("many/" + std::to_string(i),
                 std::string(static_cast<size_t>(i * 11), static_cast<char>('a' + i % 26)));

  std::vector<std::string> paths{"bin",           "lib",           "many",          "bin/tool",  "lib/a.py",
                                 "lib/b.py",      "lib/b.pyc",     "lib/a.pyc",     "lib/empty", "lib/large.so",
                                 "lib/large.txt", "lib/proven.so", "lib/proven.txt"};
  for (int i = 0; i < 300; ++i) paths.push_back("many/" + std::to_string(i));
  PlannedJob job = job_of(source, paths);
  for (PackEntry& e : job.entries) {
    const std::string& path = e.entry.path;
    if (path.size() > 4 && path.substr(path.size() - 4) == ".pyc") {
      e.policy = Policy::report;
      e.unless_rewritten = path.substr(0, path.size() - 1);
    }
  }
  // The form in the package, made from the installed bytes.
  const auto original = [&](const std::string& path, bool text) {
    std::string s = slurp(source / path);
    for (size_t at = 0; (at = s.find(here, at)) != std::string::npos; at += kPlaceholderText.size()) {
      s.replace(at, here.size(), kPlaceholderText);
      if (!text) {
        const size_t end = s.find('\0', at);
        s.erase(end, gap);
      }
    }
    return s;
  };
  const std::string so = original("lib/proven.so", false), txt = original("lib/proven.txt", true);
  for (PackEntry& e : job.entries) {
    if (e.entry.path == "lib/proven.so") e = recorded(e, so, 1);
    if (e.entry.path == "lib/proven.txt") e = recorded(e, txt, 0);
  }
  const std::string text = "made for " + here + "\n";
  job.entries.push_back(generated("bin/activate", text));

  Packed packed;
  pack_and_seal(job, out / "1", 1, {}, &packed);
  const std::string one = slurp(out / "1");
  for (const unsigned threads : {2u, 3u, 8u}) {
    Packed other;
    pack_and_seal(job, out / std::to_string(threads), threads, {}, &other);
    CHECK(slurp(out / std::to_string(threads)) == one);
    CHECK(other.draft == packed.draft && other.prefixes == packed.prefixes &&
          other.outcomes.size() == packed.outcomes.size());
  }
  CHECK((packed.prefixes == std::vector<std::string>{here, kPlaceholderText}));

  const ReadBack archive(out / "1");
  CHECK(archive.table.entries.size() == job.entries.size() - 1 && packed.entries == archive.table.entries.size());
  CHECK(archive.tar.size() % 512 == 0 && archive.tar.substr(archive.tar.size() - 1024) == zeros(1024));
  CHECK(!archive.find("lib/b.pyc") && archive.find("lib/a.pyc"));
  CHECK(archive.content(*archive.find("lib/proven.so")) == so &&
        archive.content(*archive.find("lib/proven.txt")) == txt);
  CHECK(archive.find("lib/proven.so")->spots.at(1).slot == kPlaceholderText.size());
  CHECK(archive.find("lib/large.txt")->spots.size() == packed.outcomes.at(7).spots.size());
  source.write("bin/activate", text);  // was in memory only
  deploys_to(archive, here, source);
  for (const std::string& frame : archive.frames) CHECK(frame.size() < 8 * job.frame_bytes && !frame.empty());

  std::string states;
  for (const Outcome& o : packed.outcomes)
    states += o.path + ":" + std::to_string(static_cast<int>(o.state)) + (o.dropped ? "d " : " ");
  CHECK_MORE(states.rfind(
                 "bin/tool:3 lib/a.py:3 lib/b.py:3 lib/b.pyc:3d lib/a.pyc:3 lib/empty:3 lib/large.so:3 lib/large.txt:3 "
                 "lib/proven.so:0 lib/proven.txt:0 many/0:3 ",
                 0) == 0,
             states.substr(0, 200));
}

// Ordinary tools read it: contents, modes, times, links.
static void as_tar() {
  if (std::system("zstd --version >/dev/null 2>&1 && tar --version 2>/dev/null | grep -q GNU") != 0) {
    std::fprintf(stderr, "skipped: reading the archive with tar, because GNU tar or zstd is not here\n");
    return;
  }
  Folder source, out;
  source.write("bin/tool", "#!" + source.path() + "/bin/python\n", 0755);
  source.write("lib/" + std::string(120, 'n') + "/" + std::string(120, 'm'), "long");
  source.write("lib/large", std::string(500000, 'x') + source.path());
  std::filesystem::create_directory(source / "lib/empty");
  std::filesystem::create_symlink("../bin/tool", source / "lib/link");
  PlannedJob job =
      job_of(source, {"bin", "bin/tool", "lib", "lib/large", "lib/link", "lib/empty", "lib/" + std::string(120, 'n'),
                      "lib/" + std::string(120, 'n') + "/" + std::string(120, 'm')});
  job.entries.push_back(link("lib/tool2", Kind::hardlink, "bin/tool"));
  const Sealed sealed = pack_and_seal(job, out / "a.tar.zst", 2, {generated("lib/made", "made")});
  CHECK(sealed.packed_bytes == std::filesystem::file_size(out / "a.tar.zst"));
  CHECK(sealed.summary.entries == 10 && sealed.summary.files == 4 && sealed.summary.rewritten == 2);
  const std::string extract =
      "cd '" + out.path() + "' && mkdir t && zstd -q -dc a.tar.zst | tar -C t -xf - && zstd -q -t a.tar.zst";
  CHECK(std::system(extract.c_str()) == 0);
  for (const std::string path : {"bin/tool", "lib/large"})
    CHECK_MORE(slurp(out / ("t/" + path)) == slurp(source / path), path);
  CHECK(slurp(out / ("t/lib/" + std::string(120, 'n') + "/" + std::string(120, 'm'))) == "long");
  CHECK(std::filesystem::is_directory(out / "t/lib/empty") && slurp(out / "t/lib/made") == "made");
  CHECK(std::filesystem::read_symlink(out / "t/lib/link") == "../bin/tool");
  struct stat st, other;
  CHECK(lstat((out / "t/bin/tool").c_str(), &st) == 0 && st.st_nlink == 2 && (st.st_mode & 0777) == 0755 &&
        st.st_mtime == 1600000000);
  CHECK(lstat((out / "t/lib/tool2").c_str(), &other) == 0 && other.st_ino == st.st_ino);
  CHECK(lstat((out / "t/lib").c_str(), &other) == 0 && S_ISDIR(other.st_mode));
}

// A string that reaches to the end of a divided file takes what would be its last frames; they must not hold its padding alone.
static void one_string_to_the_end() {
  Folder source, out;
  const std::string string = source.path() + '/' + std::string(1300, 'y') + zeros(1);
  source.write("f", "\177ELF" + zeros(1) + std::string(1200, 'x') + zeros(1) + string, 0755);
  PlannedJob job = job_of(source, {"f"});
  job.frame_bytes = 1024;
  pack_and_seal(job, out / "a.tar.zst", 2, {});
  deploys_to(ReadBack(out / "a.tar.zst"), source.path(), source);
}

static void failures() {
  Folder source, out;
  source.write("f", "content");
  source.write("g", "content");
  PlannedJob job = job_of(source, {"f", "g"});
  job.output = out / "x";
  const auto refuses = [&](const char* code, const PlannedJob& bad) {
    for (const unsigned threads : {1u, 4u}) {
      PlannedJob j = bad;
      j.threads = threads;
      THROWS(code, pack(j, Progress()));
      CHECK(!std::filesystem::exists(j.output));  // removed, or never made
    }
  };
  PlannedJob bad = job;
  bad.entries[1].entry.size = 6;
  refuses("SOURCE_CHANGED", bad);
  bad = job;
  bad.entries[1].entry.path = "gone";
  refuses("SOURCE_CHANGED", bad);
  source.write("big", std::string(200000, 'b'));
  bad = job_of(source, {"f", "g", "big"});
  bad.output = out / "x";
  bad.entries[2].entry.size = 150000;
  refuses("SOURCE_CHANGED", bad);
  std::filesystem::create_symlink("f", source / "became-link");
  bad.entries[2] = job.entries[0];
  bad.entries[2].entry.path = "became-link";
  refuses("SOURCE_CHANGED", bad);
  mkfifo((source / "became-fifo").c_str(), 0600);
  bad.entries[2].entry.path = "became-fifo";
  refuses("SOURCE_CHANGED", bad);
  bad = job;
  bad.entries[0].unless_rewritten = "g";  // stands later
  refuses("INVALID_OPTION", bad);
  bad.entries[0].unless_rewritten = "f";
  refuses("INVALID_OPTION", bad);
  bad = job;
  bad.entries[1].entry.path = "f";  // twice, which is found in the whole table
  THROWS("ARCHIVE_CORRUPT", pack_and_seal(bad, bad.output, 2, {}));
  CHECK(!std::filesystem::exists(bad.output));
  bad = job;
  bad.entries[1].entry.kind = Kind::other;
  refuses("INVALID_OPTION", bad);
  bad = job;
  bad.frame_bytes = 0;
  refuses("INVALID_OPTION", bad);
  bad = job;
  bad.prefixes = {""};
  refuses("INVALID_OPTION", bad);
  bad = job;
  bad.root = out / "nowhere";
  refuses("IO", bad);
  bad = job;
  bad.output = out / "nowhere/x";
  refuses("IO", bad);

  out.write("x", "mine");
  THROWS("OUTPUT_EXISTS", pack(job, Progress()));
  CHECK(slurp(job.output) == "mine");

  job.output = out / "y";
  std::atomic<uint64_t> counters[4] = {};
  counters[2] = 1;
  THROWS("CANCELLED", pack(job, Progress(counters)));
  CHECK(!std::filesystem::exists(job.output));
  counters[2] = 0;
  pack(job, Progress(counters));
  CHECK(counters[0] == 2 && counters[1] == 14 && counters[3] == 2);

  job.output.clear();
  const Packed packed = pack(job, Progress());  // a study writes nothing
  CHECK(packed.outcomes.size() == 2 && packed.draft.empty() && packed.bytes == 14);
}

// A large file is read more than once: that it stayed the same is checked against the first time.
static void changes() {
  Folder source;
  source.write("f", "content");
  const Fd root(open(source.path().c_str(), O_RDONLY | O_DIRECTORY));
  const uint64_t planned = plan(source, "f").entry.size;
  OpenFile before(root.get(), source.path(), "f", planned, "");
  before.check_unchanged(before.version());
  struct timespec times[2] = {{0, UTIME_OMIT}, {1700000000, 5}};
  if (utimensat(root.get(), "f", times, 0) != 0) std::abort();
  THROWS("SOURCE_CHANGED", before.check_unchanged(before.version()));
  OpenFile after(root.get(), source.path(), "f", planned, "");
  THROWS("SOURCE_CHANGED", after.check_unchanged(before.version()));
  if (truncate((source / "f").c_str(), 3) != 0) std::abort();
  uint8_t out[7];
  THROWS("SOURCE_CHANGED", after.read_all(out));
}

// How many bytes of members the frames of `count` files of 1 MiB hold, by the plan alone.
static std::vector<uint64_t> planned_frames(size_t count) {
  PackEntry e;
  e.entry.kind = Kind::file;
  e.entry.size = (1 << 20) - 512;
  PackEntries entries;
  for (size_t i = 0; i < count; ++i) entries.push_back(e);
  std::vector<uint64_t> sizes;
  for (const Task& task : divide(entries, companions_of(entries), 8 << 20, 2).tasks)
    sizes.push_back((task.last - task.first) << 20);
  return sizes;
}

static void divisions() {
  const auto large = planned_frames(1024), middle = planned_frames(340), small = planned_frames(40);
  CHECK(large.front() == 8 << 20 && middle.front() == 5 << 20 && small.front() == 4 << 20);
  for (const auto* sizes : {&large, &middle, &small}) {
    CHECK(sizes->back() <= 2 << 20);
    CHECK(std::is_sorted(sizes->rbegin(), sizes->rend()));
  }
  CHECK(std::accumulate(large.begin(), large.end(), uint64_t{0}) == 1024 << 20);
}

// A frame that is large enough for all that compressing does differently then.
static void large_frame() {
  std::string text;
  for (uint64_t i = 0; text.size() < 7 << 20; ++i) text += std::to_string(i * i % 1000003) + (i % 7 == 0 ? '\n' : ' ');
  for (const int level : {3, 4}) {
    const std::string packed = Compressor(level).compressed(text.data(), text.size());
    std::string out(text.size(), '\0');
    Decompressor().decompress(packed.data(), packed.size(), &out[0], out.size(), "frame");
    CHECK(out == text && packed.size() < text.size() / 2);
  }
}

int main() {
  divisions();
  large_frame();
  archives();
  as_tar();
  one_string_to_the_end();
  failures();
  changes();
  return check::done();
}
