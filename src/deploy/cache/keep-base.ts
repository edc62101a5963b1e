/** An earlier deployment that content is taken from is not to be evicted meanwhile. */
import { basename, dirname } from 'node:path'
import type { Base } from '../../native.js'
import { readReady } from '../ready.js'
import { Claim, secure } from './claim.js'
import type { CacheFolder } from './folder.js'
import { ProgramLease } from './program-lease.js'

export interface KeptBase {
  /** undefined: there is none, or it went before it could be kept. */
  readonly base: Base | undefined
  readonly end: () => Promise<void>
}

/** Keeps a base that lies in the cache. */
export async function keepBase(
  base: Base | undefined,
  cache: CacheFolder | null,
  warn: (message: string) => void,
): Promise<KeptBase> {
  if (base === undefined || cache === null || dirname(base.root) !== cache.path) return { base, end: async () => {} }
  const lease = new ProgramLease(warn)
  const claim = new Claim(cache, basename(base.root), { all: lease.holders, asked: false, warn })
  const isKept = await secure(claim, async () => (await readReady(base.root)) !== null)
  lease.of(claim)
  return { base: isKept ? base : undefined, end: () => lease.end() }
}
