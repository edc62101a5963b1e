// Archives on disk: built part by part, read back, cut off, damaged, and with places and spots which their frames contradict.
#include "frames.h"
#include <zstd.h>
#include <functional>
#include "check.h"
#include "jobs.h"
#include "rules.h"
#include "sha256.h"
#include "table.h"
#include "tar.h"
#include "tree.h"

using namespace cd;

namespace {

struct Parts {                        // of an archive, to be changed before they are put together
  std::vector<std::string> contents;  // of the data frames
  Table table;
  std::function<void(std::vector<Frame>&)> records;  // changes the seek table
  std::function<void(Summary&)> summary;
};

// d/, d/small (700 bytes), d/large (5000 bytes over the frames 1, 2, 3), d/last (10 bytes)
Parts sample() {
  Parts p;
  p.table.prefixes = {"/opt/env"};
  std::string frame;
  const auto begin = [&](Entry e) {
    e.mode = e.kind == Kind::directory ? 0755 : 0644;
    frame += tar_header(e);
    e.frame = static_cast<uint32_t>(p.contents.size());
    e.offset = frame.size();
    p.table.entries.push_back(e);
  };
  Entry e;
  e.kind = Kind::directory;
  e.path = "d";
  begin(e);
  e.kind = Kind::file;
  e.path = "d/small";
  e.size = 700;
  begin(e);
  frame += std::string(700, 's') + std::string(tar_padding(700), '\0');
  p.contents.push_back(std::move(frame));
  frame.clear();
  e.path = "d/large";
  e.size = 5000;
  e.spots = {{Encoding::text, 100, 0, 0}, {Encoding::c8, 1500, 0, 200}, {Encoding::text, 3000, 0, 0}};
  begin(e);
  e.spots.clear();
  std::string large(5000, 'l');
  for (const size_t at : {100, 1500, 3000}) large.replace(at, 8, "/opt/env");
  large.replace(1508, 192, std::string(192, '\0'));
  p.contents.push_back(frame + large.substr(0, 2000));
  p.contents.push_back(large.substr(2000, 2000));
  p.contents.push_back(large.substr(4000) + std::string(tar_padding(5000), '\0'));
  frame.clear();
  e.path = "d/last";
  e.size = 10;
  begin(e);
  frame += std::string(10, 'e') + std::string(tar_padding(10) + kTarEnd, '\0');
  p.contents.push_back(frame);
  return p;
}

std::string build(const Parts& parts) {
  Compressor compressor(3);
  std::string out, packed;
  std::vector<Frame> frames;
  const auto append = [&](const std::string& bytes, size_t size) {
    frames.push_back({out.size(), static_cast<uint32_t>(bytes.size()), static_cast<uint32_t>(size)});
    out += bytes;
  };
  for (const std::string& content : parts.contents) {
    packed = compressor.compressed(content.data(), content.size());
    append(packed, content.size());
  }
  const std::string table = encode_table(parts.table);
  packed = compressor.compressed(table.data(), table.size());
  std::string size;
  for (int i = 0; i < 8; ++i) size += static_cast<char>(static_cast<uint64_t>(table.size()) >> 8 * i);
  append(skippable(kTableMagic, size + packed), 0);
  Summary summary = summarize(parts.table, table, "{\"identity\":1}");
  if (parts.summary) parts.summary(summary);
  append(skippable(kSummaryMagic, encode_summary(summary)), 0);
  if (parts.records) parts.records(frames);
  return out + seek_table(frames);
}

const Folder folder;

std::string write(const std::string& bytes) {
  folder.write("archive", bytes);
  return folder / "archive";
}

void reading() {
  const Parts parts = sample();
  const std::string bytes = build(parts);
  const auto archive = Archive::open(write(bytes));
  CHECK(archive != nullptr);
  if (!archive) return;
  CHECK(archive->size() == bytes.size() && archive->frames().size() == 5 &&
        archive->summary().json == "{\"identity\":1}");
  const Table table = archive->table();
  CHECK(table.entries.size() == 4 && table.entries[2].spots.size() == 3 && table.prefixes.size() == 1);
  Decompressor decompressor;
  Room packed, out;
  std::string tar;
  for (size_t i = 0; i < archive->frames().size(); ++i) {
    archive->load(i, packed);
    archive->decode(i, decompressor, packed, out);
    CHECK(std::string(out.data(), out.size()) == parts.contents[i]);
    tar.append(out.data(), out.size());
  }
  CHECK(archive->bytes_read() > 0 && archive->bytes_read() <= 2 * bytes.size());
  std::string whole(tar.size() + 1, '\0');  // one who knows nothing of the rest
  CHECK(ZSTD_decompress(&whole[0], whole.size(), bytes.data(), bytes.size()) == tar.size() &&
        whole.compare(0, tar.size(), tar) == 0);

  const auto found = index(folder / "archive", true);
  CHECK(found && !found->deployed && found->entries.size() == 4 && found->frames == 5 &&
        found->packed_bytes == bytes.size());
  CHECK(found && found->summary.files == 3 && found->summary.bytes == 5710 && found->summary.longest_prefix == 200);
  const auto brief = index(folder / "archive", false);
  CHECK(brief && brief->entries.empty() && brief->prefixes.empty() && brief->summary.files == 3);
}

void seek_table_of_the_zstd_project() {  // contrib/seekable_format: footer, records, sums
  const std::string bytes = build(sample());
  const auto number = [&](size_t at) {
    uint32_t value = 0;
    for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[at + static_cast<size_t>(i)]);
    return value;
  };
  const size_t end = bytes.size();
  CHECK(number(end - 4) == 0x8F92EAB1 && bytes[end - 5] == 0);
  const uint32_t count = number(end - 9);
  const size_t begin = end - 9 - 8 * count - 8;
  CHECK(count == 7 && number(begin) == 0x184D2A5E && number(begin + 4) == 8 * count + 9);
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) {
    sum += number(begin + 8 + 8 * i);
    CHECK((number(begin + 12 + 8 * i) == 0) == (i >= 5));
  }
  CHECK(sum == begin);
}

