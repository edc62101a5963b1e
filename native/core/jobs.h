// The jobs of the core, as src/native.ts describes them. One function a job; each uses its own threads and keeps nothing.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include "codec.h"
#include "entry.h"
#include "plan.h"
#include "prefix.h"
#include "progress.h"

namespace cd {

// scan.cc
struct Scanned {
  std::string path;
  Kind kind = Kind::other;
  uint32_t mode = 0;
  int64_t mtime = 0;
  uint64_t size = 0;
  std::string target;
  std::string inode;     // empty: no other file of the tree shares it
  uint64_t outside = 0;  // names the file has beyond those in the tree; only when they are asked for
};
struct ScanJob {
  std::string root;
  std::vector<std::string> skip;
  unsigned threads = 1;
  bool outside = false;
};
std::vector<Scanned> scan(const ScanJob&, Progress);  // ascending by path (bytes); parents before children

// pack.cc: removes the output when it fails, unless it is a descriptor.
enum class State : uint8_t { proven, installed, modified, unknown };
struct PackJob {
  std::string root;
  PackEntries entries;
  std::vector<std::string> prefixes;
  std::string marker;
  std::string output;   // empty: study only, unless there is a descriptor
  int descriptor = -1;  // an open one to write to, which stays open
  Codec codec = Codec::zstd;
  std::string arcroot;  // folder in which all members lie; empty: none
  std::string dest;     // prefix to write into the files; empty: they stay as their packages had them
  int level = 4;
  uint64_t frame_bytes = 6u << 20;
  unsigned threads = 1;
};
struct Outcome {
  std::string path;
  State state = State::unknown;
  uint64_t size = 0;
  Digest sha256{};
  std::vector<Spot> spots;  // refers: number in `prefixes` of the result
  uint64_t kept_prefix = 0, kept_placeholder = 0;
  bool dropped = false;
};
struct Packed {
  std::vector<Outcome> outcomes;
  std::vector<std::string> prefixes;
  std::string draft;
  uint64_t entries = 0, bytes = 0;
  std::vector<std::string> by_path;  // scripts that find their interpreter by PATH now, because of `dest`
};
Packed pack(PackJob, Progress);

// seal.cc: continues the output as pack left it, and removes it when it fails. What is no zstd gets no table. `dest` takes the place
// of the prefixes in the generated texts.
struct SealJob {
  std::string output;
  int descriptor = -1;
  Codec codec = Codec::zstd;
  std::string dest;
  Bytes draft;
  std::vector<PackEntry> entries;  // all in memory, or in the spool
  int spool = -1;                  // a descriptor to read from
  std::vector<std::string> prefixes;
  std::string json;
  int level = 4;
  uint64_t frame_bytes = 6u << 20;
  unsigned threads = 1;
};
struct Sealed {
  Summary summary;
  uint64_t packed_bytes = 0, frames = 0;
};
Sealed seal(const SealJob&, Progress);

// extract.cc
// Files of the base that may become hard links; stays: the base is the tree at the prefix, and the root becomes a stage of what differs.
enum class Share : uint8_t { never, read_only, always, stays };
struct ExtractJob {
  ExtractJob() = default;
  ExtractJob(std::string from, std::string to, std::string at, bool locked, unsigned team, bool as_stored = false)
      : archive(std::move(from)), root(std::move(to)), prefix(std::move(at)), read_only(locked), threads(team),
        stored(as_stored) {}
  std::string archive, root, prefix;  // no archive: everything is in the base, and nothing else will do
  bool read_only = true;
  unsigned threads = 1;
  bool stored = false;  // contents as the archive has them, no prefix written, no index kept
  std::string base;     // a deployed tree to take equal content from; empty: none
  Share share = Share::read_only;
  bool check = false;  // hash what is taken from the base unchanged
};
struct Reused {  // files taken from the base
  uint64_t linked = 0, cloned = 0, copied = 0, rewritten = 0, bytes = 0;
  uint64_t refused = 0;  // not what the base's index says, and so taken from the archive
  std::string why;       // of one of them: its path, what was found and expected
};
struct ChangedFolder {
  std::string path;
  uint32_t mode = 0;
  int64_t mtime = 0;
};
// What makes of the base, where it stays, the tree of the archive.
struct Difference {
  std::vector<std::string> incoming;         // files and links of the stage
  std::vector<std::string> empty;            // its new directories with nothing in them
  std::vector<std::string> outgoing;         // files and links of the base, whether replaced or not
  std::vector<std::string> emptied;          // its directories that go
  std::vector<ChangedFolder> before, after;  // directories whose names change, or which change themselves
  uint64_t kept = 0;                         // files and links
};
struct Extracted {
  uint64_t files = 0, directories = 0, symlinks = 0, hardlinks = 0, bytes = 0, read_bytes = 0, rewritten = 0, spots = 0,
           trampolines = 0;
  std::vector<std::string> by_path;
  Reused reused;
  std::optional<Difference> difference;  // of a base that stays
};
Extracted extract(const ExtractJob&, Progress);

// materialize.cc
struct MaterializeEntry {
  Entry entry;  // path kind mode mtime target
  bool in_memory = false;
  Bytes data;
  std::string source;
  std::vector<Rewrite> rewrites;
};
struct MaterializeJob {
  std::string root, prefix;
  std::vector<MaterializeEntry> entries;
  bool read_only = true;
  unsigned threads = 1;
};
struct Materialized {
  Table table;
  uint64_t trampolines = 0;
  std::vector<std::string> by_path;
};  // entries in the order of the job
Materialized materialize(const MaterializeJob&, Progress);

// decode.cc: archives made by others, as plain data, batch by batch; of each batch what the answer to it names is written at once,
// while the next ones are decoded.
struct BatchMember {
  Entry
      entry;  // path kind mode mtime size target, as they stand in the archive: not checked, mode with setuid and its like
  bool detached = false;  // a hard link that brought content of its own
  uint64_t at = 0;        // where the content of a file begins in the buffer of its batch
  std::string part;       // or the file that holds it; `entry.sha256` is known then
};
struct Batch {
  std::vector<BatchMember> members;
  size_t number = 0, buffer = 0;
};
struct Answer {
  struct File {
    size_t member = 0;
    std::string path;
    uint32_t mode = 0;
    std::vector<Rewrite> rewrites;
  };
  Batch batch;
  std::vector<File> files;  // in the order in which the result tells of them
  bool alone = false;       // not before all batches before it are written: it names a file again
};
struct DecodeJob {
  std::string archive, container;    // `container`: how the members are packed, see src/native.ts
  std::vector<std::string> command;  // for the container `tool`
  std::string root, prefix;          // where to write, and what takes the place of prefixes
  bool read_only = true;
  uint64_t most_bytes = 0, most_members = 0;
  unsigned threads = 1;
};
struct Decoded {
  uint64_t packed = 0, bytes = 0;
  Materialized written;
};
class Exchange;
using Hand = std::function<void(Batch&&)>;  // a batch to whoever answers, by way of the exchange
Decoded decode(const DecodeJob&, Exchange&, const Hand&, Progress);

// unpack.cc: archives made by others, each into a tree of its own, modes without setuid and less the umask.
struct UnpackItem {
  std::string archive, container, root;  // `container`: zip (of .tar.zst), zstd, tool; `root`: a directory to make
  std::vector<std::string> command;      // for the container `tool`
};
struct UnpackJob {
  std::vector<UnpackItem> items;
  uint64_t most_bytes = 0;  // that one of them may unpack to
  unsigned threads = 1;
};
struct Unpacked {
  uint64_t entries = 0, bytes = 0;
};
std::vector<Unpacked> unpack(const UnpackJob&, Progress);

// link.cc: one tree of files that stand unpacked in several others.
enum class LinkHow : uint8_t { share, copy, rewrite, symlink, write };
struct LinkEntry {
  std::string_view path;  // a NUL follows it, and what follows `from`
  LinkHow how = LinkHow::share;
  size_t source = 0;  // number in `sources`, and the path there where it is another; of what is not written from memory
  std::string_view from;
  std::string_view origin() const { return from.empty() ? path : from; }
  Rewrite rewrite;
  Bytes data;
  uint32_t mode = 0;  // of what is written from memory; others have their source's
};
struct LinkJob {
  std::string root, prefix;
  std::vector<std::string> sources;
  std::vector<LinkEntry> entries;
  std::deque<std::string> texts;  // what the paths of entries are parts of
  unsigned threads = 1;
};
struct Linked {
  struct Written {
    std::string path;
    Digest sha256;
    uint64_t size;
  };
  std::vector<Written> written;  // those to be rewritten
  uint64_t linked = 0, cloned = 0, copied = 0, trampolines = 0;
  std::vector<std::string> by_path;
};
Linked link_packages(const LinkJob&, Progress);

// change.cc: part of a tree is exchanged for what stands in a stage, and back. The three are on one file system.
enum class StepHow : uint8_t { add, replace, remove, clear, tidy, open, close };
struct Step {
  std::string path;  // of a directory to be opened or closed also empty: the root
  StepHow how = StepHow::add;
  uint32_t mode = 0;  // of a directory, before it was opened or once it is closed
  bool dated = false;
  int64_t mtime = 0;  // likewise, where it is dated
};
struct ChangeJob {
  std::string root, fresh,
      aside;  // `fresh`: what comes in, `aside`: where what goes is kept, both by the paths they have in `root`
  std::vector<std::vector<Step>> groups;  // one after another; backwards when it goes back
  bool back = false;
  unsigned threads = 1;
};
struct Changed {
  uint64_t steps = 0;
  uint64_t moments = 0;  // files that were not there for a moment, for want of hard links
};
Changed change_tree(const ChangeJob&, Progress);
enum class There : uint8_t { nothing, file, directory, symlink, other, beyond };  // beyond: a link stands in the way
struct LookJob {
  std::string root;
  std::vector<std::string> paths;  // neighbours beside each other cost less
  unsigned threads = 1;
};
std::vector<There> look(const LookJob&, Progress);

// hash.cc: regular files, in the order of `paths`
struct HashJob {
  std::string root;  // empty: the paths are whole
  std::vector<std::string> paths;
  unsigned threads = 1;
};
struct Hashed {
  Digest sha256{};
  uint64_t size = 0;
};
std::vector<Hashed> hash_files(const HashJob&, Progress);

// verify.cc
struct Fault {
  std::string path, kind, expected, found;
};
struct VerifyJob {
  std::string root, index;
  unsigned threads = 1;
};  // empty root: the archive itself
struct Verified {
  uint64_t entries = 0, bytes = 0;
  std::vector<Fault> faults;
};
Verified verify(const VerifyJob&, Progress);

// remove.cc: a tree with read-only directories too; never follows a link, never leaves the file system object `root` names
struct Removed {
  uint64_t entries = 0, bytes = 0;
};
Removed remove_tree(const std::string& root, unsigned threads, Progress);

// index.cc
struct Index {
  Summary summary;
  uint16_t version = 1;
  bool deployed = false;
  uint64_t packed_bytes = 0, frames = 0;
  std::vector<std::string> prefixes;
  std::vector<Entry> entries;  // empty unless asked for; so are the prefixes of an archive
};
std::unique_ptr<Index> index(const std::string& path, bool list);  // null: not ours
Table read_index(const std::string& path);                         // of a deployed tree; throws when it is none

// place.cc
bool rename_no_replace(const std::string& from, const std::string& to);  // false: destination exists
bool rename_exchange(const std::string& from, const std::string& to);    // false: one of the two does not exist
std::pair<int, int> make_pipe();                                         // the end to read from, the end to write to
int lock_file(const std::string& path, bool exclusive, unsigned mode = 0644);  // -1: held elsewhere
void unlock_file(int fd);

}  // namespace cd
