/** The deployments of a cache folder, as their markers tell. What carries no marker of ours, or another owner's, is not ours to touch. */
import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import { EnvError, fromSystem } from '../../errors.js'
import type { Held } from '../hold.js'
import { ownFolder, parseReady, type Ready } from '../ready.js'
import { isEntry, type OpenCache, openIn } from './folder.js'

export interface Entry extends Ready {
  readonly entry: string
  /** When it was adopted last, by its marker, in milliseconds since 1970. */
  readonly used: number
}

/** Bytes of a marker; ours have a few hundred. */
const largest = 65_536

/** The complete deployments of a cache folder, the one that was not adopted for longest first. Throws PERMISSION, IO. */
export function entriesIn(cache: OpenCache): Entry[] {
  let names: string[]
  try {
    names = readdirSync(cache.path).filter(isEntry)
  } catch (error) {
    throw fromSystem(error, 'cannot read', cache.name)
  }
  return names.flatMap((entry) => readEntry(cache, entry) ?? []).sort((a, b) => a.used - b.used)
}

/** One of them; null: it is not there, or carries no mark of ours. */
export function readEntry(cache: OpenCache, entry: string): Entry | null {
  const held: Held[] = []
  const enter = (at: OpenCache, name: string): OpenCache | null => {
    const folder = openIn(at, name)
    if (folder !== null) held.push(folder)
    return folder && { ...folder, cache: cache.cache }
  }
  try {
    const tree = enter(cache, entry)
    const own = tree && enter(tree, ownFolder)
    const marker = own && readPlain(join(own.path, 'ready'), cache.cache.owner)
    const ready = marker && parseReady(marker.text)
    return ready && { ...ready, entry, used: marker.stat.mtimeMs }
  } catch (error) {
    if (error instanceof EnvError && error.code === 'PERMISSION') return null // Another's, or open to others.
    throw error
  } finally {
    for (const folder of held) folder.letGo()
  }
}

/** A small file of its owner, by no link; null: it is none. */
function readPlain(path: string, owner: number): { readonly text: string; readonly stat: Stats } | null {
  let file: number | undefined
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const stat = fstatSync(file)
    const isOurs = stat.isFile() && stat.uid === owner && stat.size <= largest
    return isOurs ? { text: readFileSync(file, 'utf8'), stat } : null
  } catch (error) {
    if (['ENOENT', 'ELOOP', 'ENXIO'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw fromSystem(error, 'cannot read', path)
  } finally {
    if (file !== undefined) closeSync(file)
  }
}
