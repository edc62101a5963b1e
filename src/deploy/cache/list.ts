/** The verb: what is in the node's caches, who needs it, and what uses it. */
import { join } from 'node:path'
import { checkOptions, type Shape } from '../../options.js'
import { type CacheOptions, cacheShape, cachesFor, inCaches } from './caches.js'
import { type Entry, entriesIn } from './entries.js'
import { leasesOn } from './evict.js'
import type { OpenCache } from './folder.js'
import { isVoid, type Lease } from './lease.js'
import { readPolicy } from './policy.js'
import { Processes } from './processes.js'

export type ListCacheOptions = CacheOptions

export interface CachedDeployment {
  readonly prefix: string
  /** Of the environment; null: its archive told none. */
  readonly name: string | null
  readonly digest: string
  readonly readOnly: boolean
  /** ISO 8601: when it was deployed, and when it was deployed or adopted last. */
  readonly created: string
  readonly used: string
  /** Of its files; files, directories and links. null: made by a version that did not note it. */
  readonly bytes: number | null
  readonly entries: number | null
  /** Holders of leases that count. */
  readonly leases: readonly string[]
  /** A process that uses it, or may; null: none. */
  readonly inUse: string | null
}

export interface Cache {
  readonly path: string
  readonly kind: 'private' | 'shared'
  /** Number of the user it belongs to. */
  readonly owner: number
  /** The one that was not adopted for longest first. */
  readonly deployments: readonly CachedDeployment[]
  readonly bytes: number
  readonly entries: number
}

export interface ListCacheResult {
  readonly caches: readonly Cache[]
  readonly warnings: readonly string[]
}

/** Lists this user's caches and the shared ones. Throws INVALID_OPTION, PERMISSION, CONFIG_DAMAGED, IO. */
export async function listCache(options: ListCacheOptions = {}): Promise<ListCacheResult> {
  checkOptions<ListCacheOptions>('cache list', options, cacheShape satisfies Shape<ListCacheOptions>)
  const { leaseAge } = (await readPolicy(options.policy)).cache
  const caches: Cache[] = []
  const warnings: string[] = []
  const processes = new Processes()
  await inCaches(
    await cachesFor('cache list', options, 'read'),
    (message) => void warnings.push(message),
    async (open) => void caches.push(describe(open, leaseAge, processes)),
  )
  return { caches, warnings }
}

function describe(open: OpenCache, leaseAge: number, processes: Processes): Cache {
  const { path, owner, name } = open.cache
  const leases = leasesOn(open).filter((lease) => !isVoid(lease, leaseAge, processes))
  const deployments = lastUse(entriesIn(open), leases).map((entry): CachedDeployment => {
    const { digest, readOnly, created, used } = entry
    return {
      prefix: join(path, entry.entry),
      name: entry.name ?? null,
      ...{ digest, readOnly, created, used: new Date(used).toISOString() },
      bytes: entry.bytes ?? null,
      entries: entry.entries ?? null,
      leases: leases.filter((lease) => lease.entry === entry.entry).map(({ holder }) => holder),
      inUse: processes.userOf(open.cache, entry.entry, Date.parse(created)),
    }
  })
  return {
    ...{ path, kind: name === 'conda-deploy-shared' ? 'shared' : 'private', owner, deployments },
    bytes: deployments.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0),
    entries: deployments.reduce((sum, { entries }) => sum + (entries ?? 0), 0),
  }
}

/** Users who adopt a shared deployment leave the time of it in their leases alone. The one that was not adopted for longest first. */
export function lastUse(entries: readonly Entry[], leases: readonly Lease[]): Entry[] {
  return entries
    .map((entry) => {
      const times = leases.filter((lease) => lease.entry === entry.entry).map(({ at }) => at)
      return { ...entry, used: Math.max(entry.used, ...times) }
    })
    .sort((a, b) => a.used - b.used)
}
