/**
 * One deployment at a time to a target, by flock on a file beside it. The kernel frees the lock of a process that dies, so no lock is
 * ever stale; the file is removed by its holder, and whoever then locks a file that no longer has its name tries again.
 */
import { fstatSync, statSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { EnvError, fromSystem } from '../errors.js'
import { native } from '../native.js'

/** Milliseconds between two tries: short at first, for small environments. */
const firstPause = 5
const longestPause = 100
const mostRemakes = 10

export interface Lock {
  /** Removes the file, then frees the lock, which it does also where the file cannot be removed. Throws PERMISSION, IO. */
  release(): Promise<void>
}

export interface Waiting {
  /** Makes the folder of the lock, which is made already, but may be gone again: taken back by one that gave up. */
  readonly makeFolder: () => Promise<unknown>
  readonly signal: AbortSignal | undefined
  /** Called once, when another process holds the lock. */
  readonly onWait: () => void
  /** Asked after every pause; true: the lock is no longer wanted. */
  readonly enough: () => Promise<boolean>
}

/** Takes the lock; null: no longer wanted. Waits as long as it takes. Throws CANCELLED, PERMISSION, IO. */
export async function acquire(path: string, waiting: Waiting): Promise<Lock | null> {
  for (let pause = firstPause, tries = 0; ; tries++) {
    if (waiting.signal?.aborted) throw cancelled(waiting.signal)
    const lock = await tryLock(path).catch(async (error: unknown) => {
      if (!isAbsent(error) || tries > mostRemakes) throw error
      await waiting.makeFolder()
      return await tryLock(path)
    })
    if (lock !== null) return lock
    if (tries === 0) waiting.onWait()
    await sleep(pause, undefined, waiting.signal ? { signal: waiting.signal } : {}).catch(() => {
      throw cancelled(waiting.signal)
    })
    pause = Math.min(longestPause, pause * 1.5)
    if (await waiting.enough()) return null
  }
}

export function cancelled(signal: AbortSignal | undefined): EnvError {
  return new EnvError('CANCELLED', 'cancelled', { cause: signal?.reason })
}

/** The lock if it is free now. Throws PERMISSION, IO. */
export async function tryLock(path: string): Promise<Lock | null> {
  for (;;) {
    const descriptor = native().lock(path, 'exclusive')
    if (descriptor === null) return null
    // Its last holder may have removed the file between our opening and our locking it.
    if (names(path, descriptor)) return { release: () => release(path, descriptor) }
    native().unlock(descriptor)
  }
}

const ENOENT = 2
const isAbsent = (error: unknown): boolean => Math.abs((error as { errno?: number }).errno ?? 0) === ENOENT

function names(path: string, descriptor: number): boolean {
  const held = fstatSync(descriptor)
  const there = statSync(path, { throwIfNoEntry: false })
  return there?.ino === held.ino && there.dev === held.dev
}

async function release(path: string, descriptor: number): Promise<void> {
  try {
    await unlink(path)
  } catch (error) {
    // Not by rm: what it may not unlink, it would try to empty as a directory.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystem(error, 'cannot remove', path)
  } finally {
    native().unlock(descriptor)
  }
}
