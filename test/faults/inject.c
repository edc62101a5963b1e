/*
 * Pulls the plug at a chosen system call. Preloaded into a process (LD_PRELOAD), it counts calls that concern files beneath given
 * folders and lets the k-th one fail, or the process die at it. The environment says what:
 *   FAULT_BENEATH  folders, separated by ':'; other files are not counted
 *   FAULT_CALLS    names of calls, separated by ','; without it every call that changes a file system
 *   FAULT_AT       k, from 1; 0: count only
 *   FAULT_HOW      kill: SIGKILL before the call; torn: half of a write, then SIGKILL; signal N: that signal, then the call;
 *                  fill: files at FAULT_FILL take all bytes of their file system, then the call; crowd: all inodes; a number: errno
 *   FAULT_STICKY   set: from the k-th on every counted call fails that needs room: what a full disk does
 *   FAULT_LOG      file that gets a line `call path` for each counted call
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

enum { PATH_ROOM = 8192 };

static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static const char *beneath, *calls, *how, *fill;
static long at, counted;
static int log_fd = -1, sticky;

__attribute__((constructor)) static void begin(void) {
  beneath = getenv("FAULT_BENEATH");
  calls = getenv("FAULT_CALLS");
  how = getenv("FAULT_HOW");
  fill = getenv("FAULT_FILL");
  sticky = getenv("FAULT_STICKY") != NULL;
  at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
  const char *log = getenv("FAULT_LOG");
  if (log) log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  unsetenv("LD_PRELOAD"); /* Not for the programs that this one starts. */
}

static void path_of(int fd, char *out) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const long n = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_ROOM - 1);
  out[n > 0 ? n : 0] = '\0';
}

static void path_at(int directory, const char *path, char *out) {
  if (!path) path = "";
  if (path[0] == '/') {
    snprintf(out, PATH_ROOM, "%s", path);
    return;
  }
  char base[PATH_ROOM];
  if (directory == AT_FDCWD) {
    if (syscall(SYS_getcwd, base, sizeof base) <= 0) base[0] = '\0';
  } else
    path_of(directory, base);
  snprintf(out, PATH_ROOM, "%.4000s/%.4000s", base, path);
}

static int is_beneath(const char *path) {
  for (const char *folder = beneath; folder && *folder;) {
    const size_t n = strcspn(folder, ":");
    if (strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0')) return 1;
    folder += n + (folder[n] == ':');
  }
  return 0;
}

static int is_listed(const char *call) {
  const size_t n = strlen(call);
  for (const char *name = calls; name && *name;) {
    const size_t m = strcspn(name, ",");
    if (m == n && strncmp(name, call, n) == 0) return 1;
    name += m + (name[m] == ',');
  }
  return 0;
}

/* Takes what is left of a file system: its bytes, or its inodes. */
static void take_all(int inodes) {
  static char block[1 << 16];
  for (int i = 0;; i++) {
    char name[PATH_ROOM];
    snprintf(name, sizeof name, "%.4000s.%d", fill, i);
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return;
    for (size_t size = sizeof block; !inodes && size > 0;)
      if (syscall(SYS_write, fd, block, size) <= 0) size /= 2;
    syscall(SYS_close, fd);
    if (!inodes) return;
  }
}

static void die(void) {
  for (;;) syscall(SYS_kill, getpid(), SIGKILL);
}

enum { GO_ON, FAIL, TEAR };

/* Whether a full disk refuses it. */
static int needs_room(const char *call) {
  static const char *const all[] = {"open", "write", "pwrite", "mkdir", "link", "symlink", "rename", "truncate", "sync"};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strcmp(call, all[i]) == 0) return 1;
  return 0;
}

