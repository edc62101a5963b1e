import { join } from 'node:path'
import { channelsOf, publicUrl } from '../conda/channel.js'
import type { Config } from '../conda/config.js'
import { readRecords } from '../conda/environment.js'
import type { PrefixRecord } from '../conda/record.js'
import { EnvError } from '../errors.js'
import { textIfThere } from '../tree/if-there.js'
import { checkPath } from '../tree/safe-path.js'
import { nameIn } from './candidates.js'
import { type History, parseHistory } from './history.js'
import { distOf } from './packages.js'
import { type RepoRecord, repoRecord } from './repodata.js'

export interface Installed {
  readonly record: RepoRecord
  readonly meta: PrefixRecord
}

export interface Present {
  /** By their names. */
  readonly packages: ReadonlyMap<string, Installed>
  readonly history: History
  /** Text of `conda-meta/history`; empty where there is none. */
  readonly historyText: string
  /** Specs of `conda-meta/pinned`. */
  readonly pinned: readonly string[]
}

/**
 * Reads the environment, under its lock or while it is whole. Throws ENV_DAMAGED, UNSAFE_PATH for records that name files elsewhere, IO.
 */
export async function readPresent(prefix: string, config: Config): Promise<Present> {
  const packages = new Map<string, Installed>()
  for (const meta of await readRecords(prefix, true)) {
    const other = packages.get(meta.name)
    if (other !== undefined) {
      const message = `${prefix} has two records of ${meta.name}: ${other.meta.file} and ${meta.file}`
      throw new EnvError('ENV_DAMAGED', message, { path: prefix, hint: 'remove the one that is not installed' })
    }
    for (const path of meta.files) checkPath(path, join(prefix, meta.file))
    packages.set(meta.name, { record: repoRecordOf(meta, config), meta })
  }
  const historyText = (await textIfThere(join(prefix, 'conda-meta/history'))) ?? ''
  const pinned = ((await textIfThere(join(prefix, 'conda-meta/pinned'))) ?? '')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
  return { packages, history: parseHistory(historyText), historyText, pinned }
}

/** Of a record what a channel would say of the package: not where it is installed, which is most of it. */
function repoRecordOf(meta: PrefixRecord, config: Config): RepoRecord {
  const { files, paths_data, link, extracted_package_dir, package_tarball_full_path, requested_spec, ...raw } = meta.raw
  const text = (key: string): string => (typeof raw[key] === 'string' ? (raw[key] as string) : '')
  const { subdir } = meta
  const url = publicUrl(text('url'))
  const fn = text('fn') || url.slice(url.lastIndexOf('/') + 1) || `${meta.file.replace(/^.*\/|\.json$/g, '')}.conda`
  const base = without(url, `/${subdir}/${fn}`) ?? channelIn(text('channel'), subdir, config)
  return repoRecord(base, subdir, fn, raw)
}

const without = (text: string, end: string): string | null => (text.endsWith(end) ? text.slice(0, -end.length) : null)

/** Old records name the channel, and no address: `defaults`, `conda-forge/linux-64`, `<unknown>`. */
function channelIn(text: string, subdir: string, config: Config): string {
  try {
    const [channel] = channelsOf(without(text, `/${subdir}`) ?? text, config)
    if (channel !== undefined) return channel.base
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
  }
  // Nothing can be fetched from there; what is installed stays all the same.
  return `https://channel.invalid/${encodeURIComponent(text)}`
}

/** The spec by which a record says that it was asked for; null: it was not. */
export function specIn({ meta }: Installed): string | null {
  const spec = meta.raw['requested_spec']
  return typeof spec === 'string' && spec !== '' && spec !== 'None' ? spec : null
}

/** Whether two records are of one package: the same build of the same channel, or the same archive of another. */
export function isSamePackage(one: RepoRecord, other: RepoRecord): boolean {
  if (one.subdir !== other.subdir || distOf(one.fn) !== distOf(other.fn)) return false
  const equal = (key: 'sha256' | 'md5'): boolean => one[key] !== null && one[key] === other[key]
  return one.channel === other.channel || equal('sha256') || equal('md5')
}

type Packages = ReadonlyMap<string, Pick<Installed, 'record'>>

/** `names` and all that they need of what is installed. */
export function needsOf(names: Iterable<string>, packages: Packages): Set<string> {
  const found = new Set<string>()
  const open = [...names]
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const one = packages.get(name)
    if (one === undefined || found.has(name)) continue
    found.add(name)
    open.push(...one.record.depends.map(nameIn))
  }
  return found
}

/** `names` and all that need them. python asks for pip, but runs without it. */
export function needersOf(names: Iterable<string>, packages: Packages): Set<string> {
  const found = new Set(names)
  const needs = ({ name, depends }: RepoRecord): boolean =>
    depends
      .map(nameIn)
      .some((one) => found.has(one) && !(name === 'python' && packages.get(one)?.record.noarch === 'python'))
  for (let before = -1; before < found.size; ) {
    before = found.size
    for (const [name, { record }] of packages) if (needs(record)) found.add(name)
  }
  return found
}

/**
 * The packages for whose sake the others are there, with the specs that hold for them: those that were asked for, and those that none
 * of the others needs. Where nothing says what was asked for (an environment of an explicit list), all of them.
 */
export function rootsOf({ packages, history }: Present): Map<string, string> {
  const roots = new Map([...history.requested].filter(([name]) => packages.has(name)))
  const needed = new Set(
    roots.size === 0 ? [] : [...packages.values()].flatMap(({ record }) => record.depends.map(nameIn)),
  )
  for (const name of packages.keys()) if (!roots.has(name) && !needed.has(name)) roots.set(name, name)
  return roots
}
