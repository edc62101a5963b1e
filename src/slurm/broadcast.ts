/**
 * The verb: one archive onto every node of an allocation. Slurm distributes (sbcast) and starts (srun); this says where to, checks what
 * arrived, and tells how it went on each node. Deploying is deploy's, on each node (node-task).
 */
import { randomBytes } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Digested, digestOf } from '../archive/digest.js'
import { Clock } from '../clock.js'
import { standardInput } from '../deploy/source.js'
import { EnvError, fromSystem } from '../errors.js'
import { checkOptions, type Shape } from '../options.js'
import { type Reporter, silent } from '../report.js'
import { type Allocation, allocationOf } from './allocation.js'
import type { Copy, NodeDeploy, NodeResult } from './messages.js'
import { sbcast, sweep } from './send.js'
import { type NodeState, Step } from './step.js'

export interface BroadcastOptions {
  /** An archive, a file that the node of this process can read. */
  readonly archive: string
  /**
   * `broadcast`, the default: read once, sent to the local disk of every node by sbcast, deployed from there. `shared`: every node reads
   * it where it is.
   */
  readonly from?: 'broadcast' | 'shared' | undefined
  /** Leave the copy of the archive on the nodes; default false. */
  readonly keep?: boolean | undefined
  /** Options of `deploy` for every node. Where `root` is set, the copy arrives there too. */
  readonly deploy?: NodeDeploy | undefined
  /** Seconds for which a node that is waited for may say nothing before it is given up; default 120. */
  readonly silence?: number | undefined
  /** Program and arguments that are conda-deploy on the nodes; default: this one. */
  readonly command?: readonly string[] | undefined
  /** Say what would be done, and do nothing. */
  readonly dryRun?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

type Phase = 'start' | 'send' | 'deploy' | 'end'

export interface BroadcastResult {
  readonly archive: string
  /** Bytes of it. */
  readonly size: number
  readonly from: 'broadcast' | 'shared'
  readonly job: string
  readonly dryRun: boolean
  /** Where the copy arrived on every node; null: none was sent. */
  readonly copy: string | null
  /** In Slurm's order; empty results with `dryRun`. */
  readonly nodes: readonly ({ readonly node: string } & (NodeResult | { readonly status: 'planned' }))[]
  readonly failed: number
  readonly seconds: Readonly<Record<Phase | 'total', number>>
  readonly warnings: readonly string[]
}

const shape: Shape<BroadcastOptions> = {
  archive: 'string',
  from: 'string',
  keep: 'boolean',
  deploy: 'object',
  silence: 'number',
  command: 'strings',
  dryRun: 'boolean',
  signal: 'object',
  reporter: 'object',
}

interface Settings {
  readonly archive: string
  readonly from: 'broadcast' | 'shared'
  readonly keep: boolean
  readonly silence: number
  readonly command: readonly string[]
  readonly dryRun: boolean
  readonly deploy: NodeDeploy
  readonly size: number
  readonly signal: AbortSignal | undefined
  readonly reporter: Reporter
}

/**
 * Deploys an archive on every node of the allocation that this process is in. Resolves also when nodes failed: `failed` counts them, and
 * the others are done. Throws USAGE outside of an allocation, COMMAND_NOT_FOUND without Slurm's programs, ARCHIVE_NOT_FOUND,
 * SOURCE_CHANGED, INVALID_OPTION, IO, CANCELLED. Copies of the archive are taken away in any case, unless they are to be kept.
 */
export async function broadcast(options: BroadcastOptions): Promise<BroadcastResult> {
  const settings = settle(options)
  const { archive, from, size, dryRun, reporter, signal } = settings
  const allocation = allocationOf(process.env, from === 'shared' ? ['srun'] : ['srun', 'sbcast'])
  const { job, nodes } = allocation
  const clock = new Clock<Phase>(['start', 'send', 'deploy', 'end'])
  const told = { archive, size, from, job, dryRun }
  if (dryRun) {
    const planned = nodes.map((node) => ({ node, status: 'planned' as const }))
    return { ...told, copy: null, nodes: planned, failed: 0, seconds: clock.seconds(), warnings: [] }
  }
  if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
  const warnings: string[] = []
  const warn = (text: string): void => {
    warnings.push(text)
    reporter.warn(text)
  }
  const step = startStep(allocation, settings)
  let copy: Copy | null = null
  try {
    reporter.phase('start', nodes.length, 'nodes')
    // Read while the step starts; it is in memory when it is sent.
    const digested = from === 'shared' ? null : digestOf(archive, signal)
    digested?.catch(() => undefined) // It is told where it is waited for.
    await step.until(({ places }) => places !== null, signal)
    clock.lap('start')
    const isAnyReady = [...step.nodes.values()].some(({ result }) => result === null)
    if (isAnyReady && digested !== null) {
      copy = copyFor(step, settings, allocation)
      reporter.phase('send', size, 'bytes')
      step.tell({ is: 'expect', copy })
      const { sha256, failure } = await sent(allocation, archive, copy, digested, signal)
      if (failure !== null) warn(failure)
      clock.lap('send')
      step.tell({ is: 'go', archive, deploy: settings.deploy, copied: { size, sha256, keep: settings.keep } })
    } else if (isAnyReady) step.tell({ is: 'go', archive, deploy: settings.deploy })
    reporter.phase('deploy', nodes.length, 'nodes')
    await step.until(() => false, signal)
    clock.lap('deploy')
  } finally {
    reporter.phase('end')
    await step.close()
    if (copy !== null) await cleaned(step, copy, settings, allocation, warn)
    clock.lap('end')
  }
  const results = [...step.nodes].map(([node, { result }]) => ({ node, ...(result ?? unknown) }))
  for (const { node, warnings: said } of results) for (const text of said) warn(`${node}: ${text}`)
  const failed = results.filter(({ status }) => status === 'failed').length
  return { ...told, copy: copy?.path ?? null, nodes: results, failed, seconds: clock.seconds(), warnings }
}

/** Sends while the archive is read for its digest; both have ended when this does. */
async function sent(
  allocation: Allocation,
  archive: string,
  { part }: Copy,
  digested: Promise<Digested>,
  signal: AbortSignal | undefined,
): Promise<{ readonly sha256: string; readonly failure: string | null }> {
  const stop = new AbortController()
  const sending = sbcast(
    allocation,
    archive,
    part,
    signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]),
  )
  const [digest, failure] = await Promise.allSettled([
    digested.catch((error: unknown) => {
      stop.abort()
      throw error
    }),
    sending,
  ])
  if (digest.status === 'rejected') throw digest.reason
  if (failure.status === 'rejected') throw failure.reason
  return { sha256: digest.value.digest, failure: failure.value }
}

