// Packing real files: what is proven, what is changed, which spots are recorded, and that the bytes do not depend on the threads.
#include "check.h"
#include "frames.h"
#include "jobs.h"
#include "sha256.h"
#include "study.h"
#include "tree.h"

using namespace cd;

static const std::string kPlaceholderText = "/opt/build" + std::string(235, 'p') + "_placehold";  // 255 bytes
static const std::string kHere = "/home/alice/env";

static std::string z(size_t n) { return std::string(n, '\0'); }
static Digest hash_of(const std::string& s) { return sha256(s.data(), s.size()); }

struct Case {
  PackEntry entry;
  std::string content;
  Case(std::string c) : content(std::move(c)) { entry.entry.path = "f"; }
  Case& package(const std::string& original, int mode) {
    entry.has_sha256 = true;
    entry.sha256 = hash_of(original);
    entry.placeholder = kPlaceholderText;
    entry.mode = mode;
    return *this;
  }
  Studied run(const std::vector<std::string>& prefixes = {kHere}) const {
    Memory source(reinterpret_cast<const uint8_t*>(content.data()), content.size());
    return study(source, entry, prefixes, "_placehold_placehold");
  }
  std::string stored(const Studied& s) const {
    Memory source(reinterpret_cast<const uint8_t*>(content.data()), content.size());
    std::string whole, parts;
    render(source, s.edits, {0, s.size}, whole);
    for (uint64_t at = 0; at < s.size; at += 3) render(source, s.edits, {at, std::min(s.size, at + 3)}, parts);
    CHECK(whole == parts);  // any cutting gives the same bytes
    return whole;
  }
};

static void proven(const std::string& what, const std::string& installed, const std::string& original, int mode, size_t spots) {
  const Case c = Case(installed).package(original, mode);
  const Studied s = c.run();
  CHECK_MORE(s.state == State::proven, what);
  CHECK_MORE(c.stored(s) == original, what);
  CHECK_MORE(s.spots.size() == spots && s.kept_prefix == 0, what);
  for (const Spot& spot : s.spots) {
    const std::string there = encode_as(kPlaceholderText, spot.encoding);
    CHECK_MORE(original.compare(spot.offset, there.size(), there) == 0 && spot.refers == kPlaceholder, what);
    CHECK_MORE(spot.slot == (spot.encoding == Encoding::text ? 0 : 255), what);
  }
}

static void proofs() {
  const std::string& ph = kPlaceholderText;
  const size_t gap = ph.size() - kHere.size();
  proven("untouched", "plain\n", "plain\n", 0, 0);
  proven("text", "a " + kHere + "/b\n" + kHere + "\n", "a " + ph + "/b\n" + ph + "\n", 0, 2);
  proven("text that goes on", "x" + kHere + "2\n", "x" + ph + "2\n", 0, 1);
  proven("whole and not whole", kHere + " " + kHere + "-old\n", ph + " " + kHere + "-old\n", 0, 1);
  proven("no newline", "#!" + kHere + "/bin/python", "#!" + ph + "/bin/python", 0, 1);
  proven("C string", "\177ELF" + kHere + "/lib" + z(gap + 1) + "rest", "\177ELF" + ph + "/lib" + z(1) + "rest", 1, 1);
  proven("two in one string", kHere + ":" + kHere + "/x" + z(2 * gap + 1) + "r", ph + ":" + ph + "/x" + z(1) + "r", 1, 2);
  proven("two strings", kHere + z(gap + 1) + "-" + kHere + z(gap + 1), ph + z(1) + "-" + ph + z(1), 1, 2);
  proven("at the end of the file", "x" + kHere + "/lib" + z(gap), "x" + ph + "/lib", 1, 1);
  const auto wide = [](const std::string& s, Encoding e) { return encode_as(s, e); };
  for (const Encoding e : {Encoding::c16le, Encoding::c16be, Encoding::c32le, Encoding::c32be}) {
    const unsigned u = unit_of(e);
    proven("wide", z(8) + wide(kHere + "/x", e) + z(gap * u + u) + "end.", z(8) + wide(ph + "/x", e) + z(u) + "end.", 1, 1);
  }
  proven("shebang made short by env", "#!/usr/bin/env python3.11 -s\nx\n", "#!" + ph + "/bin/python3.11 -s\nx\n", 0, 1);
  proven("shebang made a trampoline", "#!/bin/sh\n'''exec' \"" + kHere + "/bin/python\" -s \"$0\" \"$@\" #'''\n" + kHere + "\n", "#!" + ph + "/bin/python -s\n" + ph + "\n", 0, 2);
}