/* FAIL: errno is set, the call is not to be made. TEAR: half of it is to be made, then `die`. `reads`: changes nothing. */
static int meets(const char *call, const char *path, int reads) {
  if (!beneath || !is_beneath(path)) return GO_ON;
  if (calls ? !is_listed(call) : reads) return GO_ON;
  pthread_mutex_lock(&guard);
  const long k = ++counted;
  if (log_fd >= 0) {
    char line[PATH_ROOM];
    const int n = snprintf(line, sizeof line, "%s %.8000s\n", call, path);
    if (syscall(SYS_write, log_fd, line, n) < 0) abort();
  }
  const int now = at > 0 && (k == at || (sticky && k > at && needs_room(call)));
  int answer = GO_ON;
  if (now && strcmp(how, "kill") == 0) die();
  if (now && strcmp(how, "torn") == 0) answer = TEAR;
  if (now && strncmp(how, "signal ", 7) == 0) syscall(SYS_kill, getpid(), atoi(how + 7));
  if (now && strcmp(how, "fill") == 0) take_all(0);
  if (now && strcmp(how, "crowd") == 0) take_all(1);
  pthread_mutex_unlock(&guard);
  if (now && how[0] >= '0' && how[0] <= '9') {
    errno = atoi(how);
    return FAIL;
  }
  return answer;
}

static int meets_at(const char *call, int directory, const char *path, int reads) {
  char full[PATH_ROOM];
  if (!beneath) return GO_ON;
  path_at(directory, path, full);
  const int kept = errno, answer = meets(call, full, reads);
  if (answer != FAIL) errno = kept;
  return answer;
}

static int meets_fd(const char *call, int fd, int reads) {
  char full[PATH_ROOM];
  if (!beneath || fd < 0) return GO_ON;
  const int kept = errno;
  path_of(fd, full);
  const int answer = meets(call, full, reads);
  if (answer != FAIL) errno = kept;
  return answer;
}

/* A call on a path, or on a descriptor: `TEAR` means what `kill` does where there is nothing to tear. */
#define CHECK(condition) \
  do { \
    const int met = (condition); \
    if (met == TEAR) die(); \
    if (met == FAIL) return -1; \
  } while (0)

static int reads_only(int flags) { return (flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT); }

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest); \
    CHECK(meets_at(reads_only(flags) ? "openr" : "open", AT_FDCWD, path, reads_only(flags))); \
    return REAL(name)(path, flags, mode); \
  }
#define OPENAT(name) \
  int name(int directory, const char *path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    const mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
    va_end(rest); \
    CHECK(meets_at(reads_only(flags) ? "openr" : "open", directory, path, reads_only(flags))); \
    return REAL(name)(directory, path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size) {
  const int met = meets_fd("write", fd, 0);
  if (met == FAIL) return -1;
  if (met == GO_ON) return REAL(write)(fd, data, size);
  (void)!REAL(write)(fd, data, size / 2);
  die();
  return -1;
}

#define PWRITE(name, offset_type) \
  ssize_t name(int fd, const void *data, size_t size, offset_type offset) { \
    const int met = meets_fd("pwrite", fd, 0); \
    if (met == FAIL) return -1; \
    if (met == GO_ON) return REAL(name)(fd, data, size, offset); \
    (void)!REAL(name)(fd, data, size / 2, offset); \
    die(); \
    return -1; \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* name, what it is called in FAULT_CALLS, parameters, arguments, the condition */
#define CALL(type, name, parameters, arguments, condition) \
  type name parameters { \
    CHECK(condition); \
    return REAL(name) arguments; \
  }
CALL(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), meets_fd("write", fd, 0))
CALL(ssize_t, pwritev, (int fd, const struct iovec *v, int n, off_t at), (fd, v, n, at), meets_fd("pwrite", fd, 0))
CALL(ssize_t, pwritev64, (int fd, const struct iovec *v, int n, off64_t at), (fd, v, n, at), meets_fd("pwrite", fd, 0))
CALL(ssize_t, read, (int fd, void *data, size_t size), (fd, data, size), meets_fd("read", fd, 1))
CALL(ssize_t, pread, (int fd, void *data, size_t size, off_t at), (fd, data, size, at), meets_fd("pread", fd, 1))
CALL(ssize_t, pread64, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at), meets_fd("pread", fd, 1))
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), meets_at("mkdir", AT_FDCWD, path, 0))
CALL(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), meets_at("mkdir", at, path, 0))
CALL(int, rmdir, (const char *path), (path), meets_at("rmdir", AT_FDCWD, path, 0))
CALL(int, unlink, (const char *path), (path), meets_at("unlink", AT_FDCWD, path, 0))
CALL(int, unlinkat, (int at, const char *path, int flags), (at, path, flags),
     meets_at(flags & AT_REMOVEDIR ? "rmdir" : "unlink", at, path, 0))
