/** Runs one contender as a whole process and reads what the kernel accounted for it. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

export interface Measurement {
  /** Seconds. */
  readonly wall: number
  readonly user: number
  readonly system: number
  /** Peak resident bytes of the largest process. */
  readonly memory: number
  readonly status: number
}

/** A shell command line, run by `sh -ec`; throws when it fails, because a contender that fails is not to be counted. */
export function measure(root: string, command: string): Measurement {
  const done = spawnSync('python3', [join(root, 'bench/measure.py'), 'sh', '-ec', command], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (done.status !== 0) throw new Error(`cannot measure: ${command}`)
  const result = JSON.parse(done.stdout) as Measurement
  if (result.status !== 0) throw new Error(`exit status ${result.status}: ${command}`)
  return result
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}
