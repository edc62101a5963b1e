// archive → tree, tree → tree, and both at once: what a base tree holds is taken from there, the rest from the archive.
// Everything that can be known before is checked before the first write; directories first, then
// contents, then what only names them; symbolic links last, so that nothing is ever written through one. A failure
// leaves a stage for the caller to remove.
#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include "fill.h"
#include "reuse.h"
#include "skeleton.h"
#include "standing.h"
#include "table.h"
#include "team.h"

namespace cd {
namespace {

// Refuses a prefix that does not fit every slot, naming the first files and what would fit; and texts that would grow without measure.
void check_fits(const Table& table, const std::string& prefix) {
  uint64_t growth = 0;
  uint64_t needed[6] = {};  // characters, by encoding; 0: not yet known
  std::vector<const Entry*> tight;
  uint32_t longest = UINT32_MAX;
  for (const Entry& entry : table.entries) {
    bool fits = true;
    for (const Spot& spot : entry.spots) {
      if (spot.encoding == Encoding::text) growth += prefix.size();
      if (spot.encoding == Encoding::text || spot.encoding == Encoding::digest) continue;
      uint64_t& characters = needed[static_cast<unsigned>(spot.encoding)];
      if (characters == 0) characters = encode_as(prefix, spot.encoding).size() / unit_of(spot.encoding);
      longest = std::min(longest, spot.slot);
      fits = fits && characters <= spot.slot;
    }
    if (!fits) tight.push_back(&entry);
  }
  check_growth(growth);
  if (tight.empty()) return;
  constexpr size_t kNamed = 5;
  std::string names;
  for (size_t i = 0; i < std::min(tight.size(), kNamed); ++i) names += (i ? ", " : "") + tight[i]->path;
  if (tight.size() > kNamed) names += " and " + std::to_string(tight.size() - kNamed) + " more";
  throw Failure("PREFIX_TOO_LONG",
                "the prefix " + prefix + " is " + std::to_string(prefix.size()) +
                    " bytes long, the longest that fits is " + std::to_string(longest) + "; too long for " + names,
                tight[0]->path);
}

// The table to deploy by where there is no archive: that of the base, as it was before it was deployed.
Table stored_table(const Deployed* base) {
  if (!base) throw Failure("INVALID_OPTION", "neither an archive nor a tree to take content from");
  Table table = base->table;
  table.deployed = false;
  table.prefixes.pop_back();
  for (Entry& entry : table.entries) entry.has_deployed = false;
  return table;
}

}  // namespace

Extracted extract(const ExtractJob& job, Progress progress) {
  if (!job.stored) check_prefix(job.prefix);
  std::unique_ptr<Archive> archive;
  if (!job.archive.empty()) {
    archive = Archive::open(job.archive);
    if (!archive) throw Failure("ARCHIVE_UNKNOWN", job.archive + ": not an archive of conda-deploy", job.archive);
  }
  std::string lacking;  // why there is no base, where it can be done without
  std::unique_ptr<Deployed> base;
  Table table;
  // Two tables, each decoded by a thread of its own.
  run_team(2, job.threads, [&] {
    return [&](size_t i) {
      if (i == 1) {
        if (archive) table = archive->table();
      } else if (!job.base.empty())
        try {
          base = std::make_unique<Deployed>(job.base);
        } catch (const Failure& failure) {
          if (!archive) throw;
          lacking = failure.what();
        }
    };
  });
  if (!archive) table = stored_table(base.get());
  if (job.stored)
    for (Entry& entry : table.entries) entry.spots.clear();
  else
    check_fits(table, job.prefix);
  progress.expect(table.entries.size());
  progress.check();

  std::vector<char> done(table.entries.size());
  const bool stays = job.share == Share::stays;
  std::unique_ptr<Standing> standing;
  if (stays) {
    if (!base) throw Failure("NOT_A_DEPLOYMENT", lacking, job.base);
    standing = std::make_unique<Standing>(*base, job, table, done);
  }
  const Skeleton skeleton(table, done);
  const Root root(job.root);
  std::unique_ptr<Reuse> reuse;
  std::unique_ptr<Fill> fill;
  const auto write = [&] {
    const uint32_t lost = skeleton.make_directories(root, job.threads);
    if (!stays && base) reuse = std::make_unique<Reuse>(*base, job, table, root, lost, progress, done);
    if (archive) fill = std::make_unique<Fill>(job, *archive, table, root, lost, progress, done);
    // Files with digest spots hold the hashes of what the first round wrote.
    for (const bool digests : {false, true}) {
      if (reuse) reuse->run(digests);
      if (fill) fill->run(digests);
    }
  };
  std::unique_ptr<Indexing> indexing;
  const auto encode = [&] { indexing = std::make_unique<Indexing>(table, job.prefix, done); };
  Extracted result;
  run_team(stays ? 2 : 1, job.threads, [&] {
    return [&](size_t i) {
      if (i == 0) return write();
      standing->check();
      result.difference = standing->difference();
      // Most of it stands already, while the few frames of what changed keep one thread.
      encode();
      standing.reset();
      base.reset();
    };
  });
  // The index is encoded while links are made: of the table, only its entries' paths and links are looked at by both.
  run_team(2, job.threads, [&] {
    return [&](size_t i) {
      if (i == 1) {
        skeleton.make_links(root, job.threads, progress);
        // Names of a stage change, so that its directories stay open to their owner.
        skeleton.finish(root, job.read_only && !stays, job.threads, progress);
      } else if (!job.stored) {
        if (!indexing) encode();
        write_index(root, indexing->finish(), job.read_only);
      } else if (::unlinkat(root.fd(), kOwnFolder, AT_REMOVEDIR) != 0) {
        throw Failure::system("rmdir", root.full(kOwnFolder));
      }
    };
  });

  result.reused.why = lacking;
  if (reuse) reuse->add_to(result);
  if (fill) fill->add_to(result);
  std::sort(result.by_path.begin(), result.by_path.end());
  result.directories = skeleton.directories.size();
  result.hardlinks = skeleton.hardlinks.size();
  result.symlinks = skeleton.symlinks.size();
  if (archive) result.read_bytes = archive->bytes_read();
  return result;
}

}  // namespace cd
