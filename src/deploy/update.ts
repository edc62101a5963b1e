/**
 * A deployment becomes that of a newer archive where it stands: what is equal stays untouched, what differs is extracted into a stage inside
 * of it, and then names change places so that it can be taken back (tree/change.ts). Meanwhile it has no marker, and is nobody's to adopt.
 */
import { existsSync } from 'node:fs'
import { chmod, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { changeLock, updateFolder } from '../conda/environment.js'
import { fromSystem } from '../errors.js'
import type { ChangedFolder, Difference } from '../extract-jobs.js'
import type { Step, There } from '../install-jobs.js'
import { native, runJob } from '../native.js'
import { Change } from '../tree/change.js'
import { acquire, type Lock } from '../tree/lock.js'
import { pathsOf, type Steps, stepsOf } from '../tree/steps.js'
import type { Settings } from './deploy-options.js'
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
  const { readOnly, threads, signal, reporter } = settings
  const lock = readOnly ? null : await installLock(prefix, settings)
  const change = changeOf(prefix)
  try {
    await setOwnMode(prefix, 0o755)
    await change.begin()
    try {
      const base = { root: prefix, share: 'stays', check: false } as const
      const { difference, ...unpacked } = await source.unpack(
        { root: change.stage, prefix, readOnly, threads, base },
        unpacking,
      )
      if (difference === undefined) throw new Error('the core did not tell what differs')
      await writeReady(change.stage, ready)
      await chmod(join(change.stage, ownFolder), 0o755)
      const steps = await stepsFor(difference, prefix, settings)
      reporter.phase('publish')
      const check = settings.verify ? () => checkFiles(prefix, settings) : undefined
      const means = { threads, signal, warn: (message: string) => reporter.warn(message), check }
      const { moments } = await change.commit(steps, means)
      const incoming = new Set(difference.incoming)
      const removed = difference.outgoing.filter((path) => !incoming.has(path)).length
      return { ...unpacked, updated: { kept: difference.kept, removed, moments } }
    } catch (error) {
      await change.end(settings)
      throw error
    }
  } finally {
    await setOwnMode(prefix, readOnly ? 0o555 : 0o755)
    await lock?.release()
  }
}

/** Under the lock of the prefix: puts right what an update left that was killed; true: there was something. Throws ENV_DAMAGED, IO. */
export async function recoverUpdate(prefix: string, threads: number): Promise<boolean> {
  if (!existsSync(join(prefix, updateFolder))) return false
  await setOwnMode(prefix, 0o755)
  await changeOf(prefix).recover(threads)
  const { mode } = await stat(indexOf(prefix)).catch((error: unknown) => {
    throw fromSystem(error, 'cannot look at', indexOf(prefix))
  })
  await setOwnMode(prefix, (mode & 0o200) === 0 ? 0o555 : 0o755)
  return true
}

const changeOf = (prefix: string): Change =>
  new Change(prefix, updateFolder, `conda-deploy ARCHIVE --to ${prefix} --update`)

async function setOwnMode(prefix: string, mode: number): Promise<void> {
  const folder = join(prefix, ownFolder)
  await chmod(folder, mode).catch((error: unknown) => {
    throw fromSystem(error, 'cannot change the mode of', folder)
  })
}

/** Keeps `install` and its like out of an environment that is writable. */
async function installLock(prefix: string, { signal, wait, reporter }: Settings): Promise<Lock | null> {
  if (!existsSync(join(prefix, 'conda-meta'))) return null
  return await acquire(join(prefix, changeLock), {
    ...{ makeFolder: async () => {}, enough: async () => false, signal, wait },
    onWait: () => reporter.phase('wait for another conda-deploy that changes the environment'),
  })
}

async function stepsFor(
  { incoming, empty, outgoing, emptied, before, after }: Difference,
  prefix: string,
  { readOnly, threads, signal }: Settings,
): Promise<Pick<Steps, 'groups' | 'tidy'>> {
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
  const { groups, tidy } = stepsOf(shape, there, prefix)
  const folder = (how: 'open' | 'close', { path, mode, mtime }: ChangedFolder): Step => ({
    ...{ path, how, mtime, mode: (mode | 0o700) & (readOnly ? 0o555 : 0o777) },
  })
  const root = (how: 'open' | 'close'): Step => ({ path: '', how, mode: readOnly ? 0o555 : 0o755 })
  const opens = [root('open'), ...before.map((one) => folder('open', one))]
  const closes = [...after.map((one) => folder('close', one)), root('close')]
  return {
    groups: [opens, [{ path: marker, how: 'remove' }], ...groups, [{ path: marker, how: 'add' }]],
    tidy: [...tidy.filter(({ path }) => shape.emptied.has(path)), ...closes],
  }
}

/** Hashes everything. What is not of the archive is its user's, or goes afterwards. */
async function checkFiles(prefix: string, settings: Settings): Promise<void> {
  const faults = (await faultsIn(prefix, settings)).filter(({ kind }) => kind !== 'extra')
  if (faults.length > 0) throw faulty(prefix, 'what was written, or stood there, reads back differently', faults)
}
