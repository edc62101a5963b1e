/** What the records in an archive say about its files. Grows while the archive is read: records come before most of what they speak of. */
import { defaultSitePackages } from '../../conda/noarch.js'
import { parseRecord } from '../../conda/record.js'
import { type Contents, isPortable, type NewHash, newHashes, ownPaths, unrecorded } from '../../conda/record-text.js'
import { EnvError } from '../../errors.js'
import type { Rewrite } from '../../native.js'

/** Of a file that a package owns. */
export interface Known {
  /** SHA-256 in the package; several when packages share the path. */
  readonly sha256: readonly string[]
  /** Placeholders that stand in it as it was in the package. */
  readonly rewrites: readonly Rewrite[]
  /** Made or rewritten by the installer: the prefix of the environment belongs into it. */
  readonly installed: boolean
}

/** A record without its document, which may be large. */
type Claims = Pick<ReturnType<typeof parseRecord>, 'file' | 'name' | 'noarch' | 'files' | 'paths'>

/** The file is a record of a package. */
export const isRecord = (path: string): boolean =>
  // Asked for every file, several times: the comparison spares most of them the pattern.
  path.startsWith('conda-meta/') && /^conda-meta\/[^/.][^/]*\.json$/.test(path)

export class Knowledge {
  private readonly files = new Map<string, Known>()
  /** noarch python packages, until it is known where python keeps them. */
  private waiting: Claims[] = []
  private python: string | null = null
  private count = 0
  private readonly portable = new Map<string, Claims>()
  /** Paths of the files in which packages name placeholders, and those: looked through at the end, which all files are too many for. */
  private readonly withRewrites = new Set<string>()
  private readonly placeholders_ = new Set<string>()
  /** The longest prefix that fits everywhere. */
  private narrowest = Number.POSITIVE_INFINITY

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
    const { file, name, noarch, files, paths } = record
    const claims = { file, name, noarch, files, paths }
    this.count++
    if (isPortable(record, text)) this.portable.set(path, claims)
    else this.portable.delete(path)
    if (name === 'python') this.python = record.sitePackages ?? defaultSitePackages(record.version)
    if (noarch === 'python') this.waiting.push(claims)
    else this.claim(record)
    if (this.python === null) return
    for (const claims of this.waiting) this.claim(claims)
    this.waiting = []
  }

  /** To be called when nothing more comes. Returns the packages whose files have no place: they need a python, and there is none. */
  finish(): string[] {
    return this.waiting.map((record) => record.name)
  }

  /** The hashes that are not true any more in the record at `path`, by what `contents` says of its files; null: it has to be written anew. */
  newHashes(path: string, contents: Contents, stands: Parameters<typeof newHashes>[3]): NewHash[] | null {
    const record = this.portable.get(path)
    return record === undefined ? null : newHashes(record, contents, this.sitePackages, stands)
  }

  of(path: string): Known | undefined {
    return this.files.get(path)
  }

  /** The files in which packages name placeholders. */
  *relocated(): Generator<readonly [path: string, rewrites: readonly Rewrite[]]> {
    for (const path of this.withRewrites) yield [path, this.files.get(path)?.rewrites ?? none]
  }

  /** All placeholders that packages name. */
  placeholders(): Set<string> {
    return new Set(this.placeholders_)
  }

  /** Throws PREFIX_TOO_LONG, naming all files of the records read so far into which `prefix` does not fit. */
  checkLength(prefix: string): void {
    const length = Buffer.byteLength(prefix)
    if (length <= this.narrowest) return
    const slots = [...this.files].flatMap(([path, { rewrites }]) =>
      rewrites.map((rewrite) => ({ path, slot: slotOf(rewrite) })),
    )
    throw tooLong(
      prefix,
      slots.filter(({ slot }) => slot < length),
    )
  }

  private claim(record: Claims): void {
    const owned = ownPaths(record, this.sitePackages)
    for (const [i, recorded] of (record.paths ?? []).entries()) {
      const { sha256, sha256InPrefix, placeholder, mode, type } = recorded
      // mamba does not name the placeholder that it replaced; its hashes tell that there was one.
      const replaced = sha256 !== undefined && sha256InPrefix !== undefined && sha256 !== sha256InPrefix
      // rattler records the hash of an entry point as it was installed: no package has those bytes.
      const isMade = type.endsWith('entry_point')
      this.note(owned[i] as string, {
        sha256: sha256 === undefined || isMade ? none : [sha256],
        rewrites: placeholder === undefined ? none : [{ prefix: placeholder, mode: mode ?? 'text' }],
        installed: placeholder !== undefined || replaced || isMade,
      })
    }
    for (const path of unrecorded(record, owned)) this.note(path, { sha256: none, rewrites: none, installed: true })
  }

  private note(path: string, more: Known): void {
    for (const rewrite of more.rewrites) {
      this.narrowest = Math.min(this.narrowest, slotOf(rewrite))
      this.placeholders_.add(rewrite.prefix)
      this.withRewrites.add(path)
    }
    const there = this.files.get(path)
    if (there === undefined) {
      this.files.set(path, more)
      return
    }
    this.files.set(path, {
      sha256: [...there.sha256, ...more.sha256],
      rewrites: [...there.rewrites, ...more.rewrites],
      installed: there.installed || more.installed,
    })
  }
}

/** One for all: most files have no rewrites. */
const none: readonly never[] = []

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
