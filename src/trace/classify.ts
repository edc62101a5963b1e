/** What serves a path, and what it is to the job: two answers for every path, by the mount table and by the folders that were named. */
import { realpath, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { localityOf, type Mount, mountOf, parseMounts, readMountinfo } from '../tree/file-system.js'

/**
 * `local`: a disk or the memory of this machine; `shared`: a network or parallel file system; `kernel`: no storage at all (/proc, /sys,
 * /dev); `unknown`: a type in none of our lists.
 */
export type Server = 'local' | 'shared' | 'kernel' | 'unknown'

/** `declared`: beneath a folder that was said to be shared. */
export type Role = 'target' | 'source' | 'declared' | 'home' | 'system' | 'kernel' | 'other'

export const roles: readonly Role[] = ['target', 'source', 'declared', 'home', 'system', 'kernel', 'other']

export interface Served {
  readonly server: Server
  readonly role: Role
  /** Mount point and type, as mountinfo has them. */
  readonly mount: string
  readonly type: string
}

/** Folders by what they are to the job; absolute. */
export interface Places {
  readonly target?: string | undefined
  readonly source?: string | undefined
  /** Shared whatever serves them. */
  readonly shared: readonly string[]
  readonly home?: string | undefined
}

const kernelTypes: ReadonlySet<string> = new Set(
  (
    'proc sysfs devtmpfs devpts cgroup cgroup2 debugfs tracefs securityfs pstore bpf mqueue configfs fusectl hugetlbfs nsfs ' +
    'binfmt_misc rpc_pipefs selinuxfs efivarfs autofs'
  ).split(' '),
)

/** File systems in one file: their lookups are answered on this machine, whatever the file lies on. */
const imageTypes: ReadonlySet<string> = new Set(
  'squashfs erofs iso9660 udf cramfs romfs fuse.squashfuse fuse.squashfuse_ll fuse.erofsfuse'.split(' '),
)

const systemFolders = [
  '/usr',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/bin',
  '/sbin',
  '/etc',
  '/opt',
  '/var',
  '/run',
  '/boot',
]

export const isBeneath = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`)

/** Pure but for `magicOf`: statfs's magic number of a mount point, 0 where it cannot be had. */
export function classifierOf(
  places: Places,
  mounts: readonly Mount[],
  magicOf: (mount: Mount) => number,
): (path: string) => Served {
  const named = (
    [
      ['target', [places.target]],
      ['source', [places.source]],
      ['declared', places.shared],
      ['home', [places.home]],
    ] as const
  )
    .flatMap(([role, folders]) => folders.flatMap((folder) => (folder === undefined ? [] : [{ role, folder }])))
    // The innermost folder says most: a target beneath the home folder is the target.
    .sort((a, b) => b.folder.length - a.folder.length)
  const byFolder = new Map<string, Served>()

  function mountServer(mount: Mount | undefined, path: string): Server {
    if (mount === undefined) return 'unknown'
    if (kernelTypes.has(mount.type) || (isBeneath(path, '/dev') && !isBeneath(path, '/dev/shm'))) return 'kernel'
    if (imageTypes.has(mount.type)) return 'local'
    const locality = localityOf(magicOf(mount), mount.type)
    return locality === 'memory' ? 'local' : locality
  }

  function roleOf(path: string, server: Server): Role {
    const folder = named.find((one) => isBeneath(path, one.folder))
    if (folder !== undefined) return folder.role
    if (server === 'kernel') return 'kernel'
    return systemFolders.some((one) => isBeneath(path, one)) ? 'system' : 'other'
  }

  const classify = (path: string): Served => {
    const mount = mountOf(mounts, path)
    const type = mount?.type ?? 'unknown'
    const declared = places.shared.find((folder) => isBeneath(path, folder))
    if (declared !== undefined)
      return { server: 'shared', role: roleOf(path, 'shared'), mount: declared, type: `${type}, declared shared` }
    const server = mountServer(mount, path)
    return { server, role: roleOf(path, server), mount: mount?.point ?? '/', type }
  }

  /** Folders and mount points that matter themselves: what lies beside them may be something else. */
  const borders = new Set([...mounts.map(({ point }) => point), ...named.map(({ folder }) => folder), ...systemFolders])
  return (path) => {
    if (borders.has(path)) return classify(path)
    const folder = dirname(path)
    const known = byFolder.get(folder) ?? classify(`${folder === '/' ? '' : folder}/.`)
    byFolder.set(folder, known)
    return known
  }
}

/** Of this machine, now; folders are taken as given and as they resolve. */
export async function classifier(places: Places, paths: Iterable<string>): Promise<(path: string) => Served> {
  const mounts = parseMounts(await readMountinfo())
  const used = new Set<Mount>()
  for (const path of new Set([...paths].map((one) => dirname(one)))) {
    const mount = mountOf(mounts, path)
    if (mount !== undefined) used.add(mount)
  }
  for (const mount of mounts) if (mount.type.startsWith('fuse')) used.add(mount)
  const magic = new Map<Mount, number>()
  for (const mount of used)
    magic.set(
      mount,
      await statfs(mount.point).then(
        ({ type }) => type,
        () => 0, // Unmounted since, or not ours to ask: its type in the table has to do.
      ),
    )
  const resolved = async (folder: string | undefined): Promise<string | undefined> =>
    folder === undefined ? undefined : realpath(folder).catch(() => folder)
  const real: Places = {
    target: await resolved(places.target),
    source: await resolved(places.source),
    home: await resolved(places.home),
    shared: await Promise.all(places.shared.map(async (folder) => (await resolved(folder)) ?? folder)),
  }
  return classifierOf(real, mounts, (mount) => magic.get(mount) ?? 0)
}
