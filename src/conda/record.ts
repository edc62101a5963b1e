/** One `conda-meta/*.json`: what conda, mamba or rattler recorded about an installed package. Parsing only; pure. */
import { EnvError } from '../errors.js'
import { type PathRecord, pathRecord } from './paths.js'

export interface PrefixRecord {
  /** Relative to the prefix. */
  readonly file: string
  readonly name: string
  readonly version: string
  readonly build: string
  readonly subdir: string
  readonly noarch: 'python' | 'generic' | null
  /** Installed paths. */
  readonly files: readonly string[]
  /** Null: written by a conda that did not record them yet. */
  readonly paths: readonly PathRecord[] | null
  /** The extracted package it was linked from; empty where unknown (rattler may write no link). */
  readonly source: string
  /** Where this python keeps its packages, relative to the prefix, when it says so (free-threaded builds). */
  readonly sitePackages: string | null
  /** The whole document. */
  readonly raw: Readonly<Record<string, unknown>>
}

/** Throws ENV_DAMAGED, naming the file, for what is not a record. */
export const parseRecord = (file: string, text: string): PrefixRecord => recordOf(file, object(file, text))

/** Of a document that was parsed already, or is yet to be written. Throws as parseRecord. */
export function recordOf(file: string, raw: Readonly<Record<string, unknown>>): PrefixRecord {
  const word = (key: string): string => {
    const value = raw[key]
    if (typeof value === 'string' && value !== '') return value
    throw damaged(file, `expected a text '${key}', got ${JSON.stringify(value) ?? 'nothing'}`)
  }
  const link = raw['link'] as { source?: unknown } | null | undefined
  const data = raw['paths_data'] as { paths?: unknown } | null | undefined
  const files = strings(raw['files'])
  if (Array.isArray(data?.paths)) shareTexts(files, data.paths)
  let paths: readonly PathRecord[] | null | undefined
  const source = typeof link?.source === 'string' ? link.source : raw['extracted_package_dir']
  const sitePackages = raw['python_site_packages_path']
  return {
    file,
    name: word('name'),
    version: word('version'),
    build: typeof raw['build'] === 'string' ? raw['build'] : '',
    subdir: typeof raw['subdir'] === 'string' ? raw['subdir'] : '',
    noarch: noarch(raw['noarch']),
    files,
    // Not everyone who reads a record asks for them, and an environment has ten thousands.
    get paths() {
      paths ??= Array.isArray(data?.paths) ? data.paths.map(pathRecord).filter((path) => path !== null) : null
      return paths
    },
    source: typeof source === 'string' ? source : '',
    sitePackages: typeof sitePackages === 'string' && sitePackages !== '' ? sitePackages : null,
    raw,
  }
}

/** A parsed record has every path twice, and nearly every hash: each is kept once, a sixth of the memory of a large environment. */
function shareTexts(files: readonly string[], items: readonly unknown[]): void {
  for (let i = 0; i < items.length; i++) {
    const raw = items[i] as { _path?: unknown; sha256?: unknown; sha256_in_prefix?: unknown } | null
    if (typeof raw !== 'object' || raw === null) continue
    if (raw._path === files[i]) raw._path = files[i]
    if (raw.sha256_in_prefix === raw.sha256 && raw.sha256 !== undefined) raw.sha256_in_prefix = raw.sha256
  }
}

function object(file: string, text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw damaged(file, (error as Error).message, error)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw damaged(file, 'expected a JSON object')
  return value as Record<string, unknown>
}

/** The texts of a list; of anything else none. */
export function strings(value: unknown): string[] {
  if (!Array.isArray(value)) return []
  // Ten thousands, in a record: no copy where nothing else is among them.
  return value.every(isText) ? value : value.filter(isText)
}

const isText = (item: unknown): item is string => typeof item === 'string'

/** Old records say `true` for what is now `"generic"`. */
const noarch = (value: unknown): PrefixRecord['noarch'] =>
  value === 'python' ? 'python' : value === 'generic' || value === true ? 'generic' : null

const damaged = (file: string, what: string, cause?: unknown): EnvError =>
  new EnvError('ENV_DAMAGED', `${file} is not a package record: ${what}`, { path: file, cause })
