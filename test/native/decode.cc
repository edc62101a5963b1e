// Archives of others, as batches: tar and zip from raw bytes, large members by way of files, limits, and whatever is damaged.
#include <sys/stat.h>
#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include "batches.h"
#include "check.h"
#include "crc32.h"
#include "tar.h"
#include "tree.h"

using namespace cd;

namespace {

std::mt19937 generator(11);
size_t some(size_t most) { return generator() % most; }

class Kept final : public Receiver {  // gives every buffer back at once
 public:
  explicit Kept(size_t size) : buffer_(size, '\0') {}
  size_t take() override { return 0; }
  uint8_t* data(size_t) override { return reinterpret_cast<uint8_t*>(&buffer_[0]); }
  size_t size() const override { return buffer_.size(); }
  void hand(Batch&& batch) override {
    for (const BatchMember& m : batch.members) {
      const bool in_file = !m.part.empty();
      found[m.entry.path] = in_file                      ? slurp(m.part)
                            : m.entry.kind == Kind::file ? buffer_.substr(m.at, m.entry.size)
                                                         : m.entry.target;
      if (in_file) ++parts, ::unlink(m.part.c_str());
    }
  }
  void finish() override {}
  std::map<std::string, std::string> found;
  int parts = 0;

 private:
  std::string buffer_;
};

DecodeJob job_for(const Folder& folder, const std::string& bytes, const char* container) {
  folder.write("archive", bytes);
  DecodeJob job;
  job.archive = folder / "archive";
  job.container = container;
  job.parts = folder.path();
  job.most_bytes = 1u << 30;
  job.most_members = 1000;
  job.threads = 2;
  return job;
}

using Content = std::map<std::string, std::string>;
Content decoded(const Folder& folder, const std::string& bytes, const char* container) {
  Kept kept(1000);
  decode(job_for(folder, bytes, container), kept, Progress());
  return kept.found;
}

std::string tar_of(const Content& content) {
  std::string out;
  for (const auto& [path, data] : content) {
    Entry e;
    e.path = path;
    e.mode = 0644;
    e.size = data.size();
    out += tar_header(e) + data + std::string(tar_padding(data.size()), '\0');
  }
  return out + std::string(kTarEnd, '\0');
}

std::string two(size_t n) { return {char(n), char(n >> 8)}; }
std::string four(size_t n) { return two(n) + two(n >> 16); }

std::string zip_of(const Content& content) {  // stored
  std::string out, directory;
  for (const auto& [path, data] : content) {
    const std::string same = two(0) + two(0) + two(0x5000) + two(0x5000) + four(crc32(0, data.data(), data.size())) +
                             four(data.size()) + four(data.size()) + two(path.size()) + two(0);
    directory += std::string("PK\1\2", 4) + two(3 << 8 | 20) + two(20) + same + two(0) + two(0) + two(0) +
                 four((S_IFREG | 0644u) << 16) + four(out.size()) + path;
    out += std::string("PK\3\4", 4) + two(20) + same + path + data;
  }
  const size_t at = out.size();
  return out + directory + std::string("PK\5\6", 4) + four(0) + two(content.size()) + two(content.size()) +
         four(directory.size()) + four(at) + two(0);
}

}  // namespace

int main() {
  const Folder folder;
  const Content content = {{"a", "first"},
                           {"b/c", std::string(900, 'x')},
                           {"b/large", std::string(5000, 'y')},
                           {"d", ""},
                           {std::string(150, 'n') + "/z", "long"}};
  const std::string tar = tar_of(content), zip = zip_of(content);
  CHECK(decoded(folder, tar, "plain") == content);
  CHECK(decoded(folder, zip, "zip") == content);
  {
    Kept kept(1000);
    DecodeJob job = job_for(folder, tar, "plain");
    const Decoded done = decode(job, kept, Progress());
    CHECK(kept.parts == 1);
    CHECK(done.bytes == 5 + 900 + 5000 + 4);
    job.most_bytes = done.bytes - 1;
    THROWS("LIMIT_EXCEEDED", decode(job, kept, Progress()));
    job.most_bytes = done.bytes;
    job.most_members = 4;
    THROWS("LIMIT_EXCEEDED", decode(job, kept, Progress()));
    job.archive = folder / "none";
    THROWS("ARCHIVE_NOT_FOUND", decode(job, kept, Progress()));
  }
  for (size_t cut = 1; cut < zip.size(); cut += 97)
    THROWS("ARCHIVE_CORRUPT", decoded(folder, zip.substr(0, zip.size() - cut), "zip"));
  for (size_t cut = 1; cut < tar.size(); cut += 301)
    THROWS("ARCHIVE_CORRUPT", decoded(folder, tar.substr(0, tar.size() - cut), "plain"));

  // Whatever is damaged: an answer of the reader's, and no content that was not there.
  for (int i = 0; i < 1500; ++i) {
    const bool is_zip = i % 2 == 0;
    std::string broken = is_zip ? zip : tar;
    for (size_t n = 1 + some(4); n > 0; --n)
      broken[is_zip && some(2) ? broken.size() - 1 - some(400) : some(broken.size())] = static_cast<char>(generator());
    Kept kept(1000);
    try {
      decode(job_for(folder, broken, is_zip ? "zip" : "plain"), kept, Progress());
      CHECK(!is_zip || kept.found.size() <= content.size());
    } catch (const Failure& failure) {
      CHECK_MORE(failure.code == "ARCHIVE_CORRUPT" || failure.code == "UNSUPPORTED" || failure.code == "LIMIT_EXCEEDED",
                 failure.code);
    }
  }
  return check::done();
}
