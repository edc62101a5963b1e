/**
 * One job of the native core at a time or two, with progress and cancellation: what surrounds every call that takes counters.
 */
import { EnvError } from './errors.js'
import type { Counters } from './native.js'

/** Jobs at a time: each holds one of libuv's threads (four by default) and starts as many of its own as it is told. */
const mostJobs = 2
/** Milliseconds between two looks at the counters. */
const interval = 100

let running = 0
const waiting: (() => void)[] = []

function cancelled(signal: AbortSignal): EnvError {
  return new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
}

function admission(signal: AbortSignal | undefined): Promise<void> {
  if (running < mostJobs) {
    running += 1
    return Promise.resolve()
  }
  return new Promise((resolve, reject) => {
    const enter = (): void => {
      signal?.removeEventListener('abort', leave)
      resolve()
    }
    const leave = (): void => {
      waiting.splice(waiting.indexOf(enter), 1)
      if (signal !== undefined) reject(cancelled(signal))
    }
    waiting.push(enter)
    signal?.addEventListener('abort', leave, { once: true })
  })
}

export interface JobOptions {
  /** Aborting it cancels the job, which then rejects with CANCELLED as soon as its threads have stopped. */
  readonly signal?: AbortSignal | undefined
  /** Called about ten times a second while the numbers change, and once at the end: bytes and entries done so far. */
  readonly progress?: ((bytes: number, entries: number) => void) | undefined
}

/**
 * Runs one job: `start` hands the counters to a function of `native()`. Waits while two others run. Rejects with EnvError: CANCELLED,
 * or what the job failed with.
 */
export async function runJob<T>(start: (counters: Counters) => Promise<T>, options: JobOptions = {}): Promise<T> {
  const { signal, progress } = options
  if (signal?.aborted) throw cancelled(signal)
  await admission(signal)
  const counters: Counters = new BigUint64Array(4)
  let seen = -1n
  const report = (): void => {
    const bytes = Atomics.load(counters, 1)
    const entries = Atomics.load(counters, 0)
    if (bytes + entries !== seen) progress?.(Number(bytes), Number(entries))
    seen = bytes + entries
  }
  const cancel = (): void => {
    Atomics.store(counters, 2, 1n)
  }
  if (signal?.aborted) cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  const timer = progress === undefined ? undefined : setInterval(report, interval)
  try {
    const result = await start(counters)
    report()
    return result
  } catch (error) {
    throw signal?.aborted && error instanceof EnvError && error.code === 'CANCELLED' ? cancelled(signal) : error
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', cancel)
    const next = waiting.shift()
    if (next === undefined) running -= 1
    else next()
  }
}
