// Archives of others, as batches: tar and zip from raw bytes, large members by way of files, limits, and whatever is damaged.
#include <sys/stat.h>
#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include "batches.h"
#include "check.h"
#include "crc32.h"
#include "sha256.h"
#include "tar.h"
#include "tree.h"

using namespace cd;

namespace {

std::mt19937 generator(11);
size_t some(size_t most) { return generator() % most; }

struct Kept {  // what was in the batches; everything is written
  std::map<std::string, std::string> found;
  int parts = 0, batches = 0;
  size_t stop_after = 1000;  // batches
  size_t large = 0;          // bytes of one more buffer; 0: none
  std::vector<Rewrite> rewrites;
};

// Stored blocks, each behind an empty one as a full flush leaves it: decoding may begin there.
std::string gzip_of(const std::string& data) {
  const auto little = [](uint64_t value, int bytes) {
    std::string out;
    for (; bytes > 0; --bytes, value >>= 8) out.push_back(static_cast<char>(value));
    return out;
  };
  std::string out("\x1f\x8b\x08\0\0\0\0\0\0\x03", 10);
  for (size_t at = 0; at < data.size(); at += 60000) {
    const std::string piece = data.substr(at, 60000);
    out += std::string("\0\0\0\xff\xff", 5) + '\0' + little(piece.size(), 2) + little(~piece.size(), 2) + piece;
  }
  return out + std::string("\1\0\0\xff\xff", 5) + little(crc32(0, data.data(), data.size()), 4) +
         little(data.size(), 4);
}

Decoded run(const DecodeJob& job, Kept& kept, size_t buffers = 3, size_t size = 1000) {
  std::vector<std::vector<uint8_t>> memory(buffers, std::vector<uint8_t>(size));
  if (kept.large > 0) memory.emplace_back(kept.large);
  std::vector<Exchange::Buffer> lent;
  for (auto& buffer : memory) lent.push_back({buffer.data(), buffer.size()});
  Exchange exchange(lent);
  std::map<std::string, bool> met;
  return decode(
      job, exchange,
      [&](Batch&& batch) {
        if (static_cast<size_t>(++kept.batches) > kept.stop_after) return exchange.stop();
        Answer answer;
        std::map<std::string, size_t> last;
        for (size_t i = 0; i < batch.members.size(); ++i) {
          const BatchMember& m = batch.members[i];
          kept.parts += !m.part.empty();
          const bool is_file = m.entry.kind == Kind::file;
          const auto* at = reinterpret_cast<const char*>(exchange.data(batch.buffer)) + m.at;
          kept.found[m.entry.path] = !is_file         ? m.entry.target
                                     : m.part.empty() ? std::string(at, m.entry.size)
                                                      : slurp(m.part);
          if (is_file) last[m.entry.path] = i;
        }
        for (const auto& [path, i] : last) {
          answer.alone = !met.emplace(path, true).second || answer.alone;
          answer.files.push_back({i, path, 0644, kept.rewrites});
        }
        answer.batch = std::move(batch);
        exchange.answer(std::move(answer));
      },
      Progress());
}

DecodeJob job_for(const Folder& folder, const std::string& bytes, const char* container) {
  folder.write("archive", bytes);
  std::filesystem::remove_all(folder / "tree");
  std::filesystem::create_directory(folder / "tree");
  DecodeJob job;
  job.archive = folder / "archive";
  job.container = container;
  job.root = folder / "tree";
  job.prefix = "/new";
  job.read_only = false;
  job.most_bytes = 1u << 30;
  job.most_members = 1000;
  job.threads = 2;
  return job;
}

using Content = std::map<std::string, std::string>;
Content decoded(const Folder& folder, const std::string& bytes, const char* container) {
  Kept kept;
  const Decoded done = run(job_for(folder, bytes, container), kept);
  CHECK(done.written.table.entries.size() == kept.found.size());
  for (const Entry& e : done.written.table.entries) {
    CHECK_MORE(slurp(folder / "tree" + '/' + e.path) == kept.found[e.path], e.path);
    CHECK(e.size == kept.found[e.path].size() && e.sha256 == sha256(kept.found[e.path].data(), e.size));
  }
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
    Kept kept;
    DecodeJob job = job_for(folder, tar, "plain");
    const Decoded done = run(job, kept);
    CHECK(kept.parts == 1);
    CHECK(done.bytes == 5 + 900 + 5000 + 4);
    CHECK(std::filesystem::is_empty(folder / "tree/.conda-deploy"));
    job = job_for(folder, tar, "plain");
    job.most_bytes = done.bytes - 1;
    THROWS("LIMIT_EXCEEDED", run(job, kept));
    job.most_bytes = done.bytes;
    job.most_members = 4;
    THROWS("LIMIT_EXCEEDED", run(job, kept));
    job.archive = folder / "none";
    THROWS("ARCHIVE_NOT_FOUND", run(job, kept));
  }
  {  // a buffer that is larger than the others
    Kept kept;
    kept.large = 5000;
    run(job_for(folder, tar, "plain"), kept);
    CHECK(kept.parts == 0);
    CHECK(kept.found == content);
  }
  {  // few buffers, many threads; names that come again; a judge that has enough
    std::string again;
    for (int i = 0; i < 60; ++i)
      again += tar_of({{i % 3 ? "x" : "d/" + std::to_string(i), std::string(i * 20, char('a' + i % 26))}})
                   .substr(0, 512 + (i * 20 + 511) / 512 * 512);
    again += std::string(kTarEnd, '\0');
    for (const size_t buffers : {1u, 2u, 8u}) {
      DecodeJob job = job_for(folder, again, "plain");
      job.threads = 4;
      Kept kept;
      run(job, kept, buffers, 1200);
      CHECK(slurp(folder / "tree/x") == std::string(59 * 20, char('a' + 59 % 26)));
      kept = {};
      kept.stop_after = 3;
      THROWS("CANCELLED", run(job_for(folder, again, "plain"), kept, buffers, 1200));
    }
  }
  {  // decoded into the blocks that are written from; what lies across two of them, what is larger, and what no buffer holds
    Content files;
    for (int i = 0; i < 60; ++i) {
      std::string& file = files["f" + std::to_string(i)];
      for (size_t left = some(i % 10 == 0 ? 900000 : 40000); left > 0; --left)
        file.push_back(static_cast<char>(generator()));
    }
    const std::string packed = gzip_of(tar_of(files));
    for (const unsigned threads : {1u, 4u})
      for (const size_t blocks : {3u, 11u}) {
        DecodeJob job = job_for(folder, packed, "gzip");
        job.threads = threads;
        Kept kept;
        kept.large = 500000;
        run(job, kept, blocks, 256 << 10);
        CHECK(kept.found == files && kept.parts > 0);
        for (const auto& [path, data] : files) CHECK(slurp(folder / ("tree/" + path)) == data);
        for (size_t cut = 1; cut < packed.size(); cut += packed.size() / 3)
          THROWS("ARCHIVE_CORRUPT",
                 run(job_for(folder, packed.substr(0, packed.size() - cut), "gzip"), kept, blocks, 256 << 10));
        kept.batches = 0;
        kept.stop_after = 3;
        THROWS("CANCELLED", run(job_for(folder, packed, "gzip"), kept, blocks, 256 << 10));
      }
  }
  {  // relocated on the way, from memory and from a file of its own; not beyond the limit
    const Content texts = {{"a", "/old/x"}, {"b", "/old/y " + std::string(3000, 'y')}};
    Kept kept;
    kept.rewrites = {{"/old", true}};
    DecodeJob job = job_for(folder, tar_of(texts), "plain");
    const Decoded done = run(job, kept);
    CHECK(slurp(folder / "tree/a") == "/new/x" && slurp(folder / "tree/b") == "/new/y " + std::string(3000, 'y'));
    for (const Entry& e : done.written.table.entries) CHECK(e.has_deployed && e.spots.size() == 1);
    CHECK(done.written.table.prefixes == std::vector<std::string>{"/old"});
    job = job_for(folder, tar_of({{"a", "/old /old /old"}}), "plain");
    job.prefix = "/" + std::string(200, 'n');
    job.most_bytes = 300;
    THROWS("LIMIT_EXCEEDED", run(job, kept));
  }
  {  // what an answer may not say
    const DecodeJob job = job_for(folder, tar, "plain");
    for (const auto& [member, path] :
         std::vector<std::pair<size_t, std::string>>{{0, "../a"}, {0, "/a"}, {0, ".conda-deploy/index"}, {99, "a"}}) {
      std::vector<uint8_t> memory(1000);
      Exchange exchange(std::vector<Exchange::Buffer>{{memory.data(), memory.size()}});
      const auto hand = [&, m = member, p = path](Batch&& batch) {
        exchange.answer({std::move(batch), {{m, p, 0644, {}}}, false});
      };
      THROWS(member == 99 ? "IO" : "UNSAFE_PATH", decode(job, exchange, hand, Progress()));
    }
  }
  for (size_t cut = 1; cut < zip.size(); cut += 97)
    THROWS("ARCHIVE_CORRUPT", decoded(folder, zip.substr(0, zip.size() - cut), "zip"));
  for (size_t cut = 1; cut < tar.size(); cut += 301)
    THROWS("ARCHIVE_CORRUPT", decoded(folder, tar.substr(0, tar.size() - cut), "plain"));

  // Whatever is damaged: an answer of the reader's, and no content that was not there.
  for (int i = 0; i < 600; ++i) {
    const bool is_zip = i % 2 == 0;
    std::string broken = is_zip ? zip : tar;
    for (size_t n = 1 + some(4); n > 0; --n)
      broken[is_zip && some(2) ? broken.size() - 1 - some(400) : some(broken.size())] = static_cast<char>(generator());
    Kept kept;
    try {
      run(job_for(folder, broken, is_zip ? "zip" : "plain"), kept);
      CHECK(!is_zip || kept.found.size() <= content.size());
    } catch (const Failure& failure) {
      CHECK_MORE(failure.code == "ARCHIVE_CORRUPT" || failure.code == "UNSUPPORTED" ||
                     failure.code == "LIMIT_EXCEEDED" || failure.code == "UNSAFE_PATH" || failure.code == "IO",
                 failure.code);
    }
  }
  return check::done();
}
