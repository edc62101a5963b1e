/**
 * Reading ahead: while the solver thinks, in its own thread, this one would wait. It reads what the packages of the caches say of themselves,
 * beginning with those that are asked for and going on with what they need. What is chosen in the end has often been read by then.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { nameIn } from './candidates.js'
import { nameOf } from './repodata.js'
import { readUnpacked, type Unpacked } from './unpacked.js'

export interface Ahead {
  /** Ends the reading, and answers with what was read, by folders. */
  readonly stop: () => ReadonlyMap<string, Unpacked>
  /** Until it has come to its end, or was ended. */
  readonly done: Promise<void>
}

/** Starts to read. `asked`: names. */
export function readAhead(caches: readonly string[], asked: Iterable<string>): Ahead {
  const read = new Map<string, Unpacked>()
  let ended = false
  const begin = async (): Promise<void> => {
    const folders = await foldersByName(caches)
    const names = new Set(asked)
    for (const name of names)
      for (const folder of folders.get(name) ?? []) {
        // A turn of the loop each: the answer, or an abort, waits for one package at most.
        await setImmediate()
        if (ended) return
        const unpacked = readable(folder)
        if (unpacked === null) continue
        read.set(folder, unpacked)
        const { depends } = unpacked.index
        if (Array.isArray(depends)) for (const spec of depends) names.add(nameIn(String(spec)))
      }
  }
  const done = begin()
  const stop = (): ReadonlyMap<string, Unpacked> => {
    ended = true
    return read
  }
  return { stop, done }
}

async function foldersByName(caches: readonly string[]): Promise<Map<string, string[]>> {
  const folders = new Map<string, string[]>()
  for (const cache of caches) {
    const dists = await readdir(cache).catch(() => [])
    for (const dist of dists) {
      const name = nameOf(`${dist}.conda`)
      if (name === null || dist.endsWith('.conda') || dist.endsWith('.tar.bz2')) continue
      const others = folders.get(name)
      if (others === undefined) folders.set(name, [join(cache, dist)])
      else others.push(join(cache, dist))
    }
  }
  return folders
}

/** Null: it cannot be read now. If it is chosen it will be read again, and then it is told why. */
function readable(folder: string): Unpacked | null {
  try {
    return readUnpacked(folder)
  } catch {
    return null
  }
}
