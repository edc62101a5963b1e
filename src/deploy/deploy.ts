/**
 * The verb: an archive becomes a working environment. This folder plans where (plan, scratch, file-system, node-cache), refuses early
 * (preflight), keeps others out (lock), marks (ready) and publishes; the bytes are the native core's. What is in an archive is decided
 * in pack; nothing here knows a format.
 */
import { availableParallelism } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { checkLimits, limitsFor } from '../archive/limits.js'
import { Clock } from '../clock.js'
import { EnvError } from '../errors.js'
import { type Base, native } from '../native.js'
import { checkOptions, type Shape } from '../options.js'
import { type Reporter, silent } from '../report.js'
import { acquire, cancelled } from '../tree/lock.js'
import { baseFor } from './delta.js'
import { byName, holdStage } from './hold.js'
import { type Plan, planDeploy, type Target } from './plan.js'
import { discard, lockOf, makePlace, makeStage, publish, sweep, takeBack } from './publish.js'
import { indexOf, standingAt, targetExists, writeReady } from './ready.js'
import { type Source, standardInput, type Unpacked, withSource } from './source.js'
import { checkStage } from './verify.js'

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
  /** Take content from an earlier deployment; default true. */
  readonly delta?: boolean | undefined
  /** Seconds to wait for another deployment to the same place; default: as long as it takes. */
  readonly wait?: number | undefined
  /** Say what would be done, and do nothing. */
  readonly dryRun?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

/** `wait`: for another deployment to the same place. */
type Phase = 'plan' | 'wait' | 'extract' | 'verify' | 'publish'

export interface DeployResult extends Unpacked {
  /** The deployment that equal content is taken from; null: none. */
  readonly base: string | null
  /** Where the environment is. */
  readonly prefix: string
  /** Names the content of the archive, in hexadecimal. */
  readonly digest: string
  /** `adopted`: an equal, complete deployment was there; nothing was written. */
  readonly method: 'deployed' | 'adopted'
  readonly dryRun: boolean
  readonly readOnly: boolean
  readonly threads: number
  readonly seconds: Readonly<Record<Phase | 'total', number>>
  readonly target: Target
  readonly warnings: readonly string[]
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
  delta: 'boolean',
  wait: 'number',
  dryRun: 'boolean',
  signal: 'object',
  reporter: 'object',
}

type Phases = Clock<Phase>

/** The options with their defaults. */
interface Settings {
  readonly readOnly: boolean
  readonly threads: number
  readonly verify: boolean
  readonly said: Pick<DeployOptions, 'maxBytes' | 'maxFiles'>
  readonly base: string | undefined
  readonly delta: boolean
  readonly wait: number | undefined
  readonly dryRun: boolean
  readonly signal: AbortSignal | undefined
  readonly reporter: Reporter
}

/**
 * Deploys an archive, or adopts an equal deployment. Throws EnvError: ARCHIVE_NOT_FOUND, ARCHIVE_UNKNOWN, ARCHIVE_CORRUPT, UNSAFE_PATH,
 * LIMIT_EXCEEDED, UNSUPPORTED, NOT_AN_ENV, ENV_DAMAGED, SOURCE_CHANGED, TARGET_EXISTS, TARGET_SHARED, TARGET_NOEXEC, PREFIX_TOO_LONG, NO_SPACE,
 * PERMISSION, VERIFY_FAILED, INVALID_OPTION, IO, CANCELLED. On any of them nothing is left at the target or beside it.
 */
export async function deploy(options: DeployOptions): Promise<DeployResult> {
  const settings = settle(options)
  const { threads, reporter, signal } = settings
  const clock: Phases = new Clock(['plan', 'wait', 'extract', 'verify', 'publish'])
  if (signal?.aborted) throw cancelled(signal)
  reporter.phase('plan')
  const archive = options.archive === standardInput ? standardInput : resolve(options.archive)
  return await withSource(archive, { threads, signal }, (source) =>
    deployFrom(source, archive, options, settings, clock),
  )
}

async function deployFrom(
  source: Source,
  archive: string,
  options: DeployOptions,
  settings: Settings,
  clock: Phases,
): Promise<DeployResult> {
  const { readOnly, dryRun, threads, reporter } = settings
  const limits = limitsFor(source.packedBytes, settings.said)
  const { size } = source.content
  if (size !== null) checkLimits(archive, limits, size.entries, size.bytes)
  const wish = {
    ...(options.to === undefined ? {} : { to: options.to }),
    ...(options.root === undefined ? {} : { root: options.root }),
    allowShared: options.allowShared === true,
    readOnly,
    sweep: dryRun ? async () => false : (prefix: string) => sweep(prefix, threads),
  }
  const plan = await planDeploy(source.content, wish, process.env)
  const { base: named, verify: check } = settings
  const base =
    plan.method === 'adopted' || !settings.delta
      ? undefined
      : await baseFor(source.content, plan, { base: named, readOnly, check })
  clock.lap('plan')
  const made = dryRun || plan.method === 'adopted' ? null : await make(source, plan, base, settings, clock)
  const method = made !== null ? 'deployed' : dryRun ? plan.method : 'adopted'
  const done = made ?? (await nothingDone(source, plan.prefix, method))
  const warnings = [...plan.warnings, ...done.warnings, ...baseWarnings(source, settings, done)]
  for (const warning of warnings) reporter.warn(warning)
  return {
    prefix: plan.prefix,
    digest: source.content.digest,
    base: method === 'adopted' ? null : (base?.root ?? null),
    ...{ method, dryRun, readOnly, threads },
    ...done,
    seconds: clock.seconds(),
    target: plan.target,
    warnings,
  }
}