const unknown: NodeResult = { status: 'failed', code: 'IO', message: 'it has told nothing', warnings: [] }

function settle(options: BroadcastOptions): Settings {
  checkOptions<BroadcastOptions>('broadcast', options, shape)
  const { from = 'broadcast', keep = false, silence = 120, dryRun = false, deploy = {}, command, signal } = options
  const refuse = (message: string): never => {
    throw new EnvError('INVALID_OPTION', `broadcast: ${message}`)
  }
  if (!['broadcast', 'shared'].includes(from)) refuse(`option 'from' is broadcast or shared, got ${from}`)
  if (from === 'shared' && keep) refuse("'keep' needs a copy: it is for 'from' broadcast")
  if (silence < 10) refuse(`option 'silence' must be a number of seconds from 10, got ${silence}`)
  if (options.archive === undefined || options.archive === '') refuse('no archive is named')
  if (options.archive === standardInput) refuse('an archive on standard input cannot be sent: save it to a file')
  const archive = resolve(options.archive)
  return {
    ...{ archive, from, keep, silence, dryRun, deploy, size: sizeOf(archive), signal },
    command: command ?? ownCommand(),
    reporter: options.reporter ?? silent,
  }
}

function sizeOf(archive: string): number {
  const found = (() => {
    try {
      return statSync(archive, { throwIfNoEntry: false })
    } catch (error) {
      throw fromSystem(error, 'cannot look at', archive)
    }
  })()
  if (found?.isFile() === true) return found.size
  const message = found === undefined ? `there is no ${archive}` : `${archive} is no file: pack it first`
  throw new EnvError('ARCHIVE_NOT_FOUND', message, { path: archive })
}

