/**
 * The formats that can be written, one row each. The native core makes the tar, packed by a codec of its own where it has one; what
 * else there is reads the plain tar from a pipe (write-blocks, write-zip, write-squashfs), or unpacks it (`no-archive`).
 */
import type { Readable } from 'node:stream'
import { EnvError } from '../errors.js'
import type { Codec } from '../native.js'
import { bzip2, writeBlocks, xz } from './write-blocks.js'
import { writeZip } from './write-zip.js'

export type WritableName =
  | 'tar.zst'
  | 'tar'
  | 'tar.gz'
  | 'tar.bz2'
  | 'tar.xz'
  | 'zip'
  | 'squashfs'
  | 'parcel'
  | 'no-archive'

export interface FilterOptions {
  readonly level: number
  readonly threads: number
  /** Of zip alone: may ZIP64 be used? */
  readonly zip64: boolean
  readonly signal: AbortSignal | undefined
}

/** Takes bytes of the archive, in their order; done once they are written, or handed on. */
export type Put = (bytes: Buffer) => Promise<void>

/** Turns a plain tar into the bytes of a format. */
export type Filter = (tar: Readable, put: Put, options: FilterOptions) => Promise<void>

export interface WritableFormat {
  readonly name: WritableName
  /** conda-pack's suffixes and further names of `--format`. */
  readonly suffixes: readonly string[]
  readonly aliases: readonly string[]
  /** What the core writes: the whole of the format, or what `via` reads. */
  readonly codec: Codec
  /** The highest level of compression; the lowest is 0. */
  readonly mostLevel: number
  readonly via: 'core' | 'squashfs' | 'directory' | Filter
}

const row = (
  name: WritableName,
  suffixes: readonly string[],
  more: Partial<Omit<WritableFormat, 'name' | 'suffixes'>> = {},
): WritableFormat => ({ name, suffixes, aliases: [], codec: 'stored', mostLevel: 9, via: 'core', ...more })

export const writableFormats: readonly WritableFormat[] = [
  row('parcel', ['.parcel'], { codec: 'gzip' }),
  row('zip', ['.zip'], { via: writeZip }),
  row('tar.gz', ['.tar.gz', '.tgz'], { aliases: ['tgz'], codec: 'gzip' }),
  row('tar.bz2', ['.tar.bz2', '.tbz2'], { aliases: ['tbz2'], via: (tar, put, o) => writeBlocks(bzip2, tar, put, o) }),
  row('tar.xz', ['.tar.xz', '.txz'], { aliases: ['txz'], via: (tar, put, o) => writeBlocks(xz, tar, put, o) }),
  row('tar.zst', ['.tar.zst', '.tzst'], { aliases: ['tzst'], codec: 'zstd', mostLevel: 19 }),
  row('tar', ['.tar']),
  row('squashfs', ['.squashfs'], { via: 'squashfs' }),
  row('no-archive', ['.no-archive'], { codec: 'zstd', via: 'directory' }),
]

const named = (name: WritableName): WritableFormat =>
  writableFormats.find((format) => format.name === name) as WritableFormat

/**
 * The format of `output` as conda-pack chooses it: `format` (`infer`: by the suffix of the output, `tar.zst` without one), except that what
 * ends with `.parcel` is a parcel. Throws INVALID_OPTION with conda-pack's words.
 */
export function writableFormat(output: string | undefined, format: string): WritableFormat {
  if (format === 'infer') {
    if (output === undefined) return named('tar.zst')
    const found = writableFormats.find(({ suffixes }) => suffixes.some((suffix) => output.endsWith(suffix)))
    if (found) return found
    const known = writableFormats.flatMap(({ suffixes }) => suffixes).join(' ')
    throw new EnvError('INVALID_OPTION', `Unknown file extension '${output}'`, {
      hint: `name the format with --format, or end its name with one of ${known}`,
    })
  }
  const found = writableFormats.find(({ name, aliases }) => name === format || aliases.includes(format))
  if (!found) {
    const known = writableFormats.flatMap(({ name, aliases }) => [name, ...aliases]).join(' ')
    throw new EnvError('INVALID_OPTION', `Unknown format '${format}'`, { hint: `known are infer ${known}` })
  }
  if (output?.endsWith('.parcel') && found.name !== 'parcel') {
    if (found.name === 'tar.gz') return named('parcel')
    throw new EnvError('INVALID_OPTION', `Invalid format for parcel '${format}'`, { hint: 'a parcel is a tar.gz' })
  }
  return found
}
