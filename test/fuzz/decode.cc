// Archives made by others: any bytes as tar, gzip or zip are refused, or decoded and written, into the tree and nowhere else. The first
// byte says as what.
#include <cstdlib>
#include <filesystem>
#include <map>
#include "exchange.h"
#include "fuzz.h"

namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "conda-deploy-fuzz-XXXXXX").string();
    fuzz::check(::mkdtemp(&name[0]) != nullptr, "a folder");
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
};

const fs::path& folder() {
  static const Folder made;
  return made.path;
}

// Everything that is a file is written under its name, relocated; two files of one name in one batch would be an error of ours.
cd::Answer answer(cd::Batch&& batch) {
  cd::Answer out;
  std::map<std::string, size_t> last;
  for (size_t i = 0; i < batch.members.size(); ++i)
    if (batch.members[i].entry.kind == cd::Kind::file) last[batch.members[i].entry.path] = i;
  for (const auto& [path, i] : last) out.files.push_back({i, path, 0644, {{"/old", i % 2 == 0}}});
  out.alone = true;
  out.batch = std::move(batch);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static constexpr const char* kContainers[] = {"plain", "gzip", "zip"};
  if (size == 0) return 0;
  const fs::path root = folder() / "tree", archive = folder() / "archive";
  fs::remove_all(root);
  fs::create_directory(root);
  FILE* file = std::fopen(archive.c_str(), "wb");
  fuzz::check(file && std::fwrite(data + 1, 1, size - 1, file) == size - 1 && std::fclose(file) == 0, "an archive");
  cd::DecodeJob job;
  job.archive = archive.string();
  job.container = kContainers[data[0] % 3];
  job.root = root.string();
  job.prefix = "/new/prefix";
  job.read_only = false;
  job.most_bytes = 1u << 20;
  job.most_members = 200;
  job.threads = 2;
  // The least that will do: gzip is decoded into blocks, which have to hold its window.
  static uint8_t memory[4][(256 << 10) + 1];
  const size_t size_of_one = job.container == "gzip" ? 256 << 10 : 600;
  std::vector<cd::Exchange::Buffer> lent(3, {nullptr, size_of_one});
  for (size_t i = 0; i < lent.size(); ++i) lent[i].data = memory[i];
  if (job.container == "gzip") lent.push_back({memory[3], size_of_one + 1});
  cd::Exchange exchange(lent);
  fuzz::accepted([&] {
    const auto hand = [&](cd::Batch&& batch) { exchange.answer(answer(std::move(batch))); };
    const cd::Decoded done = cd::decode(job, exchange, hand, cd::Progress());
    for (const cd::Entry& e : done.written.table.entries) {
      const fs::path path = root / e.path;
      fuzz::check(fs::is_regular_file(fs::symlink_status(path)), "what was written is a file of the tree");
    }
    fuzz::check(!fs::exists(root / ".conda-deploy/parts"), "no part is left");
  });
  size_t beside = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder())) ++beside;
  fuzz::check(beside == 2, "nothing is written beside the tree");
  return 0;
}
