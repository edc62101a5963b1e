// Sealing: digests that are known now are written, others become spots; generated files of any size; what fails leaves nothing.
#include <fcntl.h>
#include "packing.h"
#include "root.h"

using namespace cd;

static const std::string kDashes(64, '-');

static PackEntry with_digests(PackEntry e, std::vector<std::pair<uint64_t, std::string>> digests) {
  e.digests = std::move(digests);
  return e;
}

static void digests() {
  Folder source, out;
  source.write("tool", "#!" + source.path() + "/bin/python\n");
  source.write("plain", "plain\n");
  PlannedJob job = job_of(source, {"tool", "plain"});
  job.entries.push_back(link("tool2", Kind::hardlink, "tool"));
  const std::string record =
      "{\"tool\":\"" + kDashes + "\",\"plain\":\"" + kDashes + "\",\"at\":\"" + source.path() + "\"}";
  const std::string list = kDashes + " " + kDashes + " " + kDashes, simple = "no prefix", own = "at " + source.path();
  // `list` stands before what it means, and has no spots in the end.
  const std::vector<PackEntry> made{with_digests(generated("list", list), {{0, "later"}, {65, "simple"}}),
                                    with_digests(generated("later", list), {{0, "plain"}}),
                                    generated("simple", simple),
                                    with_digests(generated("record.json", record), {{9, "tool2"}, {84, "plain"}}),
                                    with_digests(generated("of-made", list), {{130, "own"}}),
                                    generated("own", own)};
  pack_and_seal(job, out / "a", 2, made);
  const ReadBack archive(out / "a");
  const std::string later = hex(hash_of("plain\n")) + " " + kDashes + " " + kDashes;
  CHECK(archive.content(*archive.find("later")) == later && archive.find("later")->spots.empty());
  CHECK(archive.content(*archive.find("list")) == hex(hash_of(later)) + " " + hex(hash_of(simple)) + " " + kDashes);
  const Entry& e = *archive.find("record.json");
  const std::string content = archive.content(e);
  CHECK(content.substr(9, 64) == std::string(64, '0') && content.substr(84, 64) == hex(hash_of("plain\n")));
  CHECK(e.sha256 == hash_of(content) && e.spots.size() == 2);
  CHECK(e.spots[0].encoding == Encoding::digest && archive.table.entries[e.spots[0].refers].path == "tool");
  CHECK(e.spots[1].encoding == Encoding::text &&
        content.compare(e.spots[1].offset, source.path().size(), source.path()) == 0);
  const Entry& of_made = *archive.find("of-made");
  CHECK(of_made.spots.size() == 1 && archive.table.entries[of_made.spots[0].refers].path == "own");
  for (const Entry& each : archive.table.entries)
    if (each.kind == Kind::file) CHECK_MORE(hash_of(archive.content(each)) == each.sha256, each.path);
}

static void large() {
  Folder source, out;
  PlannedJob job = job_of(source, {});
  std::string text;
  while (text.size() < 300000) text += "path " + source.path() + "\n";
  const std::string small = "small";
  const std::vector<PackEntry> made{generated("a", small), generated("b", text), generated("c", small)};
  pack_and_seal(job, out / "1", 1, made);
  pack_and_seal(job, out / "3", 3, made);
  CHECK(slurp(out / "1") == slurp(out / "3"));
  const ReadBack archive(out / "1");
  CHECK(archive.frames.size() >= 5);
  for (const std::string& frame : archive.frames) CHECK(frame.size() <= job.frame_bytes + 4096);
  const Entry& b = *archive.find("b");
  CHECK(archive.content(b) == text && archive.content(*archive.find("c")) == small);
  CHECK(b.spots.size() == text.size() / (source.path().size() + 6));
  size_t end = b.offset;  // no prefix is divided
  for (size_t f = b.frame, base = 0; base < b.size; base += archive.frames[f].size() - end, end = 0, ++f)
    for (const Spot& s : b.spots) CHECK(!(s.offset < base && base < s.offset + source.path().size()));
}

