/**
 * The copies that a node keeps when no target is named: `<root>/conda-deploy-<uid>/<digest>`. The folder belongs to its user alone, so
 * that nobody else can put there what the user would run. Names are short: a prefix has to fit the slots of binaries.
 */
import type { Stats } from 'node:fs'
import { chmod, lstat, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { makeFolders } from '../tree/folders.js'

const user = (): number => process.getuid?.() ?? 0

const cacheFolder = (root: string): string => join(root, `conda-deploy-${user()}`)

/** The first 64 bits of the digest. Writable copies drift from what they were, so they have names of their own. */
export function cachedPrefix(root: string, digest: string, readOnly: boolean): string {
  return join(cacheFolder(root), `${digest.slice(0, 16)}${readOnly ? '' : '-w'}`)
}

/** Throws PERMISSION when something stands at the folder's name that is not this user's own directory. */
export async function checkCacheFolder(root: string): Promise<void> {
  const folder = cacheFolder(root)
  let stat: Stats
  try {
    stat = await lstat(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw fromSystem(error, 'cannot look at', folder)
  }
  const wrong = !stat.isDirectory()
    ? 'is no directory'
    : stat.uid !== user()
      ? `belongs to user ${stat.uid}, not ${user()}`
      : (stat.mode & 0o022) !== 0
        ? `can be written by others (mode ${(stat.mode & 0o7777).toString(8)})`
        : null
  if (wrong === null) return
  const hint = 'remove it, or choose another root'
  throw new EnvError('PERMISSION', `${folder} ${wrong}: not used for deployments`, { path: folder, hint })
}

/** Makes the folder, and the root when that is absent, and checks what is there then. The topmost folder made; undefined: none. */
export async function makeCacheFolder(root: string): Promise<string | undefined> {
  const folder = cacheFolder(root)
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