// What a reader does with these bytes: opens, reads the table and every frame. `tar` is what they hold then.
std::string outcome(const std::string& bytes, std::string* tar = nullptr) {
  try {
    const auto archive = Archive::open(write(bytes));
    if (!archive) return "not ours";
    archive->table();
    Decompressor decompressor;
    Room packed, out;
    for (size_t i = 0; i < archive->frames().size(); ++i) {
      archive->load(i, packed);
      archive->decode(i, decompressor, packed, out);
      if (tar) tar->append(out.data(), out.size());
    }
    return "read";
  } catch (const Failure& failure) { return failure.code; }
}

void damage() {
  const std::string bytes = build(sample());
  std::string tar;
  CHECK(outcome(bytes, &tar) == "read");
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK_MORE(outcome(bytes.substr(0, size)) == "not ours", std::to_string(size));
  int unnoticed = 0;
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string noisy = bytes;
    noisy[at] = static_cast<char>(noisy[at] ^ 0x20);
    std::string other;
    const std::string got = outcome(noisy, &other);
    const bool read = got == "read";
    CHECK_MORE(got != "not ours",
               "byte " + std::to_string(at) + " made it someone else's, whose content nobody proves");
    CHECK_MORE(!read || other == tar, "byte " + std::to_string(at) + " changed the content, nobody noticed");
    unnoticed += read;  // zstd has a few bits which no decoder looks at
  }
  CHECK_MORE(unnoticed < 4, std::to_string(unnoticed));
  CHECK(outcome(bytes.substr(1)) == "ARCHIVE_CORRUPT");
  CHECK(outcome("x" + bytes) == "ARCHIVE_CORRUPT");
}

void foreign() {
  CHECK(outcome("") == "not ours");
  CHECK(outcome("hello, world, this is a text\n") == "not ours");
  std::string packed;
  packed = Compressor(3).compressed("plain", 5);
  CHECK(outcome(packed) == "not ours");
  const Frame frame{0, static_cast<uint32_t>(packed.size()), 5};
  CHECK(outcome(packed + seek_table({frame})) == "not ours");
  CHECK(outcome(packed + packed + packed + seek_table({frame, frame, frame})) == "not ours");
  THROWS("ARCHIVE_NOT_FOUND", Archive::open(folder / "absent"));
  THROWS("ARCHIVE_UNKNOWN", Archive::open(folder.path()));
  const std::string fifo = folder / "fifo";
  CHECK(::mkfifo(fifo.c_str(), 0600) == 0);
  THROWS("ARCHIVE_UNKNOWN", Archive::open(fifo));
  ::unlink(fifo.c_str());
}

void expect(const char* what, const char* wanted, const std::function<void(Parts&)>& change) {
  Parts parts = sample();
  change(parts);
  const std::string got = outcome(build(parts));
  CHECK_MORE(got == wanted, std::string(what) + ": " + got);
}

