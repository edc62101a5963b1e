// The entry table and the summary: round trips, bytes as FORMAT.md says, every rule of it broken once, truncation at every byte.
#include "table.h"
#include <cstring>
#include "check.h"
#include "forge.h"
#include "sha256.h"

using namespace cd;

namespace {

const std::string kPrefixes = forge::varint(2) + forge::text("/opt/env") + forge::text("/h\xc3\xb6me");
const std::string kNoPrefixes = forge::varint(0);

Table decode(const std::string& bytes) {
  // A heap copy of the exact size: reading one byte beyond is seen by the sanitizers.
  const std::vector<uint8_t> copy(bytes.begin(), bytes.end());
  return decode_table(copy.data(), copy.size());
}

bool same(const Spot& a, const Spot& b) {
  return a.encoding == b.encoding && a.offset == b.offset && a.refers == b.refers && a.slot == b.slot;
}

bool same(const Entry& a, const Entry& b) {
  if (a.spots.size() != b.spots.size()) return false;
  for (size_t i = 0; i < a.spots.size(); ++i)
    if (!same(a.spots[i], b.spots[i])) return false;
  return a.path == b.path && a.kind == b.kind && a.mode == b.mode && a.mtime == b.mtime && a.size == b.size &&
         a.sha256 == b.sha256 && a.target == b.target && a.frame == b.frame && a.offset == b.offset &&
         a.has_deployed == b.has_deployed && a.deployed_size == b.deployed_size &&
         a.deployed_sha256 == b.deployed_sha256;
}

Entry make(const char* path, Kind kind, uint32_t mode, int64_t mtime) {
  Entry e;
  e.path = path;
  e.kind = kind;
  e.mode = mode;
  e.mtime = mtime;
  return e;
}

Table sample(bool deployed) {
  Table t;
  t.deployed = deployed;
  t.prefixes = {"/opt/env", "/h\xc3\xb6me"};
  t.entries.push_back(make("lib", Kind::directory, 0755, 1700000000));
  Entry e = make(
      "lib/\xff"
      "odd",
      Kind::file, 0644, -7);
  e.size = 5000;
  e.frame = 3;
  e.offset = 1536;
  e.sha256 = sha256("x", 1);
  e.spots = {{Encoding::text, 0, 0, 0},
             {Encoding::c8, 100, 1, 255},
             {Encoding::c16be, 1000, 1, 80},
             {Encoding::c32le, 2000, 0, 8}};
  if (deployed) {
    e.has_deployed = true;
    e.deployed_size = 5003;
    e.deployed_sha256 = sha256("y", 1);
    t.prefixes.push_back("/new");
  }
  t.entries.push_back(e);
  t.entries.push_back(make("lib/link", Kind::symlink, 0777, 9000000000));
  t.entries.back().target = "../\xfe/nowhere";
  t.entries.push_back(make("lib/twin", Kind::hardlink, 0644, -7));
  t.entries.back().target =
      "lib/\xff"
      "odd";
  Entry meta = make("meta.json", Kind::file, 0600, 0);
  meta.size = 64;
  meta.spots = {{Encoding::digest, 0, 1, 0}};
  meta.has_deployed = deployed;
  t.entries.push_back(meta);
  return t;
}

void round_trips() {
  for (const bool deployed : {false, true}) {
    const Table t = sample(deployed);
    const std::string bytes = encode_table(t);
    const Table back = decode(bytes);
    CHECK(back.deployed == deployed && back.prefixes == t.prefixes && back.entries.size() == t.entries.size());
    for (size_t i = 0; i < t.entries.size(); ++i) CHECK_MORE(same(t.entries[i], back.entries.at(i)), t.entries[i].path);
    CHECK(encode_table(back) == bytes);
  }
  CHECK(encode_table(Table()) == forge::table(kNoPrefixes, 0, ""));
}

void bytes_of_the_format() {
  Table t;
  t.prefixes = {"/opt/env"};
  t.entries.push_back(make("a", Kind::directory, 0755, 300));
  Entry e = make("a/b", Kind::file, 0644, 299);
  e.size = 300;
  e.frame = 1;
  e.offset = 512;
  e.sha256.fill('h');
  e.spots = {{Encoding::c8, 10, 0, 20}, {Encoding::text, 40, 0, 0}};
  t.entries.push_back(e);
  const std::string spots = forge::varint(2) + forge::spot(1, 10, 0, 20) + forge::spot(0, 30, 0, 0);
  const std::string expected =
      forge::table(forge::varint(1) + forge::text("/opt/env"), 2,
                   forge::head(0, 0, "a", 0755, 300) + forge::head(0x11, 1, "/b", 0644, -1) + forge::varint(300) +
                       forge::varint(1) + forge::varint(512) + std::string(32, 'h') + spots);
  CHECK(encode_table(t) == expected);
}

void truncation_and_noise() {
  for (const bool deployed : {false, true}) {
    const std::string bytes = encode_table(sample(deployed));
    for (size_t size = 0; size < bytes.size(); ++size) THROWS("ARCHIVE_CORRUPT", decode(bytes.substr(0, size)));
    THROWS("ARCHIVE_CORRUPT", decode(bytes + '\0'));
    size_t refused = 0;
    for (size_t at = 0; at < bytes.size(); ++at)
      for (const int mask : {0x01, 0x10, 0x80, 0xFF}) {
        std::string noisy = bytes;
        noisy[at] = static_cast<char>(noisy[at] ^ mask);
        try {
          decode(noisy);
        } catch (const Failure&) { ++refused; }
      }
    CHECK(refused > bytes.size());
  }
}

void refuse(const char* code, const std::string& entries, uint64_t count, const std::string& prefixes = kPrefixes,
            int flags = 0) {
  THROWS(code, decode(forge::table(prefixes, count, entries, flags)));
}

void hostile_heads() {
  using namespace forge;
  THROWS("UNSUPPORTED", decode(table(kPrefixes, 0, "", 0, 2)));
  THROWS("UNSUPPORTED", decode(table(kPrefixes, 0, "", 4)));
  THROWS("ARCHIVE_CORRUPT", decode("CDTX" + table(kPrefixes, 0, "").substr(4)));
  THROWS("ARCHIVE_CORRUPT", decode(table(varint(1) + text(""), 0, "")));
  THROWS("ARCHIVE_CORRUPT", decode(table(varint(1) + text(std::string("a\0b", 3)), 0, "")));
  THROWS("ARCHIVE_CORRUPT", decode(table(kNoPrefixes, 0, "", 1)));  // deployed where?
  // Claims that nothing backs must cost neither memory nor time.
  THROWS("ARCHIVE_CORRUPT", decode(table(varint(UINT64_MAX), 0, "")));
  THROWS("ARCHIVE_CORRUPT", decode(table(kPrefixes, UINT64_MAX, directory("a"))));
  THROWS("ARCHIVE_CORRUPT", decode(table(varint(1) + varint(UINT64_MAX - 3) + "abc", 0, "")));
  THROWS("ARCHIVE_CORRUPT", decode(table(std::string(10, '\xff') + '\1', 0, "")));  // a number of 11 bytes
  THROWS("ARCHIVE_CORRUPT", decode(table(std::string(9, '\xff') + '\2', 0, "")));   // a number of 65 bits
}

void hostile_entries() {
  using namespace forge;
  for (const char* path : {"", "/etc/passwd", "..", "a/../b", "../a", ".", "./a", "a/", "a//b", "a/."})
    refuse("UNSAFE_PATH", directory("a") + directory(path), 2);
  refuse("UNSAFE_PATH", directory(std::string("a\0b", 3)), 1);
  refuse("UNSAFE_PATH", directory(std::string(5000, 'a')), 1);
  refuse("UNSAFE_PATH", directory(".conda-deploy"), 1);
  refuse("UNSAFE_PATH", directory(".conda-deploy") + directory(".conda-deploy/x"), 2);
  CHECK(decode(table(kPrefixes, 3, directory("...") + directory("..a") + directory(".conda-deploy2"))).entries.size() ==
        3);

  refuse("ARCHIVE_CORRUPT", directory("a") + directory("a"), 2);
  refuse("ARCHIVE_CORRUPT", file("a", 1) + link(2, "a", "b"), 2);
  refuse("ARCHIVE_CORRUPT", directory("a/b"), 1);
  refuse("ARCHIVE_CORRUPT", directory("a/b") + directory("a"), 2);
  refuse("ARCHIVE_CORRUPT", file("a", 1) + directory("a/b"), 2);
  refuse("ARCHIVE_CORRUPT", link(2, "a", "/etc") + file("a/passwd", 1), 2);  // through a symlink
  refuse("ARCHIVE_CORRUPT", head(0, 2, "b"), 1);                             // shares with nothing
  refuse("ARCHIVE_CORRUPT", directory("a") + head(0, 2, "b"), 2);
  refuse("ARCHIVE_CORRUPT", head(4, 0, "a"), 1);
  refuse("ARCHIVE_CORRUPT", head(0x40, 0, "a"), 1);
  refuse("ARCHIVE_CORRUPT", head(0x10, 0, "a") + varint(0), 1);  // spots of a directory
  refuse("ARCHIVE_CORRUPT", head(0, 0, "a", 010000), 1);
  refuse("ARCHIVE_CORRUPT", head(0, 0, "a", 1ull << 40), 1);
  refuse("ARCHIVE_CORRUPT", head(0, 0, "a", 0755, INT64_MAX), 1);
  refuse("ARCHIVE_CORRUPT", file("a", 1ull << 60), 1);

  refuse("ARCHIVE_CORRUPT", link(3, "a", "b") + file("b", 1), 2);
  refuse("ARCHIVE_CORRUPT", link(3, "a", "a"), 1);
  refuse("ARCHIVE_CORRUPT", directory("d") + link(3, "a", "d"), 2);
  refuse("ARCHIVE_CORRUPT", file("f", 1) + link(3, "a", "f") + link(3, "b", "a"), 3);
  refuse("ARCHIVE_CORRUPT", link(3, "a", "/etc/passwd"), 1);
  refuse("ARCHIVE_CORRUPT", link(2, "a", ""), 1);
  refuse("ARCHIVE_CORRUPT", link(2, "a", std::string("b\0c", 3)), 1);
  refuse("ARCHIVE_CORRUPT", link(2, "a", std::string(5000, 'b')), 1);
}

void hostile_spots() {
  using namespace forge;
  const auto with = [](const std::string& spots, uint64_t count = 1, uint64_t size = 100) {
    return file("f", size, varint(count) + spots);
  };
  CHECK(decode(table(kPrefixes, 1, with(spot(0, 92, 0, 0)))).entries[0].spots.size() == 1);
  refuse("ARCHIVE_CORRUPT", with(spot(0, 93, 0, 0)), 1);  // over the end by one
  refuse("ARCHIVE_CORRUPT", with(spot(0, UINT64_MAX, 0, 0)), 1);
  refuse("ARCHIVE_CORRUPT", with(spot(0, 5, 0, 0) + spot(0, UINT64_MAX, 0, 0), 2), 1);
  CHECK(decode(table(kPrefixes, 1, with(spot(0, 0, 0, 0) + spot(0, 8, 0, 0), 2))).entries[0].spots.size() == 2);
  refuse("ARCHIVE_CORRUPT", with(spot(0, 0, 0, 0) + spot(0, 7, 0, 0), 2), 1);  // overlap
  refuse("ARCHIVE_CORRUPT", with(spot(0, 0, 0, 0) + spot(0, 0, 0, 0), 2), 1);
  refuse("ARCHIVE_CORRUPT", with(spot(7, 0, 0, 0)), 1);
  refuse("ARCHIVE_CORRUPT", with(spot(0, 0, 2, 0)), 1);  // the third of two prefixes
  refuse("ARCHIVE_CORRUPT", with(spot(0, 0, 1ull << 33, 0)), 1);
  refuse("ARCHIVE_CORRUPT", with(spot(0, 0, 0, 5)), 1);  // a text has no slot
  refuse("ARCHIVE_CORRUPT", with(spot(1, 0, 0, 7)), 1);  // a slot shorter than what stands in it
  CHECK(decode(table(kPrefixes, 1, with(spot(1, 0, 0, 100)))).entries[0].spots[0].slot == 100);
  refuse("ARCHIVE_CORRUPT", with(spot(1, 0, 0, 101)), 1);  // a slot beyond the end
  refuse("ARCHIVE_CORRUPT", with(spot(2, 0, 0, 51)), 1);
  refuse("ARCHIVE_CORRUPT", with(spot(4, 0, 0, 26)), 1);
  CHECK(decode(table(kPrefixes, 1, with(spot(4, 80, 1, 5)))).entries[0].spots[0].slot == 5);  // /höme: five characters
  refuse("ARCHIVE_CORRUPT", with(spot(4, 80, 1, 4)), 1);
  refuse("ARCHIVE_CORRUPT", with(spot(1, 0, 0, 1ull << 32)), 1);
  refuse("ARCHIVE_CORRUPT", with(spot(0, 0, 0, 0), 0), 1);  // flagged, yet none
  refuse("ARCHIVE_CORRUPT", with(spot(0, 0, 0, 0), UINT64_MAX), 1);

  const auto meta = [](uint64_t refers, const char* path = "m") {
    return file(path, 100, varint(1) + digest_spot(36, refers));
  };
  CHECK(decode(table(kPrefixes, 2, file("f", 1) + meta(0))).entries[1].spots[0].refers == 0);
  refuse("ARCHIVE_CORRUPT", file("m", 100, varint(1) + digest_spot(37, 1)) + file("f", 1), 2);
  refuse("ARCHIVE_CORRUPT", file("f", 1) + meta(2), 2);
  refuse("ARCHIVE_CORRUPT", directory("d") + meta(0), 2);
  refuse("ARCHIVE_CORRUPT", meta(0), 1);                      // its own digest
  refuse("ARCHIVE_CORRUPT", meta(1, "m") + meta(0, "n"), 2);  // each the other's

  const std::string text_spot = varint(1) + spot(0, 0, 0, 0);
  CHECK(decode(table(kPrefixes, 1, file("f", 9, text_spot, deployed_state(9)), 1)).entries[0].has_deployed);
  refuse("ARCHIVE_CORRUPT", file("f", 9, text_spot, deployed_state(9)), 1);  // in an archive
  refuse("ARCHIVE_CORRUPT", file("f", 9, text_spot), 1, kPrefixes, 1);       // missing in a tree
  refuse("ARCHIVE_CORRUPT", file("f", 9, "", deployed_state(9)), 1, kPrefixes, 1);
  refuse("ARCHIVE_CORRUPT", file("f", 9, text_spot, deployed_state(1ull << 60)), 1, kPrefixes, 1);
}

void writers_obey() {
  Table t = sample(false);
  t.entries[1].spots[3].slot = 7;
  THROWS("ARCHIVE_CORRUPT", encode_table(t));
  t = sample(false);
  t.entries[2].path = "../x";
  THROWS("UNSAFE_PATH", encode_table(t));
  t = sample(false);
  t.entries[2].kind = Kind::other;
  THROWS("ARCHIVE_CORRUPT", encode_table(t));
}

// What an index is that is begun before all is written: the same bytes as of a table in which all is.
void indexes() {
  Table deployed = sample(true);
  Table stored = deployed;
  stored.deployed = false;
  stored.root = "folder";
  stored.prefixes.pop_back();
  for (Entry& e : stored.entries) e.has_deployed = false;
  const std::string expected = encode_table(deployed), prefix = deployed.prefixes.back();
  for (const char all : {0, 1}) {
    Table table = stored;
    std::vector<char> done(table.entries.size(), all);
    const auto write = [&](size_t i) {
      const Entry& e = deployed.entries[i];
      Entry& to = table.entries[i];
      to.has_deployed = e.has_deployed;
      to.deployed_size = e.deployed_size;
      to.deployed_sha256 = e.deployed_sha256;
    };
    if (all) THROWS("ARCHIVE_CORRUPT", Indexing(table, prefix, done));
    for (size_t i = 0; all && i < done.size(); ++i) write(i);
    const Indexing indexing(table, prefix, done);
    if (!all) THROWS("ARCHIVE_CORRUPT", indexing.finish());
    for (size_t i = 0; i < done.size(); ++i) write(i);
    CHECK(indexing.finish() == expected);
  }
}

void many_entries() {  // enough for the table of paths to grow several times
  Table t;
  t.entries.push_back(make("d", Kind::directory, 0755, 0));
  for (int i = 0; i < 5000; ++i) t.entries.push_back(make(("d/" + std::to_string(i)).c_str(), Kind::file, 0644, i));
  const Table back = decode(encode_table(t));
  CHECK(back.entries.size() == 5001 && back.entries[4001].path == "d/4000" && back.entries[4001].mtime == 4000);
  t.entries.push_back(t.entries[17]);
  THROWS("ARCHIVE_CORRUPT", encode_table(t));
}

void summaries() {
  const Table t = sample(false);
  const std::string bytes = encode_table(t), json = "{\"name\":\"x\"}";
  const Summary s = summarize(t, bytes, json);
  CHECK(s.digest == sha256((bytes + json).data(), bytes.size() + json.size()));
  CHECK(s.entries == 5 && s.files == 2 && s.bytes == 5064 && s.rewritten == 2 && s.largest_file == 5000 &&
        s.longest_prefix == 8);
  CHECK(summarize(Table(), "", "").longest_prefix == 0xFFFFFFFFu);

  const std::string packed = encode_summary(s);
  const auto read = [](const std::string& b) {
    const std::vector<uint8_t> copy(b.begin(), b.end());
    return decode_summary(copy.data(), copy.size());
  };
  const Summary back = read(packed);
  CHECK(back.digest == s.digest && back.entries == s.entries && back.files == s.files && back.bytes == s.bytes &&
        back.json == json);
  CHECK(back.rewritten == s.rewritten && back.largest_file == s.largest_file &&
        back.longest_prefix == s.longest_prefix);
  for (size_t size = 0; size < packed.size(); ++size) THROWS("ARCHIVE_CORRUPT", read(packed.substr(0, size)));
  THROWS("ARCHIVE_CORRUPT", read(packed + " "));
  THROWS("UNSUPPORTED", read(std::string(packed).replace(4, 1, "\2")));
  THROWS("UNSUPPORTED", read(std::string(packed).replace(6, 1, "\1")));
  Summary large = s;
  large.json.assign(1 << 20, 'x');
  THROWS("UNSUPPORTED", encode_summary(large));
}

}  // namespace

int main() {
  round_trips();
  bytes_of_the_format();
  truncation_and_noise();
  hostile_heads();
  hostile_entries();
  hostile_spots();
  writers_obey();
  indexes();
  many_entries();
  summaries();
  return check::done();
}
