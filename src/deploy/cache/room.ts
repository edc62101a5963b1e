/**
 * Room for a deployment in a cache: idle deployments go, the one that was not adopted for longest first, before the first byte is written,
 * and once more when the disk is full midway (another process wrote there, a quota that statfs does not tell, an archive made by others,
 * whose size is not known beforehand).
 */
import { EnvError } from '../../errors.js'
import type { FileSystem } from '../../tree/file-system.js'
import { type Content, preflight, type Room, roomOf } from '../preflight.js'
import type { Entry } from './entries.js'
import type { CacheFolder } from './folder.js'

export interface Evictions {
  readonly allowShared: boolean
  /** Nothing goes, and what would go is counted as if it had. */
  readonly dryRun: boolean
  /** Takes away what dead processes left beside a prefix; true: there was something. */
  readonly sweep: (prefix: string) => Promise<boolean>
  /** The deployments of a cache that may be removed, in that order. */
  readonly idle: (cache: CacheFolder) => Promise<readonly Entry[]>
  /** Removes one of them; the room that it took, or null: it stays. */
  readonly evict: (cache: CacheFolder, entry: Entry) => Promise<Room | null>
}

const none: Room = { bytes: 0, entries: 0 }
const sum = (a: Room, b: Room): Room => ({ bytes: a.bytes + b.bytes, entries: a.entries + b.entries })

/** Is there no room for what was to be written? */
export const isFull = (error: unknown): error is EnvError => error instanceof EnvError && error.code === 'NO_SPACE'

/** Preflight; where there is no room, what is left over goes first, and then deployments of the cache that are not in use. */
export async function checkedPlace(
  prefix: string,
  content: Content,
  evictions: Evictions,
  cache: CacheFolder | null,
): Promise<FileSystem> {
  const look = lookAt(prefix, content, evictions)
  let gained = none
  let found = await look(gained)
  // What a killed deployment left here may be what fills the place.
  if (found instanceof EnvError && (await evictions.sweep(prefix))) found = await look(gained)
  if (found instanceof EnvError && cache !== null) {
    for (const entry of await worthwhile(cache, evictions, look)) {
      const room = await evictions.evict(cache, entry)
      // What really went is free already.
      if (room !== null && evictions.dryRun) gained = sum(gained, room)
      found = await look(gained)
      if (!(found instanceof EnvError)) break
    }
  }
  if (found instanceof EnvError) throw found
  return found
}

/**
 * After a deployment found no room midway, and what it had written is gone: evicts idle deployments until what went took as much as the
 * archive will, whatever the file system tells to be free; all of them when the archive does not tell. False: nothing went.
 */
export async function makeRoom(
  { prefix, cache }: { readonly prefix: string; readonly cache: CacheFolder | null },
  content: Content,
  evictions: Evictions,
): Promise<boolean> {
  if (cache === null) return false
  const needed = content.size === null ? null : roomOf(content.size)
  let gained: Room | null = null
  for (const entry of await worthwhile(cache, evictions, lookAt(prefix, content, evictions))) {
    const room = await evictions.evict(cache, entry)
    if (room === null) continue
    gained = sum(gained ?? none, room)
    if (needed !== null && gained.bytes >= needed.bytes && gained.entries >= needed.entries) break
  }
  return gained !== null
}

type Look = (more: Room) => Promise<FileSystem | EnvError>

function lookAt(prefix: string, content: Content, { allowShared }: Evictions): Look {
  return (more) =>
    preflight(prefix, content, allowShared, more).catch((error: unknown) => {
      if (isFull(error)) return error
      throw error
    })
}

/** What may go; none when the deployment would not fit then either. */
async function worthwhile(cache: CacheFolder, { idle }: Evictions, look: Look): Promise<readonly Entry[]> {
  const all = await idle(cache)
  return (await look(all.map(roomOf).reduce(sum, none))) instanceof EnvError ? [] : all
}
