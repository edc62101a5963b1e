/**
 * The verb: an archive becomes a working environment. This folder plans where (plan, scratch, cache/), refuses early
 * (preflight), keeps others out (lock), marks (ready) and publishes; the bytes are the native core's. What is in an archive is decided
 * in pack; nothing here knows a format.
 */
import { basename, join, resolve } from 'node:path'
import { checkLimits, limitsFor } from '../archive/limits.js'
import { Clock } from '../clock.js'
import { EnvError } from '../errors.js'
import { type Base, native } from '../native.js'
import { acquire, cancelled } from '../tree/lock.js'
import { adopt, Claim, type Holders } from './cache/claim.js'
import { jobHolder } from './cache/holder.js'
import { type KeptBase, keepBase } from './cache/keep-base.js'
import { defaultPolicy, type Policy, readPolicy } from './cache/policy.js'
import { type Evictions, isFull, makeRoom } from './cache/room.js'
import { baseFor } from './delta.js'
import { type DeployOptions, type Settings, settle } from './deploy-options.js'
import { byName, holdStage } from './hold.js'
import { type Plan, planDeploy, type Target, type Wish } from './plan.js'
import { roomOf } from './preflight.js'
import { discard, lockOf, makePlace, makeStage, publish, sweep, takeBack } from './publish.js'
import { indexOf, type Ready, type Standing, standingAt, targetExists, writeReady } from './ready.js'
import { type Source, standardInput, type Unpacked, withCopy, withSource } from './source.js'
import { recoverUpdate, type Updated, update } from './update.js'
import { checkAdopted, checkStage } from './verify.js'

export type { DeployOptions } from './deploy-options.js'

/** `wait`: for another deployment to the same place. */
type Phase = 'plan' | 'wait' | 'extract' | 'verify' | 'publish'

export interface DeployResult extends Unpacked {
  /** The deployment that equal content is taken from; null: none. */
  readonly base: string | null
  /** Where the environment is. */
  readonly prefix: string
  /** Names the content of the archive, in hexadecimal. */
  readonly digest: string
  /** `adopted`: an equal, complete deployment was there; nothing was written. `updated`: one of an earlier archive was; only what differs was written. */
  readonly method: Plan['method']
  /** Only of what was updated. */
  readonly updated?: Updated
  readonly dryRun: boolean
  readonly readOnly: boolean
  readonly threads: number
  readonly seconds: Readonly<Record<Phase | 'total', number>>
  readonly target: Target
  /** The holder that a lease was taken for; null: none. */
  readonly lease: string | null
  /** Deployments of the cache that had to go to make room, or would have to. */
  readonly evicted: readonly string[]
  readonly warnings: readonly string[]
}

type Phases = Clock<Phase>

/**
 * Deploys an archive, or adopts an equal deployment. Throws EnvError: ARCHIVE_NOT_FOUND, ARCHIVE_UNKNOWN, ARCHIVE_CORRUPT, UNSAFE_PATH,
 * LIMIT_EXCEEDED, UNSUPPORTED, NOT_AN_ENV, ENV_DAMAGED, SOURCE_CHANGED, TARGET_EXISTS, TARGET_SHARED, TARGET_NOEXEC, PREFIX_TOO_LONG, NO_SPACE,
 * PERMISSION, VERIFY_FAILED, INVALID_OPTION, IO, CANCELLED. On any of them nothing is left at the target or beside it.
 */
export async function deploy(options: DeployOptions): Promise<DeployResult> {
  return (await deployFor(options, [])).result
}

export interface Deployed {
  readonly result: DeployResult
  /** Its leases; null: it is in no cache, where nothing is evicted. */
  readonly claim: Claim | null
}

/** As `deploy`, with leases for more holders. */
export async function deployFor(options: DeployOptions, more: readonly string[]): Promise<Deployed> {
  const settings = settle(options)
  const { threads, reporter, signal } = settings
  const clock: Phases = new Clock(['plan', 'wait', 'extract', 'verify', 'publish'])
  if (signal?.aborted) throw cancelled(signal)
  reporter.phase('plan')
  const archive = options.archive === standardInput ? standardInput : resolve(options.archive)
  return await withSource(archive, { threads, signal }, (source, path) =>
    deployFrom(source, path, options, more, settings, clock),
  )
}

