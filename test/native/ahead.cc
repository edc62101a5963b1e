// Frames read by more threads than unpack them, as where reading is slow: each what it is, a failure told to whoever asks for it, and an end
// while readers still wait.
#include "ahead.h"
#include <unistd.h>
#include <atomic>
#include "archive_builder.h"
#include "check.h"
#include "team.h"
#include "tree.h"

using namespace cd;

namespace {

constexpr double kNone = -1e9;  // patience: every read takes too long

const Folder folder;

std::unique_ptr<Archive> sample(const std::string& name, unsigned files) {
  build::Archive archive({"/opt/env"});
  archive.frame_bytes = 4096;
  uint32_t state = 1;
  for (unsigned i = 0; i < files; ++i) {
    std::string content(3000, '\0');
    for (char& c : content) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    archive.file("f" + std::to_string(1000 + i), content);
  }
  return Archive::open(archive.write(folder / name));
}

std::vector<uint32_t> backwards(const Archive& archive) {
  std::vector<uint32_t> wanted;
  for (size_t i = archive.frames().size(); i-- > 0;) wanted.push_back(static_cast<uint32_t>(i));
  return wanted;
}

std::string alone(const Archive& archive, size_t frame) {
  Decompressor decompressor;
  Room packed, out;
  archive.load(frame, packed);
  archive.decode(frame, decompressor, packed, out);
  return std::string(out.data(), out.size());
}

template <class Check>
void read_all(const Archive& archive, const std::vector<uint32_t>& wanted, unsigned threads, double patience,
              Check check) {
  Ahead ahead(archive, wanted, threads, patience);
  run_team(wanted.size(), threads, [&] {
    struct Own {
      Decompressor decompressor;
      Room packed, out;
    };
    auto own = std::make_shared<Own>();
    return [&, own](size_t i) {
      ahead.read(i, own->decompressor, own->packed, own->out);
      check(wanted[i], std::string(own->out.data(), own->out.size()));
    };
  });
}

void contents() {
  const auto archive = sample("archive", 120);
  CHECK(archive && archive->frames().size() > 40);
  const std::vector<uint32_t> wanted = backwards(*archive);
  std::vector<std::string> expected;
  for (size_t i = 0; i < wanted.size(); ++i) expected.push_back(alone(*archive, i));
  for (const unsigned threads : {1u, 2u, 5u})
    for (const double patience : {kNone, 1e9}) {
      const uint64_t before = archive->bytes_read();
      std::atomic<size_t> right{0};
      read_all(*archive, wanted, threads, patience,
               [&](uint32_t frame, const std::string& got) { right += got == expected[frame]; });
      CHECK(right == wanted.size());
      uint64_t packed = 0;
      for (const Frame& frame : archive->frames()) packed += frame.packed;
      CHECK(archive->bytes_read() - before == packed);  // each was read once
    }
}

void failure() {
  const auto archive = sample("shortened", 120);
  const std::vector<uint32_t> wanted = backwards(*archive);
  const Frame& third = archive->frames()[2];
  CHECK(::truncate((folder / "shortened").c_str(), static_cast<off_t>(third.position + third.packed)) == 0);
  const std::vector<uint32_t> order = {0, 1, 2, 40, 41, 42};
  std::atomic<size_t> read{0};
  std::string code;
  try {
    read_all(*archive, order, 1, kNone, [&](uint32_t, const std::string&) { ++read; });
  } catch (const Failure& caught) { code = caught.code; }
  CHECK(code == "ARCHIVE_CORRUPT" && read == 3);
}

// Nobody asks for what was read, or is being read.
void end() {
  const auto archive = sample("left", 120);
  const std::vector<uint32_t> wanted = backwards(*archive);
  for (int round = 0; round < 50; ++round) {
    Ahead ahead(*archive, wanted, 2, kNone);
    Decompressor decompressor;
    Room packed, out;
    for (size_t i = 0; i < 3; ++i) ahead.read(i, decompressor, packed, out);
  }
}

}  // namespace

int main() {
  contents();
  failure();
  end();
  return check::done();
}
