/**
 * Environments as wholes: made in a stage beside their place and published by one rename, taken away by another. What a process left that
 * died is removed by the next one that makes an environment of that name, under its lock: then nobody works in it.
 *
 * With packages of pip an environment stands at its place before it is whole, because pip must run there. Until then it has no history, by
 * which conda knows environments, and a marker by which we know that it is none yet.
 */
import { existsSync } from 'node:fs'
import { lstat, mkdir, readdir, rmdir, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { unfinishedMark } from '../conda/changing.js'
import { EnvError, fromSystem } from '../errors.js'
import { native } from '../native.js'
import { boundedName } from '../tree/bounded-name.js'
import { removeFolder } from '../tree/folders.js'
import { acquire, type Lock } from '../tree/lock.js'
import { writeInto } from './fill.js'
import type { Request } from './request.js'

type Means = Pick<Request, 'threads' | 'signal' | 'warn'>

/** How the names begin of what stands beside an environment for it. */
const besides = (prefix: string): string => `.${boundedName(basename(prefix))}.conda-deploy`

const markOf = (prefix: string): string => join(prefix, 'conda-meta', unfinishedMark)

/** Throws TARGET_EXISTS, LOCK_HELD for an environment in which pip is still at work. */
export async function checkFree(prefix: string): Promise<void> {
  try {
    // An empty directory goes, and comes back as the environment.
    if ((await lstat(prefix)).isDirectory() && (await readdir(prefix)).length === 0) return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw fromSystem(error, 'cannot look at', prefix)
  }
  if (isLeftover(prefix)) return
  const hint = 'remove it, or choose another name'
  throw new EnvError('TARGET_EXISTS', `${prefix} exists already`, { path: prefix, hint })
}

/** Whether a run that was killed left it before it was whole. pip, which may live longer, holds the lock as long as it does. */
function isLeftover(prefix: string): boolean {
  if (!existsSync(markOf(prefix))) return false
  const lock = native().lock(markOf(prefix), 'exclusive')
  if (lock === null)
    throw new EnvError('LOCK_HELD', `pip is still at work in ${prefix}`, {
      path: prefix,
      hint: 'wait for it, or end it',
    })
  native().unlock(lock)
  return true
}

/**
 * Has `fill` make an environment, and publishes it. `last`: documents that make it an environment. `inPlace`: work that has to be done where
 * it stands, before they are written; it is given a descriptor that programs it starts keep open. Throws what they throw, TARGET_EXISTS, …:
 * then nothing is left of it.
 */
export async function publishing<T>(
  prefix: string,
  means: Means,
  fill: (stage: string) => Promise<T>,
  last: ReadonlyMap<string, string>,
  inPlace: ((held: number) => Promise<void>) | null,
): Promise<T> {
  const lock = await lockBeside(prefix, means)
  try {
    await checkFree(prefix)
    // On a file system without locks nobody can say whether another process is at work.
    if (lock !== null) await sweep(prefix, means.threads)
    const stage = await makeStage(prefix)
    try {
      const filled = await fill(stage)
      if (inPlace === null) {
        await writeInto(stage, last)
        await publish(stage, prefix, means)
      } else {
        await publishThen(stage, prefix, means, inPlace, last)
      }
      return filled
    } catch (error) {
      await removeFolder(stage, means.threads)
      throw error
    }
  } finally {
    await lock?.release().catch((error: Error) => means.warn(error.message))
  }
}

/** Takes the name from an environment, at once, and then removes it. `root`: where it really is. */
export async function takeAway(root: string, means: Means): Promise<void> {
  const lock = await lockBeside(root, means)
  try {
    const stage = stageOf(root)
    if (!native().rename(root, stage, 'no-replace'))
      throw new EnvError('TARGET_EXISTS', `${stage} is in the way`, { path: stage })
    await removeFolder(stage, means.threads)
  } finally {
    await lock?.release().catch((error: Error) => means.warn(error.message))
  }
}

/** Its name has to be free, and is no secret: for those Node loads its crypto, in 13 ms of the linking of everything. */
const stageOf = (prefix: string): string => {
  const digits = Math.random().toString(16).slice(2, 14).padEnd(12, '0')
  return join(dirname(prefix), `${besides(prefix)}-${digits}`)
}

/** Null: the file system has no locks. */
async function lockBeside(prefix: string, { signal, warn }: Means): Promise<Lock | null> {
  const folder = dirname(prefix)
  const makeFolder = async (): Promise<void> => {
    await mkdir(folder, { recursive: true }).catch((error: unknown) => {
      throw fromSystem(error, 'cannot make', folder)
    })
  }
  const onWait = (): void => warn(`another conda-deploy works on ${prefix}: waiting for it`)
  const waiting = { makeFolder, signal, onWait, enough: async () => false }
  return await acquire(join(folder, `${besides(prefix)}.lock`), waiting).catch((error: unknown) => {
    if (error instanceof EnvError && error.code === 'UNSUPPORTED') return null
    throw error
  })
}

/** Only of this user: where all may write, somebody else's is not ours to remove, and not in the way. */
async function sweep(prefix: string, threads: number): Promise<void> {
  const folder = dirname(prefix)
  const user = process.geteuid?.()
  try {
    for (const name of await readdir(folder)) {
      if (!name.startsWith(`${besides(prefix)}-`) || !/-[0-9a-f]{12}(\.compile)?$/.test(name)) continue
      const path = join(folder, name)
      const found = await lstat(path)
      if (user !== 0 && found.uid !== user) continue
      if (found.isDirectory()) await removeFolder(path, threads)
      else await unlink(path)
    }
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot clear', folder)
  }
}

async function makeStage(prefix: string): Promise<string> {
  const stage = stageOf(prefix)
  try {
    await mkdir(stage)
    return stage
  } catch (error) {
    throw fromSystem(error, 'cannot make', stage)
  }
}

async function publishThen(
  stage: string,
  prefix: string,
  means: Means,
  work: (held: number) => Promise<void>,
  last: ReadonlyMap<string, string>,
): Promise<void> {
  await writeInto(stage, new Map([[`conda-meta/${unfinishedMark}`, '']]))
  const lock = native().lock(markOf(stage), 'exclusive')
  if (lock === null) throw new EnvError('LOCK_HELD', `${stage} is used by another program`, { path: stage })
  try {
    await publish(stage, prefix, means)
    try {
      await work(lock)
      await writeInto(prefix, last)
      await unlink(markOf(prefix))
    } catch (error) {
      // Its name goes at once; what is left is then removed as any stage.
      native().rename(prefix, stage, 'no-replace')
      throw error
    }
  } finally {
    native().unlock(lock)
  }
}

async function publish(stage: string, prefix: string, { threads }: Pick<Means, 'threads'>): Promise<void> {
  if (native().rename(stage, prefix, 'no-replace')) return
  await checkFree(prefix)
  if (existsSync(markOf(prefix))) {
    const leftover = stageOf(prefix)
    native().rename(prefix, leftover, 'no-replace')
    await removeFolder(leftover, threads)
  } else {
    await rmdir(prefix).catch((error: unknown) => {
      throw fromSystem(error, 'cannot replace', prefix)
    })
  }
  if (native().rename(stage, prefix, 'no-replace')) return
  throw new EnvError('TARGET_EXISTS', `${prefix} was made by another program meanwhile`, { path: prefix })
}
