// A pack with its prefix in place: what stands in the archive is what deploying there would have written, and it can be moved again.
#include "packing.h"
#include "prefix.h"
#include "table.h"

using namespace cd;

static std::string utf16(const std::string& s) { return encode_as(s, Encoding::c16le); }

static const std::string kElf = "\177ELF" + zeros(4);

struct Both {
  ReadBack plain, rebased;
};

static Both both(PlannedJob job, const Folder& out, const std::string& dest) {
  const auto make = [&](const std::string& name, const std::string& to, const std::string& arcroot) {
    PlannedJob own = job;
    own.output = out / name;
    own.dest = to;
    own.arcroot = arcroot;
    own.threads = 2;
    const Packed packed = pack(own, Progress());
    const std::string digits(64, '0'), record = "at " + job.root + " " + digits + " " + job.root;
    PackEntry made = generated("record", record);
    made.digests = {{4 + job.root.size(), "bin"}};
    SealJob seal = seal_of(own, packed, {made});
    seal.dest = to;
    cd::seal(seal, Progress());
    const Verified verified = verify({"", out / name, 1}, Progress());
    CHECK_MORE(verified.faults.empty(),
               verified.faults.empty() ? "" : verified.faults[0].path + verified.faults[0].found);
    return ReadBack(out / name);
  };
  return {make("plain" + std::to_string(dest.size()), "", ""),
          make("dest" + std::to_string(dest.size()), dest, "in/here")};
}

// What deploying the plain archive to `to` gives.
static std::string deployed(const ReadBack& a, const Entry& e, const std::string& to, const std::string& digest) {
  const std::string stored = a.content(e);
  std::vector<std::string> digests(e.spots.size(), digest);
  Rewriting done;
  return rewrite_spots(reinterpret_cast<const uint8_t*>(stored.data()), stored.size(), 0, e.spots.data(),
                       e.spots.size(), a.table.prefixes, to, digests, done);
}

static void same(const std::string& dest) {
  Folder source, out;
  const std::string p = source.path();
  std::string large = "#!" + p + "/bin/x\n";
  while (large.size() < 300000) large += "line " + p + "/share and more\n";
  source.write("text", p + "\n" + p + "/x " + p + ":" + p);
  source.write("script", "#!" + p + "/bin/python -u\n# " + p + "\nend " + p);
  source.write(
      "bin", kElf + p + "/a:" + p + "/b" + zeros(2 * (255 - p.size())) + zeros(1) + "x" + utf16(p + "/w") + zeros(600));
  source.write("wide", kElf + utf16(p + ":" + p) + zeros(2 * 2 * 255));
  source.write("large", large);
  source.write("none", "nothing");
  PlannedJob job = job_of(source, {"text", "script", "bin", "wide", "large", "none"});
  for (PackEntry& e : job.entries) e.slot = 255;
  job.entries.push_back(link("twin", Kind::hardlink, "text"));
  const Both made = both(job, out, dest);
  CHECK(made.rebased.table.root == "in/here" && made.plain.table.root.empty());
  CHECK(made.rebased.table.prefixes == std::vector<std::string>{dest});
  CHECK(made.rebased.tar.compare(0, 4, "in/") != 0 || made.rebased.tar.size() > 1024);
  std::string digest;
  for (const Entry& e : made.plain.table.entries) {
    const Entry* moved = made.rebased.find(e.path);
    CHECK(moved != nullptr && moved->kind == e.kind);
    if (e.kind != Kind::file) continue;
    const std::string expected = deployed(made.plain, e, dest, digest);
    CHECK_MORE(made.rebased.content(*moved) == expected, e.path);
    CHECK_MORE(moved->sha256 == hash_of(expected) && moved->size == expected.size(), e.path);
    if (e.path == "bin") digest = hex(moved->sha256);
    for (const std::string& other : {std::string("/o"), "/other/" + std::string(150, 'o')}) {
      // A trampoline stays one; all else is as if it had been deployed there at first.
      if (e.path == "script" || e.path == "large") continue;
      const std::string twice = deployed(made.rebased, *moved, other, "");
      if (e.path != "record") CHECK_MORE(twice == deployed(made.plain, e, other, ""), e.path);
      CHECK_MORE(twice.find(dest) == std::string::npos, e.path);
    }
    const std::string there = deployed(made.rebased, *moved, "/o", "");
    CHECK_MORE(there.find(dest) == std::string::npos, e.path);
  }
}

static void refusals() {
  Folder source, out;
  const std::string p = source.path();
  source.write("bin", kElf + p + zeros(1));
  PlannedJob job = job_of(source, {"bin"});
  job.output = out / "x";
  job.dest = "/" + std::string(300, 'd');
  THROWS("PREFIX_TOO_LONG", pack(job, Progress()));
  CHECK(!std::filesystem::exists(out / "x"));
  job.dest = "relative";
  THROWS("INVALID_OPTION", pack(job, Progress()));
  job.dest.clear();
  job.arcroot = "../up";
  THROWS("UNSAFE_PATH", pack(job, Progress()));
  CHECK(!std::filesystem::exists(out / "x"));
}

// The folder of the tar is in the table, and only there: what lies elsewhere is a fault.
static void folders() {
  Table table;
  table.root = "a/b";
  CHECK(decode_table(reinterpret_cast<const uint8_t*>(encode_table(table).data()), encode_table(table).size()).root ==
        "a/b");
  table.root = "/a";
  THROWS("UNSAFE_PATH", encode_table(table));
  table.root = "a";
  table.deployed = true;
  THROWS("ARCHIVE_CORRUPT", encode_table(table));
}

int main() {
  for (const size_t length : {size_t{3}, size_t{60}, size_t{126}, size_t{200}})
    same(("/dest/" + std::string(length, 'd')).substr(0, length));
  same("/with blank/" + std::string(90, 'd'));
  refusals();
  folders();
  return check::done();
}