void contradictions() {
  const char* bad = "ARCHIVE_CORRUPT";
  const char* none = "read";
  expect("nothing changed", none, [](Parts&) {});
  expect("frame beyond the last", bad, [](Parts& p) { p.table.entries[3].frame = 5; });
  expect("place beyond its frame", bad, [](Parts& p) { p.table.entries[1].offset = 100000; });
  expect("content over the end", bad, [](Parts& p) { p.table.entries[3].size = 10000; });
  expect("two entries at one place", bad,
         [](Parts& p) { p.table.entries[3].frame = 0, p.table.entries[3].offset = 1024; });
  expect("content inside a header", bad, [](Parts& p) { p.table.entries[1].offset -= 1; });
  expect("divided file of another length", bad, [](Parts& p) { p.table.entries[2].size = 4400; });
  expect("a file that swallows the next", bad, [](Parts& p) { p.table.entries[1].size = 1700; });
  expect("more entries than headers", bad, [](Parts& p) {
    for (int i = 0; i < 20; ++i) {
      Entry e;
      e.kind = Kind::directory;
      e.path = "e" + std::to_string(i);
      p.table.entries.push_back(e);
    }
  });
  expect("text spot up to the cut", none, [](Parts& p) { p.table.entries[2].spots[1] = {Encoding::text, 1992, 0, 0}; });
  expect("text spot over the cut", bad, [](Parts& p) { p.table.entries[2].spots[1] = {Encoding::text, 1993, 0, 0}; });
  expect("slot up to the cut", none, [](Parts& p) { p.table.entries[2].spots[1].slot = 500; });
  expect("slot over the cut", bad, [](Parts& p) { p.table.entries[2].spots[1].slot = 501; });
  expect("spot over the second cut", bad, [](Parts& p) { p.table.entries[2].spots[2].offset = 3999; });
  expect("another digest", bad, [](Parts& p) { p.summary = [](Summary& s) { s.digest[0] ^= 1; }; });
  expect("another JSON", bad, [](Parts& p) { p.summary = [](Summary& s) { s.json = "{}"; }; });
  expect("another count", bad, [](Parts& p) { p.summary = [](Summary& s) { ++s.files; }; });
  expect("fewer bytes", bad, [](Parts& p) { p.summary = [](Summary& s) { s.bytes = 1; }; });
  expect("another longest prefix", bad, [](Parts& p) { p.summary = [](Summary& s) { s.longest_prefix = 4000; }; });
  expect("table of a deployed tree", bad, [](Parts& p) {
    p.table.deployed = true;
    p.table.entries[2].has_deployed = true;
  });
  expect("records shifted", bad,
         [](Parts& p) { p.records = [](std::vector<Frame>& f) { ++f[0].packed, --f[1].packed; }; });
  expect("records too long", bad, [](Parts& p) { p.records = [](std::vector<Frame>& f) { ++f[0].packed; }; });
  expect("a frame of 4 GiB", bad, [](Parts& p) { p.records = [](std::vector<Frame>& f) { f[4].size = 0xFFFFFFFF; }; });
  expect("a frame of 1 GiB in a few bytes", bad,
         [](Parts& p) { p.records = [](std::vector<Frame>& f) { f[4].size = kMaxFrame; }; });
  expect("a frame that holds less", bad, [](Parts& p) { p.records = [](std::vector<Frame>& f) { ++f[4].size; }; });
}

void single_frames() {
  Compressor compressor(4);
  Decompressor decompressor;
  std::string packed, again;
  const std::string data(100000, 'x');
  packed = compressor.compressed(data.data(), data.size());
  again = compressor.compressed("other", 5);
  again = compressor.compressed(data.data(), data.size());
  CHECK(packed == again);  // a used context makes the same bytes
  std::string out(data.size(), '\0');
  decompressor.decompress(packed.data(), packed.size(), &out[0], out.size(), "frame");
  CHECK(out == data);
  const auto decode = [&](const std::string& bytes, size_t expected) {
    std::vector<char> copy(bytes.begin(), bytes.end()), room(expected);
    decompressor.decompress(copy.data(), copy.size(), room.data(), expected, "frame");
  };
  for (size_t size = 0; size < packed.size(); ++size)
    THROWS("ARCHIVE_CORRUPT", decode(packed.substr(0, size), data.size()));
  THROWS("ARCHIVE_CORRUPT", decode(packed + packed, data.size()));
  THROWS("ARCHIVE_CORRUPT", decode(packed, data.size() - 1));
  THROWS("ARCHIVE_CORRUPT", decode(packed, data.size() + 1));
  THROWS("ARCHIVE_CORRUPT", decode(skippable(kTableMagic, "abc"), 0));
  std::string unchecked(ZSTD_compressBound(data.size()), '\0');  // zstd's default: no checksum
  unchecked.resize(ZSTD_compress(&unchecked[0], unchecked.size(), data.data(), data.size(), 3));
  THROWS("ARCHIVE_CORRUPT", decode(unchecked, data.size()));
  packed = compressor.compressed(nullptr, 0);
  CHECK(ZSTD_getFrameContentSize(packed.data(), packed.size()) == 0);
}

void deployed_trees() {
  Table table = sample().table;
  table.deployed = true;
  table.prefixes.push_back("/new/place");
  table.entries[2].has_deployed = true;
  table.entries[2].deployed_size = 5004;
  const std::string bytes = encode_table(table);
  const auto found = index(write(bytes), true);
  CHECK(found && found->deployed && found->prefixes.back() == "/new/place" && found->entries.size() == 4 &&
        found->packed_bytes == 0);
  for (size_t size = 4; size < bytes.size(); ++size)
    THROWS("ARCHIVE_CORRUPT", index(write(bytes.substr(0, size)), true));
  CHECK(index(write(encode_table(sample().table)), true) == nullptr);  // a bare table is no index
  CHECK(index(write("CD"), true) == nullptr);
}

}  // namespace

int main() {
  reading();
  seek_table_of_the_zstd_project();
  damage();
  foreign();
  contradictions();
  single_frames();
  deployed_trees();
  return check::done();
}
