// What the tests of pack and seal share: plans of files in a folder, generated entries, and an archive read back as plain as can be.
#pragma once
#include "check.h"
#include "frames.h"
#include "jobs.h"
#include "sha256.h"
#include "tree.h"

inline const std::string kPlaceholderText = "/opt/build" + std::string(235, 'p') + "_placehold";  // 255 bytes

inline std::string zeros(size_t n) { return std::string(n, '\0'); }
inline cd::Digest hash_of(const std::string& s) { return cd::sha256(s.data(), s.size()); }
inline cd::Bytes bytes_of(const std::string& s) { return {reinterpret_cast<const uint8_t*>(s.data()), s.size()}; }

inline cd::PackEntry plan(const Folder& folder, const std::string& path) {
  cd::PackEntry e;
  e.entry.path = path;
  struct stat st;
  if (lstat((folder / path).c_str(), &st) != 0) std::abort();
  e.entry.mode = S_ISDIR(st.st_mode) || (st.st_mode & 0111) ? 0755 : 0644;
  e.entry.kind = S_ISDIR(st.st_mode) ? cd::Kind::directory : S_ISLNK(st.st_mode) ? cd::Kind::symlink : cd::Kind::file;
  if (S_ISREG(st.st_mode)) e.entry.size = static_cast<uint64_t>(st.st_size);
  if (S_ISLNK(st.st_mode)) e.entry.target = std::filesystem::read_symlink(folder / path).string();
  e.entry.mtime = 1600000000;
  return e;
}

// As conda and pixi record a file that held the placeholder in its package.
inline cd::PackEntry recorded(cd::PackEntry e, const std::string& original, int mode) {
  e.has_sha256 = true;
  e.sha256 = hash_of(original);
  e.placeholder = kPlaceholderText;
  e.mode = mode;
  return e;
}

inline cd::PackEntry generated(const std::string& path, const std::string& content) {
  cd::PackEntry e;
  e.entry.path = path;
  e.entry.mode = 0755;
  e.in_memory = true;
  e.data = bytes_of(content);
  return e;
}

inline cd::PackEntry link(const std::string& path, cd::Kind kind, const std::string& target) {
  cd::PackEntry e;
  e.entry.path = path;
  e.entry.kind = kind;
  e.entry.mode = 0777;
  e.entry.target = target;
  return e;
}

// A job whose entries may still be changed.
struct PlannedJob : cd::PackJob {
  std::vector<cd::PackEntry> entries;
};

inline cd::Packed pack(PlannedJob job, cd::Progress progress) {
  for (const cd::PackEntry& e : job.entries) job.PackJob::entries.push_back(e);
  return cd::pack(std::move(static_cast<cd::PackJob&>(job)), progress);
}

inline PlannedJob job_of(const Folder& folder, const std::vector<std::string>& paths) {
  PlannedJob job;
  job.root = folder.path();
  job.prefixes = {folder.path()};
  job.marker = "_placehold_placehold";
  job.frame_bytes = 64 << 10;
  for (const auto& p : paths) job.entries.push_back(plan(folder, p));
  return job;
}

inline cd::SealJob seal_of(const cd::PackJob& job, const cd::Packed& packed, const std::vector<cd::PackEntry>& made) {
  cd::SealJob seal;
  seal.output = job.output;
  seal.draft = bytes_of(packed.draft);
  seal.entries = made;
  seal.prefixes = job.prefixes;
  seal.json = "{\"name\":\"test\"}";
  seal.frame_bytes = job.frame_bytes;
  seal.threads = job.threads;
  return seal;
}

inline cd::Sealed pack_and_seal(PlannedJob job, const std::string& output, unsigned threads,
                                const std::vector<cd::PackEntry>& made, cd::Packed* result = nullptr) {
  job.output = output;
  job.threads = threads;
  cd::Packed packed = pack(job, cd::Progress());
  const cd::Sealed sealed = cd::seal(seal_of(job, packed, made), cd::Progress());
  if (result) *result = std::move(packed);
  return sealed;
}

struct ReadBack {
  cd::Table table;
  std::vector<std::string> frames;  // decoded
  std::string tar;
  std::vector<size_t> begins;  // of the frames in the tar

  explicit ReadBack(const std::string& path) {
    const auto archive = cd::Archive::open(path);
    if (!archive) std::abort();
    table = archive->table();
    cd::Decompressor decompressor;
    cd::Room packed, frame;
    for (size_t i = 0; i < archive->frames().size(); ++i) {
      archive->load(i, packed);
      archive->decode(i, decompressor, packed, frame);
      begins.push_back(tar.size());
      frames.emplace_back(frame.data(), frame.size());
      tar += frames.back();
    }
  }
  const cd::Entry* find(const std::string& path) const {
    for (const cd::Entry& e : table.entries)
      if (e.path == path) return &e;
    return nullptr;
  }
  std::string content(const cd::Entry& e) const { return tar.substr(begins[e.frame] + e.offset, e.size); }
};
