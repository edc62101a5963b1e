/** What system calls are to a file system: the columns of the report. */

export const kinds = [
  'open',
  'stat',
  'access',
  'link',
  'exec',
  'list',
  'enter',
  'change',
  'attribute',
  'watch',
  'read',
] as const

/**
 * `link`: readlink; `list`: getdents; `enter`: chdir, chroot; `change`: what makes, moves or removes names; `attribute`: modes, owners,
 * times, xattrs, statfs; `watch`: inotify, fanotify; `read`: calls on open descriptors, seen with `bytes` only and no access of their own.
 */
export type Kind = (typeof kinds)[number]

const calls: Readonly<Record<Kind, string>> = {
  open: 'open openat openat2 creat name_to_handle_at',
  stat: 'stat lstat newfstatat statx',
  access: 'access faccessat faccessat2',
  link: 'readlink readlinkat',
  exec: 'execve execveat',
  list: 'getdents getdents64',
  enter: 'chdir chroot pivot_root',
  change:
    'mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat mknod mknodat truncate mount umount2',
  attribute:
    'chmod fchmodat fchmodat2 chown lchown fchownat utime utimes futimesat utimensat getxattr lgetxattr setxattr lsetxattr ' +
    'listxattr llistxattr removexattr lremovexattr statfs',
  watch: 'inotify_add_watch fanotify_mark',
  read: 'fstat read pread64 readv preadv preadv2 sendfile copy_file_range mmap',
}

const byCall: ReadonlyMap<string, Kind> = new Map(
  kinds.flatMap((kind) => calls[kind].split(' ').map((call) => [call, kind])),
)

/** Of every call that the tracer watches. */
export function kindOf(call: string): Kind {
  const kind = byCall.get(call)
  if (kind === undefined) throw new Error(`the tracer counts '${call}', which has no kind`)
  return kind
}
