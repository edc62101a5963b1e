/**
 * The texts that go into every archive: what activates the environment, and the `conda-unpack` that completes it after plain tar.
 * They are the files of this folder; texts.json embeds them, so that the library and the bundled command need no file at run time.
 */
import type { Spot } from '../../tree/entry.js'
import texts from './texts.json' with { type: 'json' }

/** A file with spots, as `conda-unpack` must know it. */
export interface UnpackFile {
  /** Relative to the prefix; bytes that are not UTF-8 as in `Entry`. */
  readonly path: string
  /** Bytes as stored. */
  readonly size: number
  /** Hexadecimal SHA-256 of the stored content. */
  readonly sha256: string
  /** Ascending by offset. A digest spot refers to the path of another file of the table. */
  readonly spots: readonly Spot[]
  /** Paths of the hardlink entries that share this file; they get the new content too. */
  readonly links?: readonly string[]
}

export interface UnpackTable {
  /** What `conda-unpack --version` says, e.g. `0.1.0`. */
  readonly producer: string
  readonly files: readonly UnpackFile[]
}

/** A text for an archive: its path in the environment, and permission bits. */
export interface Script {
  readonly path: string
  readonly text: string
  readonly mode: number
}

const text = (name: keyof typeof texts): string => texts[name].join('\n')

/** What activates and deactivates an environment, the same for every environment: no prefix stands in it. */
export function activationScripts(): readonly Script[] {
  const names = [
    ...(['activate', 'activate.awk', 'activate.csh', 'activate.fish'] as const),
    ...(['deactivate', 'deactivate.csh', 'deactivate.fish'] as const),
  ]
  return names.map((name) => ({ path: `bin/${name}`, text: text(name), mode: 0o644 }))
}

/** The text of `bin/conda-unpack` (mode 0755), all ASCII. The table follows the program as comments, one JSON row a line. */
export function unpackScript(table: UnpackTable): string {
  const prefixes = [...new Set(table.files.flatMap((file) => file.spots.filter(isPrefix).map((spot) => spot.refers)))]
  const number = new Map(prefixes.map((prefix, i) => [prefix, i]))
  const rows: unknown[] = [{ version: 1, producer: table.producer, files: table.files.length, prefixes }]
  for (const { path, size, sha256, spots, links = [] } of table.files) {
    const row = (s: Spot) => [s.encoding, s.offset, isPrefix(s) ? number.get(s.refers) : s.refers, s.slot]
    rows.push([path, size, sha256, spots.map(row), links])
  }
  return `${text('unpack.py')}${rows.map((row) => `#: ${ascii(JSON.stringify(row))}\n`).join('')}`
}

const isPrefix = (spot: Spot): boolean => spot.encoding !== 'digest'

/** Python older than 3.7 reads a source as the locale says; escapes are the same in JSON everywhere. */
const ascii = (json: string): string =>
  json.replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
