/**
 * Extracted packages in a package cache. Only asked about records so old that they say nothing about their files: whether a cache
 * is there must not change what is packed from any other environment.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { isAbsent } from '../tree/if-there.js'
import { legacyPaths, type PathRecord, pathRecord } from './paths.js'

/** What the extracted package at `folder` says about its files; null: it is not there any more. */
export function readPackagePaths(folder: string): PathRecord[] | null {
  const info = join(folder, 'info')
  const modern = readIfPresent(join(info, 'paths.json'))
  if (modern !== null) {
    const paths = parse(join(info, 'paths.json'), modern)
    return paths.map(pathRecord).filter((path) => path !== null)
  }
  const files = readIfPresent(join(info, 'files'))
  if (files === null) return null
  return legacyPaths(files, readIfPresent(join(info, 'has_prefix')) ?? '', info)
}

function parse(file: string, text: string): unknown[] {
  try {
    const value = JSON.parse(text) as { paths?: unknown } | null
    if (Array.isArray(value?.paths)) return value.paths
  } catch (error) {
    throw new EnvError('ENV_DAMAGED', `${file}: ${(error as Error).message}`, { path: file, cause: error })
  }
  throw new EnvError('ENV_DAMAGED', `${file}: expected a list 'paths'`, { path: file })
}

/** Not asynchronous: four turns a file, of hundreds, take longer than reading them. */
function readIfPresent(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (isAbsent(error)) return null
    throw fromSystem(error, 'cannot read', path)
  }
}
