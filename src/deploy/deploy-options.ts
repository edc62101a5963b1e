/** The options of the verb `deploy`, and what is left of them when they are checked. */
import { availableParallelism } from 'node:os'
import { EnvError } from '../errors.js'
import { checkOptions, type Shape } from '../options.js'
import { type Reporter, silent } from '../report.js'
import { checkHolder } from './cache/holder.js'

export interface DeployOptions {
  /** An archive, a directory that holds an environment, or `-`: standard input. */
  readonly archive: string
  /** The target directory; it must not exist. Default: a directory named after the content, in the node's local scratch folder. */
  readonly to?: string | undefined
  /** The scratch folder to use instead of the one that is found. Not with `to`. */
  readonly root?: string | undefined
  /** Let the target be on a network or parallel file system. */
  readonly allowShared?: boolean | undefined
  /** Take write permission away from files and directories; default true. */
  readonly readOnly?: boolean | undefined
  /** Default: all cores. */
  readonly threads?: number | undefined
  /**
   * Read the tree back and hash every file before it is published; default false. What comes out of the archive is checked anyway, by
   * its checksums; this finds what the target's file system made wrong.
   */
  readonly verify?: boolean | undefined
  /** Bytes that the files may have together; default 100 times the size of the archive, at least 1 GiB. */
  readonly maxBytes?: number | undefined
  /** Files, directories and links that there may be; default 4 million. */
  readonly maxFiles?: number | undefined
  /**
   * A deployment on this node to take equal content from, by hard links where both are read-only and this user's. Default: the newest one
   * of an environment of the same name in the node's cache, when no target is named.
   */
  readonly base?: string | undefined
  /**
   * A deployment of an earlier archive at `to` becomes that of this one: only what differs is written, and programs that run there see each
   * file old or new. Default false: it is TARGET_EXISTS. Only with `to`, and for archives of ours.
   */
  readonly update?: boolean | undefined
  /** Take content from an earlier deployment; default true. */
  readonly delta?: boolean | undefined
  /**
   * Who needs the deployment, so that it is not evicted: `slurm:ID`, `pbs:ID`, `sge:ID`, `lsf:ID`, or `pid:PID:START`. Default: the
   * scheduler's job that this process belongs to, when no target is named. Not with `to`.
   */
  readonly lease?: string | undefined
  /** As root: deploy into the node's cache for all users, from an archive of ours, with every content checked. Not with `to`. */
  readonly shared?: boolean | undefined
  /** The site's policy file; default: /etc/conda-deploy.yaml, where it is there. */
  readonly policy?: string | undefined
  /** Seconds to wait for another deployment to the same place; default: as long as it takes. */
  readonly wait?: number | undefined
  /** Say what would be done, and do nothing. */
  readonly dryRun?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

const shape: Shape<DeployOptions> = {
  archive: 'string',
  to: 'string',
  root: 'string',
  allowShared: 'boolean',
  readOnly: 'boolean',
  threads: 'number',
  verify: 'boolean',
  maxBytes: 'number',
  maxFiles: 'number',
  base: 'string',
  update: 'boolean',
  delta: 'boolean',
  lease: 'string',
  shared: 'boolean',
  policy: 'string',
  wait: 'number',
  dryRun: 'boolean',
  signal: 'object',
  reporter: 'object',
}

/** The options with their defaults. */
export interface Settings {
  readonly readOnly: boolean
  readonly threads: number
  readonly verify: boolean
  readonly said: Pick<DeployOptions, 'maxBytes' | 'maxFiles'>
  readonly base: string | undefined
  readonly update: boolean
  readonly delta: boolean
  readonly shared: boolean
  readonly wait: number | undefined
  readonly dryRun: boolean
  readonly signal: AbortSignal | undefined
  readonly reporter: Reporter
}

/** Throws INVALID_OPTION, PERMISSION. */
export function settle(options: DeployOptions): Settings {
  checkOptions<DeployOptions>('deploy', options, shape)
  const { archive, to, root, threads = availableParallelism(), signal, reporter = silent } = options
  const { maxBytes, maxFiles } = options
  const refuse = (message: string): never => {
    throw new EnvError('INVALID_OPTION', `deploy: ${message}`)
  }
  if (archive === undefined || archive === '') refuse('no archive is named')
  if (to === '' || root === '') refuse(`option '${to === '' ? 'to' : 'root'}' is empty`)
  if (to !== undefined && root !== undefined) refuse("'to' and 'root' exclude each other")
  if (!Number.isInteger(threads) || threads < 1)
    refuse(`option 'threads' must be a whole number from 1, got ${threads}`)
  for (const [name, value] of Object.entries({ maxBytes, maxFiles }))
    if (value !== undefined && value <= 0) refuse(`option '${name}' must be a number above 0, got ${value}`)
  const { readOnly = true, verify = false, dryRun = false, base, update = false } = options
  const { delta = true, wait, lease, shared = false } = options
  if (lease !== undefined) checkHolder('deploy', lease)
  const cached = lease !== undefined ? 'lease' : shared ? 'shared' : undefined
  if (to !== undefined && cached !== undefined) refuse(`'to' and '${cached}' exclude each other`)
  if (shared && !readOnly) refuse("'shared' needs 'readOnly'")
  if (shared && process.geteuid?.() !== 0)
    throw new EnvError('PERMISSION', 'deploy: only root deploys for all users', { hint: 'leave --shared out' })
  if (update && to === undefined) refuse("'update' needs 'to'")
  if (update && base !== undefined) refuse("'update' and 'base' exclude each other")
  if (base === '') refuse("option 'base' is empty")
  if (base !== undefined && !delta) refuse("'base' needs 'delta'")
  if (wait !== undefined && wait < 0) refuse(`option 'wait' must be a number of seconds from 0, got ${wait}`)
  const settled = { readOnly, verify: verify || shared, said: { maxBytes, maxFiles }, base, update, delta, shared }
  return { ...settled, threads: Math.min(threads, availableParallelism()), wait, dryRun, signal, reporter }
}
