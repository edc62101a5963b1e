#include "calls.h"
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <sys/syscall.h>
#include <algorithm>

namespace cd::trace_calls {
namespace {

// Younger than the headers of the oldest systems this is built on.
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif

// NAME, dir, path, second dir, second path, flags, traits
#define CALL(name, ...) \
  { static_cast<int>(SYS_##name), #name, __VA_ARGS__ }

const Call table[] = {
#ifdef SYS_open  // arm64 has the *at forms only
    CALL(open, -1, 0, -1, -1, 1, kFollow | kOpenFlags),
    CALL(creat, -1, 0, -1, -1, -1, kFollow),
    CALL(stat, -1, 0, -1, -1, -1, kFollow),
    CALL(lstat, -1, 0, -1, -1, -1, 0),
    CALL(access, -1, 0, -1, -1, -1, kFollow),
    CALL(readlink, -1, 0, -1, -1, -1, 0),
    CALL(getdents, 0, -1, -1, -1, -1, 0),
    CALL(mkdir, -1, 0, -1, -1, -1, 0),
    CALL(rmdir, -1, 0, -1, -1, -1, 0),
    CALL(unlink, -1, 0, -1, -1, -1, 0),
    CALL(rename, -1, 0, -1, 1, -1, kMoves),
    CALL(link, -1, 0, -1, 1, -1, 0),
    CALL(symlink, -1, 1, -1, -1, -1, 0),
    CALL(mknod, -1, 0, -1, -1, -1, 0),
    CALL(chmod, -1, 0, -1, -1, -1, kFollow),
    CALL(chown, -1, 0, -1, -1, -1, kFollow),
    CALL(lchown, -1, 0, -1, -1, -1, 0),
    CALL(utime, -1, 0, -1, -1, -1, kFollow),
    CALL(utimes, -1, 0, -1, -1, -1, kFollow),
    CALL(futimesat, 0, 1, -1, -1, -1, kFollow | kEmptyPath),
#endif
#ifdef SYS_renameat
    CALL(renameat, 0, 1, 2, 3, -1, kMoves),
#endif
    CALL(openat, 0, 1, -1, -1, 2, kFollow | kOpenFlags),
    CALL(openat2, 0, 1, -1, -1, -1, kFollow),
    CALL(newfstatat, 0, 1, -1, -1, 3, kFollow | kNoFollowFlag | kEmptyPath | kStat),
    CALL(statx, 0, 1, -1, -1, 2, kFollow | kNoFollowFlag | kEmptyPath | kStat),
    CALL(faccessat, 0, 1, -1, -1, -1, kFollow),
    CALL(faccessat2, 0, 1, -1, -1, 3, kFollow | kNoFollowFlag | kEmptyPath),
    CALL(readlinkat, 0, 1, -1, -1, -1, kEmptyPath),
    CALL(execve, -1, 0, -1, -1, -1, kFollow | kExec),
    CALL(execveat, 0, 1, -1, -1, 4, kFollow | kNoFollowFlag | kEmptyPath | kExec),
    CALL(chdir, -1, 0, -1, -1, -1, kFollow | kMoves),
    CALL(fchdir, 0, -1, -1, -1, -1, kMoves | kSilent),
    CALL(chroot, -1, 0, -1, -1, -1, kFollow | kMoves | kRoots),
    CALL(pivot_root, -1, 0, -1, 1, -1, kFollow | kMoves | kRoots),
    CALL(getdents64, 0, -1, -1, -1, -1, 0),
    CALL(mkdirat, 0, 1, -1, -1, -1, 0),
    CALL(unlinkat, 0, 1, -1, -1, -1, 0),
    CALL(renameat2, 0, 1, 2, 3, -1, kMoves),
    CALL(linkat, 0, 1, 2, 3, 4, kFollowFlag | kEmptyPath),
    CALL(symlinkat, 1, 2, -1, -1, -1, 0),
    CALL(mknodat, 0, 1, -1, -1, -1, 0),
    CALL(truncate, -1, 0, -1, -1, -1, kFollow),
    CALL(fchmodat, 0, 1, -1, -1, -1, kFollow),
    CALL(fchmodat2, 0, 1, -1, -1, 3, kFollow | kNoFollowFlag | kEmptyPath),
    CALL(fchownat, 0, 1, -1, -1, 4, kFollow | kNoFollowFlag | kEmptyPath),
    CALL(utimensat, 0, 1, -1, -1, 3, kFollow | kNoFollowFlag | kEmptyPath),
    CALL(getxattr, -1, 0, -1, -1, -1, kFollow),
    CALL(lgetxattr, -1, 0, -1, -1, -1, 0),
    CALL(setxattr, -1, 0, -1, -1, -1, kFollow),
    CALL(lsetxattr, -1, 0, -1, -1, -1, 0),
    CALL(listxattr, -1, 0, -1, -1, -1, kFollow),
    CALL(llistxattr, -1, 0, -1, -1, -1, 0),
    CALL(removexattr, -1, 0, -1, -1, -1, kFollow),
    CALL(lremovexattr, -1, 0, -1, -1, -1, 0),
    CALL(statfs, -1, 0, -1, -1, -1, kFollow),
    CALL(inotify_add_watch, -1, 1, -1, -1, -1, kFollow),
    CALL(fanotify_mark, 3, 4, -1, -1, -1, kFollow | kEmptyPath),
    CALL(name_to_handle_at, 0, 1, -1, -1, 4, kFollowFlag | kEmptyPath),
    CALL(mount, -1, 1, -1, -1, -1, kFollow),
    CALL(umount2, -1, 0, -1, -1, -1, kFollow),
    CALL(unshare, -1, -1, -1, -1, -1, kNamespace | kMoves | kRoots | kSilent),
    CALL(setns, -1, -1, -1, -1, -1, kNamespace | kMoves | kRoots | kSilent),
    CALL(io_uring_setup, -1, -1, -1, -1, -1, kRing | kSilent),
    CALL(fstat, 0, -1, -1, -1, -1, kBytes),
    CALL(read, 0, -1, -1, -1, -1, kBytes | kRead),
    CALL(pread64, 0, -1, -1, -1, -1, kBytes | kRead),
    CALL(readv, 0, -1, -1, -1, -1, kBytes | kRead),
    CALL(preadv, 0, -1, -1, -1, -1, kBytes | kRead),
    CALL(preadv2, 0, -1, -1, -1, -1, kBytes | kRead),
    CALL(sendfile, 1, -1, -1, -1, -1, kBytes | kRead),
    CALL(copy_file_range, 0, -1, -1, -1, -1, kBytes | kRead),
    CALL(mmap, 4, -1, -1, -1, -1, kBytes | kMap),
};
#undef CALL

std::vector<Call> sorted() {
  std::vector<Call> out(std::begin(table), std::end(table));
  std::sort(out.begin(), out.end(), [](const Call& a, const Call& b) { return a.number < b.number; });
  return out;
}

}  // namespace

const std::vector<Call>& calls() {
  static const std::vector<Call> all = sorted();
  return all;
}

const Call* find_call(long number) {
  const auto at = std::lower_bound(calls().begin(), calls().end(), number,
                                   [](const Call& call, long wanted) { return call.number < wanted; });
  return at != calls().end() && at->number == number ? &*at : nullptr;
}

}  // namespace cd::trace_calls
#endif
