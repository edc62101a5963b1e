/**
 * The cache of all users of a node, `<root>/conda-deploy-shared`: only root writes there, and what is there is used only when nobody but
 * root can have written it, from the file system's root down.
 */
import { lstatSync, type Stats } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { EnvError, fromSystem } from '../../errors.js'
import { isRoots, unguardedOn } from '../hold.js'
import { markerOf, ownFolder, readReady } from '../ready.js'
import { entryOf, sharedCache } from './folder.js'

/** What is wrong with a directory or file that only root may have written; null: nothing. */
function wrongWith(stat: Stats | undefined, kind: 'directory' | 'file'): string | null {
  if (stat === undefined) return 'is not there'
  if (kind === 'directory' ? !stat.isDirectory() : !stat.isFile()) return `is no ${kind}`
  if (!isRoots(stat)) return `belongs to user ${stat.uid}, not to root`
  if ((stat.mode & 0o022) !== 0) return `can be written by others (mode ${(stat.mode & 0o7777).toString(8)})`
  return null
}

/** Why the shared cache below `root` cannot be trusted; null: it can, or it is not there. */
export function distrust(root: string): string | null {
  const { path } = sharedCache(root)
  const unguarded = unguardedOn(root)
  if (unguarded !== null) return `${unguarded} is not root's alone`
  const stat = lstatSync(path, { throwIfNoEntry: false })
  const wrong = stat === undefined ? null : wrongWith(stat, 'directory')
  return wrong === null ? null : `${path} ${wrong}`
}

export interface Found {
  /** null: it is not there, or cannot be used. */
  readonly prefix: string | null
  /** Why what is there cannot be used. */
  readonly why: string | null
}

/** The deployment of a content in the shared cache below `root`. Throws IO. */
export async function findShared(root: string, digest: string): Promise<Found> {
  const none = (why: string | null): Found => ({ prefix: null, why })
  const { path } = sharedCache(root)
  const prefix = join(path, entryOf(digest, true))
  try {
    const stat = lstatSync(prefix, { throwIfNoEntry: false })
    if (stat === undefined) return none(null)
    const distrusted = distrust(root)
    if (distrusted !== null) return none(distrusted)
    const parts = [
      [prefix, stat, 'directory'],
      [join(prefix, ownFolder), undefined, 'directory'],
      [markerOf(prefix), undefined, 'file'],
    ] as const
    for (const [part, known, kind] of parts) {
      const wrong = wrongWith(known ?? lstatSync(part, { throwIfNoEntry: false }), kind)
      if (wrong !== null) return none(`${part} ${wrong}`)
    }
    const ready = await readReady(prefix)
    const isIt = ready?.digest === digest && ready.prefix === prefix && ready.readOnly
    return isIt ? { prefix, why: null } : none(`${prefix} is a deployment of something else`)
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot look at', prefix)
  }
}

/** Makes the shared cache, as root. The topmost folder made; undefined: it was there. Throws PERMISSION for a way that others can change, IO. */
export async function makeSharedFolder(root: string): Promise<string | undefined> {
  const { path } = sharedCache(root)
  let made: string | undefined
  const hint = 'choose a root that only root can rename or replace'
  try {
    const way = unguardedOn(root)
    if (way !== null)
      throw new EnvError('PERMISSION', `${way} is not root's alone: nothing below it can be shared`, {
        path: way,
        hint,
      })
    await mkdir(path, { mode: 0o755 })
    made = path
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT')
      throw new EnvError(
        'IO',
        `${dirname(path)} does not exist: the root of a shared cache is made by its administrator`,
        {
          ...{ path: dirname(path), cause: error },
        },
      )
    if (code !== 'EEXIST') throw error instanceof EnvError ? error : fromSystem(error, 'cannot make', path)
  }
  const wrong = wrongWith(lstatSync(path, { throwIfNoEntry: false }), 'directory')
  if (wrong === null) return made
  throw new EnvError('PERMISSION', `${path} ${wrong}: nothing is shared there`, { path, hint: 'remove it' })
}