/** The command line that lies beside this library. */
function ownCommand(): string[] {
  const here = import.meta.url
  const file = fileURLToPath(new URL(here.endsWith('.ts') ? '../../dist/conda-deploy.cjs' : './conda-deploy.cjs', here))
  if (existsSync(file)) return [process.execPath, file]
  throw new EnvError('IO', `the command line is missing: there is no ${file}`, { path: file })
}

/** Answers with one task on each node. */
function startStep(allocation: Allocation, settings: Settings): Step {
  const { command, deploy, silence, from, reporter } = settings
  const root = deploy.root === undefined || from === 'shared' ? [] : ['--root', resolve(deploy.root)]
  const onChange = (): void => {
    const states = [...step.nodes.values()]
    const done = states.filter(({ result }) => result !== null).length
    const isStarting = states.some(({ places, result }) => places === null && result === null)
    reporter.progress(isStarting ? states.filter(({ places }) => places !== null).length : done)
  }
  const words = [...command, 'broadcast-node', ...root]
  const step: Step = new Step({ allocation, command: words, silence: silence * 1000, onChange })
  return step
}

/** A name in the first local folder that all nodes have, with room for it. Throws NO_SPACE or TARGET_SHARED when there is none. */
function copyFor(step: Step, { archive, size, keep }: Settings, { job }: Allocation): Copy {
  const states = [...step.nodes].filter(([, { result }]) => result === null)
  const [first] = states
  const common = (first?.[1].places ?? []).filter(({ path }) =>
    states.every(([, { places }]) => places?.some((place) => place.path === path)),
  )
  const roomFor = (path: string): boolean =>
    states.every(([, { places }]) => (places?.find((place) => place.path === path)?.freeBytes ?? 0) > size)
  const place = common.find(({ path }) => roomFor(path))
  if (place === undefined)
    throw noPlace(
      states,
      common.map(({ path }) => path),
      size,
    )
  // Nobody else can know the name: what stands in a folder for all, such as /tmp, is not somebody else's.
  const name = `${keep ? '' : '.'}conda-deploy-${job}-${randomBytes(6).toString('hex')}-${basename(archive)}`
  const path = join(place.path, name)
  return { part: `${path}.part`, path }
}

function noPlace(states: readonly (readonly [string, NodeState])[], common: readonly string[], size: number): EnvError {
  const hint = 'name a folder with --root, or say --from shared'
  if (common.length > 0)
    return new EnvError('NO_SPACE', `no folder has ${size} bytes free on every node: ${common.join(', ')}`, { hint })
  const told = states.map(([node, { places, rejected }]) => {
    const there = places?.map(({ path }) => path).join(', ') || 'none'
    return `  ${node}: ${there}${rejected.length === 0 ? '' : ` (not ${rejected.join('; ')})`}`
  })
  return new EnvError('TARGET_SHARED', `no local folder is on every node:\n${told.join('\n')}`, { hint })
}

/** What tasks that failed or are gone have left. */
async function cleaned(
  step: Step,
  { part, path }: Copy,
  { keep }: Settings,
  allocation: Allocation,
  warn: (text: string) => void,
): Promise<void> {
  const kept = (state: NodeState): boolean => keep && state.result !== null && 'archive' in state.result
  const dirty = [...step.nodes].filter(([, state]) => !kept(state) && (!state.clean || state.left !== undefined))
  if (dirty.length === 0) return
  const names = dirty.map(([node]) => node)
  if (!(await sweep(allocation, names, [part, path])))
    warn(`a copy of the archive may be left on ${names.join(', ')}: ${path} or ${part}`)
}