static void unproven() {
  const std::string& ph = kPlaceholderText;
  const size_t gap = ph.size() - kHere.size();
  {
    const Studied s = Case("edited " + kHere + "\n").package("a " + ph + "\n", 0).run();
    CHECK(s.state == State::modified && s.spots.size() == 1 && s.spots[0].encoding == Encoding::text && s.spots[0].offset == 7 && s.spots[0].refers == 0);
  }
  {  // as mamba records it: hashes, no placeholder
    Case c(kHere + "/t" + z(gap + 1) + "x");
    c.package("?", 1);
    c.entry.placeholder.clear();
    c.entry.has_in_prefix = true;
    c.entry.in_prefix = hash_of(c.content);
    c.entry.policy = Policy::any;
    c.entry.slot = 255;
    const Studied s = c.run();
    CHECK(s.state == State::installed && s.spots.size() == 1 && s.spots[0].slot == 255);
    CHECK(s.solid.size() == 1 && s.solid[0].end == 2 + ph.size());
  }
  {  // the NULs do not show the room
    Case c("\177ELF1234" + kHere + z(gap) + "x");
    c.entry.slot = 255;
    const Studied s = c.run();
    CHECK(s.state == State::unknown && s.spots.size() == 1 && s.spots[0].slot == kHere.size());
  }
  CHECK(Case("\177ELF1234" + kHere + "/lib" + z(1)).run().spots[0].slot == kHere.size());
  CHECK(Case("!<arch>\n" + kHere + z(1)).run().spots.size() == 1);
  {
    const Studied s = Case("PK12" + kHere + z(1) + kHere).run();
    CHECK(s.spots.empty() && s.kept_prefix == 2);
  }
  {
    Case c("text " + kHere);
    c.entry.policy = Policy::report;
    const Studied s = c.run();
    CHECK(s.spots.empty() && s.kept_prefix == 1);
  }
  CHECK(Case("see /x_placehold_placehold_placehold/y").run().kept_placeholder == 1);
  {  // two spellings of one prefix, one inside the other
    const Studied s = Case("/gpfs" + kHere + "/a " + kHere + "/b").run({kHere, "/gpfs" + kHere});
    CHECK(s.spots.size() == 2 && s.spots[0].refers == 1 && s.spots[0].offset == 0 && s.spots[1].refers == 0);
  }
  CHECK(Case("").run().spots.empty());
}

static PackEntry plan(const Folder& folder, const std::string& path) {
  PackEntry e;
  e.entry.path = path;
  e.entry.mode = 0644;
  struct stat st;
  if (lstat((folder / path).c_str(), &st) != 0) std::abort();
  e.entry.kind = S_ISDIR(st.st_mode) ? Kind::directory : Kind::file;
  if (S_ISREG(st.st_mode)) e.entry.size = static_cast<uint64_t>(st.st_size);
  e.entry.mtime = 1600000000;
  return e;
}

static PackJob job_of(const Folder& folder, const std::vector<std::string>& paths) {
  PackJob job;
  job.root = folder.path();
  job.prefixes = {folder.path()};
  job.marker = "_placehold_placehold";
  job.frame_bytes = 64 << 10;
  for (const auto& p : paths) job.entries.push_back(plan(folder, p));
  return job;
}

static std::string pack_and_seal(PackJob job, const Folder& out, const std::string& name, unsigned threads, Packed& packed, const std::vector<PackEntry>& generated) {
  job.output = out / name;
  job.threads = threads;
  packed = pack(job, Progress());
  SealJob seal_job;
  seal_job.output = job.output;
  seal_job.draft = {reinterpret_cast<const uint8_t*>(packed.draft.data()), packed.draft.size()};
  seal_job.entries = generated;
  seal_job.prefixes = job.prefixes;
  seal_job.json = "{\"name\":\"test\"}";
  seal_job.frame_bytes = job.frame_bytes;
  seal_job.threads = threads;
  seal(seal_job, Progress());
  return slurp(job.output);
}

static PackEntry generated(const std::string& path, const std::string& content) {
  PackEntry e;
  e.entry.path = path;
  e.entry.mode = 0755;
  e.in_memory = true;
  e.data = {reinterpret_cast<const uint8_t*>(content.data()), content.size()};
  return e;
}

