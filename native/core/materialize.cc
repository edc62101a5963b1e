// entries → tree, all of them known beforehand.
#include <memory>
#include <unordered_set>
#include "make.h"
#include "sha256.h"
#include "team.h"

namespace cd {
namespace {

constexpr size_t kProbe = 8;  // files from which on an example is cheaper than setting every mode

void check(const MaterializeJob& job) {
  std::unordered_set<std::string> paths;
  for (const MaterializeEntry& e : job.entries) {
    const Entry& entry = e.entry;
    Maker::check(entry.path);
    if (!paths.insert(entry.path).second) throw Failure("UNSAFE_PATH", entry.path + ": named twice", entry.path);
    if (entry.kind == Kind::hardlink) Maker::check(entry.target);
    if (entry.kind == Kind::symlink && (entry.target.empty() || entry.target.find('\0') != std::string::npos))
      throw Failure("UNSAFE_PATH", entry.path + ": the text of the link is empty or holds a NUL", entry.path);
    if (!e.rewrites.empty()) check_prefix(job.prefix);
  }
}

void make_file(Maker& maker, Maker::Hand& hand, const MaterializeEntry& job, Entry& entry) {
  if (!job.in_memory) return maker.copy(hand, entry, job.source, job.rewrites);
  if (!job.rewrites.empty()) return maker.search(hand, entry, job.data, job.rewrites);
  entry.size = job.data.size;
  entry.sha256 = sha256(job.data.data, job.data.size);
  maker.write(hand, entry, job.data);
}

}  // namespace

Materialized materialize(const MaterializeJob& job, Progress progress) {
  check(job);
  Materialized result;
  std::vector<Entry>& entries = result.table.entries;
  std::vector<size_t> of[4];
  for (const MaterializeEntry& e : job.entries) {
    of[static_cast<size_t>(e.entry.kind)].push_back(entries.size());
    entries.push_back(e.entry);
    entries.back().mode &= 0777;  // never setuid, setgid, sticky
    entries.back().size = 0;
  }
  progress.expect(entries.size());
  Maker maker(job.root, job.prefix, job.read_only, of[static_cast<size_t>(Kind::file)].size() >= kProbe);
  const auto each = [&](Kind kind, auto make) {
    const std::vector<size_t>& numbers = of[static_cast<size_t>(kind)];
    // A hard link may lead to the one before it.
    run_team(numbers.size(), kind == Kind::hardlink ? 1 : job.threads, [&] {
      return [&, hand = std::make_shared<Maker::Hand>(maker)](size_t i) {
        progress.check();
        Entry& entry = entries[numbers[i]];
        make(*hand, job.entries[numbers[i]], entry);
        progress.add(1, entry.size);
      };
    });
  };
  using Hand = Maker::Hand;
  using Job = const MaterializeEntry&;
  each(Kind::directory, [&](Hand& hand, Job, Entry& entry) { maker.folders(hand, entry.path + '/'); });
  each(Kind::file, [&](Hand& hand, Job e, Entry& entry) { make_file(maker, hand, e, entry); });
  each(Kind::hardlink, [&](Hand& hand, Job, Entry& entry) { maker.hardlink(hand, entry); });
  each(Kind::symlink, [&](Hand& hand, Job, Entry& entry) { maker.symlink(hand, entry); });
  each(Kind::directory, [&](Hand&, Job, Entry& entry) { maker.finish_directory(entry); });
  maker.tell(result);
  return result;
}

}  // namespace cd