async function deployFrom(
  source: Source,
  archive: string,
  options: DeployOptions,
  more: readonly string[],
  settings: Settings,
  clock: Phases,
): Promise<Deployed> {
  const { readOnly, dryRun, reporter } = settings
  const { content } = source
  check(source, archive, settings)
  const lease = options.lease ?? jobHolder(process.env) ?? null
  const leaseWarnings: string[] = []
  const holders: Holders = {
    all: [...(lease === null ? [] : [lease]), ...more],
    asked: options.lease !== undefined,
    warn: (message) => void leaseWarnings.push(message),
  }
  const policy = options.to === undefined ? await readPolicy(options.policy) : defaultPolicy
  const evicted: string[] = []
  const wish = wishOf(options, settings, policy, evicted)
  const claimOn = ({ cache, prefix }: Plan): Claim | null =>
    cache === null || dryRun ? null : new Claim(cache, basename(prefix), holders)
  let plan = await planDeploy(content, wish, process.env)
  let claim = claimOn(plan)
  const { prefix, method: planned } = plan
  if (
    planned === 'adopted' &&
    claim !== null &&
    !(await adopt(claim, async () => (await whatIsThere(prefix, content.digest, settings)) === 'equal'))
  ) {
    // It is being removed by who evicts, or has been: whoever has the lock next decides.
    const own = wish.shared === 'use' ? { ...wish, shared: 'pass' as const } : wish
    plan = { ...(await planDeploy(content, own, process.env)), method: 'deployed' }
    claim = claimOn(plan)
  }
  const found = await baseOf(content, plan, settings)
  const kept = await keepBase(found, dryRun ? null : plan.cache, holders.warn)
  clock.lap('plan')
  const isDone = dryRun || plan.method === 'adopted'
  const made = isDone ? null : await make(source, archive, plan, wish, claim, kept, settings, clock).finally(kept.end)
  const method = made === null ? (dryRun ? plan.method : 'adopted') : made.updated ? 'updated' : 'deployed'
  // What is writable is meant to become other than it was.
  if (options.verify === true && made === null && !dryRun && readOnly) await checkAdopted(plan.prefix, settings)
  clock.lap('verify')
  const done = made ?? (await nothingDone(source, plan.prefix, method))
  const warnings = [...plan.warnings, ...done.warnings, ...baseWarnings(source, settings, done), ...leaseWarnings]
  for (const warning of warnings) reporter.warn(warning)
  const result = {
    prefix: plan.prefix,
    digest: await content.digest(),
    base: (isDone ? method === 'deployed' : made?.reused !== undefined) ? (kept.base?.root ?? null) : null,
    ...{ method, dryRun, readOnly, threads: settings.threads },
    ...done,
    seconds: clock.seconds(),
    target: plan.target,
    lease: plan.cache === null || leaseWarnings.length > 0 ? null : lease,
    evicted,
    warnings,
  }
  return { result, claim }
}

/** Throws LIMIT_EXCEEDED, UNSUPPORTED. */
function check({ content: { size }, packedBytes }: Source, archive: string, { said, shared }: Settings): void {
  if (size !== null) checkLimits(archive, limitsFor(packedBytes, said), size.entries, size.bytes)
  else if (shared) {
    const hint = 'pack the environment with conda-deploy'
    const message = `${archive} was not made by conda-deploy: it holds no hashes, and is not shared with other users`
    throw new EnvError('UNSUPPORTED', message, { path: archive, hint })
  }
}

function wishOf(options: DeployOptions, settings: Settings, { cache }: Policy, evicted: string[]): Wish {
  const { readOnly, update, dryRun, threads, shared } = settings
  const { leaseAge } = cache
  return {
    ...(options.to === undefined ? {} : { to: options.to }),
    ...(options.root === undefined ? {} : { root: options.root }),
    allowShared: options.allowShared === true,
    ...{ readOnly, update },
    shared: shared ? 'fill' : cache.shared ? 'use' : 'pass',
    site: cache.root,
    dryRun,
    sweep: dryRun ? async () => false : (prefix) => sweep(prefix, threads),
    // Read only where there is no room.
    idle: async (folder) => (await import('./cache/evict.js')).idleIn(folder, leaseAge),
    async evict(folder, entry) {
      const { evict, withCache } = await import('./cache/evict.js')
      const kept = await withCache(folder, 'gone', (open) => evict(open, entry, { leaseAge, threads, dryRun }))
      if (kept === null) evicted.push(join(folder.path, entry.entry))
      return kept === null ? roomOf(entry) : null
    },
  }
}

