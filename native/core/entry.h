// The plain data of the core: what src/tree/entry.ts and src/native.ts name, as C++ structs. No behaviour, no napi.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace cd {

using Digest = std::array<uint8_t, 32>;

enum class Kind : uint8_t { directory = 0, file = 1, symlink = 2, hardlink = 3, other = 4 };
enum class Encoding : uint8_t { text = 0, c8 = 1, c16le = 2, c16be = 3, c32le = 4, c32be = 5, digest = 6 };

inline unsigned unit_of(Encoding e) {
  switch (e) {
    case Encoding::c16le:
    case Encoding::c16be: return 2;
    case Encoding::c32le:
    case Encoding::c32be: return 4;
    default: return 1;
  }
}

struct Spot {
  Encoding encoding = Encoding::text;
  uint64_t offset = 0;  // in the stored content
  uint32_t refers = 0;  // number of a prefix; for Encoding::digest the number of an entry
  uint32_t slot = 0;    // characters that fit; 0 for text and digest
};

struct Entry {
  std::string path;
  Kind kind = Kind::file;
  uint32_t mode = 0;
  int64_t mtime = 0;
  uint64_t size = 0;   // stored size
  Digest sha256{};     // of the stored content
  std::string target;  // symlink text, or path of the file a hardlink shares
  std::vector<Spot> spots;
  uint32_t frame = 0;   // where the content begins
  uint64_t offset = 0;  // in that frame, decompressed
  bool has_deployed = false;
  uint64_t deployed_size = 0;
  Digest deployed_sha256{};
};

struct Table {
  bool deployed = false;
  std::string root;  // folder of the tar in which all members lie; empty: none
  std::vector<std::string> prefixes;
  std::vector<Entry> entries;
};

struct Frame {
  uint64_t position = 0;  // in the archive file
  uint32_t packed = 0;
  uint32_t size = 0;  // decompressed
};

struct Summary {
  Digest digest{};
  uint64_t entries = 0, files = 0, bytes = 0, rewritten = 0, largest_file = 0;
  uint32_t longest_prefix = 0xFFFFFFFFu;  // 0xFFFFFFFF: no limit
  std::string json;
};

// Content kept beneath a deployed prefix; never an entry of an archive.
inline constexpr const char* kOwnFolder = ".conda-deploy";

}  // namespace cd