/** What is there, or would be written: as the archive tells, else the deployment itself; zeros where neither does. */
async function nothingDone({ content }: Source, prefix: string, method: DeployResult['method']): Promise<Unpacked> {
  const there = content.size === null && method === 'adopted' ? await native().index(indexOf(prefix), false) : null
  const { files, bytes } = content.size ?? there ?? { files: 0, bytes: 0 }
  return { files, bytes, readBytes: 0, rewritten: 0, spots: 0, trampolines: 0, byPath: [], warnings: [] }
}

/** What was asked of a base, or expected, and could not be had. */
function baseWarnings({ content }: Source, { base }: Settings, { reused }: Unpacked): string[] {
  const said: string[] = []
  if (base !== undefined && content.size === null)
    said.push(`nothing was taken from ${base}: an archive made by others is read as a whole`)
  if (reused !== undefined && reused.why !== '') {
    const { refused } = reused
    const count = refused === 0 ? 'everything is' : refused === 1 ? '1 file is' : `${refused} files are`
    said.push(`${count} read from the archive instead of the earlier deployment: ${reused.why}`)
  }
  return said
}

function settle(options: DeployOptions): Settings {
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
  const { readOnly = true, verify = false, dryRun = false, base, delta = true, wait } = options
  if (base === '') refuse("option 'base' is empty")
  if (base !== undefined && !delta) refuse("'base' needs 'delta'")
  if (wait !== undefined && wait < 0) refuse(`option 'wait' must be a number of seconds from 0, got ${wait}`)
  return { readOnly, threads, verify, said: { maxBytes, maxFiles }, base, delta, wait, dryRun, signal, reporter }
}

/** Makes the deployment; null: while this one waited, another process made an equal one. */
async function make(
  source: Source,
  plan: Plan,
  base: Base | undefined,
  settings: Settings,
  clock: Phases,
): Promise<Unpacked | null> {
  const { prefix } = plan
  const { signal, readOnly, reporter, wait } = settings
  const isThere = async (): Promise<boolean> => {
    const standing = await standingAt(prefix, source.content.digest, readOnly)
    if (standing.is === 'other') throw targetExists(prefix, standing.what)
    return standing.is === 'equal'
  }
  const makeFolder = () => makePlace(prefix, plan.cached ? plan.target.root : undefined)
  const place = await makeFolder()
  const at = join(place.folder, basename(prefix))
  try {
    const lock = await acquire(lockOf(at), {
      makeFolder,
      signal,
      wait,
      onWait: () => reporter.phase('wait for another deployment'),
      enough: isThere,
    })
    clock.lap('wait')
    if (lock === null) return null
    try {
      return (await isThere()) ? null : await fill(source, plan, at, base, settings, clock)
    } finally {
      // A file that stays keeps nobody out, and the next deployment takes it away: no reason to fail, nor to hide why this one failed.
      await lock.release().catch((failure: Error) => reporter.warn(`a lock file is left behind: ${failure.message}`))
    }
  } catch (error) {
    await takeBack(place)
    throw byName(error, [place.held])
  } finally {
    place.held?.letGo()
  }
}

/** Under the lock: stage, fill, check, mark, publish. `at`: the prefix, by a way that is safe to use. */
async function fill(
  source: Source,
  plan: Plan,
  at: string,
  base: Base | undefined,
  settings: Settings,
  clock: Phases,
): Promise<Unpacked> {
  const { prefix } = plan
  const { readOnly, threads, signal, reporter } = settings
  const { digest, size, name } = source.content
  const limits = limitsFor(source.packedBytes, settings.said)
  const stage = await makeStage(at, threads)
  // What root made must not become something else while it is filled.
  const held = at === prefix ? null : holdStage(stage, stage)
  const inside = held === null ? stage : `${held.path}/.`
  try {
    reporter.phase('extract', size?.bytes, 'bytes')
    const progress = (bytes: number): void => reporter.progress(bytes)
    const job = { root: inside, prefix, readOnly, threads, ...(base === undefined ? {} : { base }) }
    const unpacked = await source.unpack(job, { signal, progress, limits })
    clock.lap('extract')
    if (settings.verify) await checkStage(inside, settings)
    clock.lap('verify')
    reporter.phase('publish')
    const created = new Date().toISOString()
    await writeReady(inside, { version: 1, digest, prefix, readOnly, created, ...(name === null ? {} : { name }) })
    if (signal?.aborted) throw cancelled(signal)
    if (!(await publish(stage, at, readOnly, inside)))
      throw targetExists(prefix, 'it was made while this deployment ran')
    clock.lap('publish')
    return unpacked
  } catch (error) {
    await discard(stage, threads).catch((failure: Error) =>
      reporter.warn(`${stage} is left behind: ${failure.message}`),
    )
    throw byName(error, [held])
  } finally {
    held?.letGo()
  }
}
