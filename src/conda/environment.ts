/**
 * An installed environment, read from its conda-meta folder alone: neither conda nor a package cache is needed. The other files of
 * this folder say what single documents mean. What is on disk is not looked at here: comparing belongs to the verbs.
 */
import { open, readdir, readFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { ifThere } from '../tree/if-there.js'
import { changeName, inChange, inUpdate, isChanging, isUpdating, unfinished, unfinishedMark } from './changing.js'
import { longestFirst, spellingsOf, type Variables } from './find.js'
import { defaultSitePackages, installedPath } from './noarch.js'
import { originByScripts } from './origin.js'
import { readPackagePaths } from './package-cache.js'
import type { PathRecord } from './paths.js'
import { type PrefixRecord, parseRecord } from './record.js'

/** A path that a package owns in the prefix. */
export interface OwnedFile {
  readonly path: string
  /** Null: the package only lists it. */
  readonly recorded: PathRecord | null
}

export interface Package {
  readonly record: PrefixRecord
  readonly owned: readonly OwnedFile[]
}

export interface Environment {
  /** Absolute, as given. */
  readonly prefix: string
  /** How files may name the prefix, longest first; see `spellingsOf`. */
  readonly spellings: readonly string[]
  /** The prefix that its scripts name, when that is not this one: it was moved or copied from there. One of `spellings`. */
  readonly movedFrom: string | null
  readonly name: string
  /** conda's name for the platform, e.g. `linux-64`. */
  readonly platform: string
  readonly python: { readonly version: string; readonly sitePackages: string } | null
  /** By the names of their records. */
  readonly packages: readonly Package[]
}

/**
 * Opens the environment at `prefix` (see `findPrefix`). Throws ENV_DAMAGED for records that cannot be read, for more than one python,
 * for noarch python packages without a python, and for an environment in the midst of a change.
 */
export async function openEnvironment(prefix: string, variables: Variables = process.env): Promise<Environment> {
  const records = await readRecords(prefix)
  const { python, packages } = packagesOf(prefix, records)
  const heads = await scriptHeads(prefix, packages)
  const same = spellingsOf(prefix, heads.flatMap(namedBy), variables)
  const [origin] = originByScripts(heads)
  const movedFrom = origin === undefined || same.includes(resolve(origin)) ? null : resolve(origin)
  const spellings = movedFrom === null ? same : longestFirst([...same, movedFrom])
  return { prefix, spellings, movedFrom, name: basename(prefix), platform: platformOf(records), python, packages }
}

/** An environment that stands nowhere: of its records, as if they were at `prefix`. */
export function unplacedEnvironment(name: string, prefix: string, records: readonly PrefixRecord[]): Environment {
  const sorted = [...records].sort((a, b) => (a.file < b.file ? -1 : 1))
  const platform = platformOf(sorted)
  return { prefix, spellings: [prefix], movedFrom: null, name, platform, ...packagesOf(prefix, sorted) }
}

function packagesOf(prefix: string, records: readonly PrefixRecord[]): Pick<Environment, 'python' | 'packages'> {
  const python = pythonOf(prefix, records)
  const packages: Package[] = []
  for (const record of records) {
    if (record.noarch === 'python' && python === null) {
      const message = `noarch: python package installed ('${record.name}'), but Python not found in environment ('${prefix}')`
      throw new EnvError('ENV_DAMAGED', message, { path: join(prefix, record.file) })
    }
    packages.push({ record, owned: ownedBy(record, python?.sitePackages ?? '') })
  }
  return { python, packages }
}

/**
 * The records of an environment, by their names. Throws ENV_DAMAGED for what is none, and for an environment in the midst of a change,
 * unless the caller is who changes it.
 */
export async function readRecords(prefix: string, changing = false): Promise<PrefixRecord[]> {
  const folder = join(prefix, 'conda-meta')
  try {
    const all = await readdir(folder)
    if (all.includes(unfinishedMark)) throw unfinished(prefix)
    if (!changing && all.includes(changeName)) throw inChange(prefix)
    if (isUpdating(prefix)) throw inUpdate(prefix)
    const names = all.filter((name) => name.endsWith('.json') && !name.startsWith('.')).sort()
    const texts = await Promise.all(names.map((name) => recordFile(join(folder, name))))
    return texts.flatMap((text, i) => (text === null ? [] : [parseRecord(`conda-meta/${names[i]}`, text)]))
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot read', folder)
  }
}

/**
 * Runs `read`, which reads an environment that others may change meanwhile, until nothing did; `read` passes over a change that is only
 * prepared. Throws ENV_DAMAGED for an environment in which a change is half done, IO, and what `read` throws.
 */
export async function whileWhole<T>(prefix: string, read: () => Promise<T>): Promise<T> {
  const folder = join(prefix, 'conda-meta')
  const state = async (): Promise<string> => {
    const names = await ifThere(readdir(folder), folder)
    if (names?.includes(changeName) && isChanging(prefix)) throw inChange(prefix)
    if (isUpdating(prefix)) throw inUpdate(prefix)
    return (names ?? []).filter((name) => name.endsWith('.json')).join('\n')
  }
  for (let attempt = 0; attempt < 3; attempt++) {
    const before = await state()
    const found = await read()
    if ((await state()) === before) return found
  }
  throw inChange(prefix)
}

/** Null for a folder, or a link that leads nowhere: whatever its name says, that is no record. */
async function recordFile(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EISDIR' || code === 'ENOENT' || code === 'ELOOP') return null
    throw error
  }
}

