/** What the records in an archive say about its files. Grows while the archive is read: records come before most of what they speak of. */
import { defaultSitePackages } from '../../conda/noarch.js'
import type { PathRecord } from '../../conda/paths.js'
import { parseRecord } from '../../conda/record.js'
import {
  type Contents,
  isPortable,
  type NewHash,
  newHashes,
  ownPaths,
  type Recorded,
  unrecorded,
} from '../../conda/record-text.js'
import { EnvError } from '../../errors.js'
import type { Rewrite } from '../../native.js'
import { Column, Paths } from './paths.js'

/** Of a file that a package owns. */
export interface Known {
  /** SHA-256 in the package; several when packages share the path. */
  readonly sha256: readonly string[]
  /** Placeholders that stand in it as it was in the package. */
  readonly rewrites: readonly Rewrite[]
  /** Made or rewritten by the installer: the prefix of the environment belongs into it. */
  readonly installed: boolean
}

/** Of a record what is asked at the end. */
interface Claims {
  readonly name: string
  /** Without its document, which may be large; null: of its files nothing was said but what is kept of them all. */
  record: Recorded | null
  /** Numbers of the recorded paths, where they were installed; null: that is not known yet. */
  numbers: readonly number[] | null
  /** How many of them have a hash. */
  hashed: number
}

/** The file is a record of a package. */
export const isRecord = (path: string): boolean =>
  // Asked for every file, several times: the comparison spares most of them the pattern.
  path.startsWith('conda-meta/') && /^conda-meta\/[^/.][^/]*\.json$/.test(path)

export class Knowledge {
  readonly paths: Paths
  /** Of nearly all files no more is known than one hash. */
  private readonly hashes = new Column<string>()
  private readonly files = new Column<Known>()
  /** noarch python packages, until it is known where python keeps them. */
  private waiting: Claims[] = []
  private python: string | null = null
  private count = 0
  private readonly portable = new Map<string, Claims>()
  /** Paths of the files in which packages name placeholders, and those: looked through at the end, which all files are too many for. */
  private readonly withRewrites = new Set<number>()
  private readonly placeholders_ = new Set<string>()
  /** The longest prefix that fits everywhere. */
  private narrowest = Number.POSITIVE_INFINITY

  constructor(paths: Paths = new Paths()) {
    this.paths = paths
  }

  /** Records read so far. */
  get records(): number {
    return this.count
  }

  /** Where noarch python packages are installed; empty: no record of a python came by. */
  get sitePackages(): string {
    return this.python ?? ''
  }

  /** Throws ENV_DAMAGED for what is no record. */
  add(path: string, text: string): void {
    const record = parseRecord(path, text)
    const { name, noarch, files, paths } = record
    const claims: Claims = { name, record: { noarch, files, paths }, numbers: null, hashed: 0 }
    this.count++
    if (isPortable(record, text)) this.portable.set(path, claims)
    else this.portable.delete(path)
    if (name === 'python') this.python = record.sitePackages ?? defaultSitePackages(record.version)
    if (noarch === 'python') this.waiting.push(claims)
    else this.claim(claims)
    if (this.python === null) return
    for (const claims of this.waiting) this.claim(claims)
    this.waiting = []
  }

  /** To be called when nothing more comes. Returns the packages whose files have no place: they need a python, and there is none. */
  finish(): string[] {
    return this.waiting.map(({ name }) => name)
  }

  /** Nothing in the record at `path` names a place of the source machine. */
  isPortable(path: string): boolean {
    return this.portable.has(path)
  }

  /**
   * The hashes that are not true any more in the record at `path`, by what `contents` says of its files; null: it has to be written anew.
   * `stands`: as that of `newHashes`, for the number of a path. `again` reads the record once more, for the few of which more is asked.
   */
  newHashes(path: string, contents: Contents, stands: Stands, again: () => Recorded): NewHash[] | null {
    const claims = this.portable.get(path)
    if (claims === undefined) return null
    if (claims.record === null && this.allStand(claims, stands)) return []
    const record = claims.record ?? again()
    const numbers = claims.numbers ?? this.numbersOf(record)
    const owned = (i: number): string => this.paths.text(numbers[i] as number)
    return newHashes(record, owned, contents, (i, hash) => stands(numbers[i] as number, hash))
  }

  /** False: or other packages said more of some of its files. */
  private allStand({ numbers, hashed }: Claims, stands: Stands): boolean {
    let seen = 0
    for (const number of numbers ?? none) {
      const hash = this.hashes.get(number)
      if (!stands(number, hash)) return false
      if (hash !== undefined) seen++
    }
    return seen === hashed
  }

  of(path: string): Known | undefined {
    return this.at(this.paths.find(path))
  }

  /** Of the path of that number. */
  at(number: number | undefined): Known | undefined {
    const hash = this.hashes.get(number)
    return hash === undefined ? this.files.get(number) : { sha256: [hash], rewrites: none, installed: false }
  }

  /** The hash of a file of which nothing else is known. */
  onlyHash(number: number): string | undefined {
    return this.hashes.get(number)
  }

