/**
 * Reading ahead: while the solver thinks, in its own thread, this one would wait. It reads what the packages of the caches say of themselves,
 * beginning with those that are asked for and going on with what they need, and works out what they bring and how that is recorded. What is
 * chosen in the end has often been read by then.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { type Brought, bring } from './bring.js'
import { nameIn } from './candidates.js'
import { draftOf } from './conda-meta.js'
import { type Noted, noted } from './packages.js'
import { pythonFrom } from './python.js'
import { nameOf } from './repodata.js'
import { readUnpacked, type Unpacked } from './unpacked.js'

/** An unpacked package, and what it is noted to be. */
export interface Read {
  readonly noted: Noted
  readonly unpacked: Unpacked
}

export interface Ahead {
  /** Ends the reading, and answers with what was read, by folders. */
  readonly stop: () => ReadonlyMap<string, Read>
  /** Until it has come to its end, or was ended. */
  readonly done: Promise<void>
}

/** Starts to read. `asked`: names; `copy`: how files will come, see bring.ts. */
export function readAhead(caches: readonly string[], asked: Iterable<string>, copy: boolean): Ahead {
  const read = new Map<string, Read>()
  let ended = false
  const begin = async (): Promise<void> => {
    const folders = await foldersByName(caches)
    const names = new Set(asked)
    const brought: Brought[] = []
    // First: what others bring depends on it. Of several it is not known which one it will be.
    const [only, ...others] = folders.get('python') ?? []
    const at = others.length === 0 && only !== undefined ? readable(only) : null
    const python = at === null ? null : pythonFrom(String(at.unpacked.index['version']), at.unpacked.index)
    for (const name of names)
      for (const folder of folders.get(name) ?? []) {
        // A turn of the loop each: the answer, or an abort, waits for one package at most.
        await setImmediate()
        if (ended) return
        const one = folder === only && at !== null ? at : readable(folder)
        if (one === null) continue
        read.set(folder, one)
        const { index } = one.unpacked
        if (Array.isArray(index['depends'])) for (const spec of index['depends']) names.add(nameIn(String(spec)))
        const pure = index['noarch'] === 'python'
        if (!pure || python !== null) brought.push(bring(one.unpacked, pure ? python : null, copy))
      }
    for (const { placed } of brought) {
      await setImmediate()
      if (ended) return
      draftOf(placed)
    }
  }
  // Whatever is wrong will be met again, if it is chosen, and then it is told.
  const done = begin().catch(() => undefined)
  const stop = (): ReadonlyMap<string, Read> => {
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
function readable(folder: string): Read | null {
  try {
    const is = noted(folder)
    return is === null ? null : { noted: is, unpacked: readUnpacked(folder) }
  } catch {
    return null
  }
}
