// served BACKING MOUNTPOINT STATISTICS: passes a folder through FUSE and counts what reaches the server, as a parallel file system's servers would
// see it: names and attributes are cached by the client for a minute, file contents as long as the file does not change. Mounted over BACKING
// itself where both are the same. Counts are written, as JSON, when it is unmounted. Needs libfuse3; runs until then.
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int root;
static const char* statistics;
static atomic_ulong lookups, missed, opens, reads, bytes, lists, changes, others;

static const char* at(const char* path) { return path[1] ? path + 1 : "."; }
static int answer(int result) { return result < 0 ? -errno : 0; }

static void* start(struct fuse_conn_info* connection, struct fuse_config* config) {
  (void)connection;
  config->use_ino = 1;
  config->entry_timeout = config->attr_timeout = config->negative_timeout = 60;
  config->kernel_cache = 1;
  return NULL;
}

static void end(void* data) {
  (void)data;
  FILE* out = fopen(statistics, "w");
  if (!out) return;
  const unsigned long all = lookups + opens + reads + lists + changes + others;
  fprintf(out,
          "{\"operations\": %lu, \"lookups\": %lu, \"missed\": %lu, \"opens\": %lu, \"reads\": %lu, \"lists\": %lu, "
          "\"changes\": %lu, \"bytes\": %lu}\n",
          all, (unsigned long)lookups, (unsigned long)missed, (unsigned long)opens, (unsigned long)reads,
          (unsigned long)lists, (unsigned long)changes, (unsigned long)bytes);
  fclose(out);
}

static int look(const char* path, struct stat* found, struct fuse_file_info* file) {
  ++lookups;
  const int result = answer(file ? fstat((int)file->fh, found) : fstatat(root, at(path), found, AT_SYMLINK_NOFOLLOW));
  if (result == -ENOENT) ++missed;
  return result;
}

static int link_target(const char* path, char* out, size_t size) {
  ++others;
  const ssize_t length = readlinkat(root, at(path), out, size - 1);
  if (length < 0) return -errno;
  out[length] = 0;
  return 0;
}

static int open_file(const char* path, struct fuse_file_info* file) {
  ++opens;
  const int descriptor = openat(root, at(path), file->flags);
  if (descriptor < 0) return -errno;
  file->fh = (uint64_t)descriptor;
  file->keep_cache = 1;
  return 0;
}

static int create_file(const char* path, mode_t mode, struct fuse_file_info* file) {
  ++changes;
  const int descriptor = openat(root, at(path), file->flags | O_CREAT, mode);
  if (descriptor < 0) return -errno;
  file->fh = (uint64_t)descriptor;
  return 0;
}

static int read_file(const char* path, char* out, size_t size, off_t offset, struct fuse_file_info* file) {
  (void)path;
  ++reads;
  const ssize_t got = pread((int)file->fh, out, size, offset);
  if (got < 0) return -errno;
  bytes += (unsigned long)got;
  return (int)got;
}

static int write_file(const char* path, const char* data, size_t size, off_t offset, struct fuse_file_info* file) {
  (void)path;
  ++changes;
  const ssize_t put = pwrite((int)file->fh, data, size, offset);
  return put < 0 ? -errno : (int)put;
}

static int close_file(const char* path, struct fuse_file_info* file) {
  (void)path;
  return answer(close((int)file->fh));
}

static int list(const char* path, void* buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info* file,
                enum fuse_readdir_flags flags) {
  (void)offset, (void)file, (void)flags;
  ++lists;
  const int descriptor = openat(root, at(path), O_RDONLY | O_DIRECTORY);
  DIR* const folder = descriptor < 0 ? NULL : fdopendir(descriptor);
  if (!folder) return -errno;
  for (struct dirent* entry; (entry = readdir(folder));) {
    const struct stat known = {.st_ino = entry->d_ino, .st_mode = (mode_t)entry->d_type << 12};
    if (fill(buffer, entry->d_name, &known, 0, 0)) break;
  }
  closedir(folder);
  return 0;
}

static int may(const char* path, int mode) {
  ++others;
  return answer(faccessat(root, at(path), mode, 0));
}
static int file_system(const char* path, struct statvfs* out) {
  (void)path;
  ++others;
  return answer(fstatvfs(root, out));
}
static int make_folder(const char* path, mode_t mode) {
  ++changes;
  return answer(mkdirat(root, at(path), mode));
}
static int remove_file(const char* path) {
  ++changes;
  return answer(unlinkat(root, at(path), 0));
}
static int remove_folder(const char* path) {
  ++changes;
  return answer(unlinkat(root, at(path), AT_REMOVEDIR));
}
static int move(const char* from, const char* to, unsigned flags) {
  ++changes;
  return answer(renameat2(root, at(from), root, at(to), flags));
}
static int set_mode(const char* path, mode_t mode, struct fuse_file_info* file) {
  (void)file;
  ++changes;
  return answer(fchmodat(root, at(path), mode, 0));
}
static int set_size(const char* path, off_t size, struct fuse_file_info* file) {
  (void)path;
  ++changes;
  return file ? answer(ftruncate((int)file->fh, size)) : -ENOSYS;
}
static int set_times(const char* path, const struct timespec times[2], struct fuse_file_info* file) {
  (void)file;
  ++changes;
  return answer(utimensat(root, at(path), times, AT_SYMLINK_NOFOLLOW));
}

static const struct fuse_operations operations = {
    .init = start,
    .destroy = end,
    .getattr = look,
    .readlink = link_target,
    .open = open_file,
    .create = create_file,
    .read = read_file,
    .write = write_file,
    .release = close_file,
    .readdir = list,
    .access = may,
    .statfs = file_system,
    .mkdir = make_folder,
    .unlink = remove_file,
    .rmdir = remove_folder,
    .rename = move,
    .chmod = set_mode,
    .truncate = set_size,
    .utimens = set_times,
};

int main(int count, char** words) {
  if (count != 4) return 2;
  root = open(words[1], O_RDONLY | O_DIRECTORY);
  if (root < 0) return perror(words[1]), 1;
  statistics = words[3];
  umask(0);
  char* arguments[] = {words[0], words[2], "-f", NULL};
  return fuse_main(3, arguments, &operations, NULL);
}
