/**
 * The folders in which a node keeps deployments, and their names. `<root>/conda-deploy-<uid>` belongs to one user alone, so that nobody
 * else can put there what that user would run; `<root>/conda-deploy-shared` is root's. Names are short: a prefix has to fit the slots of
 * binaries. What is in such a folder is in CACHE.md.
 */
import type { Stats } from 'node:fs'
import { lstatSync } from 'node:fs'
import { chmod, lstat, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvError, fromSystem } from '../../errors.js'
import { makeFolders } from '../../tree/folders.js'
import { type Held, holdFolder, holdStage } from '../hold.js'

const user = (): number => process.geteuid?.() ?? 0

/** A cache folder that may or may not be there. */
export interface CacheFolder {
  readonly root: string
  readonly name: string
  /** The one user who may have made it. */
  readonly owner: number
  readonly path: string
}

/** That of a user; default: of this one. */
export function privateCache(root: string, owner: number = user()): CacheFolder {
  const name = `conda-deploy-${owner}`
  return { root, name, owner, path: join(root, name) }
}

/** That of all users of the node. */
export function sharedCache(root: string): CacheFolder {
  const name = 'conda-deploy-shared'
  return { root, name, owner: 0, path: join(root, name) }
}

/** The first 64 bits of the digest. Writable copies drift from what they were, so they have names of their own. */
export function entryOf(digest: string, readOnly: boolean): string {
  return `${digest.slice(0, 16)}${readOnly ? '' : '-w'}`
}

/** Is this the name of a deployment in a cache folder? */
export const isEntry = (name: string): boolean => /^[0-9a-f]{16}(?:-w)?$/.test(name)

export function cachedPrefix(root: string, digest: string, readOnly: boolean): string {
  return join(privateCache(root).path, entryOf(digest, readOnly))
}

function wrongWith(stat: Stats, owner: number): string | null {
  if (!stat.isDirectory()) return 'is no directory'
  if (stat.uid !== owner) return `belongs to user ${stat.uid}, not ${owner}`
  if ((stat.mode & 0o022) !== 0) return `can be written by others (mode ${(stat.mode & 0o7777).toString(8)})`
  return null
}

function refusal(folder: string, wrong: string): EnvError {
  const hint = 'remove it, or choose another root'
  return new EnvError('PERMISSION', `${folder} ${wrong}: not used for deployments`, { path: folder, hint })
}

/** Throws PERMISSION when something stands at the folder's name that is not this user's own directory. */
export async function checkCacheFolder(root: string): Promise<void> {
  const { path: folder, owner } = privateCache(root)
  let stat: Stats
  try {
    stat = await lstat(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw fromSystem(error, 'cannot look at', folder)
  }
  const wrong = wrongWith(stat, owner)
  if (wrong !== null) throw refusal(folder, wrong)
}

/** Makes the folder, and the root when that is absent, and checks what is there then. The topmost folder made; undefined: none. */
export async function makeCacheFolder(root: string): Promise<string | undefined> {
  const { path: folder } = privateCache(root)
  let made: string | undefined
  try {
    made = makeFolders(root)
    await mkdir(folder, { mode: 0o700 })
    made ??= folder
    await chmod(folder, 0o700)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fromSystem(error, 'cannot make', folder)
  }
  await checkCacheFolder(root)
  return made
}

/** A cache folder that is worked in. */
export interface OpenCache extends Held {
  readonly cache: CacheFolder
}

/**
 * A cache folder to work in, by a way that no user can change when this is root; null: it is not there. Throws PERMISSION and UNSAFE_PATH
 * for what is not its owner's own directory, IO.
 */
export function openCache(cache: CacheFolder): OpenCache | null {
  const { root, name, owner, path } = cache
  if (user() === 0) {
    const held = holdFolder(root, name, owner)
    return held && { ...held, cache }
  }
  let stat: Stats | undefined
  try {
    stat = lstatSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw fromSystem(error, 'cannot look at', path)
  }
  if (stat === undefined) return null
  const wrong = wrongWith(stat, owner)
  if (wrong !== null) throw refusal(path, wrong)
  return { path, name: path, letGo() {}, cache }
}

/** A folder in a cache folder, in the same way. Throws as openCache. */
export function openIn({ path: way, name: called, cache }: OpenCache, folder: string): Held | null {
  const [path, name] = [join(way, folder), join(called, folder)]
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat === undefined) return null
    if (!stat.isDirectory()) throw refusal(name, 'is no directory')
    if (user() === 0 && process.platform === 'linux') return holdStage(path, name, cache.owner)
    const wrong = wrongWith(stat, cache.owner)
    if (wrong !== null) throw refusal(name, wrong)
    return { path, name, letGo() {} }
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot enter', name)
  }
}
