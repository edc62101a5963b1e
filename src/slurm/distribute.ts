/**
 * An archive to nodes, in rounds: sbcast gives up for all nodes when one fails, so what can be known is known before it starts, and where
 * it fails for named nodes it is done again for the others.
 */
import { randomBytes } from 'node:crypto'
import { basename, join } from 'node:path'
import { type Digested, digestOf } from '../archive/digest.js'
import type { Clock } from '../clock.js'
import type { Reporter } from '../report.js'
import { boundedName } from '../tree/bounded-name.js'
import type { Allocation } from './allocation.js'
import type { Copy, NodeDeploy, NodeResult } from './messages.js'
import { sbcast, sweep } from './send.js'
import { type NodeState, Step } from './step.js'

export type Phase = 'start' | 'send' | 'deploy' | 'end'

export interface Distribution {
  readonly archive: string
  /** Bytes of it. */
  readonly size: number
  readonly from: 'broadcast' | 'shared'
  readonly keep: boolean
  /** Seconds. */
  readonly silence: number
  readonly command: readonly string[]
  readonly deploy: NodeDeploy
  readonly signal: AbortSignal | undefined
  readonly reporter: Reporter
  readonly clock: Clock<Phase>
  readonly warn: (text: string) => void
}

export interface Distributed {
  readonly results: ReadonlyMap<string, NodeResult>
  /** Where the copy stood on the nodes; null: none was sent. */
  readonly copy: string | null
}

/** Rounds of sending: each is a file to all nodes. */
const mostRounds = 4

/** Ends when every node has a result and no copy of the archive is left, but those to be kept. Throws CANCELLED, SOURCE_CHANGED, IO. */
export async function distribute(allocation: Allocation, job: Distribution): Promise<Distributed> {
  const { archive, from, signal } = job
  const results = new Map<string, NodeResult>()
  // Read while the step starts; it is in memory when it is sent.
  const digested = from === 'shared' ? null : digestOf(archive, signal)
  digested?.catch(() => undefined) // It is told where it is waited for.
  let copy: Copy | null = null
  let nodes = allocation.nodes
  for (let round = 1; nodes.length > 0; round++) {
    const here = { ...allocation, nodes }
    const step = startStep(here, job)
    let again: readonly string[] = []
    try {
      await ready(step, job)
      if (digested === null) await go(step, job)
      else {
        copy = copyFor(step, job, allocation)
        again = await send(step, copy, digested, here, job, round < mostRounds)
      }
      for (const [name, { result }] of step.nodes)
        if (result !== null && !again.includes(name)) results.set(name, result)
    } finally {
      job.reporter.phase('end')
      await step.close()
      if (copy !== null) await cleaned(step, copy, here, job)
      job.clock.lap('end')
    }
    nodes = again
  }
  return { results, copy: copy?.path ?? null }
}

/** Answers with one task on each node. */
function startStep(allocation: Allocation, { command, deploy, silence, from, reporter }: Distribution): Step {
  const root = deploy.root === undefined || from === 'shared' ? [] : ['--root', deploy.root]
  const onChange = (): void => {
    const isStarting = [...step.nodes.values()].some(({ ready, result }) => ready === null && result === null)
    const missing = [...step.nodes].filter(
      ([, { ready, result }]) => result === null && !(isStarting && ready !== null),
    )
    const names = missing.slice(0, 3).map(([name]) => name)
    const waiting = missing.length === 0 ? undefined : `${names.join(', ')}${missing.length > 3 ? ', …' : ''}`
    reporter.progress(step.nodes.size - missing.length, waiting)
  }
  const words = [...command, 'broadcast-node', ...root]
  const step: Step = new Step({ allocation, command: words, silence: silence * 1000, onChange })
  return step
}

async function ready(step: Step, { reporter, signal, clock }: Distribution): Promise<void> {
  reporter.phase('start', step.nodes.size, 'nodes')
  await step.until((node) => node.ready !== null, signal)
  clock.lap('start')
}

async function go(step: Step, job: Distribution, copied?: Digested): Promise<void> {
  const { archive, deploy, keep, signal, reporter, clock } = job
  reporter.phase('deploy', step.nodes.size, 'nodes')
  const told = copied === undefined ? {} : { copied: { size: copied.size, sha256: copied.digest, keep } }
  if (step.waiting().length > 0) step.tell({ is: 'go', archive, deploy, ...told })
  await step.until(() => false, signal)
  clock.lap('deploy')
}

