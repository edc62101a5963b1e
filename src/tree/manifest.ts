/**
 * The identity of an archive: what its summary says about the environment, beyond the entries. Written by pack, read by whoever
 * opens an archive. Only what follows from the tree itself: no time, no host, no temporary name.
 */
import { EnvError } from '../errors.js'

/** A list that may have been cut to keep the summary small; `total` is true. */
export interface Listed<T> {
  readonly total: number
  readonly list: readonly T[]
}

/** A file in which something stays that deploying cannot change. */
export interface Kept {
  readonly path: string
  /** Occurrences in it. */
  readonly count: number
}

export interface OutsideLink {
  readonly path: string
  readonly target: string
}

export interface LeftOut {
  readonly path: string
  readonly why: string
}

/** Regular files by what is known about them. */
export interface Counts {
  /** Their bytes hash to what their package had, prefix or not. */
  readonly proven: number
  /** As installed, but their form in the package could not be rebuilt. */
  readonly installed: number
  /** Changed after installation. */
  readonly modified: number
  /** Owned by a package that records no hash for them (entry points, compiled Python). */
  readonly unhashed: number
  /** Owned by no package (pip, the user). */
  readonly unmanaged: number
  /** Made by pack: records, activation, conda-unpack. */
  readonly generated: number
}

export interface Identity {
  readonly name: string
  /** conda's name for it, e.g. `linux-64`. */
  readonly platform: string
  /** Version of the environment's python; null: it has none. */
  readonly python: string | null
  readonly packages: number
  /** What made the archive, e.g. `conda-deploy 0.1.0`. */
  readonly producer: string
  readonly counts: Counts
  readonly modified: Listed<string>
  /** Files that keep the prefix of the source environment. */
  readonly kept: Listed<Kept>
  /** Files that keep a placeholder of the machine their package was built on. */
  readonly placeholders: Listed<Kept>
  readonly outsideLinks: Listed<OutsideLink>
  readonly leftOut: Listed<LeftOut>
  /** Compiled Python left out because its source is relocated. */
  readonly droppedPyc: Listed<string>
  /** Managed files that were missing, and editable installs, where the user chose to ignore them. */
  readonly missing: Listed<string>
  readonly editable: readonly string[]
}

/** The identity in the JSON of a summary; null: the archive has none. Throws ARCHIVE_CORRUPT for what is none. */
export function parseIdentity(json: string, archive: string): Identity | null {
  return parse(json, archive, Object.keys(kinds)) as Identity | null
}

/** Only its name, and nothing else of it looked at: its lists may have a thousand items, 3 of the 30 ms that a second deployment takes. */
export function parseName(json: string, archive: string): string | null {
  return (parse(json, archive, ['name']) as Pick<Identity, 'name'> | null)?.name ?? null
}

function parse(json: string, archive: string, keys: readonly string[]): object | null {
  if (json === '') return null
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (error) {
    const message = `the identity in ${archive} is not JSON: ${(error as Error).message}`
    throw new EnvError('ARCHIVE_CORRUPT', message, { path: archive, cause: error })
  }
  const wrong = isObject(value) ? keys.find((key) => key in value && !kinds[key]?.(value[key])) : ''
  if (wrong === undefined) return value as object
  const what = wrong === '' ? 'is no object' : `has a '${wrong}' that is not what it should be`
  throw new EnvError('ARCHIVE_CORRUPT', `the identity in ${archive} ${what}`, { path: archive })
}

type Check = (value: unknown) => boolean
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const text: Check = (value) => typeof value === 'string'
const amount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0
const every =
  (item: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(item)
const fields =
  (shape: Readonly<Record<string, Check>>): Check =>
  (value) =>
    isObject(value) && Object.entries(shape).every(([key, check]) => check(value[key]))
const listed = (item: Check): Check => fields({ total: amount, list: every(item) })
const kept = listed(fields({ path: text, count: amount }))

/** What the values of an identity are. All may be missing: a version to come may have no use for one, and add others. */
const kinds: Readonly<Record<string, Check>> = {
  ...{ name: text, platform: text, python: (value) => value === null || text(value), packages: amount, producer: text },
  counts: (value) => isObject(value) && Object.values(value).every(amount),
  ...{ modified: listed(text), droppedPyc: listed(text), missing: listed(text), editable: every(text) },
  ...{ kept, placeholders: kept, outsideLinks: listed(fields({ path: text, target: text })) },
  leftOut: listed(fields({ path: text, why: text })),
}
