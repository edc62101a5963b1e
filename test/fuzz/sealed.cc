// Archives whose checksums and digests are right whatever the entry table and the tar say: what a forger would make. An archive without
// faults can be extracted, and the tree has no faults either.
#include <unistd.h>
#include <filesystem>
#include <fstream>
#include "frames.h"
#include "fuzz.h"
#include "jobs.h"
#include "table.h"

namespace {

struct Folder {
  std::string path = (std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp") + std::string("/fuzz-sealed-XXXXXX");
  Folder() { fuzz::check(::mkdtemp(&path[0]) != nullptr, "a folder"); }
  ~Folder() { std::filesystem::remove_all(path); }
};

const std::string& folder() {
  static const Folder folder;
  return folder.path;
}

// `tar` cut into frames of `cut` bytes, and the table as it is.
void write(const std::string& path, const std::string& tar, size_t cut, const std::string& table) {
  cd::Compressor compressor(1);
  std::string out, packed;
  std::vector<cd::Frame> frames;
  const auto add = [&](const std::string& bytes, size_t size) {
    frames.push_back({out.size(), static_cast<uint32_t>(bytes.size()), static_cast<uint32_t>(size)});
    out += bytes;
  };
  for (size_t at = 0; at < tar.size(); at += cut) {
    const std::string part = tar.substr(at, cut);
    packed = compressor.compressed(part.data(), part.size());
    add(packed, part.size());
  }
  cd::Table decoded;  // for the sums; a table that does not decode has none
  fuzz::accepted([&] { decoded = cd::decode_table(reinterpret_cast<const uint8_t*>(table.data()), table.size()); });
  packed = compressor.compressed(table.data(), table.size());
  std::string size;
  for (int i = 0; i < 8; ++i) size.push_back(static_cast<char>(uint64_t{table.size()} >> 8 * i));
  add(cd::skippable(cd::kTableMagic, size + packed), 0);
  add(cd::skippable(cd::kSummaryMagic, cd::encode_summary(cd::summarize(decoded, table, "{}"))), 0);
  out += cd::seek_table(frames);
  std::ofstream(path, std::ios::binary) << out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const size_t cut = 512 * (1 + input.byte() % 16), tar_size = input.number();
  const std::string tar = input.text(tar_size), table = input.rest();
  const std::string archive = folder() + "/archive", root = folder() + "/root", prefix = "/new";
  const cd::Progress progress;
  write(archive, tar, cut, table);
  bool whole = false;
  fuzz::accepted([&] { whole = cd::verify({"", archive, 1}, progress).faults.empty(); });
  std::filesystem::create_directory(root);
  std::string refused;
  try {
    cd::extract({archive, root, prefix, false, 1}, progress);
    if (whole) fuzz::check(cd::verify({root, root + "/.conda-deploy/index", 1}, progress).faults.empty(), "no faults");
  } catch (const cd::Failure& failure) { refused = failure.code; }
  fuzz::check(!whole || refused.empty() || refused == "PREFIX_TOO_LONG" || refused == "IO" || refused == "UNSUPPORTED",
              "an archive without faults can be extracted");
  cd::remove_tree(root, 1, progress);
  for (const auto& left : std::filesystem::directory_iterator(folder()))
    fuzz::check(left.path() == archive, "nothing is written outside");
  return 0;
}
