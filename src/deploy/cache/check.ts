/** The verb: hashes the deployments of the node's caches again. */
import { join } from 'node:path'
import { checkOptions, type Shape } from '../../options.js'
import type { Reporter } from '../../report.js'
import { type VerifyResult, verify } from '../verify.js'
import { type CacheOptions, cacheShape, cachesFor, inCaches } from './caches.js'
import { entriesIn } from './entries.js'
import { select } from './select.js'

export interface VerifyCacheOptions extends CacheOptions {
  /** Prefixes, digests (at least their first 8 digits), or names of environments; default: all. */
  readonly which?: readonly string[] | undefined
  /** Default: all cores. */
  readonly threads?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

export interface VerifyCacheResult {
  readonly deployments: readonly VerifyResult[]
  /** Of all of them. */
  readonly faults: number
  readonly warnings: readonly string[]
}

const shape: Shape<VerifyCacheOptions> = {
  ...cacheShape,
  ...{ which: 'strings', threads: 'number', signal: 'object', reporter: 'object' },
}

/** Verifies each against its own index. Faults are in the result. Throws as `verify`, and NOT_A_DEPLOYMENT for what is in no cache. */
export async function verifyCache(options: VerifyCacheOptions = {}): Promise<VerifyCacheResult> {
  checkOptions<VerifyCacheOptions>('cache verify', options, shape)
  const { which, threads, signal, reporter } = options
  const warnings: string[] = []
  const warn = (message: string): void => void warnings.push(message)
  const caches = await cachesFor('cache verify', options, 'read')
  const chosen = which === undefined ? null : await select('cache verify', caches, which, warn)
  const prefixes: string[] = []
  await inCaches(caches, warn, async (open) => {
    const { path } = open.cache
    const entries = chosen === null ? entriesIn(open) : (chosen.get(path) ?? [])
    prefixes.push(...entries.map(({ entry }) => join(path, entry)))
  })
  const deployments: VerifyResult[] = []
  for (const prefix of prefixes) deployments.push(await verify(prefix, { threads, signal, reporter }))
  return { deployments, faults: deployments.reduce((sum, { faults }) => sum + faults.length, 0), warnings }
}
