/**
 * Who uses a package cache and who cleans it: installers hold a shared lock from choosing packages until their files are linked, cleaning
 * holds it alone. The kernel frees the lock of a process that dies. Other programs know nothing of it.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { EnvError } from '../errors.js'
import { native } from '../native.js'

const lockFile = (cache: string): string => join(cache, '.conda-deploy.lock')

/** Milliseconds between two tries. */
const interval = 100

/** Does the work while nobody cleans these caches. Those that are not there, or in which no lock can be, are used without. Throws CANCELLED. */
export async function usingCaches<T>(
  caches: readonly string[],
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const held: number[] = []
  try {
    for (const cache of caches.filter((one) => existsSync(one))) {
      const descriptor = await shared(cache, signal)
      if (descriptor !== null) held.push(descriptor)
    }
    return await work()
  } finally {
    for (const descriptor of held) native().unlock(descriptor)
  }
}

async function shared(cache: string, signal: AbortSignal | undefined): Promise<number | null> {
  for (;;) {
    const descriptor = tryLock(cache, 'shared')
    if (descriptor !== 'held') return descriptor
    await pause(interval, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      throw new EnvError('CANCELLED', 'cancelled', { cause: error })
    })
  }
}

/** Null: there can be no lock, in a cache that is not ours to write or on a file system without locks. */
function tryLock(cache: string, how: 'shared' | 'exclusive'): number | 'held' | null {
  try {
    return native().lock(lockFile(cache), how) ?? 'held'
  } catch (error) {
    if (error instanceof EnvError) return null
    throw error
  }
}

/** Does the work while no installer uses the cache. Throws LOCK_HELD when one does, UNSUPPORTED where there are no locks. */
export async function cleaningCache<T>(cache: string, work: () => Promise<T>): Promise<T> {
  const descriptor = tryLock(cache, 'exclusive')
  if (descriptor === 'held')
    throw new EnvError('LOCK_HELD', `another conda-deploy installs from ${cache}`, {
      path: cache,
      hint: 'try again when it is done',
    })
  if (descriptor === null)
    throw new EnvError('UNSUPPORTED', `${cache} cannot be locked, so it is not cleaned: somebody may install from it`, {
      path: cache,
    })
  try {
    return await work()
  } finally {
    native().unlock(descriptor)
  }
}
