/**
 * One deployment at a time to a target, by flock on a file beside it. The kernel frees the lock of a process that dies, so no lock is
 * ever stale; the file is removed by its holder, and whoever then locks a file that no longer has its name tries again.
 */
import { fstatSync, statSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EnvError, fromSystem } from '../errors.js'
import { native } from '../native.js'
import { now } from '../report.js'

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
  /** Seconds to wait at most; undefined: as long as it takes. */
  readonly wait?: number | undefined
}

/** Takes the lock; null: no longer wanted. Throws CANCELLED, LOCK_HELD, PERMISSION, UNSUPPORTED, IO. */
export async function acquire(path: string, waiting: Waiting): Promise<Lock | null> {
  const { wait = Number.POSITIVE_INFINITY } = waiting
  const end = now() + wait * 1000
  for (let pause = firstPause, tries = 0; ; tries++) {
    if (waiting.signal?.aborted) throw cancelled(waiting.signal)
    const lock = await tryLock(path).catch(async (error: unknown) => {
      if (!isAbsent(error) || tries > mostRemakes) throw error
      await waiting.makeFolder()
      return await tryLock(path)
    })
    if (lock !== null) return lock
    if (now() >= end) throw held(path, wait)
    if (tries === 0) waiting.onWait()
    await sleep(
      Math.max(1, Math.min(pause, end - now())),
      undefined,
      waiting.signal ? { signal: waiting.signal } : {},
    ).catch(() => {
      throw cancelled(waiting.signal)
    })
    pause = Math.min(longestPause, pause * 1.5)
    if (await waiting.enough()) return null
  }
}

function held(path: string, wait: number): EnvError {
  const message = `another process works there, and holds ${path}; waited ${wait} s`
  return new EnvError('LOCK_HELD', message, { path, hint: 'try again, or wait longer with --wait' })
}

export function cancelled(signal: AbortSignal | undefined): EnvError {
  return new EnvError('CANCELLED', 'cancelled', { cause: signal?.reason })
}

/** The lock if it is free now. Throws PERMISSION, UNSUPPORTED (a file system without locks), IO. */
export async function tryLock(path: string): Promise<Lock | null> {
  for (;;) {
    const descriptor = lockNow(path)
    if (descriptor === null) return null
    // Its last holder may have removed the file between our opening and our locking it.
    if (names(path, descriptor)) return { release: () => release(path, descriptor) }
    native().unlock(descriptor)
  }
}

/** Does a process hold it now? Throws as tryLock. */
export function isLocked(path: string): boolean {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return false
  const descriptor = lockNow(path)
  if (descriptor !== null) native().unlock(descriptor)
  return descriptor === null
}

function lockNow(path: string): number | null {
  try {
    return native().lock(path, 'exclusive', modeFor(path))
  } catch (error) {
    throw error instanceof EnvError ? (withoutLocks(path, error) ?? error) : error
  }
}

/** Where nobody else can deploy nobody else needs the lock, and could only hold us up with it. */
function modeFor(path: string): number {
  const folder = statSync(dirname(path), { throwIfNoEntry: false })
  return folder?.uid === process.geteuid?.() && ((folder?.mode ?? 0) & 0o022) === 0 ? 0o600 : 0o644
}

const { errno: errnos } = constants
const unsupported = ['ENOSYS', 'ENOLCK', 'EOPNOTSUPP', 'EINVAL'] as const

/**
 * Some mounts of Lustre and NFS know no flock. Going on without a lock could have two processes remove each other's stage, so it is
 * refused.
 */
export function withoutLocks(path: string, error: EnvError): EnvError | null {
  const name = unsupported.find((one) => errnos[one] === Math.abs(error.errno ?? 0))
  if (error.syscall !== 'flock' || name === undefined) return null
  const hint = 'choose a target on a local file system, or mount this one with locks (Lustre: -o flock)'
  return new EnvError('UNSUPPORTED', `the file system of ${path} has no file locks (flock: ${name})`, {
    ...{ path, hint, cause: error },
  })
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
