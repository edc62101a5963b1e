/**
 * Leases keep a deployment from being evicted: files `<cache folder>/.leases/<entry>@<holder>`, made before the deployment is adopted or
 * published. A lease on a deployment of the shared cache lies in the user's own cache folder, as `shared-<entry>@<holder>`.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { EnvError, fromSystem } from '../../errors.js'
import { checkOptions, type Shape } from '../../options.js'
import { boot, pidSpace, startOf } from '../../tree/process.js'
import { byName, type Held } from '../hold.js'
import { candidates } from '../scratch.js'
import { type CacheFolder, type OpenCache, openCache, openIn, privateCache, sharedCache } from './folder.js'
import { checkHolder, isHolder, processOf } from './holder.js'
import { readPolicy } from './policy.js'
import type { Processes } from './processes.js'

export interface Lease {
  /** Of the cache folder, or `shared-` and one of the shared cache. */
  readonly entry: string
  readonly holder: string
  /** When it was taken or renewed, in milliseconds since 1970. */
  readonly at: number
  /** User who took it. */
  readonly user: number
  /** The boot of the machine, and the namespace of process numbers, that it was taken in; empty: not known. */
  readonly boot: string
  readonly pids: string
}

const folderName = '.leases'
/** Bytes of a lease; ours have a hundred. */
const largest = 4096
const mostTries = 10
const nameOf = (entry: string, holder: string): string => `${entry}@${holder}`
const leaseOf = (cache: string, entry: string, holder: string): string => join(cache, folderName, nameOf(entry, holder))
export const sharedEntry = (entry: string): string => `shared-${entry}`

const isAbsent = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT'

const here = (): Pick<Lease, 'boot' | 'pids'> => ({ boot: boot(), pids: pidSpace() })

/**
 * Takes a lease; false: it was there, and is renewed. `cache`: the path of a cache folder of this user. Throws PERMISSION, NO_SPACE, IO.
 */
export function addLease(cache: string, entry: string, holder: string): boolean {
  const path = leaseOf(cache, entry, holder)
  const content = `${JSON.stringify(here())}\n`
  const write = (flag: string): void => writeFileSync(path, content, { flag, mode: 0o600 })
  for (let tries = 0; ; tries++) {
    try {
      write('wx')
      return true
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      try {
        if (code === 'EEXIST') {
          write('w')
          return false
        }
        // Whoever gave the last lease back may have removed the folder again.
        if (code !== 'ENOENT' || tries === mostTries) throw error
        mkdirSync(join(cache, folderName), { recursive: true, mode: 0o755 })
      } catch (failure) {
        throw fromSystem(failure, 'cannot write the lease', path)
      }
    }
  }
}

export const hasLease = (cache: string, entry: string, holder: string): boolean =>
  existsSync(leaseOf(cache, entry, holder))

/** Removes the folder of the leases of a cache folder where it is empty. */
export function dropFolder(cache: string): void {
  try {
    rmdirSync(join(cache, folderName))
  } catch (error) {
    // In use, or there is none.
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? ''))
      throw fromSystem(error, 'cannot remove', join(cache, folderName))
  }
}

/** Gives a lease back; false: there was none. Throws PERMISSION, IO. */
export function dropLease(cache: string, entry: string, holder: string): boolean {
  return unlinked(leaseOf(cache, entry, holder))
}

function unlinked(path: string): boolean {
  try {
    unlinkSync(path)
    return true
  } catch (error) {
    if (isAbsent(error)) return false
    throw fromSystem(error, 'cannot remove the lease', path)
  }
}

/** All leases in a cache folder, void or not; files of other names are nobody's. Throws PERMISSION, IO. */
export function leasesIn(cache: OpenCache): Lease[] {
  return inLeases(cache, [], (folder) => readdirSync(folder).flatMap((name) => readLease(folder, name) ?? []))
}

/** Gives back those leases for which `which` is true; `dryRun`: only tells them. Throws PERMISSION, IO. */
export function dropLeases(cache: OpenCache, which: (lease: Lease) => boolean, dryRun = false): Lease[] {
  return inLeases(cache, [], (folder) => {
    const found = readdirSync(folder).flatMap((name) => readLease(folder, name) ?? [])
    const drop = ({ entry, holder }: Lease): boolean => dryRun || unlinked(join(folder, nameOf(entry, holder)))
    return found.filter((lease) => which(lease) && drop(lease))
  })
}

/** Works in the folder of the leases, which root enters by no link of its owner. */
function inLeases<T>(cache: OpenCache, absent: T, use: (folder: string) => T): T {
  let held: Held | null = null
  try {
    held = openIn(cache, folderName)
    return held === null ? absent : use(held.path)
  } catch (error) {
    throw byName(error instanceof EnvError ? error : fromSystem(error, 'cannot use the leases in', cache.name), [held])
  } finally {
    held?.letGo()
  }
}

