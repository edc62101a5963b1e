/** The archive's file: its name and format, the partial file beside it, and putting it under its name. */
import { randomBytes } from 'node:crypto'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { native } from '../native.js'
import { makeFolders } from '../tree/folders.js'

/** Suffixes by format, as conda-pack knows them; the longer ones first. */
const suffixes: readonly (readonly [suffix: string, format: string])[] = [
  ['.parcel', 'parcel'],
  ['.zip', 'zip'],
  ['.tar.gz', 'tar.gz'],
  ['.tgz', 'tar.gz'],
  ['.tar.bz2', 'tar.bz2'],
  ['.tbz2', 'tar.bz2'],
  ['.tar.xz', 'tar.xz'],
  ['.txz', 'tar.xz'],
  ['.tar.zst', 'tar.zst'],
  ['.tzst', 'tar.zst'],
  ['.tar', 'tar'],
  ['.squashfs', 'squashfs'],
  ['.no-archive', 'no-archive'],
]

/** The absolute path to write. `name`: of the environment. Throws INVALID_OPTION and UNSUPPORTED. */
export function outputPath(output: string | undefined, format: string, name: string): string {
  const chosen = format === 'infer' ? inferred(output) : format === 'tzst' ? 'tar.zst' : format
  if (!suffixes.some(([suffix, known]) => known === chosen || suffix === `.${chosen}`))
    throw new EnvError('INVALID_OPTION', `Unknown format '${format}'`, { hint: 'this version writes tar.zst' })
  if (chosen !== 'tar.zst') {
    const hint = 'this version writes tar.zst, which any tar with zstd reads'
    throw new EnvError('UNSUPPORTED', `format '${chosen}' cannot be written`, { hint })
  }
  return resolve(output ?? `${name}.tar.zst`)
}

function inferred(output: string | undefined): string {
  if (output === undefined) return 'tar.zst'
  const found = suffixes.find(([suffix]) => output.endsWith(suffix))
  if (!found)
    throw new EnvError('INVALID_OPTION', `Unknown file extension '${output}'`, { hint: 'end its name with .tar.zst' })
  return found[1]
}

/** Throws OUTPUT_EXISTS, or IO where the directory is missing; with `force` neither matters. */
export function checkOutput(output: string, force: boolean): void {
  if (force) return
  if (existsSync(output)) throw existing(output)
  const folder = dirname(output)
  if (!existsSync(folder))
    throw new EnvError('IO', `The target output directory ${folder} does not exist`, { path: folder })
}

/** Makes the directory of `output` where it is missing. */
export function makeFolder(output: string): void {
  try {
    makeFolders(dirname(output))
  } catch (error) {
    throw fromSystem(error, 'cannot make', dirname(output))
  }
}

/** A free name beside `output`, on its file system. */
export function partOf(output: string): string {
  return join(dirname(output), `${basename(output)}.part-${process.pid}-${randomBytes(3).toString('hex')}`)
}

/** Puts a finished archive under its name. Throws OUTPUT_EXISTS where something came to stand there, unless `force`. */
export function publish(part: string, output: string, force: boolean): void {
  if (!force) {
    if (!native().rename(part, output, 'no-replace')) throw existing(output)
    return
  }
  try {
    renameSync(part, output)
  } catch (error) {
    throw fromSystem(error, 'cannot replace', output)
  }
}

export function discard(part: string): void {
  rmSync(part, { force: true })
}

const existing = (output: string): EnvError =>
  new EnvError('OUTPUT_EXISTS', `File '${output}' already exists`, { path: output })
