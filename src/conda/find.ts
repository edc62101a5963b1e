/** Which environment is meant: by its path, by its name, or the active one. Reads directory names and environments.txt only. */
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, delimiter, dirname, isAbsolute, join, resolve } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'

/** Variables of the caller's environment; `process.env` unless a test says otherwise. */
export type Variables = Readonly<Record<string, string | undefined>>

/**
 * The prefix meant by `prefix` or `name`, or else by CONDA_PREFIX, absolute and without a closing slash.
 * Throws ENV_NOT_FOUND (which lists where was looked and what is there), NOT_AN_ENV, INVALID_OPTION.
 */
export function findPrefix(wanted: { prefix?: string; name?: string }, variables: Variables = process.env): string {
  if (wanted.prefix !== undefined && wanted.name !== undefined)
    throw new EnvError('INVALID_OPTION', "Cannot specify both 'name' and 'prefix'")
  if (wanted.name !== undefined) return byName(wanted.name, variables)
  if (wanted.prefix !== undefined) return byPrefix(spelled(wanted.prefix, variables))
  const active = variables['CONDA_PREFIX']
  if (active) return byPrefix(resolve(active))
  const hint = 'activate an environment, or name one with --prefix or --name'
  throw new EnvError('ENV_NOT_FOUND', 'no environment is named, and none is active (CONDA_PREFIX is not set)', { hint })
}

/** A relative path is meant in the shell's spelling of the working directory, which may lead over links: files hold that spelling. */
function spelled(prefix: string, variables: Variables): string {
  const pwd = variables['PWD']
  if (isAbsolute(prefix) || pwd === undefined || !isAbsolute(pwd)) return resolve(prefix)
  return real(pwd) === real('.') ? resolve(pwd, prefix) : resolve(prefix)
}

function byPrefix(prefix: string): string {
  if (!exists(prefix))
    throw new EnvError('ENV_NOT_FOUND', `Environment path '${prefix}' doesn't exist`, { path: prefix })
  if (!isEnvironment(prefix))
    throw new EnvError('NOT_AN_ENV', `Path '${prefix}' is not a conda environment`, { path: prefix })
  return prefix
}

function exists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined
  } catch (error) {
    throw fromSystem(error, 'cannot look at', path)
  }
}

function byName(name: string, variables: Variables): string {
  const places = placesOf(variables)
  const known = new Map<string, string>()
  for (const prefix of [...places.roots, ...places.listed, ...places.folders.flatMap(subfolders)])
    if (isEnvironment(prefix)) known.set(real(prefix) ?? prefix, prefix)
  const prefixes = [...known.values()]
  const isBase = (prefix: string): boolean => places.roots.includes(prefix) && (name === 'base' || name === 'root')
  const found = prefixes.filter((prefix) => basename(prefix) === name || isBase(prefix))
  const [only] = found
  if (only !== undefined && found.length === 1) return only
  const problem = found.length > 1 ? `is ambiguous: it may be ${found.join(' or ')}` : "doesn't exist"
  const looked = [...places.folders, places.list].join(', ')
  const there = found.length > 1 ? '' : `; found ${prefixes.sort().join(', ') || 'no environment'}`
  throw new EnvError('ENV_NOT_FOUND', `Environment name '${name}' ${problem} (looked in ${looked}${there})`, {
    paths: found,
  })
}

export interface Known {
  /** Base environments: the root of a conda or mamba. */
  readonly roots: readonly string[]
  /** Folders whose subfolders are environments, by their names. */
  readonly folders: readonly string[]
  /** Environments: those that were noted when they were made, those in the folders, and the roots; sorted. */
  readonly prefixes: readonly string[]
}

/**
 * The environments that this user knows of. `more`: further folders of environments, of conda's configuration. As for conda, an environment
 * is what has a history.
 */
export function knownEnvironments(more: readonly string[], variables: Variables = process.env): Known {
  const places = placesOf(variables)
  const folders = [...new Set([...more, ...places.folders])]
  const found = [...places.roots, ...places.listed, ...folders.flatMap(subfolders)]
  const history = (prefix: string): boolean =>
    reading(() => statSync(join(prefix, 'conda-meta', 'history'), { throwIfNoEntry: false })?.isFile()) === true
  return { roots: places.roots, folders, prefixes: [...new Set(found)].filter(history).sort() }
}

interface Places {
  /** Base environments. */
  readonly roots: readonly string[]
  /** Folders whose subfolders are environments. */
  readonly folders: readonly string[]
  /** The file in which conda and mamba note every environment they make, and what it says. */
  readonly list: string
  readonly listed: readonly string[]
}

function placesOf(variables: Variables): Places {
  const home = variables['HOME'] || homedir()
  const exe = variables['CONDA_EXE']
  const bases = [
    exe && isAbsolute(exe) ? dirname(dirname(exe)) : '',
    variables['CONDA_ROOT'],
    variables['MAMBA_ROOT_PREFIX'],
  ]
  const roots = [...new Set(bases.filter((base): base is string => Boolean(base)).map((base) => resolve(base)))]
  const named = [variables['CONDA_ENVS_PATH'], variables['CONDA_ENVS_DIRS']].flatMap((text) =>
    (text ?? '').split(delimiter),
  )
  const folders = [
    ...named.filter((path) => path !== ''),
    join(home, '.conda/envs'),
    ...roots.map((root) => join(root, 'envs')),
  ]
  const list = join(home, '.conda/environments.txt')
  return { roots, folders: [...new Set(folders.map((path) => resolve(path)))], list, listed: listedIn(list) }
}

/**
 * The spellings of a prefix by which its files may name it: as given, resolved, and what conda noted. Longest first, so that none
 * hides in another.
 */
export function spellingsOf(prefix: string, more: readonly string[], variables: Variables = process.env): string[] {
  const true_ = real(prefix) ?? prefix
  const active = variables['CONDA_PREFIX']
  const candidates = [...more, ...(active ? [active] : []), ...placesOf(variables).listed]
  const same = candidates.filter((path) => isAbsolute(path) && real(path) === true_).map((path) => resolve(path))
  return longestFirst([prefix, true_, ...same])
}

/** Each once, so that none hides in another. */
export const longestFirst = (prefixes: Iterable<string>): string[] =>
  [...new Set(prefixes)].sort((a, b) => b.length - a.length || (a < b ? -1 : 1))

const isEnvironment = (prefix: string): boolean =>
  reading(() => statSync(join(prefix, 'conda-meta'), { throwIfNoEntry: false })?.isDirectory()) === true

function subfolders(folder: string): string[] {
  return reading(() => readdirSync(folder).map((name) => join(folder, name))) ?? []
}

function listedIn(file: string): string[] {
  const text = reading(() => readFileSync(file, 'utf8')) ?? ''
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => isAbsolute(line))
    .map((line) => resolve(line))
}

const real = (path: string): string | null => reading(() => realpathSync(path))

/** Null for places that are not there or not ours to read: they only widen a search. */
function reading<T>(read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).errno === 'number') return null
    throw error
  }
}