async function baseOf(content: Source['content'], plan: Plan, settings: Settings): Promise<Base | undefined> {
  if (plan.method !== 'deployed' || !settings.delta) return undefined
  return await baseFor(content, plan, { base: settings.base, readOnly: settings.readOnly, check: settings.verify })
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

type Made = Unpacked & { readonly updated?: Updated }

/** Makes the deployment; null: while this one waited, another process made an equal one. */
async function make(
  source: Source,
  archive: string,
  plan: Plan,
  evictions: Evictions,
  claim: Claim | null,
  kept: KeptBase,
  settings: Settings,
  clock: Phases,
): Promise<Made | null> {
  const { prefix } = plan
  const { signal, reporter, wait, threads } = settings
  const stands = async (): Promise<boolean> => (await whatIsThere(prefix, source.content.digest, settings)) === 'equal'
  const makeFolder = () => makePlace(prefix, plan.cache)
  const place = await makeFolder()
  const at = join(place.folder, basename(prefix))
  try {
    const lock = await acquire(lockOf(at), {
      makeFolder,
      signal,
      wait,
      onWait: () => reporter.phase('wait for another deployment'),
      enough: async () => (await stands()) && (claim === null || (await adopt(claim, stands))),
    })
    clock.lap('wait')
    if (lock === null) return null
    try {
      await claim?.take()
      const found = await whatIsThere(prefix, source.content.digest, settings)
      const isLeft = found !== 'absent' && (await recoverUpdate(prefix, threads))
      const there = isLeft ? await whatIsThere(prefix, source.content.digest, settings) : found
      if (there === 'equal') {
        claim?.touch()
        return null
      }
      if (there === 'earlier') return await renew(source, prefix, settings, clock)
      const fillIt = async (base: Base | undefined): Promise<Unpacked> => {
        const fillFrom = (from: Source) => fill(from, plan, at, base, settings, clock)
        if (!settings.shared) return await fillFrom(source)
        reporter.phase('copy', source.packedBytes, 'bytes')
        return await withCopy(source, archive, place.folder, { threads, signal }, fillFrom)
      }
      try {
        return await fillIt(kept.base)
      } catch (error) {
        if (!isFull(error)) throw error
        // What content was taken from may go like any other.
        await kept.end()
        if (!(await makeRoom(plan, source.content, evictions))) throw error
        return await fillIt(undefined)
      }
    } catch (error) {
      claim?.giveBack()
      throw error
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

/** Throws TARGET_EXISTS for something else, and for what could be updated and is not to be. */
async function whatIsThere(
  prefix: string,
  digest: () => Promise<string>,
  { readOnly, update }: Settings,
): Promise<Exclude<Standing['is'], 'other'>> {
  const standing = await standingAt(prefix, digest, readOnly)
  if (standing.is === 'other' || (standing.is === 'earlier' && !update))
    throw targetExists(prefix, standing.what, standing.is)
  return standing.is
}

/** Under the lock: an earlier deployment becomes this one, where it stands. */
async function renew(source: Source, prefix: string, settings: Settings, clock: Phases): Promise<Made> {
  const { signal, reporter } = settings
  reporter.phase('extract')
  const unpacking = { signal, progress: () => {}, limits: limitsFor(source.packedBytes, settings.said) }
  const { size } = source.content
  if (size === null) throw new Error('an archive made by others updates nothing')
  const ready = await readyOf(source, prefix, settings, size)
  return await update(source, prefix, ready, unpacking, settings).finally(() => clock.lap('extract'))
}

async function readyOf(
  { content }: Source,
  prefix: string,
  { readOnly }: Settings,
  { bytes, entries }: { readonly bytes: number; readonly entries: number },
): Promise<Ready> {
  const created = new Date().toISOString()
  const named = content.name === null ? {} : { name: content.name }
  return { version: 1, digest: await content.digest(), prefix, readOnly, created, ...named, bytes, entries }
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
  const { size } = source.content
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
    const known = size ?? { bytes: unpacked.bytes, entries: unpacked.files }
    await writeReady(inside, await readyOf(source, prefix, settings, known))
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
