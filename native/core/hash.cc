// SHA-256 of whole files: what names an archive of others, or a tree of files.
#include <algorithm>
#include "frames.h"
#include "jobs.h"
#include "root.h"
#include "sha256.h"
#include "team.h"

namespace cd {

std::vector<Hashed> hash_files(const HashJob& job, Progress progress) {
  constexpr size_t kChunk = 1u << 20;
  std::vector<Hashed> out(job.paths.size());
  progress.expect(out.size());
  run_team(out.size(), job.threads, [&] {
    auto chunk = std::make_shared<std::string>();
    return [&, chunk](size_t i) {
      const std::string path = job.root.empty() ? job.paths[i] : job.root + '/' + job.paths[i];
      const Fd fd(open_regular(path, out[i].size));
      chunk->resize(static_cast<size_t>(std::min<uint64_t>(kChunk, out[i].size + 1)));
      Sha256 hash;
      uint64_t at = 0;
      for (size_t n = chunk->size(); n == chunk->size(); at += n) {
        progress.check();
        const ssize_t got = read_all_at(fd.get(), &(*chunk)[0], chunk->size(), at);
        if (got < 0) throw Failure::system("pread", path);
        n = static_cast<size_t>(got);
        hash.update(chunk->data(), n);
      }
      out[i].size = at;
      out[i].sha256 = hash.finish();
      progress.add(1, at);
    };
  });
  return out;
}

}  // namespace cd