/** Sends and deploys; the nodes for which it has to be done again, without those that failed. */
async function send(
  step: Step,
  copy: Copy | null,
  digested: Promise<Digested>,
  here: Allocation,
  job: Distribution,
  mayRepeat: boolean,
): Promise<readonly string[]> {
  const sound = step.waiting()
  if (copy === null || sound.length === 0) return []
  if (sound.length < step.nodes.size && mayRepeat) return sound
  const { reporter, warn, clock } = job
  reporter.phase('send', job.size, 'bytes')
  step.tell({ is: 'expect', copy })
  const { digest, failure } = await sent(step, copy, digested, here, job)
  clock.lap('send')
  if (failure !== null) {
    warn(failure)
    const named = sound.filter((name) => failure.includes(`(${name})`))
    for (const name of named) step.fail(name, { code: 'IO', message: `the copy could not be sent: ${failure}` })
    if (named.length > 0 && mayRepeat) return step.waiting()
  }
  await go(step, job, digest)
  return []
}

/** Sends while the archive is read for its digest; both have ended when this does. */
async function sent(
  step: Step,
  { part }: Copy,
  digested: Promise<Digested>,
  here: Allocation,
  { archive, signal }: Distribution,
): Promise<{ readonly digest: Digested; readonly failure: string | null }> {
  const stop = new AbortController()
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal])
  const [digest, failure] = await Promise.allSettled([
    digested.catch((error: unknown) => {
      stop.abort()
      throw error
    }),
    sbcast(here, step.id(), archive, part, either),
  ])
  if (digest.status === 'rejected') throw digest.reason
  if (failure.status === 'rejected') throw failure.reason
  return { digest: digest.value, failure: failure.value }
}

/** A name in the local folder that most nodes have, with room for it; the other nodes fail. Null: no node has one. */
function copyFor(step: Step, { archive, size, keep }: Distribution, { job }: Allocation): Copy | null {
  const waiting = step.waiting().map((name) => [name, step.nodes.get(name) as NodeState] as const)
  const isRoom = ({ ready }: NodeState, path: string): boolean =>
    ready?.places.some((place) => place.path === path && place.freeBytes > size) === true
  const paths = new Set(waiting.flatMap(([, { ready }]) => ready?.places.map(({ path }) => path) ?? []))
  const counted = [...paths].map((path) => ({ path, count: waiting.filter(([, node]) => isRoom(node, path)).length }))
  const most = Math.max(0, ...counted.map(({ count }) => count))
  const place = most === 0 ? undefined : counted.find(({ count }) => count === most)?.path
  for (const [name, node] of waiting)
    if (place === undefined || !isRoom(node, place)) step.fail(name, noRoom(node, place, size))
  if (place === undefined) return null
  // Nobody else can know the name: what stands in a folder for all, such as /tmp, is not somebody else's.
  const random = randomBytes(6).toString('hex')
  const name = `${keep ? '' : '.'}conda-deploy-${job}-${random}-${boundedName(basename(archive), 60)}`
  const path = join(place, name)
  return { part: `${path}.part`, path }
}

function noRoom(
  { ready }: NodeState,
  place: string | undefined,
  size: number,
): { code: string; message: string; hint: string } {
  const hint = 'name another folder with --root, or say --from shared'
  const there = ready?.places.filter(({ path }) => place === undefined || path === place) ?? []
  const free = there.map(({ path, freeBytes }) => `${path} has ${freeBytes} bytes free`).join(', ')
  if (there.length > 0) return { code: 'NO_SPACE', message: `no room for the archive of ${size} bytes: ${free}`, hint }
  const why = ready?.rejected.length ? `: ${ready.rejected.join('; ')}` : ''
  const what =
    place === undefined ? 'no local folder for the archive' : `${place} cannot be used here, as on other nodes`
  return { code: 'TARGET_SHARED', message: `${what}${why}`, hint }
}

/** What tasks that failed or are gone have left. */
async function cleaned(
  step: Step,
  { part, path }: Copy,
  here: Allocation,
  { keep, warn }: Distribution,
): Promise<void> {
  const kept = (state: NodeState): boolean => keep && state.result !== null && 'archive' in state.result
  const dirty = [...step.nodes].filter(([, state]) => !kept(state) && (!state.clean || state.left !== undefined))
  if (dirty.length === 0) return
  const names = dirty.map(([node]) => node)
  if (!(await sweep(here, names, [part, path])))
    warn(`a copy of the archive may be left on ${names.join(', ')}: ${path} or ${part}`)
}
