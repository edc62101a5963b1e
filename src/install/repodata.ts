/**
 * The index of one folder of a channel (`repodata.json`), held as the bytes it is: of a large channel hundreds of thousands of records
 * are looked for by name, and a few thousand are parsed.
 */
import { strings } from '../conda/record.js'
import { EnvError } from '../errors.js'

/** One package as a channel offers it. */
export interface RepoRecord {
  readonly name: string
  readonly version: string
  readonly build: string
  readonly buildNumber: number
  readonly subdir: string
  /** File name in the channel. */
  readonly fn: string
  readonly url: string
  /** The channel's address, without subdir. */
  readonly channel: string
  readonly depends: readonly string[]
  readonly constrains: readonly string[]
  readonly noarch: 'python' | 'generic' | null
  readonly sha256: string | null
  readonly md5: string | null
  readonly size: number | null
  /** Milliseconds since 1970; null: the channel does not say. */
  readonly timestamp: number | null
  /** As the channel has it. */
  readonly raw: Readonly<Record<string, unknown>>
}

interface Span {
  readonly fn: string
  readonly from: number
  readonly to: number
}

const quote = 0x22
const backslash = 0x5c
const sections = new Set(['packages', 'packages.conda'])

export class Repodata {
  private readonly spans = new Map<string, Span[]>()
  private readonly bytes: Buffer
  private readonly where: string
  private at = 0

  /** `where` names the document in errors. Throws CHANNEL_DAMAGED for what is not repodata. */
  constructor(bytes: Buffer, where: string) {
    this.bytes = bytes
    this.where = where
    let found = false
    this.object((key) => {
      if (sections.has(key)) {
        found = true
        this.object((fn) => this.note(fn))
      } else if (key === 'removed') {
        const from = this.at
        this.skip()
        this.remove(from)
      } else {
        this.skip()
      }
    })
    if (!found) throw this.damaged("it has neither 'packages' nor 'packages.conda'")
  }

  /** Packages of all names. */
  get size(): number {
    let sum = 0
    for (const spans of this.spans.values()) sum += spans.length
    return sum
  }

  names(): IterableIterator<string> {
    return this.spans.keys()
  }

  /** The documents of all packages of a name, with their file names; of two archives of one build only the `.conda`. */
  documents(name: string): { readonly fn: string; readonly raw: Record<string, unknown> }[] {
    const spans = this.spans.get(name) ?? []
    const modern = new Set(
      spans.filter(({ fn }) => fn.endsWith('.conda')).map(({ fn }) => fn.slice(0, -'.conda'.length)),
    )
    return spans
      .filter(({ fn }) => !fn.endsWith('.tar.bz2') || !modern.has(fn.slice(0, -'.tar.bz2'.length)))
      .map(({ fn, from, to }) => ({ fn, raw: this.parse(from, to) }))
  }

  private note(fn: string): void {
    const from = this.at
    this.skip()
    const name = nameOf(fn)
    if (name === null) return
    const spans = this.spans.get(name)
    const span = { fn, from, to: this.at }
    if (spans === undefined) this.spans.set(name, [span])
    else spans.push(span)
  }

  private remove(from: number): void {
    const removed: unknown = JSON.parse(this.bytes.toString('utf8', from, this.at))
    if (!Array.isArray(removed)) return
    for (const fn of removed.filter((item): item is string => typeof item === 'string')) {
      const name = nameOf(fn)
      const left = (this.spans.get(name ?? '') ?? []).filter((span) => span.fn !== fn)
      if (name !== null) left.length === 0 ? this.spans.delete(name) : this.spans.set(name, left)
    }
  }

  private parse(from: number, to: number): Record<string, unknown> {
    try {
      return JSON.parse(this.bytes.toString('utf8', from, to)) as Record<string, unknown>
    } catch (error) {
      throw this.damaged((error as Error).message, error)
    }
  }