CALL(int, rename, (const char *from, const char *to), (from, to), meets_at("rename", AT_FDCWD, to, 0))
CALL(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), meets_at("rename", b, to, 0))
CALL(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags),
     meets_at("rename", b, to, 0))
CALL(int, link, (const char *from, const char *to), (from, to), meets_at("link", AT_FDCWD, to, 0))
CALL(int, linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags),
     meets_at("link", b, to, 0))
CALL(int, symlink, (const char *text, const char *path), (text, path), meets_at("symlink", AT_FDCWD, path, 0))
CALL(int, symlinkat, (const char *text, int at, const char *path), (text, at, path), meets_at("symlink", at, path, 0))
CALL(int, chmod, (const char *path, mode_t mode), (path, mode), meets_at("chmod", AT_FDCWD, path, 0))
CALL(int, fchmod, (int fd, mode_t mode), (fd, mode), meets_fd("chmod", fd, 0))
CALL(int, fchmodat, (int at, const char *path, mode_t mode, int flags), (at, path, mode, flags),
     meets_at("chmod", at, path, 0))
CALL(int, utimensat, (int at, const char *path, const struct timespec times[2], int flags), (at, path, times, flags),
     meets_at("utime", at, path, 0))
CALL(int, futimens, (int fd, const struct timespec times[2]), (fd, times), meets_fd("utime", fd, 0))
CALL(int, ftruncate, (int fd, off_t size), (fd, size), meets_fd("truncate", fd, 0))
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size), meets_fd("truncate", fd, 0))
CALL(int, fsync, (int fd), (fd), meets_fd("sync", fd, 0))
CALL(int, fdatasync, (int fd), (fd), meets_fd("sync", fd, 0))
CALL(int, flock, (int fd, int operation), (fd, operation), meets_fd("flock", fd, 0))
CALL(int, statfs, (const char *path, struct statfs *out), (path, out), meets_at("statfs", AT_FDCWD, path, 1))
CALL(int, statfs64, (const char *path, struct statfs64 *out), (path, out), meets_at("statfs", AT_FDCWD, path, 1))

/* A descriptor is gone also where closing it fails. */
int close(int fd) {
  char full[PATH_ROOM];
  int met = GO_ON, error = 0;
  if (beneath && fd > 2) {
    const int kept = errno, flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & (O_ACCMODE | O_PATH)) != O_RDONLY && !(flags & O_PATH)) {
      path_of(fd, full);
      met = meets("close", full, 0);
      error = errno;
    }
    errno = kept;
  }
  if (met == TEAR) die();
  const int done = REAL(close)(fd);
  if (met != FAIL) return done;
  errno = error;
  return -1;
}

/* What the C library has no function for, or older ones had none: all arguments are words. */
long syscall(long number, ...) {
  static long (*next)(long, ...);
  if (!next) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
  va_list rest;
  va_start(rest, number);
  long word[6];
  for (int i = 0; i < 6; i++) word[i] = va_arg(rest, long);
  va_end(rest);
  if (number == SYS_renameat2 && beneath) CHECK(meets_at("rename", (int)word[2], (const char *)word[3], 0));
  return next(number, word[0], word[1], word[2], word[3], word[4], word[5]);
}