function readLease(folder: string, name: string): Lease | null {
  const [entry = '', holder = ''] = name.split(/@(.*)/s)
  if (!/^(?:shared-)?[0-9a-f]{16}(?:-w)?$/.test(entry) || !isHolder(holder)) return null
  const path = join(folder, name)
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat?.isFile() !== true) return null // Given back meanwhile, or nobody's.
    // Not the time of its last change, which its owner can set at will.
    return { entry, holder, at: stat.ctimeMs, user: stat.uid, ...told(readShort(path)) }
  } catch (error) {
    throw fromSystem(error, 'cannot read the lease', path)
  }
}

/** The content, if it may be read; it may have become anything since it was looked at. */
function readShort(path: string): string {
  let file: number | undefined
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const { size } = fstatSync(file)
    return size > largest ? '' : readFileSync(file, 'utf8')
  } catch {
    return '' // Without it, the lease counts for longer.
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

/** What is in the file; a writer that died may have left nothing there. */
function told(text: string): Pick<Lease, 'boot' | 'pids'> {
  try {
    const { boot, pids } = (JSON.parse(text) ?? {}) as Partial<Record<keyof Lease, unknown>>
    return { boot: typeof boot === 'string' ? boot : '', pids: typeof pids === 'string' ? pids : '' }
  } catch (error) {
    if (error instanceof SyntaxError) return { boot: '', pids: '' }
    throw error
  }
}

/**
 * Does a lease count no more? Nothing outlives a boot. A process has ended, or its number is another's now; one of a container is not seen
 * from here, and is believed for `leaseAge` seconds. A job's lease counts until it is released; without that, for `leaseAge`
 * seconds, and longer while a process of that user has the job in its environment, or may have.
 */
export function isVoid(lease: Lease, leaseAge: number, processes: Processes): boolean {
  const now = here()
  if (lease.boot !== '' && now.boot !== '' && lease.boot !== now.boot) return true
  const isOld = Date.now() - lease.at > leaseAge * 1000
  const process = processOf(lease.holder)
  if (process === undefined) return isOld && !processes.mayBeOf(lease.holder, lease.user)
  if (lease.pids !== now.pids) return isOld
  return startOf(process.number) !== process.start
}

export interface ReleaseOptions {
  /** `slurm:4711`, `pbs:…`, `sge:…`, `lsf:…`, or `pid:PID:START`. */
  readonly holder: string
  /** The scratch folder to look in. Default: that of the policy, and those that deployments find by themselves. */
  readonly root?: string | undefined
  /** The policy file to read instead of /etc/conda-deploy.yaml. */
  readonly policy?: string | undefined
  /** Number of the user whose cache it is; default: this one. Another one's needs root, who releases in the shared cache, too. */
  readonly user?: number | undefined
  /** That user's name, where scratch folders are named by it. */
  readonly userName?: string | undefined
}

export interface ReleaseResult {
  /** Files of the leases that were given back. */
  readonly released: readonly string[]
  /** Folders that were passed over, and why. */
  readonly warnings: readonly string[]
}

const shape: Shape<ReleaseOptions> = {
  holder: 'string',
  root: 'string',
  policy: 'string',
  user: 'number',
  userName: 'string',
}

/**
 * Gives all leases of a holder back: what an epilog calls when a job has ended. Follows no link of a user, and removes nothing but
 * leases of that holder. Throws INVALID_OPTION and what reading the policy throws; folders that are not as they should be are passed over.
 */
export async function releaseLeases(options: ReleaseOptions): Promise<ReleaseResult> {
  checkOptions<ReleaseOptions>('cache release', options, shape)
  const { root, policy, user = process.geteuid?.() ?? 0, userName } = options
  const holder = checkHolder('cache release', options.holder)
  const caches = (await cacheRoots({ root, policy, userName })).flatMap((place) => [
    privateCache(place, user),
    ...(process.geteuid?.() === 0 ? [sharedCache(place)] : []),
  ])
  const released: string[] = []
  const warnings: string[] = []
  for (const cache of caches) {
    try {
      released.push(...releaseIn(cache, holder))
    } catch (error) {
      if (!(error instanceof EnvError)) throw error
      warnings.push(error.message)
    }
  }
  return { released, warnings }
}

function releaseIn(cache: CacheFolder, holder: string): string[] {
  const held = openCache(cache)
  if (held === null) return []
  try {
    return dropLeases(held, (lease) => lease.holder === holder).map(({ entry }) => leaseOf(cache.path, entry, holder))
  } catch (error) {
    throw byName(error, [held])
  } finally {
    held.letGo()
  }
}

/** Scratch folders that may hold caches: the one that is named, or that of the policy and those that deployments find by themselves. */
export async function cacheRoots(said: Pick<ReleaseOptions, 'root' | 'policy' | 'userName'>): Promise<string[]> {
  if (said.root !== undefined) return [resolve(said.root)]
  const { root } = (await readPolicy(said.policy)).cache
  const found = candidates(process.env, said.userName ?? process.env['USER'] ?? null).try.map(({ path }) => path)
  return [...new Set([...(root === null ? [] : [root]), ...found])].filter((path) => isFolder(path))
}

function isFolder(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
  } catch {
    return false // A place that may not be looked at is no place of ours.
  }
}
