/**
 * Which file system a path lies on: local, memory or shared. Decided by the magic number of statfs; by the type that mountinfo tells
 * where the number does not say enough (FUSE) or is not known.
 */
import { readFile, realpath, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fromSystem } from '../errors.js'

/** `memory`: local, but counts as RAM. `unknown`: a type that is in none of our lists. */
export type Locality = 'local' | 'memory' | 'shared' | 'unknown'

export interface FileSystem {
  /** As mountinfo has it (`ext4`, `lustre`, `fuse.sshfs`); the magic number in hexadecimal where there is no mountinfo. */
  readonly type: string
  readonly locality: Locality
  readonly noexec: boolean
  readonly readOnly: boolean
  /** Bytes to a block, and bytes free for this user. */
  readonly block: number
  readonly freeBytes: number
  /** Files that can still be made; null: the file system does not count them. */
  readonly freeFiles: number | null
}

export interface Mount {
  readonly point: string
  readonly type: string
  readonly options: readonly string[]
}

const FUSE = 0x65735546

/** statfs(2), coreutils' stat.c, and the headers of the file systems that are not in Linux. */
const byMagic: ReadonlyMap<number, Locality> = new Map([
  [0xef53, 'local'], // ext2, ext3, ext4
  [0x58465342, 'local'], // xfs
  [0x9123683e, 'local'], // btrfs
  [0xca451a4e, 'local'], // bcachefs
  [0x2fc12fc1, 'local'], // zfs
  [0xf2f52010, 'local'], // f2fs
  [0x3153464a, 'local'], // jfs
  [0x52654973, 'local'], // reiserfs
  [0x794c7630, 'local'], // overlay, as in containers
  [0x01021994, 'memory'], // tmpfs
  [0x858458f6, 'memory'], // ramfs
  [0x0bd00bd0, 'shared'], // Lustre
  [0x19830326, 'shared'], // BeeGFS
  [0x47504653, 'shared'], // GPFS
  [0x6969, 'shared'], // NFS
  [0x00c36400, 'shared'], // CephFS
  [0xff534d42, 'shared'], // CIFS
  [0xfe534d42, 'shared'], // SMB2
  [0x517b, 'shared'], // SMB
  [0xaad7aaea, 'shared'], // PanFS
  [0x20030528, 'shared'], // OrangeFS
  [0x5346414f, 'shared'], // OpenAFS
  [0x6b414653, 'shared'], // kAFS
  [0x01161970, 'shared'], // GFS2
  [0x7461636f, 'shared'], // OCFS2
  [0x73757245, 'shared'], // Coda
  [0xbeefdead, 'shared'], // StorNext
  [0x01021997, 'shared'], // 9p
])

/** Types that mountinfo names where the magic number says FUSE or nothing. Other `fuse.*` lead to some server or bucket. */
const byType: ReadonlyMap<string, Locality> = new Map([
  ['fuseblk', 'local'],
  ['fuse.fuse-overlayfs', 'local'],
  ['lustre', 'shared'],
  ['beegfs', 'shared'],
  ['gpfs', 'shared'],
  ['wekafs', 'shared'],
  ['dvs', 'shared'],
  ['ibrix', 'shared'],
  ['acfs', 'shared'],
  ['virtiofs', 'shared'],
  ['smb3', 'shared'],
  ['smbfs', 'shared'],
])

/** Pure: what kind of file system has this magic number and, in mountinfo, this type. */
export function localityOf(magic: number, type: string | undefined): Locality {
  const known = magic === FUSE ? undefined : byMagic.get(magic)
  if (known !== undefined) return known
  const named = type === undefined ? undefined : byType.get(type)
  if (named !== undefined) return named
  return magic === FUSE ? 'shared' : 'unknown'
}

/** Pure: the mounts that /proc/self/mountinfo tells, in its order. */
export function parseMounts(mountinfo: string): Mount[] {
  const plain = (text: string): string =>
    text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
  return mountinfo.split('\n').flatMap((line) => {
    const fields = line.split(' ')
    const dash = fields.indexOf('-', 6)
    const [point, options] = [fields[4], fields[5]]
    if (dash < 0 || point === undefined || options === undefined) return []
    const all = [...options.split(','), ...(fields[dash + 3] ?? '').split(',')]
    return [{ point: plain(point), type: fields[dash + 1] ?? '', options: all }]
  })
}

/** Pure: the mount that a resolved path lies on; of several on one point the last one covers the others. */
export function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  let found: Mount | undefined
  for (const mount of mounts) {
    const inside = mount.point === '/' || path === mount.point || path.startsWith(`${mount.point}/`)
    if (inside && mount.point.length >= (found?.point.length ?? 0)) found = mount
  }
  return found
}

/** Of the file system that `path`, which exists, lies on; symbolic links are followed. Throws what node:fs throws. */
export async function fileSystemOf(path: string): Promise<FileSystem> {
  const resolved = await realpath(path)
  const [stat, mountinfo] = await Promise.all([statfs(resolved), readMountinfo()])
  const mount = mountOf(parseMounts(mountinfo), resolved)
  return {
    type: mount?.type ?? `0x${stat.type.toString(16)}`,
    locality: localityOf(stat.type, mount?.type),
    noexec: mount?.options.includes('noexec') ?? false,
    readOnly: mount?.options.includes('ro') ?? false,
    block: stat.bsize,
    freeBytes: stat.bavail * stat.bsize,
    // Btrfs and others make inodes as they need them and say 0.
    freeFiles: stat.files === 0 ? null : stat.ffree,
  }
}

/** The text of /proc/self/mountinfo; empty where the system has none (macOS): then the magic number alone decides, and noexec is not known beforehand. */
export async function readMountinfo(): Promise<string> {
  try {
    return await readFile('/proc/self/mountinfo', 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw fromSystem(error, 'cannot read', '/proc/self/mountinfo')
  }
}

/** `path` itself or the nearest of its parents that exists, links followed. */
export async function nearestExisting(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    try {
      return await realpath(at)
    } catch (error) {
      // A file in the way is found on the way up.
      const absent = ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')
      if (!absent || at === dirname(at)) throw error
    }
  }
}
