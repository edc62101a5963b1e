/** The verb: what is in an archive, where it can be deployed, and what will not relocate. Reads its index, none of its content. */
import { resolve } from 'node:path'
import { openTarZst } from '../archive/tar-zst.js'
import { EnvError } from '../errors.js'
import { checkOptions, type Shape } from '../options.js'
import { tooLong } from '../prefix/plan.js'
import type { Entry } from '../tree/entry.js'
import {
  type Counts,
  type Identity,
  type Kept,
  type LeftOut,
  type OutsideLink,
  parseIdentity,
} from '../tree/manifest.js'

export interface InspectOptions {
  /** A prefix: would the environment fit there? */
  readonly to?: string | undefined
}

/** A file with the longest prefix, in characters, that it can take. */
export interface Limit {
  readonly path: string
  readonly slot: number
}

export interface InspectResult {
  /** Absolute path of the archive. */
  readonly archive: string
  /** Of the format, src/archive/FORMAT.md. */
  readonly version: number
  /** SHA-256 that names the content. */
  readonly digest: string
  readonly name: string | null
  readonly platform: string | null
  /** Version of the environment's python; null: it has none. */
  readonly python: string | null
  readonly packages: number
  readonly producer: string | null
  /** Size of the archive; frames can be decoded independently of each other. */
  readonly packedBytes: number
  readonly frames: number
  readonly entries: number
  readonly files: number
  readonly directories: number
  readonly symlinks: number
  readonly hardlinks: number
  /** Of the files, as stored. */
  readonly bytes: number
  readonly largestFile: number
  /** Files that deploying changes, and the places in them. */
  readonly rewritten: number
  readonly spots: number
  /** Prefixes that are replaced: of the source environment, and the placeholders of its packages. */
  readonly prefixes: readonly string[]
  /** The longest prefix, in bytes, that fits; null: no limit. */
  readonly longestPrefix: number | null
  /** The files that set it: the ten that take the shortest prefixes. */
  readonly limits: readonly Limit[]
  /** Only with `to`. */
  readonly fit?: { readonly prefix: string; readonly fits: boolean; readonly tooLong: readonly Limit[] }
  /** Files by what was known of them when they were packed; null: the archive does not tell. */
  readonly counts: Counts | null
  /** What stays as it is: files that keep the source's prefix, or a placeholder of the build machine. */
  readonly kept: readonly Kept[]
  readonly placeholders: readonly Kept[]
  readonly outsideLinks: readonly OutsideLink[]
  readonly modified: readonly string[]
  readonly leftOut: readonly LeftOut[]
  readonly droppedPyc: readonly string[]
  readonly missing: readonly string[]
  readonly editable: readonly string[]
  /** True sizes of lists that were cut when the archive was made; absent lists are whole. */
  readonly cut: Readonly<Record<string, number>>
}

const shape: Shape<InspectOptions> = { to: 'string' }
const limitsShown = 10

/**
 * Reads what an archive of ours says about itself. Throws ARCHIVE_NOT_FOUND, ARCHIVE_CORRUPT, UNSAFE_PATH, UNSUPPORTED (an archive made
 * by others has no index), PERMISSION, IO.
 */
export async function inspect(archive: string, options: InspectOptions = {}): Promise<InspectResult> {
  checkOptions<InspectOptions>('inspect', options, shape)
  const path = resolve(archive)
  const index = await openTarZst(path, true)
  if (index === null) {
    const hint = 'conda-deploy deploys the tar archives of conda-pack, but only its own can be inspected'
    throw new EnvError('UNSUPPORTED', `${path} was not made by conda-deploy: it has no index`, { path, hint })
  }
  const identity = parseIdentity(index.json, path)
  const {
    version,
    digest,
    packedBytes,
    frames,
    entries,
    files,
    bytes,
    largestFile,
    rewritten,
    longestPrefix,
    prefixes,
  } = index
  const list = index.list ?? []
  return {
    archive: path,
    version,
    digest,
    name: identity?.name ?? null,
    platform: identity?.platform ?? null,
    python: identity?.python ?? null,
    packages: identity?.packages ?? 0,
    producer: identity?.producer ?? null,
    ...{ packedBytes, frames, entries, files },
    directories: countOf(list, 'directory'),
    symlinks: countOf(list, 'symlink'),
    hardlinks: countOf(list, 'hardlink'),
    ...{ bytes, largestFile, rewritten },
    spots: list.reduce((sum, { spots = [] }) => sum + spots.length, 0),
    prefixes,
    longestPrefix,
    limits: tightest(list).slice(0, limitsShown),
    ...(options.to === undefined ? {} : { fit: fitAt(resolve(options.to), list) }),
    counts: identity?.counts ?? null,
    ...findingsOf(identity),
  }
}

const countOf = (list: readonly Entry[], kind: Entry['kind']): number =>
  list.filter((entry) => entry.kind === kind).length

/** Files by the longest prefix they can take, shortest first; those without a limit are left out. */
function tightest(list: readonly Entry[]): Limit[] {
  return list
    .flatMap(({ path, spots = [] }) => {
      const slots = spots.filter((spot) => spot.slot > 0).map((spot) => spot.slot)
      return slots.length === 0 ? [] : [{ path, slot: slots.reduce((a, b) => Math.min(a, b)) }]
    })
    .sort((a, b) => a.slot - b.slot || (a.path < b.path ? -1 : 1))
}

function fitAt(prefix: string, list: readonly Entry[]): NonNullable<InspectResult['fit']> {
  const limits = tooLong(list, prefix).map(({ path, slot }) => ({ path, slot }))
  return { prefix, fits: limits.length === 0, tooLong: limits }
}

type Lists = 'kept' | 'placeholders' | 'outsideLinks' | 'modified' | 'leftOut' | 'droppedPyc' | 'missing'

function findingsOf(identity: Identity | null): Pick<InspectResult, Lists | 'editable' | 'cut'> {
  const cut: Record<string, number> = {}
  const list = <Name extends Lists>(name: Name): Identity[Name]['list'] => {
    const { list = [], total = 0 } = identity?.[name] ?? {}
    if (total > list.length) cut[name] = total
    return list
  }
  return {
    kept: list('kept'),
    placeholders: list('placeholders'),
    outsideLinks: list('outsideLinks'),
    modified: list('modified'),
    leftOut: list('leftOut'),
    droppedPyc: list('droppedPyc'),
    missing: list('missing'),
    editable: identity?.editable ?? [],
    cut,
  }
}