static void archives() {
  Folder source, out;
  source.write("bin/tool", "#!" + source.path() + "/bin/python\n", 0755);
  source.write("lib/a.py", "plain\n");
  source.write("lib/a.pyc", "code of a");
  source.write("lib/b.py", "home = '" + source.path() + "'\n");
  source.write("lib/b.pyc", "code of b");
  std::string large = "\177ELF";  // several frames, with strings that lie across every place where one would be cut
  for (int i = 0; large.size() < 300000; ++i) large += source.path() + "/lib" + z(1 + static_cast<size_t>(i % 97));
  source.write("lib/large.so", large, 0755);
  std::string text;
  while (text.size() < 200000) text += "path " + source.path() + "\n";
  source.write("lib/large.txt", text);
  for (int i = 0; i < 300; ++i) source.write("many/" + std::to_string(i), std::string(static_cast<size_t>(i * 11), static_cast<char>('a' + i % 26)));

  std::vector<std::string> paths{"bin", "lib", "many", "bin/tool", "lib/a.py", "lib/b.py", "lib/large.so", "lib/large.txt"};
  for (int i = 0; i < 300; ++i) paths.push_back("many/" + std::to_string(i));
  PackJob job = job_of(source, paths);
  for (const char* name : {"a", "b"}) {
    job.entries.push_back(plan(source, std::string("lib/") + name + ".pyc"));
    job.entries.back().policy = Policy::report;
    job.entries.back().unless_rewritten = std::string("lib/") + name + ".py";
  }
  const std::string record = "{\"tool\":\"" + std::string(64, '-') + "\",\"a\":\"" + std::string(64, '-') + "\",\"at\":\"" + source.path() + "\"}";
  PackEntry meta = generated("record.json", record);
  meta.digests = {{9, "bin/tool"}, {80, "lib/a.py"}};

  Packed packed, other;
  const std::string one = pack_and_seal(job, out, "1", 1, packed, {meta});
  for (const unsigned threads : {2u, 3u, 8u}) CHECK(pack_and_seal(job, out, std::to_string(threads), threads, other, {meta}) == one);

  const auto archive = Archive::open(out / "1");
  CHECK(archive != nullptr);
  if (!archive) return;
  const Table table = archive->table();
  CHECK(table.entries.size() == job.entries.size());  // one dropped, one generated
  CHECK(archive->summary().json == "{\"name\":\"test\"}" && archive->frames().size() > 8);
  Decompressor decompressor;
  std::string frame, raw, tar;
  std::vector<uint64_t> begins;
  for (size_t i = 0; i < archive->frames().size(); ++i) {
    archive->read(i, decompressor, raw, frame);
    begins.push_back(tar.size());
    tar += frame;
  }
  CHECK(tar.size() % 512 == 0);
  bool b_left_out = true;
  for (const Entry& e : table.entries) {
    if (e.path == "lib/b.pyc") b_left_out = false;
    if (e.kind != Kind::file) continue;
    const std::string content = tar.substr(begins[e.frame] + e.offset, e.size);
    CHECK_MORE(hash_of(content) == e.sha256, e.path);
    if (e.path != "record.json") CHECK_MORE(content == slurp(source / e.path), e.path);
    if (e.path == "record.json") {
      CHECK(content.substr(9, 64) == std::string(64, '0'));
      CHECK(content.substr(80, 64) == hex(hash_of("plain\n")));
      CHECK(e.spots.size() == 2 && e.spots[0].encoding == Encoding::digest && table.entries[e.spots[0].refers].path == "bin/tool");
    }
    if (e.path == "lib/large.txt") CHECK(e.spots.size() == text.size() / (source.path().size() + 6));
  }
  CHECK(b_left_out);
  size_t dropped = 0;
  for (const auto& o : packed.outcomes) dropped += o.dropped;
  CHECK(dropped == 1);
}

static void failures() {
  Folder source, out;
  source.write("f", "content");
  PackJob job = job_of(source, {"f"});
  job.output = out / "x";
  job.entries[0].entry.size = 6;
  THROWS("SOURCE_CHANGED", pack(job, Progress()));
  CHECK(!std::filesystem::exists(job.output));
  job.entries[0].entry.size = 7;
  out.write("x", "mine");
  THROWS("IO", pack(job, Progress()));
  CHECK(slurp(job.output) == "mine");
  job.output = out / "y";
  std::atomic<uint64_t> counters[4] = {};
  counters[2] = 1;
  THROWS("CANCELLED", pack(job, Progress(counters)));
  CHECK(!std::filesystem::exists(job.output));
  Packed packed;
  job.output.clear();
  packed = pack(job, Progress());  // a study writes nothing
  CHECK(packed.outcomes.size() == 1 && packed.draft.empty());
  const std::string content = std::string(64, '-');
  PackEntry meta = generated("m", content);
  meta.digests = {{0, "absent"}};
  THROWS("INVALID_OPTION", pack_and_seal(job, out, "z", 2, packed, {meta}));
  SealJob bad;
  bad.output = out / "z";
  bad.draft = {reinterpret_cast<const uint8_t*>("short"), 5};
  THROWS("INVALID_OPTION", seal(bad, Progress()));
}

int main() {
  proofs();
  unproven();
  archives();
  failures();
  return check::done();
}
