/**
 * A deployment becomes that of a newer archive where it stands: what is equal stays untouched, what differs is extracted into a stage inside
 * of it, and then names change places so that it can be taken back (tree/change.ts). Meanwhile it has no marker, and is nobody's to adopt.
 */
import { existsSync } from 'node:fs'
import { chmod, stat, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { changeFolder, changeLock, inChange, updateFolder } from '../conda/changing.js'
import { few, fromSystem } from '../errors.js'
import type { ChangedFolder, Difference } from '../extract-jobs.js'
import type { Step, There } from '../install-jobs.js'
import { native, runJob } from '../native.js'
import { Change } from '../tree/change.js'
import { ifThere } from '../tree/if-there.js'
import { acquire, type Lock } from '../tree/lock.js'
import { pathsOf, type Steps, stepsOf } from '../tree/steps.js'
import type { Settings } from './deploy-options.js'
import { byName, holdTree } from './hold.js'
import { indexOf, ownFolder, type Ready, writeReady } from './ready.js'
import type { Source, Unpacked, Unpacking } from './source.js'
import { faultsIn, faulty } from './verify.js'

/** What an update did beside what it unpacked. */
export interface Updated {
  /** Files and links that stayed as they were, and that went. */
  readonly kept: number
  readonly removed: number
  /** Files that were not there for a moment, for want of hard links. */
  readonly moments: number
}

const index = `${ownFolder}/index`
const marker = `${ownFolder}/ready`

/**
 * Under the lock of the prefix, where a deployment of another archive stands, to that very prefix. Throws VERIFY_FAILED when that is not as it
 * was deployed, TARGET_EXISTS for files of others in the way, and what unpacking throws: then all is as it was, or ENV_DAMAGED says why not.
 */
export async function update(
  source: Source,
  prefix: string,
  ready: Ready,
  unpacking: Unpacking,
  settings: Settings,
): Promise<Unpacked & { readonly updated: Updated }> {
  return await inTree(prefix, async (at) => {
    const lock = settings.readOnly ? null : await installLock(at, prefix, settings)
    try {
      return await changeInto(at, source, prefix, ready, unpacking, settings)
    } finally {
      // A file that stays keeps nobody out: whoever has the lock next removes it.
      await lock
        ?.release()
        .catch((error: Error) => settings.reporter.warn(`a lock file is left behind: ${error.message}`))
    }
  })
}

/** `at`: the tree at the prefix, by a way that is safe to use. */
async function changeInto(
  at: string,
  source: Source,
  prefix: string,
  ready: Ready,
  unpacking: Unpacking,
  settings: Settings,
): Promise<Unpacked & { readonly updated: Updated }> {
  const { readOnly, threads, signal, reporter } = settings
  const change = changeOf(at, prefix)
  try {
    await setOwnMode(at, 0o755)
    await change.begin()
    try {
      const base = { root: at, share: 'stays', check: false } as const
      const { difference, ...unpacked } = await source.unpack(
        { root: change.stage, prefix, readOnly, threads, base },
        unpacking,
      )
      if (difference === undefined) throw new Error('the core did not tell what differs')
      await writeReady(change.stage, ready)
      await chmod(join(change.stage, ownFolder), 0o755)
      const { left, ...steps } = await stepsFor(difference, at, settings)
      reporter.phase('publish')
      const check = settings.verify ? () => checkFiles(at, prefix, settings) : undefined
      const means = { threads, signal, warn: (message: string) => reporter.warn(message), check }
      const { moments } = await change.commit(steps, means)
      const incoming = new Set(difference.incoming)
      const removed = difference.outgoing.filter((path) => !incoming.has(path)).length
      const warnings = [...unpacked.warnings, ...left, ...(await notEmptied(difference.emptied, incoming, at, threads))]
      return { ...unpacked, warnings, updated: { kept: difference.kept, removed, moments } }
    } catch (error) {
      await change.end(settings).catch((failure: Error) => reporter.warn(`a folder is left behind: ${failure.message}`))
      throw error
    }
  } finally {
    const mode = readOnly ? 0o555 : 0o755
    await setOwnMode(at, mode).catch((error: Error) => reporter.warn(error.message))
  }
}

/**
 * Under the lock of the prefix, where a tree of this user or root stands: puts right what an update left that was killed; true: there was
 * something. Throws ENV_DAMAGED, PERMISSION, UNSAFE_PATH, IO.
 */
export async function recoverUpdate(prefix: string, threads: number): Promise<boolean> {
  const isLeft = existsSync(join(prefix, updateFolder))
  if (!isLeft && !(await isOpen(prefix))) return false
  return await inTree(prefix, async (at) => {
    if (isLeft) {
      await setOwnMode(at, 0o755)
      await changeOf(at, prefix).recover(threads)
    }
    if (await isOpen(at)) await setOwnMode(at, 0o555)
    return isLeft
  })
}

/** Is the folder of ours writable in a tree that is read-only? */
async function isOpen(prefix: string): Promise<boolean> {
  const modeOf = async (path: string): Promise<number> => (await ifThere(stat(path), path))?.mode ?? 0o200
  const [index, folder] = [await modeOf(indexOf(prefix)), await modeOf(join(prefix, ownFolder))]
  return (index & 0o200) === 0 && (folder & 0o200) !== 0
}

/** Works on the tree at a prefix by a way to it that no user can change; errors name the prefix. */
async function inTree<T>(prefix: string, work: (at: string) => Promise<T>): Promise<T> {
  const held = holdTree(prefix)
  try {
    return await work(held === null ? prefix : `${held.path}/.`)
  } catch (error) {
    throw byName(error, [held])
  } finally {
    held?.letGo()
  }
}

const changeOf = (at: string, prefix: string): Change =>
  new Change(at, updateFolder, `conda-deploy ARCHIVE --to ${prefix} --update`)

/** Directories of the earlier archive that hold files of others, and so stay. */
async function notEmptied(
  emptied: readonly string[],
  incoming: ReadonlySet<string>,
  root: string,
  threads: number,
): Promise<string[]> {
  const paths = emptied.filter((path) => !incoming.has(path)).sort()
  if (paths.length === 0) return []
  const kinds = await runJob((counters) => native().look({ root, paths, threads }, counters)).catch(() => null)
  if (kinds === null) return ['directories that went may be left: they could not be looked at']
  const stay = paths.filter((_, i) => kinds[i] === 'directory')
  const deepest = stay.filter((path, i) => !stay[i + 1]?.startsWith(`${path}/`))
  return deepest.length === 0
    ? []
    : [`files that are not of the deployment stay, and so do their directories: ${few(deepest)}`]
}

async function setOwnMode(prefix: string, mode: number): Promise<void> {
  const folder = join(prefix, ownFolder)
  await chmod(folder, mode).catch((error: unknown) => {
    throw fromSystem(error, 'cannot change the mode of', folder)
  })
}

/** Keeps `install` and its like out of an environment that is writable. */
async function installLock(
  at: string,
  prefix: string,
  { signal, wait, reporter }: Settings,
): Promise<Pick<Lock, 'release'> | null> {
  const folder = join(at, 'conda-meta')
  const earlier = await ifThere(stat(folder), folder)
  if (earlier === null) return null
  const lock = await acquire(join(at, changeLock), {
    ...{ makeFolder: async () => {}, enough: async () => false, signal, wait },
    onWait: () => reporter.phase('wait for another conda-deploy that changes the environment'),
  })
  const locked = await ifThere(stat(folder), folder)
  const release = async (): Promise<void> => {
    const { atime, mtimeMs, mtime } = await stat(folder)
    await lock?.release()
    // The file of the lock, which came and went, leaves no trace.
    await utimes(folder, atime, mtimeMs === locked?.mtimeMs ? earlier.mtime : mtime)
  }
  if (!existsSync(join(at, changeFolder))) return { release }
  await release()
  throw inChange(prefix)
}

async function stepsFor(
  { incoming, empty, outgoing, emptied, before, after }: Difference,
  prefix: string,
  { readOnly, threads, signal }: Settings,
): Promise<Pick<Steps, 'groups' | 'tidy' | 'left'>> {
  const none: ReadonlySet<string> = new Set()
  const shape = {
    ...{ incoming: new Set([...incoming, index]), outgoing: new Set([...outgoing, index]), emptied: new Set(emptied) },
    empty: new Set(empty),
    ...{ derived: none, shared: none, documents: new Set([index]), clobber: false },
    hint: 'move them away',
  }
  const paths = pathsOf(shape)
  const kinds = await runJob((counters) => native().look({ root: prefix, paths, threads }, counters), { signal })
  const there = new Map<string, There>(paths.map((path, i) => [path, kinds[i] ?? 'nothing']))
  const { groups, tidy, left } = stepsOf(shape, there, prefix)
  const modeOf = (mode: number): number => (mode | 0o700) & (readOnly ? 0o555 : 0o777)
  const folder = (how: 'open' | 'close', { path, mode, mtime }: ChangedFolder): Step => ({
    ...{ path, how, mtime, mode: modeOf(mode) },
  })
  const root = (how: 'open' | 'close'): Step => ({ path: '', how, mode: readOnly ? 0o555 : 0o755 })
  const opens = [root('open'), ...before.map((one) => folder('open', one))]
  // Those that go, where they stay because of files of others; their times are of these.
  const stay = before.filter(({ path }) => shape.emptied.has(path))
  const closes = [
    ...stay.map(({ path, mode }): Step => ({ path, how: 'close', mode: modeOf(mode) })),
    ...after.map((one) => folder('close', one)),
    root('close'),
  ]
  const tidied = tidy.filter(({ path }) => shape.emptied.has(path))
  // Again, for who ends what was killed when some were closed already.
  const around = new Set(tidied.map(({ path }) => dirname(`/${path}`).slice(1)))
  return {
    groups: [opens, [{ path: marker, how: 'remove' }], ...groups, [{ path: marker, how: 'add' }]],
    tidy: [...opens.filter(({ path }) => around.has(path)), ...tidied, ...closes],
    left,
  }
}

/** Hashes everything. What is not of the archive is its user's, or goes afterwards. */
async function checkFiles(at: string, prefix: string, settings: Settings): Promise<void> {
  const faults = (await faultsIn(at, settings)).filter(({ kind }) => kind !== 'extra')
  if (faults.length > 0) throw faulty(prefix, 'what was written, or stood there, reads back differently', faults)
}
