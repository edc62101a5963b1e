/**
 * An installed environment, read from its conda-meta folder alone: neither conda nor a package cache is needed. The other files of
 * this folder say what single documents mean. What is on disk is not looked at here: comparing belongs to the verbs.
 */
import { open, readdir, readFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { type List, many } from '../list.js'
import { ifThere } from '../tree/if-there.js'
import { changeName, inChange, inUpdate, isChanging, isUpdating, unfinished, unfinishedMark } from './changing.js'
import { longestFirst, spellingsOf, type Variables } from './find.js'
import { defaultSitePackages } from './noarch.js'
import { originByScripts } from './origin.js'
import { type OwnedFile, ownedBy } from './owned.js'
import { type PrefixRecord, parseRecord } from './record.js'

export interface Package {
  readonly record: PackageRecord
  readonly owned: List<OwnedFile>
  /** In an environment of few files, where reading it again would take more than keeping it. */
  readonly whole?: PrefixRecord
}

/** What is kept of a record: its paths are in `owned`, its document is read again where it is needed. */
export type PackageRecord = Pick<
  PrefixRecord,
  'file' | 'name' | 'version' | 'build' | 'subdir' | 'noarch' | 'sitePackages'
>

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
  const installed = new Installed(prefix)
  await eachRecord(prefix, (record, number) => installed.add(record, number))
  const { python, platform, packages } = installed.all()
  const heads = await scriptHeads(prefix, packages)
  const same = spellingsOf(prefix, heads.flatMap(namedBy), variables)
  const [origin] = originByScripts(heads)
  const movedFrom = origin === undefined || same.includes(resolve(origin)) ? null : resolve(origin)
  const spellings = movedFrom === null ? same : longestFirst([...same, movedFrom])
  return { prefix, spellings, movedFrom, name: basename(prefix), platform, python, packages }
}

/** An environment that stands nowhere: of its records, as if they were at `prefix`. */
export function unplacedEnvironment(name: string, prefix: string, records: readonly PrefixRecord[]): Environment {
  const sorted = [...records].sort((a, b) => (a.file < b.file ? -1 : 1))
  const installed = new Installed(prefix)
  for (const [number, record] of sorted.entries()) installed.add(record, number)
  return { prefix, spellings: [prefix], movedFrom: null, name, ...installed.all() }
}

/** The packages at a prefix, gathered record by record, so that no two documents have to be in memory. */
class Installed {
  private readonly prefix: string
  private packages: Package[] = []
  private files = 0
  private readonly pythons: PackageRecord[] = []
  /** Until it is known where python has its packages. */
  private readonly waiting: (readonly [record: PrefixRecord, number: number])[] = []

  constructor(prefix: string) {
    this.prefix = prefix
  }

  /** `number`: its place among all. */
  add(record: PrefixRecord, number: number): void {
    if (record.name === 'python') this.pythons.push(kept(record))
    if (record.noarch === 'python' && this.pythons.length === 0) this.waiting.push([record, number])
    else this.own(record, number, pythonOf(this.pythons[0]))
  }

  all(): Pick<Environment, 'python' | 'platform' | 'packages'> {
    const [first, ...others] = this.pythons
    if (others.length > 0) {
      const message = `Unexpected failure, multiple versions of python found in prefix '${this.prefix}'`
      throw new EnvError('ENV_DAMAGED', message, { path: this.prefix, hint: 'reinstall python in this environment' })
    }
    const python = pythonOf(first)
    const [orphan] = this.waiting
    if (python === null && orphan !== undefined) {
      const [{ name, file }] = orphan
      const message = `noarch: python package installed ('${name}'), but Python not found in environment ('${this.prefix}')`
      throw new EnvError('ENV_DAMAGED', message, { path: join(this.prefix, file) })
    }
    for (const [record, number] of this.waiting.splice(0)) this.own(record, number, python)
    const packages = this.packages.filter((one) => one !== undefined)
    return { python, platform: platformOf(packages.map(({ record }) => record)), packages }
  }

  private own(record: PrefixRecord, number: number, python: Environment['python']): void {
    const owned = ownedBy(record, python?.sitePackages ?? '')
    const were = this.files
    this.files += owned.length
    if (this.files < many) this.packages[number] = { record: kept(record), owned, whole: record }
    else this.packages[number] = { record: kept(record), owned }
    if (were < many && this.files >= many) this.packages = this.packages.map(({ whole: _, ...rest }) => rest)
  }
}

const kept = ({ file, name, version, build, subdir, noarch, sitePackages }: PrefixRecord): PackageRecord => ({
  ...{ file, name, version, build, subdir, noarch, sitePackages },
})

const pythonOf = (python: PackageRecord | undefined): Environment['python'] =>
  python === undefined
    ? null
    : { version: python.version, sitePackages: python.sitePackages ?? defaultSitePackages(python.version) }

/** The records of an environment, by their names. Throws what `eachRecord` throws. */
export async function readRecords(prefix: string, changing = false): Promise<PrefixRecord[]> {
  const records: PrefixRecord[] = []
  await eachRecord(prefix, (record, number) => (records[number] = record), changing)
  return records.filter((record) => record !== undefined)
}

/** Documents that are read at a time. */
const readAhead = 8

/**
 * Hands over every record of an environment with its number in the order of their names; that of python comes early, because others are
 * understood by it. Throws ENV_DAMAGED for what is none, and for an environment in the midst of a change, unless the caller is who changes it.
 */
async function eachRecord(
  prefix: string,
  use: (record: PrefixRecord, number: number) => void,
  changing = false,
): Promise<void> {
  const folder = join(prefix, 'conda-meta')
  try {
    const all = await readdir(folder)
    if (all.includes(unfinishedMark)) throw unfinished(prefix)
    if (!changing && all.includes(changeName)) throw inChange(prefix)
    if (isUpdating(prefix)) throw inUpdate(prefix)
    const names = all.filter((name) => name.endsWith('.json') && !name.startsWith('.')).sort()
    const isPython = (number: number): boolean => /^python-\d/.test(names[number] ?? '')
    const order = [...names.keys()].sort((a, b) => Number(isPython(b)) - Number(isPython(a)))
    for (let first = 0; first < order.length; first += readAhead) {
      const some = order.slice(first, first + readAhead)
      const texts = await Promise.all(some.map((number) => recordFile(join(folder, names[number] ?? ''))))
      for (const [i, number] of some.entries()) {
        const text = texts[i]
        if (typeof text === 'string') use(parseRecord(`conda-meta/${names[number]}`, text), number)
      }
    }
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

function platformOf(records: readonly PackageRecord[]): string {
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
  const scripts: string[] = []
  for (const { owned } of packages)
    for (const file of owned) if (scripts.length < scriptsRead && isScript(file)) scripts.push(file.path)
  return await Promise.all(scripts.map((path) => head(join(prefix, path))))
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
