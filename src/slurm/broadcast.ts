/**
 * The verb: one archive onto every node of an allocation. Slurm distributes (sbcast) and starts (srun); this folder says where to, checks
 * what arrived, and tells how it went on each node (distribute, step, send, messages). Deploying is deploy's, on each node (node-task).
 */
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { Clock } from '../clock.js'
import { standardInput } from '../deploy/source.js'
import { EnvError, fromSystem } from '../errors.js'
import { checkOptions, type Shape } from '../options.js'
import { type Reporter, silent } from '../report.js'
import { allocationOf } from './allocation.js'
import { type Distribution, distribute, type Phase } from './distribute.js'
import type { NodeDeploy, NodeResult } from './messages.js'
import { ownCommand } from './own-command.js'

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

type Settings = Omit<Distribution, 'clock' | 'warn'> & { readonly dryRun: boolean }

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
  const { results, copy } = await distribute(allocation, { ...settings, clock, warn })
  const all = nodes.map((node) => ({ node, ...(results.get(node) ?? unheard) }))
  for (const { node, warnings: said } of all) for (const text of said) warn(`${node}: ${text}`)
  const failed = all.filter(({ status }) => status === 'failed').length
  return { ...told, copy, nodes: all, failed, seconds: clock.seconds(), warnings }
}

const unheard: NodeResult = { status: 'failed', code: 'IO', message: 'it has told nothing', warnings: [] }

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
  // Tasks stand elsewhere.
  const { root, to, base } = deploy
  const paths = Object.entries({ root, to, base }).flatMap(([name, path]) => (path ? [[name, resolve(path)]] : []))
  return {
    ...{ archive, from, keep, silence, dryRun, size: sizeOf(archive), signal },
    deploy: { ...deploy, ...Object.fromEntries(paths) },
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
