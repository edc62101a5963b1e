/**
 * Environments as wholes: made in a stage beside their place and published by one rename, taken away by another. What a process left that
 * died is removed by the next one that makes an environment of that name, under its lock: then nobody works in it.
 */
import { randomBytes } from 'node:crypto'
import { lstat, mkdir, readdir, rmdir, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { native, runJob } from '../native.js'
import { acquire, type Lock } from '../tree/lock.js'
import type { Request } from './request.js'

type Means = Pick<Request, 'threads' | 'signal' | 'warn'>

/** How the names begin of what stands beside an environment for it. */
const besides = (prefix: string): string => `.${basename(prefix)}.conda-deploy`

/** Throws TARGET_EXISTS. */
export async function checkFree(prefix: string): Promise<void> {
  try {
    // An empty directory goes, and comes back as the environment.
    if ((await lstat(prefix)).isDirectory() && (await readdir(prefix)).length === 0) return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw fromSystem(error, 'cannot look at', prefix)
  }
  const hint = 'remove it, or choose another name'
  throw new EnvError('TARGET_EXISTS', `${prefix} exists already`, { path: prefix, hint })
}

/** Has `fill` make an environment, and publishes it. Throws what it throws, TARGET_EXISTS, …: then nothing is left of it. */
export async function publishing<T>(prefix: string, means: Means, fill: (stage: string) => Promise<T>): Promise<T> {
  const lock = await lockBeside(prefix, means)
  try {
    await checkFree(prefix)
    // On a file system without locks nobody can say whether another process is at work.
    if (lock !== null) await sweep(prefix, means.threads)
    const stage = await makeStage(prefix)
    try {
      const filled = await fill(stage)
      await publish(stage, prefix)
      return filled
    } catch (error) {
      await discard(stage, means.threads)
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
    await discard(stage, means.threads)
  } finally {
    await lock?.release().catch((error: Error) => means.warn(error.message))
  }
}

const stageOf = (prefix: string): string =>
  join(dirname(prefix), `${besides(prefix)}-${randomBytes(6).toString('hex')}`)

const discard = (stage: string, threads: number) =>
  runJob((counters) => native().remove({ root: stage, threads }, counters))

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
      if (found.isDirectory()) await discard(path, threads)
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

async function publish(stage: string, prefix: string): Promise<void> {
  if (native().rename(stage, prefix, 'no-replace')) return
  await checkFree(prefix)
  await rmdir(prefix).catch((error: unknown) => {
    throw fromSystem(error, 'cannot replace', prefix)
  })
  if (native().rename(stage, prefix, 'no-replace')) return
  throw new EnvError('TARGET_EXISTS', `${prefix} was made by another program meanwhile`, { path: prefix })
}
