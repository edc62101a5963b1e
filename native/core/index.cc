#include <unistd.h>
#include <cstring>
#include "frames.h"
#include "jobs.h"
#include "root.h"
#include "sha256.h"
#include "table.h"

namespace cd {
namespace {

// The table file of a deployed tree; null: the file is none.
std::unique_ptr<Index> deployed_index(const std::string& path, bool list) {
  struct File {
    int fd;
    ~File() { ::close(fd); }
  };
  uint64_t size = 0;
  const File file{open_regular(path, size)};
  char magic[4];
  if (size < sizeof magic) return nullptr;
  read_at(file.fd, magic, sizeof magic, 0, path);
  if (std::memcmp(magic, "CDTB", sizeof magic) != 0) return nullptr;
  if (size > kMaxTable)
    throw Failure("ARCHIVE_CORRUPT", path + ": an entry table of " + std::to_string(size) + " bytes", path);
  std::string bytes(size, '\0');
  read_at(file.fd, &bytes[0], size, 0, path);
  Table table;
  try {
    table = decode_table(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  } catch (const Failure& failure) { throw Failure(failure.code, path + ": " + failure.what(), path); }
  if (!table.deployed) return nullptr;
  auto out = std::make_unique<Index>();
  out->deployed = true;
  out->summary = summarize(table, {}, {});
  out->summary.digest = {};
  out->prefixes = std::move(table.prefixes);
  if (list) out->entries = std::move(table.entries);
  return out;
}

}  // namespace

Table read_index(const std::string& path) {
  uint64_t size = 0;
  const Fd fd(open_regular(path, size));
  if (size > kMaxTable)
    throw Failure("ARCHIVE_CORRUPT", path + ": " + std::to_string(size) + " bytes, larger than an index can be", path);
  std::string bytes(size, '\0');
  read_at(fd.get(), &bytes[0], bytes.size(), 0, path);
  try {
    Table table = decode_table(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    if (!table.deployed) throw Failure("ARCHIVE_CORRUPT", "not the index of a deployed tree");
    return table;
  } catch (const Failure& failure) { throw Failure(failure.code, path + ": " + failure.what(), path); }
}

std::unique_ptr<Index> index(const std::string& path, bool list) {
  // First: it may stand on shared storage, and is opened once then.
  const std::unique_ptr<Archive> archive = Archive::open(path);
  if (!archive) return deployed_index(path, list);
  auto out = std::make_unique<Index>();
  out->summary = archive->summary();
  out->packed_bytes = archive->size();
  out->frames = archive->frames().size();
  if (!list) return out;  // decoding the table is nearly all of the time, and adopting a deployment does not need it
  Table table = archive->table();
  out->prefixes = std::move(table.prefixes);
  out->entries = std::move(table.entries);
  return out;
}

}  // namespace cd
