/**
 * A target is absent or complete: it grows in a stage beside it, `.<name>.<pid>.stage`, and gets its name by one rename that replaces
 * nothing, or changes names with the tree that it replaces. Only this file renames into place.
 */
import { existsSync, lstatSync, type Stats } from 'node:fs'
import { chmod, lstat, mkdir, readdir, rmdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { updateFolder } from '../conda/changing.js'
import { EnvError, fromSystem } from '../errors.js'
import { native, runJob } from '../native.js'
import { boundedName } from '../tree/bounded-name.js'
import { makeFolders } from '../tree/folders.js'
import { isLocked, tryLock } from '../tree/lock.js'
import { type CacheFolder, makeCacheFolder, sharedCache } from './cache/folder.js'
import { makeSharedFolder } from './cache/shared.js'
import { type Held, hold, holdOwn } from './hold.js'
import { recoverUpdate } from './update.js'

/** How the names of what stands beside a target begin. */
const besides = (prefix: string): string => `.${boundedName(basename(prefix))}.`

export const lockOf = (prefix: string): string => join(dirname(prefix), `${besides(prefix)}lock`)
const stageOf = (prefix: string): string => join(dirname(prefix), `${besides(prefix)}${process.pid}.stage`)
const asideOf = (prefix: string): string => join(dirname(prefix), `${besides(prefix)}${process.pid}.aside`)

/** The folder of a target, and the topmost folder that was made for it; undefined: all were there. */
export interface Place {
  /** By its name, or, held, by a way that no user can change. */
  readonly folder: string
  readonly held: Held | null
  readonly made: string | undefined
}

/** Makes the folder that a target will stand in; `cache`: the cache folder that it is, where it is one. */
export async function makePlace(prefix: string, cache: CacheFolder | null): Promise<Place> {
  const folder = dirname(prefix)
  if (cache !== null && cache.path === sharedCache(cache.root).path)
    return { folder, held: null, made: await makeSharedFolder(cache.root) }
  const parent = hold(cache?.root ?? folder)
  if (parent !== null) {
    const held = cache === null ? parent : holdOwn(parent, basename(folder))
    return { folder: held.path, held, made: undefined }
  }
  if (cache !== null) return { folder, held: null, made: await makeCacheFolder(cache.root) }
  try {
    return { folder, held: null, made: makeFolders(folder) }
  } catch (error) {
    throw fromSystem(error, 'cannot make', folder)
  }
}

/** Removes the folders that were made, as far as they are empty: another deployment may have begun there. */
export async function takeBack({ folder, made }: Place): Promise<void> {
  if (made === undefined) return
  for (let at = folder; at.length >= made.length; at = dirname(at)) {
    try {
      await rmdir(at)
    } catch {
      return // Not empty, or gone: no longer ours.
    }
  }
}

/** Makes the stage for a prefix. Under the lock: what earlier processes left behind is removed first. */
export async function makeStage(prefix: string, threads: number): Promise<string> {
  const stage = stageOf(prefix)
  try {
    await clear(prefix, threads)
    await mkdir(stage, { mode: 0o700 })
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot make', stage)
  }
  return stage
}

/** Under the lock: removes what earlier processes left behind; true: there was something. */
export async function clear(prefix: string, threads: number): Promise<boolean> {
  const stale = await beside(prefix, 'stage')
  for (const stage of stale) await discard(stage, threads)
  return stale.length > 0
}

/** What stands beside a prefix for it; under the lock nobody works in it. */
async function beside(prefix: string, what: 'stage' | 'aside'): Promise<string[]> {
  const begin = besides(prefix)
  const names = await readdir(dirname(prefix)).catch((error: unknown) => {
    throw fromSystem(error, 'cannot read', dirname(prefix))
  })
  return names
    .filter(
      (name) => name.startsWith(begin) && /^\d+\.\w+$/.test(name.slice(begin.length)) && name.endsWith(`.${what}`),
    )
    .map((name) => join(dirname(prefix), name))
    .filter(isOwn)
}

/** Where all may write, somebody else's stage may stand beside, or a link: it is not ours to remove, and not in the way. */
function isOwn(stage: string): boolean {
  const user = process.geteuid?.()
  const stat = lstatSync(stage, { throwIfNoEntry: false })
  return stat?.isDirectory() === true && (user === 0 || stat.uid === user)
}

/**
 * Removes what a process that died left behind beside the prefix, and ends what it left of an update; true: something was removed. Its
 * lock file tells that there is something, as it goes last, or the folder of an update that could not clear it away; while another process holds the lock, nothing is touched.
 */
export async function sweep(prefix: string, threads: number): Promise<boolean> {
  if (!existsSync(lockOf(prefix)) && !existsSync(join(prefix, updateFolder))) return false
  const lock = await tryLock(lockOf(prefix)).catch(notOurs)
  if (lock === null) return false
  try {
    await clear(prefix, threads)
    await recoverUpdate(prefix, threads).catch(notOurs)
  } finally {
    await lock.release().catch(notOurs)
  }
  return true
}

/**
 * As `sweep`, and where no lock tells of what was left, too; names of what was removed, or would be. While another process holds the lock,
 * nothing is touched.
 */
export async function clearLeftOvers(prefix: string, threads: number, dryRun: boolean): Promise<string[]> {
  const lock = lockOf(prefix)
  const numberOf = (): number | undefined => lstatSync(lock, { throwIfNoEntry: false })?.ino
  const stale = numberOf()
  const names = async (): Promise<string[]> =>
    [...(await beside(prefix, 'stage')), ...(stale !== undefined && numberOf() === stale ? [lock] : [])].map((path) =>
      basename(path),
    )
  if ((await names()).length === 0) return []
  if (dryRun) return isLocked(lock) ? [] : await names()
  const got = await tryLock(lock).catch(notOurs)
  if (got === null) return []
  try {
    const left = await names()
    await clear(prefix, threads)
    return left
  } finally {
    await got.release().catch(notOurs)
  }
}

/** What another user left is not ours to clear away. */
function notOurs(error: unknown): null {
  if (error instanceof EnvError && error.code === 'PERMISSION') return null
  throw error
}

/** Removes a stage with all that is in it, whatever the modes. */
export async function discard(stage: string, threads: number): Promise<void> {
  const remove = (team: number) => runJob((counters) => native().remove({ root: stage, threads: team }, counters))
  try {
    await remove(threads)
  } catch (error) {
    if (threads === 1) throw error
    // What made the deployment fail may be too few descriptors for its threads; one needs a handful.
    await remove(1)
  }
}

/**
 * Gives the stage its final mode and its name; false: the name was taken meanwhile. `inside`: another way to the stage, which leads to what
 * was filled also when its name does not any more.
 */
export async function publish(stage: string, prefix: string, readOnly: boolean, inside: string): Promise<boolean> {
  try {
    await chmod(inside, readOnly ? 0o555 : 0o755)
    const filled = await stat(inside)
    if (!native().rename(stage, prefix, 'no-replace')) return false
    await checkPublished(stage, prefix, filled)
    return true
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot publish', stage)
  }
}

/** Has what was filled the name now, and not what a user put in its place? Throws UNSAFE_PATH. */
async function checkPublished(stage: string, prefix: string, filled: Stats): Promise<void> {
  const there = await lstat(prefix)
  if (there.ino === filled.ino && there.dev === filled.dev) return
  const message = `${stage} was exchanged for something else while it was published: what stands at ${prefix} is not to be used`
  throw new EnvError('UNSAFE_PATH', message, { path: prefix })
}

/** Where a tree stands that was replaced, to be discarded; `atOnce`: there was no moment without a tree at the prefix. */
export interface Replaced {
  readonly old: string
  readonly atOnce: boolean
}

/**
 * Puts the stage in the place of the tree at the prefix, under the lock. Where the file system cannot exchange names (NFS, old Lustre),
 * it takes two renames; what a process that dies between them has put aside, `bringBack` puts back. `inside`: as in publish.
 */
export async function replace(stage: string, prefix: string, readOnly: boolean, inside: string): Promise<Replaced> {
  let filled: Stats
  try {
    await chmod(inside, readOnly ? 0o555 : 0o755)
    filled = await stat(inside)
  } catch (error) {
    throw fromSystem(error, 'cannot change the mode of', stage)
  }
  const gone = (): EnvError =>
    new EnvError('SOURCE_CHANGED', `${prefix} was moved or removed meanwhile`, { path: prefix })
  try {
    if (!native().rename(stage, prefix, 'exchange')) throw gone()
    await checkPublished(stage, prefix, filled)
    return { old: stage, atOnce: true }
  } catch (error) {
    if (!(error instanceof EnvError) || error.code !== 'UNSUPPORTED') throw error
  }
  const old = asideOf(prefix)
  if (!native().rename(prefix, old, 'no-replace')) throw gone()
  if (native().rename(stage, prefix, 'no-replace')) {
    await checkPublished(stage, prefix, filled)
    return { old, atOnce: false }
  }
  throw new EnvError('TARGET_EXISTS', `${prefix} was taken while it was replaced; what stood there is at ${old}`, {
    path: prefix,
  })
}

/** Under the lock: a tree that a process which died put aside gets its name back, or goes when the name is in use. */
export async function bringBack(prefix: string, threads: number): Promise<void> {
  for (const aside of await beside(prefix, 'aside'))
    if (!native().rename(aside, prefix, 'no-replace')) await discard(aside, threads)
}

/**
 * Takes the name from a tree that is no longer wanted, at once, and then the tree. `isWanted`, asked between, gives it its name back: false.
 * Under the lock.
 */
export async function removeTree(prefix: string, threads: number, isWanted = (): boolean => false): Promise<boolean> {
  const stage = stageOf(prefix)
  if (!native().rename(prefix, stage, 'no-replace'))
    throw new EnvError('TARGET_EXISTS', `${stage} is in the way`, { path: stage })
  if (isWanted() && native().rename(stage, prefix, 'no-replace')) return false
  await discard(stage, threads)
  return true
}
