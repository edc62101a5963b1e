/** How a deployment leaves a cache: only when nobody has a lease on it and no process uses it, by its name first. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { EnvError } from '../../errors.js'
import { tryLock } from '../../tree/lock.js'
import { byName } from '../hold.js'
import { lockOf, removeTree } from '../publish.js'
import { type Entry, entriesIn, readEntry } from './entries.js'
import { type CacheFolder, type OpenCache, openCache, privateCache } from './folder.js'
import { isVoid, type Lease, leasesIn, sharedEntry } from './lease.js'
import { Processes } from './processes.js'

export interface Evicting {
  /** Seconds; see `CachePolicy`. */
  readonly leaseAge: number
  readonly threads: number
  readonly dryRun: boolean
}

/** Works in a cache folder; `absent` where there is none. Errors call it by its name. Throws as openCache. */
export async function withCache<T>(cache: CacheFolder, absent: T, use: (open: OpenCache) => Promise<T>): Promise<T> {
  const open = openCache(cache)
  if (open === null) return absent
  try {
    return await use(open)
  } catch (error) {
    throw byName(error, [open])
  } finally {
    open.letGo()
  }
}

/** All leases on deployments of a cache, by the names that the deployments have there: those of users on shared ones too. Throws IO. */
export function leasesOn(open: OpenCache): Lease[] {
  const own = leasesIn(open)
  const { cache } = open
  if (cache.name !== 'conda-deploy-shared') return own
  const users = readdirSync(cache.root).flatMap((name) => /^conda-deploy-(\d{1,10})$/.exec(name)?.[1] ?? [])
  const theirs = users.flatMap((user) => leasesOf(privateCache(cache.root, Number(user))))
  return [...own, ...theirs.map((lease) => ({ ...lease, entry: lease.entry.slice(sharedEntry('').length) }))]
}

function leasesOf(cache: CacheFolder): Lease[] {
  try {
    const open = openCache(cache)
    if (open === null) return []
    try {
      return leasesIn(open).filter(({ entry }) => entry.startsWith(sharedEntry('')))
    } finally {
      open.letGo()
    }
  } catch (error) {
    if (error instanceof EnvError && error.code === 'PERMISSION') return [] // Nobody's cache: no lease of a user is there.
    throw error
  }
}

/** Why a deployment may not go; null: it may. */
export function whyKept(
  open: OpenCache,
  entry: Entry,
  leaseAge: number,
  processes: Processes = new Processes(),
): string | null {
  const lease = leasesOn(open).find((one) => one.entry === entry.entry && !isVoid(one, leaseAge, processes))
  if (lease !== undefined) return `${lease.holder} has a lease on it`
  const user = processes.userOf(open.cache, entry.entry, Date.parse(entry.created))
  return user === null ? null : `${user} uses it`
}

/** Removes one deployment; the reason where it has to stay, null where it went. Throws PERMISSION, IO. */
export async function evict(open: OpenCache, { entry }: Entry, settings: Evicting): Promise<string | null> {
  const at = join(open.path, entry)
  const why = (): string | null => {
    const found = readEntry(open, entry)
    return found === null ? 'it carries no mark of conda-deploy' : whyKept(open, found, settings.leaseAge)
  }
  if (settings.dryRun) return why()
  const lock = await tryLock(lockOf(at))
  if (lock === null) return 'another process works on it'
  try {
    const kept = why()
    if (kept !== null) return kept
    // What began while the processes were looked at is in it under its new name.
    const { cache } = open
    const isUsed = (): boolean => new Processes().userOf(cache, entry, Date.now()) !== null
    return (await removeTree(at, settings.threads, isUsed)) ? null : 'a process began to use it'
  } finally {
    await lock.release()
  }
}

/** What may go from a cache, the one that was not adopted for longest first. Throws PERMISSION, IO. */
export async function idleIn(cache: CacheFolder, leaseAge: number): Promise<Entry[]> {
  const processes = new Processes()
  return await withCache(cache, [], async (open) =>
    entriesIn(open).filter((entry) => whyKept(open, entry, leaseAge, processes) === null),
  )
}
