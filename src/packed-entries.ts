/**
 * What is to be packed crosses the border in columns, because read property by property twenty thousand entries cost a tenth of a second; and
 * in pieces, because all columns at once would take as much memory as what the core makes of them.
 */
import type { PackEntry } from './jobs.js'
import type { List } from './list.js'

export interface PackPieces {
  readonly length: number
  /** The columns of some more of them. */
  next(): PackColumns
}

export interface PackColumns {
  /** Path, target, unlessRewritten and source of each, empty where there is none; divided by NUL. */
  readonly texts: string
  /** Seven an entry: kind, mode, mtime, size, slot, bits, and the placeholder's number in the list, from 1 on. */
  readonly numbers: Float64Array
  /** Likewise 64 digits each, of those whose bits say that they have them: in the package, and as installed where that is not the same. */
  readonly hashes: string
  readonly placeholders: readonly string[]
  /** Of those whose bits say so, in their order. */
  readonly data: readonly Uint8Array[]
  readonly digests: readonly NonNullable<PackEntry['digests']>[]
  readonly spooled: readonly number[]
}

/** Numbers of the core. */
export const kinds = { directory: 0, file: 1, symlink: 2, hardlink: 3 } as const
const policies = { detect: 0, any: 1, report: 2 } as const
/** The lowest two bits are the policy. */
const bits = {
  data: 4,
  digests: 8,
  pristine: 16,
  sha256: 32,
  installed: 64,
  same: 128,
  text: 256,
  binary: 512,
  spooled: 1024,
} as const

const width = 7

/** Entries to a piece. */
const most = 512

export function packPieces(entries: List<PackEntry>): PackPieces {
  let next = 0
  return {
    length: entries.length,
    next() {
      const first = next
      next = Math.min(first + most, entries.length)
      return packColumns(entries, first, next)
    },
  }
}

function packColumns(entries: List<PackEntry>, first: number, end: number): PackColumns {
  const texts: string[] = []
  const numbers = new Float64Array(width * (end - first))
  const hashes: string[] = []
  const placeholders = new Map<string, number>()
  const data: Uint8Array[] = []
  const digests: NonNullable<PackEntry['digests']>[] = []
  const spooled: number[] = []
  const hash = (digits: string): void => {
    if (digits.length !== 64) throw new TypeError(`a hash must be 64 hexadecimal digits, not '${digits}'`)
    hashes.push(digits)
  }
  let at = 0
  for (let i = first; i < end; i++) {
    const entry = entries.at(i) as PackEntry
    texts.push(entry.path, entry.target ?? '', entry.unlessRewritten ?? '', entry.source ?? '')
    let said: number = policies[entry.policy ?? 'detect']
    let placeholder = 0
    if (entry.data !== undefined) {
      said |= bits.data
      data.push(entry.data)
    }
    if (entry.spooled !== undefined) {
      said |= bits.spooled
      spooled.push(entry.spooled)
    }
    if (entry.digests !== undefined) {
      said |= bits.digests
      digests.push(entry.digests)
    }
    if (entry.pristine) said |= bits.pristine
    const { expect } = entry
    if (expect !== undefined) {
      const { sha256, sha256InPrefix: installed, placeholder: text, mode } = expect
      if (sha256 !== undefined) {
        said |= bits.sha256
        hash(sha256)
      }
      if (installed !== undefined) {
        said |= bits.installed
        if (installed === sha256) said |= bits.same
        else hash(installed)
      }
      if (text !== undefined) {
        placeholder = placeholders.get(text) ?? placeholders.size + 1
        placeholders.set(text, placeholder)
      }
      if (mode !== undefined) said |= bits[mode]
    }
    numbers[at++] = kinds[entry.kind]
    numbers[at++] = entry.mode
    numbers[at++] = entry.mtime
    numbers[at++] = entry.size
    numbers[at++] = entry.slot ?? 0
    numbers[at++] = said
    numbers[at++] = placeholder
  }
  return {
    ...{ texts: texts.join('\0'), numbers, hashes: hashes.join('\0') },
    ...{ placeholders: [...placeholders.keys()], data, digests, spooled },
  }
}
