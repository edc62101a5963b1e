// Completes what pack.cc began: generated entries, the end of the tar, the entry table, the summary, the seek table.
#include <algorithm>
#include <cstring>
#include <unordered_map>
#include "assembly.h"
#include "draft.h"
#include "frames.h"
#include "sha256.h"
#include "table.h"
#include "tar.h"
#include "team.h"

namespace cd {
namespace {

class Sealing {
 public:
  Sealing(const SealJob& job, Progress progress)
      : job_(job), progress_(progress), draft_(decode_draft(job.draft)), prefixes_(draft_.table.prefixes), made_before_(draft_.table.entries.size()) {
    for (const PackEntry& e : job.entries) {
      draft_.table.entries.push_back(e.entry);
      contents_.emplace_back(reinterpret_cast<const char*>(e.data.data), e.data.size);
    }
    for (size_t i = 0; i < draft_.table.entries.size(); ++i) numbers_.emplace(draft_.table.entries[i].path, static_cast<uint32_t>(i));
  }

  Sealed run() {
    for (size_t i = 0; i < job_.entries.size(); ++i) find_text_spots(i);
    for (size_t i = 0; i < job_.entries.size(); ++i) resolve_digests(i);
    for (size_t i = 0; i < job_.entries.size(); ++i) finish_entry(i);
    for (size_t i = 0; i < job_.entries.size(); ++i) append_member(i);
    flush();
    frames_.back().append(kTarEnd, '\0');

    Assembly assembly(job_.output, false, draft_.position, draft_.frames);
    run_team(frames_.size(), job_.threads, [&] {
      auto compressor = std::make_shared<Compressor>(job_.level);
      return [&, compressor](size_t i) {
        try {
          progress_.check();
          std::string packed;
          compressor->compress(frames_[i].data(), frames_[i].size(), packed);
          assembly.put(i, std::move(packed), static_cast<uint32_t>(frames_[i].size()));
        } catch (...) {
          assembly.fail(std::current_exception());
          throw;
        }
      };
    });
    return write_index(assembly);
  }

 private:
  Entry& entry(size_t i) { return draft_.table.entries[made_before_ + i]; }

  void find_text_spots(size_t i) {
    if (entry(i).kind != Kind::file || job_.entries[i].policy == Policy::report) return;
    std::vector<Spot>& spots = entry(i).spots;
    const auto* data = reinterpret_cast<const uint8_t*>(contents_[i].data());
    struct Hit { Spot spot; size_t length; };
    std::vector<Hit> hits;
    for (const std::string& prefix : job_.prefixes)
      for (const Spot& s : find_text(data, contents_[i].size(), prefix, true)) {
        hits.push_back({s, prefix.size()});
        hits.back().spot.refers = static_cast<uint32_t>(&prefix - job_.prefixes.data());
      }
    std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) { return a.spot.offset < b.spot.offset || (a.spot.offset == b.spot.offset && a.length > b.length); });
    uint64_t free = 0;
    for (Hit& h : hits) {
      if (h.spot.offset < free) continue;
      free = h.spot.offset + h.length;
      h.spot.refers = prefixes_.number(job_.prefixes[h.spot.refers]);
      spots.push_back(h.spot);
    }
  }

  // A file that is stored as it will be deployed has its hash written now; of one with spots it is known only at its target.
  void resolve_digests(size_t i) {
    for (const auto& [offset, path] : job_.entries[i].digests) {
      const auto found = numbers_.find(path);
      if (found == numbers_.end() || draft_.table.entries[found->second].kind != Kind::file)
        throw Failure("INVALID_OPTION", "seal: " + entry(i).path + " asks for the digest of '" + path + "', which is no file of the archive", path);
      if (offset > contents_[i].size() || contents_[i].size() - offset < 64)
        throw Failure("INVALID_OPTION", "seal: a digest of " + entry(i).path + " lies outside its content", entry(i).path);
      const Entry& meant = draft_.table.entries[found->second];
      if (!meant.spots.empty()) {
        entry(i).spots.push_back({Encoding::digest, offset, found->second, 0});
      } else if (found->second >= made_before_) {
        throw Failure("INVALID_OPTION", "seal: " + entry(i).path + " asks for the digest of '" + path + "', which is generated itself", path);
      }
      const std::string digits = meant.spots.empty() ? hex(meant.sha256) : std::string(64, '0');
      contents_[i].replace(static_cast<size_t>(offset), 64, digits);
    }
    std::sort(entry(i).spots.begin(), entry(i).spots.end(), [](const Spot& a, const Spot& b) { return a.offset < b.offset; });
  }

  void finish_entry(size_t i) {
    Entry& e = entry(i);
    if (e.kind != Kind::file) return;
    e.size = contents_[i].size();
    e.sha256 = sha256(contents_[i].data(), contents_[i].size());
  }

  // Generated files are small; one that is larger than a frame gets one of its own all the same.
  void append_member(size_t i) {
    Entry& e = entry(i);
    if (!raw_.empty() && raw_.size() + contents_[i].size() > job_.frame_bytes) flush();
    raw_ += tar_header(e);
    if (e.kind == Kind::file) {
      e.frame = static_cast<uint32_t>(draft_.frames.size() + frames_.size());
      e.offset = raw_.size();
      raw_ += contents_[i];
      raw_.append(static_cast<size_t>(tar_padding(e.size)), '\0');
    }
    progress_.add(1, e.size);
  }

  void flush() {
    if (!raw_.empty() || frames_.empty()) frames_.push_back(std::move(raw_));
    raw_ = {};
  }

  Sealed write_index(Assembly& assembly) {
    const std::string encoded = encode_table(draft_.table);
    Sealed sealed;
    sealed.summary = summarize(draft_.table, encoded, job_.json);
    std::string packed;
    Compressor(job_.level).compress(encoded.data(), encoded.size(), packed);
    const uint64_t size = encoded.size();
    std::string head(8, '\0');
    for (int k = 0; k < 8; ++k) head[static_cast<size_t>(k)] = static_cast<char>(size >> (8 * k));
    std::vector<Frame> all = assembly.frames();
    for (const std::string& part : {skippable(kTableMagic, head + packed), skippable(kSummaryMagic, encode_summary(sealed.summary))}) {
      all.push_back({assembly.position(), static_cast<uint32_t>(part.size()), 0});
      assembly.append(part);
    }
    assembly.append(seek_table(all));
    sealed.packed_bytes = assembly.position();
    sealed.frames = assembly.frames().size();
    return sealed;
  }

  const SealJob& job_;
  Progress progress_;
  Draft draft_;
  PrefixList prefixes_;
  const size_t made_before_;
  std::vector<std::string> contents_;
  std::unordered_map<std::string, uint32_t> numbers_;
  std::string raw_;
  std::vector<std::string> frames_;
};

}  // namespace

Sealed seal(const SealJob& job, Progress progress) { return Sealing(job, progress).run(); }

}  // namespace cd
