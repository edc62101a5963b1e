/** Rounds in which the process that works on a cache is killed at a step, and what the others make of it. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { privateCache } from '../../src/deploy/cache/folder.js'
import { listCache } from '../../src/deploy/cache/list.js'
import { pruneCache } from '../../src/deploy/cache/prune.js'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { runCli } from '../support/run-cli.js'
import { removeTree } from '../support/temp.js'
import type { Injector } from './inject.js'

/** What a leader does, as arguments of the CLI. */
const leading = (archive: string, root: string): string[] => [
  ...[archive, '--root', root, '--lease', 'slurm:1'],
  ...['-q', '--threads', '1'],
]

/** The calls of an undisturbed leader; `root` is removed again. */
export async function stepsOf(injector: Injector, archive: string, root: string): Promise<string[]> {
  mkdirSync(root)
  const trace = await injector.trace({ beneath: [root] }, (env) => runCli(leading(archive, root), { env }))
  removeTree(root)
  return trace
}

export interface Round {
  /** What is not as it must be; empty: all is well. */
  readonly wrong: readonly string[]
  /** Milliseconds from the leader's death to the end of all others, which deployed or adopted. */
  readonly handover: number
  /** The others found a complete deployment. */
  readonly complete: boolean
}

/**
 * One leader is killed at its `at`-th call; `others` wait for it, or come when it is dead. All of them must succeed, one of them at most by
 * deploying, and nothing but the deployment and the leases may be left.
 */
export async function leaderDies(injector: Injector, archive: string, root: string, at: number): Promise<Round> {
  mkdirSync(root)
  const wrong: string[] = []
  const env = injector.env({ beneath: [root], at })
  const led = runCli(leading(archive, root), { env })
  let death = 0
  const ended = led.then((result) => {
    death = performance.now()
    return result
  })
  // It leads: the others come when it has the lock, or is dead already.
  const { path } = privateCache(root)
  const isLeading = (): boolean => existsSync(path) && readdirSync(path).some((name) => name.endsWith('.lock'))
  while (death === 0 && !isLeading()) await sleep(1)
  await sleep((at % 4) * 5)
  const others = ['slurm:2', 'slurm:3'].map((lease) => deploy({ archive, root, lease, threads: 1 }))
  const results = await Promise.all(others)
  if ((await ended).signal !== 'SIGKILL') wrong.push('it was not killed')
  const handover = performance.now() - death
  const late = await deploy({ archive, root, lease: 'slurm:4', threads: 1 })
  const made = results.filter(({ method }) => method === 'deployed').length
  if (made > 1 || late.method !== 'adopted') wrong.push(`${made} of them deployed, then ${late.method}`)
  if ((await verify(late.prefix)).faults.length > 0) wrong.push('the deployment has faults')
  const left = readdirSync(path).sort()
  if (left.join() !== ['.leases', basename(late.prefix)].sort().join()) wrong.push(`left: ${left.join(' ')}`)
  const leases = (await listCache({ root })).caches[0]?.deployments[0]?.leases ?? []
  for (const lease of ['slurm:2', 'slurm:3', 'slurm:4'])
    if (!leases.includes(lease)) wrong.push(`the lease of ${lease} is lost`)
  removeTree(root)
  return { wrong, handover, complete: made === 0 }
}

/** The process that prunes is killed at its `at`-th call; undefined: it had ended before. */
export async function prunerDies(
  injector: Injector,
  archive: string,
  root: string,
  at: number,
): Promise<Pick<Round, 'wrong' | 'complete'> | undefined> {
  mkdirSync(root)
  const wrong: string[] = []
  const { prefix } = await deploy({ archive, root, threads: 1 })
  const args = ['cache', 'prune', '--root', root, '--max-age', '0s', '--threads', '1']
  const { signal } = await runCli(args, { env: injector.env({ beneath: [root], at }) })
  const complete = existsSync(prefix)
  if (complete && (await verify(prefix)).faults.length > 0) wrong.push('half of it was removed under its name')
  if (at % 2 === 0) {
    const next = await deploy({ archive, root, threads: 1 })
    if (next.method !== (complete ? 'adopted' : 'deployed')) wrong.push(`the next one ${next.method}`)
  }
  await pruneCache({ root, maxAge: 0, threads: 1 })
  const { path } = privateCache(root)
  const left = existsSync(path) ? readdirSync(path) : []
  if (left.length > 0) wrong.push(`left: ${left.join(' ')}`)
  removeTree(root)
  return signal === 'SIGKILL' ? { wrong, complete } : undefined
}