  /** Calls `member` at the beginning of every value, which it must pass. */
  private object(member: (key: string) => void): void {
    this.expect(0x7b)
    if (this.peek() === 0x7d) {
      this.at++
      return
    }
    for (;;) {
      if (this.peek() !== quote) throw this.damaged(`expected a name at byte ${this.at}`)
      const from = this.at
      this.skipText()
      const key = this.bytes.toString('utf8', from + 1, this.at - 1)
      this.expect(0x3a)
      this.peek()
      member(key.includes('\\') ? (JSON.parse(`"${key}"`) as string) : key)
      const next = this.peek()
      this.at++
      if (next === 0x7d) return
      if (next !== 0x2c) throw this.damaged(`expected ',' or '}' at byte ${this.at - 1}`)
    }
  }

  /** The next byte that is no blank. */
  private peek(): number {
    const { bytes } = this
    while (this.at < bytes.length) {
      const byte = bytes[this.at] as number
      if (byte > 0x20) return byte
      this.at++
    }
    throw this.damaged('it ends too early')
  }

  private expect(byte: number): void {
    if (this.peek() !== byte) throw this.damaged(`expected '${String.fromCharCode(byte)}' at byte ${this.at}`)
    this.at++
  }

  /** Passes one value; what is inside is checked when it is parsed. */
  private skip(): void {
    const { bytes } = this
    const { length } = bytes
    let depth = 0
    let at = this.at
    for (;;) {
      const byte = bytes[at]
      if (byte === undefined) throw this.damaged('it ends too early')
      if (byte === quote) {
        at = endOfText(bytes, at)
        if (at > length) throw this.damaged('it ends inside a text')
        if (depth === 0) break
      } else if (byte === 0x7b || byte === 0x5b) {
        depth++
        at++
      } else if (byte === 0x7d || byte === 0x5d) {
        depth--
        at++
        if (depth <= 0) break
      } else {
        at++
        if (depth === 0 && isEnd(bytes[at] ?? 0)) break
      }
    }
    this.at = at
  }

  private skipText(): void {
    this.at = endOfText(this.bytes, this.at)
    if (this.at > this.bytes.length) throw this.damaged('it ends inside a text')
  }

  private damaged(why: string, cause?: unknown): EnvError {
    return new EnvError('CHANNEL_DAMAGED', `${this.where} is no index of a channel: ${why}`, {
      path: this.where,
      cause,
    })
  }
}

/** After the text that begins at `from`; beyond the end: it is not closed. */
function endOfText(bytes: Buffer, from: number): number {
  const { length } = bytes
  let at = from + 1
  while (at < length) {
    const byte = bytes[at]
    if (byte === quote) return at + 1
    at += byte === backslash ? 2 : 1
  }
  return length + 1
}

const isEnd = (byte: number): boolean => byte <= 0x20 || byte === 0x2c || byte === 0x7d || byte === 0x5d

/** `name` of `name-version-build.conda`; null: no package. */
export function nameOf(fn: string): string | null {
  if (!fn.endsWith('.conda') && !fn.endsWith('.tar.bz2')) return null
  const end = fn.lastIndexOf('-', fn.lastIndexOf('-') - 1)
  return end > 0 ? fn.slice(0, end) : null
}

const word = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null)

/** A record from its document; `base`: the address of the channel. */
export function repoRecord(
  base: string,
  subdir: string,
  fn: string,
  raw: Readonly<Record<string, unknown>>,
): RepoRecord {
  const number = (value: unknown): number | null => (typeof value === 'number' && value >= 0 ? value : null)
  const timestamp = number(raw['timestamp'])
  const noarch = raw['noarch']
  return {
    name: word(raw['name']) ?? nameOf(fn) ?? '',
    version: word(raw['version']) ?? '',
    build: word(raw['build']) ?? '',
    buildNumber: number(raw['build_number']) ?? 0,
    subdir,
    fn,
    url: `${base}/${subdir}/${fn}`,
    channel: base,
    depends: strings(raw['depends']),
    constrains: strings(raw['constrains']),
    noarch: noarch === 'python' ? 'python' : noarch === 'generic' || noarch === true ? 'generic' : null,
    sha256: word(raw['sha256']),
    md5: word(raw['md5']),
    size: number(raw['size']),
    // Channels once wrote seconds.
    timestamp: timestamp === null ? null : timestamp < 1e11 ? timestamp * 1000 : timestamp,
    raw,
  }
}