function pythonOf(prefix: string, records: readonly PrefixRecord[]): Environment['python'] {
  const [python, ...others] = records.filter((record) => record.name === 'python')
  if (others.length > 0) {
    const message = `Unexpected failure, multiple versions of python found in prefix '${prefix}'`
    throw new EnvError('ENV_DAMAGED', message, { path: prefix, hint: 'reinstall python in this environment' })
  }
  if (!python) return null
  return { version: python.version, sitePackages: python.sitePackages ?? defaultSitePackages(python.version) }
}

/** Every path once; `.nonadmin` is a marker of installers on Windows, never a file of the package. */
function ownedBy(record: PrefixRecord, sitePackages: string): OwnedFile[] {
  const files = new Set(record.files)
  const paths = record.paths ?? (record.source === '' ? null : readPackagePaths(record.source)) ?? []
  const owned = new Map<string, OwnedFile>()
  for (const recorded of paths) {
    const path = ownPath(record, files, recorded.path, sitePackages)
    owned.set(path, { path, recorded })
  }
  for (const path of files) if (!owned.has(path)) owned.set(path, { path, recorded: null })
  owned.delete('.nonadmin')
  return [...owned.values()]
}

/** Where a recorded path was installed: `files` has the real paths, whoever wrote the record. */
export function ownPath(
  record: Pick<PrefixRecord, 'noarch'>,
  files: ReadonlySet<string>,
  path: string,
  sitePackages: string,
): string {
  return record.noarch !== 'python' || files.has(path) ? path : installedPath(path, sitePackages)
}

function platformOf(records: readonly PrefixRecord[]): string {
  const counts = new Map<string, number>()
  for (const { subdir } of records)
    if (subdir !== '' && subdir !== 'noarch') counts.set(subdir, (counts.get(subdir) ?? 0) + 1)
  const [most] = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
  return most?.[0] ?? 'noarch'
}

/** Enough to meet one that carries the prefix; each costs one read on a file system that may be slow. */
const scriptsRead = 8

/** Beginnings of the environment's own scripts: their first lines name the prefix as it was spelt when they were installed. */
async function scriptHeads(prefix: string, packages: readonly Package[]): Promise<string[]> {
  const isScript = ({ path, recorded }: OwnedFile): boolean =>
    path.startsWith('bin/') &&
    (recorded?.type === 'unix_python_entry_point' || (recorded?.mode === 'text' && recorded.placeholder !== undefined))
  const scripts = packages.flatMap((one) => one.owned.filter(isScript)).slice(0, scriptsRead)
  return await Promise.all(scripts.map(({ path }) => head(join(prefix, path))))
}

/** The prefix in the first line of a script, whatever interpreter it calls there. */
const namedBy = (text: string): string[] => {
  const named = /^#!(?:[ \t]*|\/bin\/sh\n'''exec' "?)(\/[^\n"]*?)\/bin\/[^/\n]*(?:\n|$)/.exec(text)?.[1]
  return named === undefined ? [] : [named]
}

/** The beginning of a file; empty when it cannot be read: what is missing or not readable is found by the scan. */
async function head(path: string): Promise<string> {
  try {
    const file = await open(path)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(1024), 0, 1024, 0)
      return buffer.toString('utf8', 0, bytesRead)
    } finally {
      await file.close()
    }
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).errno === 'number') return ''
    throw error
  }
}