  rewrites(number: number): readonly Rewrite[] {
    return this.files.get(number)?.rewrites ?? none
  }

  isInstalled(number: number): boolean {
    return this.files.get(number)?.installed === true
  }

  /** The file is its package's: `has` tells whether it has a hash. */
  isProven(number: number, has: (sha256: string) => boolean): boolean {
    const hash = this.hashes.get(number)
    return hash === undefined ? this.files.get(number)?.sha256.some(has) === true : has(hash)
  }

  /** The files in which packages name placeholders. */
  *relocated(): Generator<readonly [path: string, rewrites: readonly Rewrite[]]> {
    for (const number of this.withRewrites) yield [this.paths.text(number), this.rewrites(number)]
  }

  /** All placeholders that packages name. */
  placeholders(): Set<string> {
    return new Set(this.placeholders_)
  }

  /** Throws PREFIX_TOO_LONG, naming all files of the records read so far into which `prefix` does not fit. */
  checkLength(prefix: string): void {
    const length = Buffer.byteLength(prefix)
    if (length <= this.narrowest) return
    const slots = [...this.relocated()].flatMap(([path, rewrites]) =>
      rewrites.map((rewrite) => ({ path, slot: slotOf(rewrite) })),
    )
    throw tooLong(
      prefix,
      slots.filter(({ slot }) => slot < length),
    )
  }

  private claim(claims: Claims): void {
    const record = claims.record as Recorded
    const numbers = this.numbersOf(record)
    claims.numbers = numbers
    const paths = record.paths ?? []
    let isPlain = true
    // By index: there are tens of thousands.
    for (let i = 0; i < paths.length; i++) {
      const { sha256, sha256InPrefix, placeholder, mode, type } = paths[i] as PathRecord
      // mamba does not name the placeholder that it replaced; its hashes tell that there was one.
      const replaced = sha256 !== undefined && sha256InPrefix !== undefined && sha256 !== sha256InPrefix
      // rattler records the hash of an entry point as it was installed: no package has those bytes.
      const isMade = type.endsWith('entry_point')
      const number = numbers[i] as number
      const installed = placeholder !== undefined || replaced || isMade
      if (!installed && sha256 !== undefined && this.at(number) === undefined) {
        this.hashes.set(number, sha256)
        claims.hashed++
        isPlain &&= sha256 === sha256InPrefix
      } else if (sha256 === undefined && sha256InPrefix === undefined && placeholder === undefined)
        this.note(number, installed ? made : unhashed)
      else {
        this.note(number, {
          sha256: sha256 === undefined || isMade ? none : [sha256],
          rewrites: placeholder === undefined ? none : [{ prefix: placeholder, mode: mode ?? 'text' }],
          installed,
        })
        isPlain = false
      }
    }
    for (const path of unrecorded(record, (i) => this.paths.text(numbers[i] as number))) {
      this.note(this.paths.number(path), made)
      isPlain = false
    }
    if (isPlain) claims.record = null
  }

  private numbersOf(record: Recorded): number[] {
    return ownPaths(record, this.sitePackages).map((path) => this.paths.number(path))
  }

  private note(number: number, more: Known): void {
    for (const rewrite of more.rewrites) {
      this.narrowest = Math.min(this.narrowest, slotOf(rewrite))
      this.placeholders_.add(rewrite.prefix)
      this.withRewrites.add(number)
    }
    const there = this.at(number)
    this.hashes.set(number, undefined)
    if (there === undefined) {
      this.files.set(number, more)
      return
    }
    this.files.set(number, {
      sha256: [...there.sha256, ...more.sha256],
      rewrites: [...there.rewrites, ...more.rewrites],
      installed: there.installed || more.installed,
    })
  }
}

/** One for all: most files have no rewrites. */
const none: readonly never[] = []

/** Of nearly all compiled Python, which nobody hashes. */
const unhashed: Known = { sha256: none, rewrites: none, installed: false }

const made: Known = { ...unhashed, installed: true }

type Stands = (number: number, sha256: string | undefined) => boolean

/** The longest prefix that takes the place of a placeholder. */
const slotOf = ({ prefix, mode }: Rewrite): number =>
  mode === 'text' ? Number.POSITIVE_INFINITY : Buffer.byteLength(prefix)

export function tooLong(prefix: string, tight: readonly { readonly path: string; readonly slot: number }[]): EnvError {
  const most = tight.reduce((least, { slot }) => Math.min(least, slot), Number.POSITIVE_INFINITY)
  const sorted = [...tight].sort((a, b) => a.slot - b.slot || (a.path < b.path ? -1 : 1))
  const named = sorted.slice(0, 3)
  const list = named.map(({ path, slot }) => `${path} (${slot})`).join(', ')
  const more = tight.length > named.length ? `, and ${tight.length - named.length} more` : ''
  const message = `${prefix} has ${Buffer.byteLength(prefix)} bytes; at most ${most} fit into ${list}${more}`
  return new EnvError('PREFIX_TOO_LONG', message, { path: prefix, paths: sorted.map(({ path }) => path) })
}
