/** What an unpacked package says about itself: its index, its files, and how a noarch: python package is to be installed. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readPackagePaths } from '../conda/package-cache.js'
import type { PathRecord } from '../conda/paths.js'
import { EnvError, fromSystem } from '../errors.js'
import { isAbsent } from '../tree/if-there.js'
import { checkPath } from '../tree/safe-path.js'

export interface EntryPoint {
  readonly name: string
  readonly module: string
  readonly func: string
}

export interface Unpacked {
  /** Where it stands. */
  readonly folder: string
  /** `info/index.json`. */
  readonly index: Readonly<Record<string, unknown>>
  readonly paths: readonly PathRecord[]
  readonly entryPoints: readonly EntryPoint[]
}

/** Throws PACKAGE_DAMAGED for what is no package, UNSAFE_PATH for names that leave it. */
export function readUnpacked(folder: string): Unpacked {
  const info = join(folder, 'info')
  const index = document(join(info, 'index.json'))
  if (index === null) throw damaged(join(info, 'index.json'), 'it is missing')
  const paths = readPackagePaths(folder)
  if (paths === null) throw damaged(info, 'neither paths.json nor files is there')
  for (const { path } of paths) checkPath(path, folder)
  const link = document(join(info, 'link.json'))
  const noarch = link?.['noarch'] as { entry_points?: unknown } | null | undefined
  const points = Array.isArray(noarch?.entry_points) ? noarch.entry_points : []
  return { folder, index, paths, entryPoints: points.map((line) => entryPoint(String(line), folder)) }
}

/** Not asynchronous: four turns a file, of hundreds, take longer than reading them. */
function document(file: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch (error) {
    if (isAbsent(error)) return null
    if (error instanceof SyntaxError) throw damaged(file, error.message, error)
    throw fromSystem(error, 'cannot read', file)
  }
  throw damaged(file, 'expected a JSON object')
}

/** `name = module:function`. What it names becomes code and a file: nothing but names may stand there. */
function entryPoint(line: string, folder: string): EntryPoint {
  const found = /^\s*([\w.+-]+)\s*=\s*([A-Za-z_][\w.]*)\s*:\s*([A-Za-z_][\w.]*)\s*$/.exec(line)
  const [, name = '', module = '', func = ''] = found ?? []
  if (found === null || name === '.' || name === '..')
    throw damaged(join(folder, 'info', 'link.json'), `expected 'name = module:function', got ${JSON.stringify(line)}`)
  return { name, module, func }
}

const damaged = (path: string, what: string, cause?: unknown): EnvError =>
  new EnvError('PACKAGE_DAMAGED', `${path}: ${what}`, { path, cause })
