/**
 * How long a prefix may be: given what stands in an archive, which of its files a target prefix does not fit. Pure; how a prefix is
 * written into bytes is the core's matter.
 */
import { EnvError } from '../errors.js'
import type { Encoding, Spot } from '../tree/entry.js'

export interface TooLong {
  readonly path: string
  /** Characters that fit, and that the prefix takes, in the encoding of the narrowest place. */
  readonly slot: number
  readonly needed: number
}

/** Entries, or what the core said of them. */
type Files = readonly { readonly path: string; readonly spots?: readonly Spot[] | undefined }[]

/** The longest prefix, in bytes, that fits everywhere (as long as it is ASCII); null: any does. */
export function longestPrefix(files: Files): number | null {
  let longest: number | null = null
  for (const { spots = [] } of files)
    for (const { encoding, slot } of spots)
      if (isBounded(encoding) && (longest === null || slot < longest)) longest = slot
  return longest
}

/** The files into which `prefix` does not fit, each with its narrowest place. */
export function tooLong(files: Files, prefix: string): TooLong[] {
  const found: TooLong[] = []
  for (const { path, spots = [] } of files) {
    const tight = spots.filter(({ encoding, slot }) => isBounded(encoding) && lengthIn(prefix, encoding) > slot)
    const [first, ...others] = tight
    if (!first) continue
    const worst = others.reduce((a, b) => (b.slot < a.slot ? b : a), first)
    found.push({ path, slot: worst.slot, needed: lengthIn(prefix, worst.encoding) })
  }
  return found
}

/** Throws PREFIX_TOO_LONG, naming the files, when `prefix` does not fit everywhere. */
export function checkFits(files: Files, prefix: string): void {
  const found = tooLong(files, prefix)
  if (found.length === 0) return
  const paths = found.map((file) => file.path)
  const few = paths.slice(0, 3).join(', ') + (paths.length > 3 ? ` and ${paths.length - 3} more` : '')
  const sizes = `${Buffer.byteLength(prefix)} bytes, expected at most ${longestPrefix(files)}`
  throw new EnvError('PREFIX_TOO_LONG', `the prefix ${prefix} has ${sizes}: it does not fit into ${few}`, {
    path: prefix,
    paths,
  })
}

const isBounded = (encoding: Encoding): boolean => encoding !== 'text' && encoding !== 'digest'

function lengthIn(prefix: string, encoding: Encoding): number {
  if (encoding === 'c8') return Buffer.byteLength(prefix)
  return encoding === 'c16le' || encoding === 'c16be' ? prefix.length : [...prefix].length
}
