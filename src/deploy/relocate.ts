import { realpath } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { Clock } from '../clock.js'
import { inUpdate, isUpdating } from '../conda/changing.js'
import { EnvError } from '../errors.js'
import { type Base, type Index, native, type Reused, runJob } from '../native.js'
import { checkOptions, type Shape } from '../options.js'
import { checkPrefix, remarksOnPrefix } from '../prefix/name.js'
import { type Reporter, silent } from '../report.js'
import { acquire, cancelled, type Lock } from '../tree/lock.js'
import { byName, type Held, hold, holdStage } from './hold.js'
import {
  bringBack,
  clear,
  discard,
  lockOf,
  makePlace,
  makeStage,
  publish,
  removeTree,
  replace,
  takeBack,
} from './publish.js'
import { indexOf, lookAt, type Ready, readReady, targetExists, writeReady } from './ready.js'
import { checkPlaces, standsThere, whatStands } from './relocatable.js'
import { type Unpacked, unpackedOf } from './source.js'
import { checkStage, faultsIn, faulty } from './verify.js'

export interface RelocateOptions {
  /** A deployed tree. */
  readonly directory: string
  /** Where it shall stand; must not exist. Without it the tree is repaired where it stands now, after someone moved it. */
  readonly to?: string | undefined
  /** Keep the old tree; needs `to`. */
  readonly copy?: boolean | undefined
  /** Leave behind what was added to the tree since it was deployed. Compiled Python is left behind in any case: Python makes it anew. */
  readonly force?: boolean | undefined
  /** Let the target be on a network or parallel file system other than that of the tree. */
  readonly allowShared?: boolean | undefined
  /** Seconds to wait for another process that works there; default: as long as it takes. */
  readonly wait?: number | undefined
  /** Default: all cores. */
  readonly threads?: number | undefined
  /** Say what would be done, and do nothing. */
  readonly dryRun?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

type Phase = 'plan' | 'wait' | 'check' | 'write' | 'verify' | 'publish' | 'remove'

export interface RelocateResult extends Unpacked {
  /** Where the environment is. */
  readonly prefix: string
  /** Where it was, by the prefix in its files. */
  readonly from: string
  readonly digest: string
  /** `unchanged`: it stands where its files say; `finished`: an earlier relocation had made the target, only the old tree was removed. */
  readonly method: 'moved' | 'copied' | 'repaired' | 'unchanged' | 'finished'
  readonly dryRun: boolean
  readonly readOnly: boolean
  /** How the files were taken over. */
  readonly reused: Reused
  /** What had been added to the tree, and is not in the new one. */
  readonly dropped: readonly string[]
  readonly threads: number
  readonly seconds: Readonly<Record<Phase | 'total', number>>
}

const shape: Shape<RelocateOptions> = {
  directory: 'string',
  to: 'string',
  copy: 'boolean',
  force: 'boolean',
  allowShared: 'boolean',
  wait: 'number',
  threads: 'number',
  dryRun: 'boolean',
  signal: 'object',
  reporter: 'object',
}

/** The options with their defaults, and absolute paths. */
interface Settings {
  readonly at: string
  readonly to: string | null
  /** The two again, by ways that are safe to use (hold.ts). */
  readonly here: string
  readonly there: string | null
  readonly copy: boolean
  readonly force: boolean
  readonly allowShared: boolean
  readonly wait: number | undefined
  readonly threads: number
  readonly dryRun: boolean
  readonly signal: AbortSignal | undefined
  readonly reporter: Reporter
}

type Done = Pick<RelocateResult, 'method' | 'from' | 'digest' | 'readOnly' | 'reused' | 'dropped'> & Unpacked
type Phases = Clock<Phase>

/**
 * Moves a deployed tree, copies it, or repairs it where it stands. Throws EnvError: NOT_A_DEPLOYMENT, TARGET_EXISTS, TARGET_SHARED,
 * TARGET_NOEXEC, PREFIX_TOO_LONG, NO_SPACE, PERMISSION, VERIFY_FAILED (the tree is not what was deployed: `paths` says where),
 * INVALID_OPTION, LOCK_HELD, UNSUPPORTED, IO, CANCELLED. On any of them the tree is where it was, and nothing is at the target. When
 * the process dies, one of the two is complete, and running it again ends the work.
 */
export async function relocate(options: RelocateOptions): Promise<RelocateResult> {
  const said = await settle(options)
  const { at, to, dryRun, threads, reporter, signal } = said
  const clock: Phases = new Clock(['plan', 'wait', 'check', 'write', 'verify', 'publish', 'remove'])
  if (signal?.aborted) throw cancelled(signal)
  reporter.phase('plan')
  const prefix = to ?? at
  const place = to === null || dryRun ? undefined : await makePlace(to, null)
  let from: Held | null = null
  let done: Done
  try {
    from = hold(dirname(at))
    const here = from === null ? at : join(from.path, basename(at))
    const there = place === undefined || to === null ? to : join(place.folder, basename(to))
    const settings: Settings = { ...said, here, there }
    done = dryRun ? await work(settings, clock) : await locked(settings, clock, () => work(settings, clock))
  } catch (error) {
    if (place !== undefined) await takeBack(place)
    throw byName(error, [from, place?.held ?? null])
  } finally {
    from?.letGo()
    place?.held?.letGo()
  }
  const warnings = [...remarksOnPrefix(prefix), ...done.warnings]
  for (const warning of warnings) reporter.warn(warning)
  return { prefix, dryRun, ...done, warnings, threads, seconds: clock.seconds() }
}

async function settle(options: RelocateOptions): Promise<Omit<Settings, 'here' | 'there'>> {
  checkOptions<RelocateOptions>('relocate', options, shape)
  const { directory, to, copy = false, force = false, allowShared = false, wait, dryRun = false, signal } = options
  const { threads = availableParallelism(), reporter = silent } = options
  const refuse = (message: string): never => {
    throw new EnvError('INVALID_OPTION', `relocate: ${message}`)
  }
  if (directory === undefined || directory === '') refuse('no directory is named')
  if (to === '') refuse("option 'to' is empty")
  if (copy && to === undefined) refuse("'copy' needs 'to'")
  if (!Number.isInteger(threads) || threads < 1)
    refuse(`option 'threads' must be a whole number from 1, got ${threads}`)
  if (wait !== undefined && wait < 0) refuse(`option 'wait' must be a number of seconds from 0, got ${wait}`)
  const at = await standingPlace(resolve(directory))
  const target = to === undefined || resolve(to) === at ? null : checkPrefix('relocate', resolve(to))
  checkPrefix('relocate', at)
  if (copy && target === null) refuse(`${at} cannot be copied onto itself`)
  if (target?.startsWith(`${at}/`) || (target !== null && at.startsWith(`${target}/`)))
    refuse(`${at} and ${target} lie inside each other`)
  return { at, to: target, copy, force, allowShared, wait, threads, dryRun, signal, reporter }
}

/** A link to a tree cannot be replaced by a tree; what it leads to can. Throws UNSAFE_PATH where root would follow a user's link. */
async function standingPlace(path: string): Promise<string> {
  const found = await lookAt(path)
  if (!found?.isSymbolicLink()) return path
  const held = hold(path)
  try {
    return await realpath(held?.path ?? path).catch(() => path)
  } finally {
    held?.letGo()
  }
}

/** Under the locks of both places, taken in the order of their names, so that two relocations cannot wait for each other. */
async function locked(settings: Settings, clock: Phases, body: () => Promise<Done>): Promise<Done> {
  const { at, to, here, there, copy, signal, wait, reporter } = settings
  // A tree that is only read stays what it is without a lock, and its folder may not be writable.
  const places = [
    ...(copy ? [] : [{ name: at, way: here }]),
    ...(to === null || there === null ? [] : [{ name: to, way: there }]),
  ].sort((a, b) => (a.name < b.name ? -1 : 1))
  const locks: Lock[] = []
  try {
    for (const { way } of places) {
      const lock = await acquire(lockOf(way), {
        makeFolder: async () => (to === null || there !== to ? undefined : makePlace(to, null)),
        signal,
        wait,
        onWait: () => reporter.phase('wait for another process'),
        enough: async () => false,
      })
      if (lock !== null) locks.push(lock)
    }
    clock.lap('wait')
    return await body()
  } finally {
    for (const lock of locks.reverse()) await lock.release()
  }
}

async function work(settings: Settings, clock: Phases): Promise<Done> {
  const { at, to, here, there, copy, dryRun, threads } = settings
  if (!dryRun && !copy) await bringBack(here, threads)
  const ready = await readReady(here)
  if (ready === null) return await nothingThere(settings)
  const index = await native().index(indexOf(here), false)
  if (index === null) throw noDeployment(at)
  const nothing = nothingDone(ready, index)
  if (to === null && (await standsThere(ready, here))) {
    if (!dryRun) await clear(here, threads)
    return { ...nothing, method: 'unchanged' }
  }
  if (there !== null && (await lookAt(there)) !== null) return await finish(settings, ready, nothing, clock)
  await checkPlaces(settings, index)
  clock.lap('plan')
  const { dropped, warnings } = await whatStands(settings)
  clock.lap('check')
  const method = to === null ? 'repaired' : copy ? 'copied' : 'moved'
  if (dryRun) return { ...nothing, method, dropped, warnings }
  const done = await make(settings, ready, clock)
  return { ...nothing, ...done, method, dropped, warnings: [...warnings, ...done.warnings] }
}

const noDeployment = (at: string): EnvError =>
  isUpdating(at)
    ? inUpdate(at)
    : new EnvError('NOT_A_DEPLOYMENT', `${at} is no deployment: only what conda-deploy deployed can be relocated`, {
        path: at,
      })

function nothingDone(
  { prefix: from, digest, readOnly }: Ready,
  { files, bytes }: Pick<Index, 'files' | 'bytes'>,
): Done {
  const reused: Reused = { linked: 0, cloned: 0, copied: 0, rewritten: 0, bytes: 0, refused: 0, why: '' }
  const zeros = { readBytes: 0, rewritten: 0, spots: 0, trampolines: 0, byPath: [], warnings: [] }
  return { method: 'unchanged', from, digest, readOnly, reused, dropped: [], files, bytes, ...zeros }
}

/** A relocation that died while it removed the old tree had done everything else. */
async function nothingThere({ at, to, here, there, copy, dryRun, threads }: Settings): Promise<Done> {
  if ((await lookAt(here)) !== null) throw noDeployment(at)
  const ready = there === null || copy || dryRun ? null : await readReady(there)
  if (there === null || ready?.prefix !== to || !(await clear(here, threads)))
    throw new EnvError('NOT_A_DEPLOYMENT', `there is nothing at ${at}`, { path: at })
  const { files = 0, bytes = 0 } = (await native().index(indexOf(there), false)) ?? {}
  return { ...nothingDone({ ...ready, prefix: at }, { files, bytes }), method: 'finished' }
}

/** Both trees are there: the same one, if a relocation died between publishing the new one and removing the old one. */
async function finish(settings: Settings, ready: Ready, nothing: Done, clock: Phases): Promise<Done> {
  const { at, to, here, there, copy, dryRun, threads } = settings
  const [target, way] = [to ?? at, there ?? here]
  const stands = await readReady(way)
  const same = stands?.prefix === target && stands.digest === ready.digest && stands.created === ready.created
  if (copy || !same || stands.readOnly !== ready.readOnly)
    throw targetExists(target, stands === null ? 'not by this relocation' : `a deployment of ${stands.created}`)
  clock.lap('plan')
  const faults = await faultsIn(way, settings)
  if (faults.length > 0) throw faulty(target, 'the relocated tree is not what was deployed', faults)
  clock.lap('verify')
  if (!dryRun) await removeTree(here, threads)
  clock.lap('remove')
  return { ...nothing, method: 'finished' }
}

/** Under the locks: stage, fill, verify, mark, publish; then the old tree goes. */
async function make(settings: Settings, ready: Ready, clock: Phases): Promise<Unpacked & Pick<Done, 'reused'>> {
  const { at, to, here, there, copy, threads, signal, reporter } = settings
  const [prefix, way] = [to ?? at, there ?? here]
  const { readOnly } = ready
  const stage = await makeStage(way, threads)
  const held = way === prefix ? null : holdStage(stage, stage)
  const inside = held === null ? stage : `${held.path}/.`
  let old: string | null = copy ? null : here
  const warnings: string[] = []
  try {
    reporter.phase('write')
    const base: Base = { root: here, share: copy ? 'read-only' : 'always', check: false }
    const job = { archive: null, root: inside, prefix, readOnly, threads, base }
    const written = await runJob((counters) => native().extract(job, counters), { signal })
    clock.lap('write')
    await checkStage(inside, { threads, signal, reporter })
    clock.lap('verify')
    reporter.phase('publish')
    await writeReady(inside, { ...ready, prefix, created: copy ? new Date().toISOString() : ready.created })
    if (signal?.aborted) throw cancelled(signal)
    if (to === null) {
      const replaced = await replace(stage, way, readOnly, inside)
      old = replaced.old
      if (!replaced.atOnce) warnings.push(`the file system cannot exchange names: ${prefix} was away for a moment`)
    } else if (!(await publish(stage, way, readOnly, inside))) {
      throw targetExists(prefix, 'it was made while this relocation ran')
    }
    clock.lap('publish')
    reporter.phase('remove')
    if (old !== null) warnings.push(...(await removeOld(old, to === null, threads)))
    clock.lap('remove')
    const done = unpackedOf(written)
    return { ...done, reused: written.reused, warnings: [...done.warnings, ...warnings] }
  } catch (error) {
    await discard(stage, threads).catch((failure: Error) =>
      reporter.warn(`${stage} is left behind: ${failure.message}`),
    )
    throw byName(error, [held])
  } finally {
    held?.letGo()
  }
}

/** The new tree stands: what hinders the removal of the old one takes nothing from that, and is said. */
async function removeOld(old: string, nameless: boolean, threads: number): Promise<string[]> {
  try {
    await (nameless ? discard(old, threads) : removeTree(old, threads))
    return []
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    return [`the old tree, ${old}, is left behind: ${error.message}`]
  }
}
