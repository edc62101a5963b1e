/** Folders made with their parents, and removed with all that is in them. */
import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { native, runJob } from '../native.js'

const mostTries = 10

/**
 * Makes `path`, absolute, and the parents it lacks; returns the topmost folder made; undefined: it was there. Throws what node:fs throws.
 * Node's own `recursive` says ENOENT for whatever kept it from making a folder: a full disk, a quota, a read-only file system.
 */
export function makeFolders(path: string): string | undefined {
  for (let tries = 1; ; tries++) {
    try {
      return makeMissing(path)
    } catch (error) {
      // Another process may take away a folder that it made and did not need, between our looking and our making one beneath.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries === mostTries) throw error
    }
  }
}

function makeMissing(path: string): string | undefined {
  const missing: string[] = []
  for (let at = path; statSync(at, { throwIfNoEntry: false }) === undefined; at = dirname(at)) missing.unshift(at)
  let made: string | undefined
  for (const at of missing) {
    try {
      mkdirSync(at)
      made ??= at
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || statSync(at, { throwIfNoEntry: false }) === undefined)
        throw error
    }
  }
  // A file in the way: as mkdir says it.
  if (missing.length === 0 && !statSync(path).isDirectory()) mkdirSync(path)
  return made
}

/** Removes a folder with all that is in it, whatever the modes. */
export async function removeFolder(folder: string, threads: number): Promise<void> {
  await runJob((counters) => native().remove({ root: folder, threads }, counters))
}
