/** The archive's file: its place, the partial file beside it, and putting it under its name. What a killed pack left there is removed. */
import { existsSync, lstatSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { native } from '../native.js'
import { boundedName } from '../tree/bounded-name.js'
import { makeFolders } from '../tree/folders.js'
import { isAbandoned, ownedName } from '../tree/owned.js'

/**
 * Throws OUTPUT_EXISTS, or IO where the directory is missing; with `force` neither matters, except that a directory is only replaced by
 * one (`directory`: the environment's place in it), and only when it is empty or holds an environment there.
 */
export function checkOutput(output: string, force: boolean, directory?: string): void {
  const there = lstatSync(output, { throwIfNoEntry: false })
  if (there && !force) throw existing(output)
  if (there?.isDirectory()) {
    const replaceable =
      directory !== undefined && (existsSync(join(output, directory, 'conda-meta')) || namesIn(output).length === 0)
    if (replaceable) return
    throw new EnvError('OUTPUT_EXISTS', `${output} is a directory, which --force does not replace`, {
      path: output,
      hint: 'remove it, or choose another name with --output',
    })
  }
  if (there && directory !== undefined) {
    const message = `${output} is not a directory, and is not replaced by one`
    throw new EnvError('OUTPUT_EXISTS', message, { path: output, hint: 'remove it' })
  }
  if (force) return
  const folder = dirname(output)
  if (!existsSync(folder))
    throw new EnvError('IO', `The target output directory ${folder} does not exist`, {
      path: folder,
      hint: 'make it, or pass --force',
    })
}

/** Makes the directory of `output` where it is missing; the result takes back what was made and is still empty. */
export function makeFolder(output: string): () => void {
  const folder = dirname(output)
  let first: string | undefined
  try {
    first = makeFolders(folder)
  } catch (error) {
    throw fromSystem(error, 'cannot make', folder)
  }
  return () => {
    if (first === undefined) return
    for (let at = folder; at.length >= first.length && removed(at); at = dirname(at));
  }
}

/** false: somebody put something into it, or removed it. */
function removed(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).errno === 'number') return false
    throw error
  }
}

const stem = (output: string): string => `${boundedName(basename(output), 75)}.part-`

/** A free name beside `output`, on its file system. */
export const partOf = (output: string): string => join(dirname(output), `${stem(output)}${ownedName()}`)

/** Removes what packs to the same output left that were killed on this host. Never that of a process that may live, or of another host. */
export function sweep(output: string): void {
  const folder = dirname(output)
  const begin = stem(output)
  for (const name of namesIn(folder))
    if (name.startsWith(begin) && isAbandoned(name.slice(begin.length))) discard(join(folder, name))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    // Writing there will say what is wrong, or be possible all the same.
    if (typeof (error as NodeJS.ErrnoException).errno === 'number') return []
    throw error
  }
}

/** Puts a finished archive, or directory, under its name. Throws OUTPUT_EXISTS where something came to stand there, unless `force`. */
export function publish(part: string, output: string, force: boolean): void {
  if (!force) {
    if (!native().rename(part, output, 'no-replace')) throw existing(output)
    return
  }
  try {
    // Directories change places, since one that holds something cannot be replaced: what was there is removed as `part`.
    const there = lstatSync(output, { throwIfNoEntry: false })
    if (there?.isDirectory()) native().rename(part, output, 'exchange')
    else renameSync(part, output)
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot replace', output)
  }
}

export function discard(part: string): void {
  rmSync(part, { recursive: true, force: true })
}

const existing = (output: string): EnvError =>
  new EnvError('OUTPUT_EXISTS', `File '${output}' already exists`, { path: output })
