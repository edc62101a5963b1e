/** Our own format, `.tar.zst` as FORMAT.md describes it: the settings of the core's jobs that make and read it. */
import { EnvError } from '../errors.js'
import { type Index, type JobOptions, native, type PackEntry, type Packed, runJob, type Sealed } from '../native.js'
import { type Identity, parseIdentity } from '../tree/manifest.js'

/** Bytes of members to a frame: small enough that many threads have work, large enough that compression loses nothing. */
const frameBytes = 4 << 20

/** What is left of the placeholders of conda-build when a part of one is searched for; split so that this file does not hold it. */
const marker = ['_placehold', '_placehold'].join('')

export interface Writing extends JobOptions {
  /** Of zstd, 0 (its default) to 19. */
  readonly level: number
  readonly threads: number
}

/** What to pack: entries of the tree at `root`, and the spellings of its prefix. */
export interface Packing {
  readonly root: string
  readonly entries: readonly PackEntry[]
  readonly prefixes: readonly string[]
}

/** Writes the entries to the new file `output`, which `sealTarZst` has to complete; null: finds out everything and writes nothing. */
export function packTarZst(packing: Packing, output: string | null, writing: Writing): Promise<Packed> {
  const job = { ...packing, marker, output, level: writing.level, frameBytes, threads: writing.threads }
  return runJob((counters) => native().pack(job, counters), writing)
}

/** Appends generated entries and the index: the file at `output` is an archive then. `identity`: JSON. */
export function sealTarZst(
  draft: Uint8Array,
  packing: Omit<Packing, 'root'>,
  identity: string,
  output: string,
  writing: Writing,
): Promise<Sealed> {
  const { entries, prefixes } = packing
  const job = {
    output,
    draft,
    entries,
    prefixes,
    json: identity,
    level: writing.level,
    frameBytes,
    threads: writing.threads,
  }
  return runJob((counters) => native().seal(job, counters), writing)
}

export interface OpenedTarZst {
  readonly index: Index
  readonly identity: Identity | null
}

/** The index of an archive; null: not of this format. `list`: with all entries. Throws ARCHIVE_CORRUPT for a broken one. */
export async function openTarZst(path: string, list: boolean): Promise<OpenedTarZst | null> {
  const index = await native().index(path, list)
  if (index === null) return null
  if (index.digest === '')
    throw new EnvError('ARCHIVE_UNKNOWN', `${path} is the index of a deployed tree, not an archive`, { path })
  return { index, identity: parseIdentity(index.json, path) }
}