// A content that waits in a file is written like one in memory.
static void spooled() {
  Folder source, out;
  source.write("f", source.path());
  PlannedJob job = job_of(source, {"f"});
  const std::string a = "of " + source.path() + "\n" + kDashes, b(200000, 'b');
  const std::vector<PackEntry> made{with_digests(generated("a", a), {{a.size() - kDashes.size(), "f"}}),
                                    generated("b", b)};
  pack_and_seal(job, out / "memory", 2, made);
  out.write("spool", "xx" + b + a);
  const Fd spool(open((out / "spool").c_str(), O_RDONLY));
  std::vector<PackEntry> waiting = made;
  for (PackEntry& e : waiting) {
    e.entry.size = e.data.size;
    e.in_memory = false;
    e.data = {};
    e.spooled = true;
  }
  waiting[0].spool_offset = 2 + b.size();
  waiting[1].spool_offset = 2;
  job.output = out / "spooled";
  job.threads = 2;
  const Packed packed = pack(job, Progress());
  SealJob sealing = seal_of(job, packed, waiting);
  sealing.spool = spool.get();
  seal(sealing, Progress());
  CHECK(slurp(out / "spooled") == slurp(out / "memory"));

  const auto refuses = [&](const char* code, const SealJob& bad) {
    pack(job, Progress());
    THROWS(code, seal(bad, Progress()));
    CHECK(!std::filesystem::exists(job.output));
  };
  std::filesystem::remove(job.output);
  sealing.entries[0].spool_offset = 3 + b.size();  // ends before
  refuses("ARCHIVE_CORRUPT", sealing);
  sealing.spool = -1;
  refuses("INVALID_OPTION", sealing);
  job.entries[0].spooled = true;
  THROWS("INVALID_OPTION", pack(job, Progress()));
}

static void nothing() {
  Folder source, out;
  const PlannedJob job = job_of(source, {});
  const Sealed sealed = pack_and_seal(job, out / "a", 2, {});
  CHECK(sealed.summary.entries == 0 && sealed.frames == 1);
  CHECK(ReadBack(out / "a").tar == std::string(1024, '\0'));
}

static void failures() {
  Folder source, out;
  source.write("f.py", source.path());
  source.write("f.pyc", "code");
  PlannedJob job = job_of(source, {"f.py", "f.pyc"});
  job.entries[1].unless_rewritten = "f.py";
  const auto refuses = [&](const char* code, const std::vector<PackEntry>& made) {
    THROWS(code, pack_and_seal(job, out / "x", 2, made));
    CHECK(!std::filesystem::exists(out / "x"));
  };
  refuses("INVALID_OPTION", {with_digests(generated("m", kDashes), {{0, "absent"}})});
  refuses("INVALID_OPTION", {with_digests(generated("m", kDashes), {{0, "f.pyc"}})});  // left out
  refuses("INVALID_OPTION", {with_digests(generated("m", kDashes), {{1, "f.py"}})});   // beyond its end
  refuses("INVALID_OPTION", {with_digests(generated("m", kDashes), {{0, "m"}})});
  refuses("INVALID_OPTION",
          {with_digests(generated("m", kDashes), {{0, "n"}}), with_digests(generated("n", kDashes), {{0, "m"}})});
  refuses("INVALID_OPTION", {plan(source, "f.py")});         // not in memory
  refuses("ARCHIVE_CORRUPT", {generated("f.py", kDashes)});  // there is one
  refuses("ARCHIVE_CORRUPT", {generated("no/parent", kDashes)});
  refuses("UNSAFE_PATH", {generated("../m", kDashes)});
  refuses("ARCHIVE_CORRUPT",
          {with_digests(generated("m", kDashes), {{0, "n"}}), with_digests(generated("n", kDashes), {{0, "f.py"}})});

  job.output = out / "y";
  const Packed packed = pack(job, Progress());
  SealJob bad = seal_of(job, packed, {});
  const std::string draft = packed.draft;
  for (const size_t size : {size_t{0}, size_t{5}, size_t{17}, draft.size() - 1}) {
    const std::string cut_short = draft.substr(0, size);
    bad.draft = bytes_of(cut_short);
    bool refused = false;
    try {
      seal(bad, Progress());
    } catch (const Failure& f) { refused = f.code == "INVALID_OPTION" || f.code == "ARCHIVE_CORRUPT"; }
    CHECK(refused && std::filesystem::exists(job.output));
  }
  bad.draft = bytes_of(draft);
  out.write("y", "somebody else's");
  THROWS("IO", seal(bad, Progress()));
  CHECK(slurp(job.output) == "somebody else's");
}

int main() {
  digests();
  large();
  spooled();
  nothing();
  failures();
  return check::done();
}
