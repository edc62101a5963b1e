/** The verb: takes deployments out of the node's caches that the user names. */
import { join } from 'node:path'
import { EnvError } from '../../errors.js'
import { checkOptions, type Shape } from '../../options.js'
import { type CacheOptions, cacheShape, cachesFor, inCaches, threadsOf } from './caches.js'
import { evict } from './evict.js'
import { readPolicy } from './policy.js'
import { select } from './select.js'

export interface RemoveFromCacheOptions extends CacheOptions {
  /** Prefixes, digests (at least their first 8 digits), or names of environments. */
  readonly which: readonly string[]
  /** Default: all cores. */
  readonly threads?: number | undefined
  /** Say what would be done, and do nothing. */
  readonly dryRun?: boolean | undefined
}

export interface RemoveFromCacheResult {
  /** Prefixes of those that went. */
  readonly removed: readonly string[]
  /** Of those that had to stay. */
  readonly kept: readonly { readonly prefix: string; readonly why: string }[]
  readonly dryRun: boolean
  readonly warnings: readonly string[]
}

const shape: Shape<RemoveFromCacheOptions> = {
  ...cacheShape,
  ...{ which: 'strings', threads: 'number', dryRun: 'boolean' },
}

/**
 * Removes them, unless someone has a lease on them or a process uses them: `kept` says who. Throws NOT_A_DEPLOYMENT for what is in no cache,
 * INVALID_OPTION, PERMISSION, CONFIG_DAMAGED, IO.
 */
export async function removeFromCache(options: RemoveFromCacheOptions): Promise<RemoveFromCacheResult> {
  checkOptions<RemoveFromCacheOptions>('cache remove', options, shape)
  const { which, dryRun = false } = options
  if (which.length === 0) throw new EnvError('INVALID_OPTION', 'cache remove: nothing is named')
  const threads = threadsOf('cache remove', options.threads)
  const { leaseAge } = (await readPolicy(options.policy)).cache
  const removed: string[] = []
  const kept: { prefix: string; why: string }[] = []
  const warnings: string[] = []
  const warn = (message: string): void => void warnings.push(message)
  const caches = await cachesFor('cache remove', options, 'write')
  const found = await select('cache remove', caches, which, warn)
  await inCaches(caches, warn, async (open) => {
    for (const entry of found.get(open.cache.path) ?? []) {
      const prefix = join(open.cache.path, entry.entry)
      const why = await evict(open, entry, { leaseAge, threads, dryRun })
      if (why === null) removed.push(prefix)
      else kept.push({ prefix, why })
    }
  })
  return { removed, kept, dryRun, warnings }
}
