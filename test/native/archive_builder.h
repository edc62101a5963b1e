// Small archives from literals, laid out as src/archive/FORMAT.md says, without the packer: what readers are tested
// with. `tamper` may break the table after the layout, `tamper_frame` the bytes of a frame before it is compressed.
#pragma once
#include <fstream>
#include <functional>
#include <map>
#include "frames.h"
#include "prefix.h"
#include "sha256.h"
#include "table.h"
#include "tar.h"

namespace build {

inline constexpr int64_t kTime = 1700000000;

// Spots wherever the prefix stands: texts (slot 0) or C strings.
inline std::vector<cd::Spot> spots_of(const std::string& content, const std::string& prefix, uint32_t slot,
                                      uint32_t refers = 0) {
  const auto* data = reinterpret_cast<const uint8_t*>(content.data());
  auto spots = slot == 0 ? cd::find_text(data, content.size(), prefix, true)
                         : cd::find_binary(data, content.size(), prefix, true);
  for (cd::Spot& s : spots) {
    s.slot = slot;
    s.refers = refers;
  }
  return spots;
}

class Archive {
 public:
  std::vector<std::string> prefixes;
  size_t frame_bytes = 8192;
  std::function<void(cd::Table&)> tamper = [](cd::Table&) {};
  std::function<void(size_t, std::string&)> tamper_frame = [](size_t, std::string&) {};
  std::string forged;  // table bytes to write instead of the real ones (see forge.h)
  cd::Table table;
  std::vector<cd::Frame> frames;

  explicit Archive(std::vector<std::string> known = {}) : prefixes(std::move(known)) {}

  uint32_t directory(const std::string& path) { return add(path, cd::Kind::directory, 0755, "", {}, ""); }
  uint32_t symlink(const std::string& path, const std::string& target) {
    return add(path, cd::Kind::symlink, 0777, target, {}, "");
  }
  uint32_t hardlink(const std::string& path, const std::string& target) {
    return add(path, cd::Kind::hardlink, 0644, target, {}, "");
  }
  uint32_t file(const std::string& path, const std::string& content, std::vector<cd::Spot> spots = {},
                uint32_t mode = 0644) {
    return add(path, cd::Kind::file, mode, "", std::move(spots), content);
  }

  // Writes the archive and returns its path.
  std::string write(const std::string& path) {
    table.prefixes = prefixes;
    plain_.clear();
    frame_.clear();
    for (size_t i = 0; i < table.entries.size(); ++i) lay(table.entries[i], contents_[i]);
    frame_.append(cd::kTarEnd, '\0');
    flush();
    tamper(table);

    cd::Compressor compressor(3);
    std::string out, packed;
    frames.clear();
    const auto put = [&](const std::string& bytes, size_t size) {
      frames.push_back({out.size(), static_cast<uint32_t>(bytes.size()), static_cast<uint32_t>(size)});
      out += bytes;
    };
    for (size_t i = 0; i < plain_.size(); ++i) {
      tamper_frame(i, plain_[i]);
      packed = compressor.compressed(plain_[i].data(), plain_[i].size());
      put(packed, plain_[i].size());
    }
    const std::string encoded = forged.empty() ? cd::encode_table(table) : forged;
    packed = compressor.compressed(encoded.data(), encoded.size());
    std::string sized;
    for (int i = 0; i < 8; ++i) sized.push_back(static_cast<char>(uint64_t{encoded.size()} >> 8 * i));
    put(cd::skippable(cd::kTableMagic, sized + packed), 0);
    put(cd::skippable(cd::kSummaryMagic, cd::encode_summary(cd::summarize(table, encoded, "{}"))), 0);
    out += cd::seek_table(frames);
    std::ofstream(path, std::ios::binary) << out;
    return path;
  }

 private:
  uint32_t add(const std::string& path, cd::Kind kind, uint32_t mode, const std::string& target,
               std::vector<cd::Spot> spots, const std::string& content) {
    cd::Entry e;
    e.path = path;
    e.kind = kind;
    e.mode = mode;
    e.mtime = kTime + static_cast<int64_t>(table.entries.size());
    e.target = target;
    e.spots = std::move(spots);
    if (kind == cd::Kind::file) {
      e.size = content.size();
      e.sha256 = cd::sha256(content.data(), content.size());
    }
    table.entries.push_back(e);
    contents_.push_back(content);
    return static_cast<uint32_t>(table.entries.size() - 1);
  }

  void flush() {
    if (!frame_.empty()) plain_.push_back(frame_);
    frame_.clear();
  }

  void lay(cd::Entry& e, const std::string& content) {
    const std::string header = cd::tar_header(e);
    const bool large = header.size() + content.size() > frame_bytes;
    if (large || frame_.size() + header.size() + content.size() > frame_bytes) flush();
    frame_ += header;
    e.frame = static_cast<uint32_t>(plain_.size());
    e.offset = frame_.size();
    if (e.kind != cd::Kind::file) return;
    for (size_t at = 0; at < content.size();) {
      size_t end = std::min(content.size(), at + frame_bytes - frame_.size() % frame_bytes);
      if (end < content.size()) end = cut(e, end);
      frame_.append(content, at, end - at);
      at = end;
      if (at < content.size()) flush();
    }
    frame_.append(cd::tar_padding(e.size), '\0');
    if (large) flush();
  }

  // Not inside the place of a spot, nor in the string behind it (tests keep those within 300 bytes).
  size_t cut(const cd::Entry& e, size_t end) const {
    for (const cd::Spot& s : e.spots) {
      const uint64_t length =
          s.encoding == cd::Encoding::digest ? 64 : std::max<uint64_t>(prefixes[s.refers].size(), s.slot) * 4 + 300;
      if (s.offset < end && end < s.offset + length) return s.offset;
    }
    return end;
  }

  std::vector<std::string> contents_, plain_;
  std::string frame_;
};

}  // namespace build
