/** Our own format, `.tar.zst` as FORMAT.md describes it: the settings of the core's jobs that make and read it. */
import { EnvError } from '../errors.js'
import type { List } from '../list.js'
import {
  type Codec,
  type Index,
  type JobOptions,
  native,
  type PackEntry,
  type Packed,
  runJob,
  type Sealed,
  type SealJob,
} from '../native.js'

/** Most bytes of members to a frame: of 8 MiB it would take 1 % less, and deploying a tenth longer, as two threads' frames leave the cache. */
const frameBytes = 6 << 20

/** What is left of the placeholders of conda-build when a part of one is searched for; split so that this file does not hold it. */
const marker = ['_placehold', '_placehold'].join('')

export interface Writing extends JobOptions {
  /** Of zstd 0 (its default) to 19, of gzip 0 to 9. */
  readonly level: number
  readonly threads: number
  /** Default: zstd. With another one the tar is all there is: no table, and so no archive of this format. */
  readonly codec?: Codec
  /** Folder of the tar in which all members lie. */
  readonly arcroot?: string
  /** Prefix to write into the files. */
  readonly dest?: string
}

const form = ({ codec, dest }: Writing): Pick<Writing, 'codec' | 'dest'> => ({
  ...(codec === undefined ? {} : { codec }),
  ...(dest === undefined ? {} : { dest }),
})

/** What to pack: entries of the tree at `root`, and the spellings of its prefix. */
export interface Packing {
  readonly root: string
  readonly entries: List<PackEntry>
  readonly prefixes: readonly string[]
}

/** Writes the entries to the new file `output`, or to an open descriptor, which `sealTarZst` has to complete; null: finds out everything and writes nothing. */
export function packTarZst(packing: Packing, output: string | number | null, writing: Writing): Promise<Packed> {
  const { level, threads, arcroot } = writing
  const root = arcroot === undefined ? {} : { arcroot }
  const job = { ...packing, ...form(writing), ...root, marker, output, level, frameBytes, threads }
  return runJob((counters) => native().pack(job, counters), writing)
}

/** Appends generated entries and the index: the file at `output` is an archive then. `identity`: JSON. */
export function sealTarZst(
  draft: Uint8Array,
  packing: Omit<Packing, 'root'> & Pick<SealJob, 'spool'>,
  identity: string,
  output: string | number,
  writing: Writing,
): Promise<Sealed> {
  const { entries, prefixes, spool } = packing
  const job = {
    output,
    draft,
    entries,
    prefixes,
    ...(spool === undefined ? {} : { spool }),
    ...form(writing),
    json: identity,
    level: writing.level,
    frameBytes,
    threads: writing.threads,
  }
  return runJob((counters) => native().seal(job, counters), writing)
}

/**
 * The index of an archive; null: not of this format. `list`: with all entries. `json` is not looked at: parseIdentity and parseName do. Throws
 * ARCHIVE_CORRUPT for a broken one.
 */
export async function openTarZst(path: string, list: boolean): Promise<Index | null> {
  const index = await native().index(path, list)
  if (index?.digest === '')
    throw new EnvError('ARCHIVE_UNKNOWN', `${path} is the index of a deployed tree, not an archive`, { path })
  return index
}
