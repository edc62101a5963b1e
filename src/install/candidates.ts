/**
 * What a solve may choose from: of all that the channels offer, the packages whose names can be reached from what is wanted, less what
 * priorities, pins, channels asked for and dates rule out. The solver itself knows one channel and none of these rules.
 */

import { publicUrl } from '../conda/channel.js'
import { type MatchSpec, parseMatchSpec } from '../conda/match-spec.js'
import { EnvError } from '../errors.js'
import { type Repodata, type RepoRecord, repoRecord } from './repodata.js'

export interface Offer {
  /** Address of the channel. */
  readonly base: string
  /** As it was named: `conda-forge`, a path, … */
  readonly name: string
  readonly subdir: string
  readonly repodata: Repodata
}

export type Priority = 'strict' | 'flexible' | 'disabled'

export interface Rules {
  /** `strict`: of a name only what the first channel has that knows it. */
  readonly strict: boolean
  /** Must hold for packages of their names, without asking for them. */
  readonly pins: readonly MatchSpec[]
  /** Milliseconds since 1970: nothing newer; null: no limit. */
  readonly excludeNewer: number | null
}

export type Matches = (spec: MatchSpec, record: RepoRecord) => boolean

/**
 * Offers in the order of their channels. Names beginning with `__` are the system's own and no packages. `installed`: what these need can be
 * reached too.
 */
export function candidates(
  offers: readonly Offer[],
  wanted: readonly MatchSpec[],
  installed: readonly RepoRecord[],
  rules: Rules,
  matches: Matches,
): RepoRecord[] {
  const here = new Map(installed.map((record) => [record.name, record]))
  const found = new Map<string, RepoRecord[]>()
  const open = wanted.map(({ name }) => name)
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (found.has(name) || name.startsWith('__')) continue
    const records = allowed(name, offers, wanted, rules, matches)
    found.set(name, records)
    for (const { depends } of [...records, ...list(here.get(name))]) for (const one of depends) open.push(nameIn(one))
  }
  return unique([...found.values()].flat())
}

const list = <T>(item: T | undefined): T[] => (item === undefined ? [] : [item])

function allowed(
  name: string,
  offers: readonly Offer[],
  wanted: readonly MatchSpec[],
  { strict, pins, excludeNewer }: Rules,
  matches: Matches,
): RepoRecord[] {
  const asked = wanted.filter((spec) => spec.name === name)
  const held = pins.filter((pin) => pin.name === name)
  const records: RepoRecord[] = []
  let first: string | null = null
  for (const offer of offers) {
    if (!asked.every((spec) => isFrom(spec, offer))) continue
    const documents = offer.repodata.documents(name)
    if (documents.length === 0) continue
    first ??= offer.base
    if (strict && offer.base !== first) break
    records.push(...documents.map(({ fn, raw }) => repoRecord(offer.base, offer.subdir, fn, raw)))
  }
  return records.filter(
    (record) =>
      asked.every((spec) => isNamed(spec, record)) &&
      (excludeNewer === null || (publishedAt(record) ?? 0) < excludeNewer) &&
      held.every((pin) => matches(pin, record)),
  )
}

/** What names one archive: the solver's library is not asked about it. */
const archiveFields = ['md5', 'sha256', 'url', 'fn'] as const

/** Whether a record is the very archive that a spec names, where it does. */
export function isNamed({ fields }: MatchSpec, record: RepoRecord): boolean {
  return archiveFields.every(
    (key) => fields[key] === undefined || fields[key]?.toLowerCase() === record[key]?.toLowerCase(),
  )
}

/** A spec without what names one archive. */
export function unnamed(spec: MatchSpec): MatchSpec {
  const left = Object.entries(spec.fields).filter(([key]) => !archiveFields.some((field) => field === key))
  return { ...spec, fields: Object.fromEntries(left) }
}

/** Channels may say when they took a package in, which nobody can have set back. */
function publishedAt({ timestamp, raw }: RepoRecord): number | null {
  const indexed = raw['indexed_timestamp']
  if (typeof indexed !== 'number' || indexed <= 0) return timestamp
  return indexed < 1e11 ? indexed * 1000 : indexed
}

/** Whether a spec allows the channel that a package is from; `offers` know the names of channels. */
export function isFromChannel(spec: MatchSpec, { channel, subdir }: RepoRecord, offers: readonly Offer[]): boolean {
  const names = [channel, ...offers.filter(({ base }) => base === channel).map(({ name }) => name)]
  return names.some((name) => isFrom(spec, { base: channel, name, subdir }))
}

function isFrom({ channel, subdir }: MatchSpec, offer: Pick<Offer, 'base' | 'name' | 'subdir'>): boolean {
  if (subdir !== null && subdir !== offer.subdir) return false
  return channel === null || channel === offer.name || publicUrl(channel) === offer.base
}

/** The name in a spec, or in a dependency such as `python >=3.11,<3.12.0a0`. */
export const nameIn = (dependency: string): string => {
  const plain = /^[A-Za-z0-9_.-]+(?=[ ]|$)/.exec(dependency)
  return plain === null ? parseMatchSpec(dependency).name : plain[0].toLowerCase()
}

/** Channels may offer files of the same name; the first one's is meant. */
export function unique(records: readonly RepoRecord[]): RepoRecord[] {
  const taken = new Map<string, RepoRecord>()
  for (const record of records) {
    const key = `${record.subdir}/${record.fn}`
    if (!taken.has(key)) taken.set(key, record)
  }
  return [...taken.values()]
}

/** Throws UNSATISFIABLE for a name that no channel has, with names that are alike. */
export function checkNames(offers: readonly Offer[], wanted: readonly MatchSpec[]): void {
  for (const { name } of wanted) {
    if (name.startsWith('__') || offers.some(({ repodata }) => repodata.documents(name).length > 0)) continue
    const alike = new Set(
      offers.flatMap(({ repodata }) => [...repodata.names()].filter((other) => isAlike(name, other))),
    )
    const channels = [...new Set(offers.map((offer) => offer.name))].join(', ')
    const hint =
      alike.size > 0 ? `is one of these meant? ${[...alike].slice(0, 5).join(', ')}` : 'add the channel that has it'
    throw new EnvError('UNSATISFIABLE', `no channel has a package '${name}' (${channels || 'no channels'})`, { hint })
  }
}

const bare = (name: string): string => name.replace(/[-_.]/g, '')
const isAlike = (name: string, other: string): boolean =>
  bare(name) === bare(other) ||
  (name.length > 3 && (other.startsWith(`${name}-`) || other === `py${name}` || other === `python-${name}`))
