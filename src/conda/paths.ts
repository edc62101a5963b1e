/**
 * What a package says about its files: entries of `paths_data` and `info/paths.json`, and the older `info/files` with
 * `info/has_prefix`, turned into the same shape. Pure.
 */
import { EnvError } from '../errors.js'

export interface PathRecord {
  /** As recorded: for noarch python packages of conda the short path, see noarch.ts. */
  readonly path: string
  /** `hardlink`, `softlink`, `directory`, `pyc_file`, `unix_python_entry_point`, … */
  readonly type: string
  /** Hash of the file in its package. */
  readonly sha256?: string
  /** Hash of the file as installed; rattler writes it only where it differs from `sha256`. */
  readonly sha256InPrefix?: string
  readonly placeholder?: string
  readonly mode?: 'text' | 'binary'
  /** Copied, never linked: what it is for writes into it. */
  readonly noLink?: true
  /** Size in the package (conda, mamba), or as installed (rattler). */
  readonly size?: number
}

/** The placeholder of packages that predate the one of `conda-build`; split so that this file does not hold it. */
const oldPlaceholder: string = ['/opt/anaconda1anaconda2', 'anaconda3'].join('')

function hash(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  // As everybody writes them: no copies of ten thousands.
  if (/^[0-9a-f]{64}$/.test(value)) return value
  return /^[0-9a-fA-F]{64}$/.test(value) ? value.toLowerCase() : undefined
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** One item of `paths`; null when it names no path. */
export function pathRecord(item: unknown): PathRecord | null {
  if (typeof item !== 'object' || item === null) return null
  const raw = item as Record<string, unknown>
  if (typeof raw['_path'] !== 'string') return null
  const sha256 = hash(raw['sha256'])
  // Most files are installed as they are in their package: one text then, which is looked at once.
  const sha256InPrefix = raw['sha256_in_prefix'] === raw['sha256'] ? sha256 : hash(raw['sha256_in_prefix'])
  const placeholder = raw['prefix_placeholder']
  const mode = raw['file_mode']
  // Filled in place: an environment has ten thousands of these, and spreading optional fields makes six objects of each.
  const record: Writable<PathRecord> = {
    path: raw['_path'],
    type: typeof raw['path_type'] === 'string' ? raw['path_type'] : 'hardlink',
  }
  if (sha256 !== undefined) record.sha256 = sha256
  if (sha256InPrefix !== undefined) record.sha256InPrefix = sha256InPrefix
  if (typeof placeholder === 'string' && placeholder !== '') record.placeholder = placeholder
  if (mode === 'text' || mode === 'binary') record.mode = mode
  if (raw['no_link'] === true) record.noLink = true
  if (typeof raw['size_in_bytes'] === 'number') record.size = raw['size_in_bytes']
  return record
}

/** `info/files` and `info/has_prefix` (absent: `''`) of a package made before paths.json; `where` names it in errors. */
export function legacyPaths(files: string, hasPrefix: string, where: string): PathRecord[] {
  const prefixes = new Map<string, { placeholder: string; mode: 'text' | 'binary' }>()
  for (const line of lines(hasPrefix)) {
    const words = (line.match(/"[^"]*"|'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^["']|["']$/g, ''))
    const [first = '', mode = '', path = ''] = words
    if (words.length === 1) prefixes.set(first, { placeholder: oldPlaceholder, mode: 'text' })
    else if (words.length === 3 && (mode === 'text' || mode === 'binary'))
      prefixes.set(path, { placeholder: first, mode })
    else
      throw new EnvError(
        'ENV_DAMAGED',
        `${where}/has_prefix: expected 'PATH' or 'PLACEHOLDER MODE PATH', got '${line}'`,
      )
  }
  return lines(files).map((path) => ({ path, type: 'hardlink', ...prefixes.get(path) }))
}

const lines = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
