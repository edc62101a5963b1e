/** The verb: evicts what has not been adopted for longest until a cache is within its limits, and clears away what dead processes left. */
import { readdirSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvError, fromSystem } from '../../errors.js'
import { checkOptions, type Shape } from '../../options.js'
import { type Reporter, silent } from '../../report.js'
import { roomOf } from '../preflight.js'
import { clearLeftOvers } from '../publish.js'
import { type CacheOptions, cacheShape, cachesFor, inCaches, threadsOf } from './caches.js'
import { type Entry, entriesIn } from './entries.js'
import { evict, leasesOn } from './evict.js'
import { isEntry, type OpenCache } from './folder.js'
import { dropLeases, isVoid } from './lease.js'
import { lastUse } from './list.js'
import { readPolicy } from './policy.js'
import { Processes } from './processes.js'

export interface PruneCacheOptions extends CacheOptions {
  /** Seconds since a deployment was adopted last, after which it goes. Default of all four: what the site's policy says, else no limit. */
  readonly maxAge?: number | undefined
  /** Bytes, and files, directories and links, that the deployments of a cache folder may have together. */
  readonly maxBytes?: number | undefined
  readonly maxInodes?: number | undefined
  /** Bytes that shall be free on the file system. */
  readonly minFree?: number | undefined
  /** Default: all cores. */
  readonly threads?: number | undefined
  /** Say what would be done, and do nothing. */
  readonly dryRun?: boolean | undefined
  readonly reporter?: Reporter | undefined
}

/** The limit that a deployment was over. */
export type Limit = 'age' | 'bytes' | 'inodes' | 'free'

export interface PrunedDeployment {
  readonly prefix: string
  readonly name: string | null
  readonly limit: Limit
  readonly bytes: number | null
}

export interface PruneCacheResult {
  readonly removed: readonly PrunedDeployment[]
  /** Over a limit, and left where they are; `why`: who needs them. */
  readonly kept: readonly (PrunedDeployment & { readonly why: string })[]
  /** What dead processes had left behind, by its path. */
  readonly cleared: readonly string[]
  /** Leases of holders that are no more. */
  readonly voided: number
  readonly dryRun: boolean
  readonly warnings: readonly string[]
}

const shape: Shape<PruneCacheOptions> = {
  ...cacheShape,
  ...{ maxAge: 'number', maxBytes: 'number', maxInodes: 'number', minFree: 'number', threads: 'number' },
  ...{ dryRun: 'boolean', reporter: 'object' },
}

interface Limits {
  readonly maxAge: number | null
  readonly maxBytes: number | null
  readonly maxInodes: number | null
  readonly minFree: number | null
}

interface Settings {
  readonly limits: Limits
  readonly leaseAge: number
  readonly threads: number
  readonly dryRun: boolean
}

type Done = {
  -readonly [Key in 'removed' | 'kept' | 'cleared']: PruneCacheResult[Key][number][]
} & { voided: number }

/**
 * Prunes this user's caches, and the shared ones as root. Throws INVALID_OPTION, PERMISSION, CONFIG_DAMAGED, IO. When it dies, what it was
 * removing is cleared away by the next one.
 */
export async function pruneCache(options: PruneCacheOptions = {}): Promise<PruneCacheResult> {
  checkOptions<PruneCacheOptions>('cache prune', options, shape)
  const { dryRun = false, reporter = silent } = options
  const { cache: policy } = await readPolicy(options.policy)
  const limits: Limits = {
    maxAge: options.maxAge ?? policy.maxAge,
    maxBytes: options.maxBytes ?? policy.maxBytes,
    maxInodes: options.maxInodes ?? policy.maxInodes,
    minFree: options.minFree ?? policy.minFree,
  }
  for (const [name, value] of Object.entries(limits))
    if (value !== null && value < 0)
      throw new EnvError('INVALID_OPTION', `cache prune: option '${name}' must not be below 0, got ${value}`)
  const threads = threadsOf('cache prune', options.threads)
  const settings: Settings = { limits, leaseAge: policy.leaseAge, threads, dryRun }
  const done: Done = { removed: [], kept: [], cleared: [], voided: 0 }
  const warnings: string[] = []
  const warn = (message: string): void => {
    warnings.push(message)
    reporter.warn(message)
  }
  await inCaches(await cachesFor('cache prune', options, 'write'), warn, (open) => pruneIn(open, settings, done))
  return { ...done, dryRun, warnings }
}

async function pruneIn(open: OpenCache, settings: Settings, done: Done): Promise<void> {
  const { leaseAge, dryRun, threads } = settings
  const { path } = open.cache
  for (const entry of leftOversIn(open)) {
    const cleared = await clearLeftOvers(join(open.path, entry), threads, dryRun)
    done.cleared.push(...cleared.map((name) => join(path, name)))
  }
  const order = lastUse(entriesIn(open), leasesOn(open))
  const processes = new Processes()
  const voided = dropLeases(open, (lease) => isVoid(lease, leaseAge, processes), dryRun)
  done.voided += voided.length
  await evictOver(open, order, settings, done)
}

/** Deployments that something stands beside: a lock, or what a process was filling or removing. */
function leftOversIn(open: OpenCache): string[] {
  try {
    const names = readdirSync(open.path).map((name) => /^\.(.+)\.(?:lock|\d+\.stage)$/.exec(name)?.[1] ?? '')
    return [...new Set(names.filter(isEntry))]
  } catch (error) {
    throw fromSystem(error, 'cannot read', open.name)
  }
}

/** Until the cache is within its limits, or nothing is left that may go. */
async function evictOver(open: OpenCache, order: readonly Entry[], settings: Settings, done: Done): Promise<void> {
  const rooms = order.map(roomOf)
  const left = {
    bytes: rooms.reduce((sum, { bytes }) => sum + bytes, 0),
    entries: rooms.reduce((sum, { entries }) => sum + entries, 0),
  }
  let gained = 0
  for (const entry of order) {
    const limit = limitOver(entry, left, gained + (await freeBytes(open)), settings.limits)
    if (limit === null) return
    const { bytes = null, name = null } = entry
    const one: PrunedDeployment = { prefix: join(open.cache.path, entry.entry), name, limit, bytes }
    const why = await evict(open, entry, settings)
    if (why !== null) {
      done.kept.push({ ...one, why })
      continue
    }
    done.removed.push(one)
    const room = roomOf(entry)
    left.bytes -= room.bytes
    left.entries -= room.entries
    if (settings.dryRun) gained += room.bytes
  }
}

/** Pure: the limit that a deployment is over, or that its cache is over before it goes; null: none. */
export function limitOver(
  { used }: Pick<Entry, 'used'>,
  left: { readonly bytes: number; readonly entries: number },
  free: number,
  { maxAge, maxBytes, maxInodes, minFree }: Limits,
): Limit | null {
  if (maxAge !== null && Date.now() - used > maxAge * 1000) return 'age'
  if (maxBytes !== null && left.bytes > maxBytes) return 'bytes'
  if (maxInodes !== null && left.entries > maxInodes) return 'inodes'
  if (minFree !== null && free < minFree) return 'free'
  return null
}

async function freeBytes(open: OpenCache): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(open.path)
    return bavail * bsize
  } catch (error) {
    throw fromSystem(error, 'cannot look at the file system of', open.name)
  }
}
