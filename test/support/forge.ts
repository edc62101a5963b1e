/**
 * Archives of ours written byte by byte after src/archive/FORMAT.md, without any code of the product: honest unless a test makes them
 * lie. The members are made by raw-tar.ts; one frame holds what `frames` says, by default everything.
 */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { Compressor } from 'zstd-napi'
import { type RawMember, rawMember, tarEnd } from './raw-tar.js'

export interface ForgedSpot {
  encoding: number
  offset: number | bigint
  /** Number of a prefix, or of an entry for encoding 6. */
  refers: number | bigint
  slot: number | bigint
}

/** An entry of the table as it will be written: nothing is checked. */
export interface ForgedEntry {
  path: string | Buffer
  /** 0 directory, 1 file, 2 symlink, 3 hard link. */
  kind: number
  mode: number | bigint
  mtime: number
  size: number | bigint
  frame: number | bigint
  offset: number | bigint
  sha256: Buffer
  target: string | Buffer
  spots: ForgedSpot[]
}

/** What an archive is made of, before it is put together; a test changes what it wants to be a lie. */
export interface Draft {
  /** Plain bytes of the data frames. */
  plain: Buffer[]
  entries: ForgedEntry[]
  prefixes: string[]
  json: string
  /** Written instead of the true number of entries. */
  entryCount?: number | bigint
  /** Changes the summary's numbers before they are written. */
  sums: Partial<Sums>
  /** Changes the records of the seek table: compressed and decompressed size of every frame, the two skippable ones last. */
  seek?: (records: [packed: number, size: number][]) => void
  /** Changes the uncompressed entry table. */
  table?: (bytes: Buffer) => Buffer
  /** Claimed instead of the true uncompressed size of the entry table. */
  tableSize?: number | bigint
}

interface Sums {
  digest: Buffer
  entries: number | bigint
  files: number | bigint
  bytes: number | bigint
  rewritten: number | bigint
  longestPrefix: number
  largestFile: number | bigint
}

export const hashOf = (data: Buffer | string): Buffer => createHash('sha256').update(data).digest()

export function fixed(value: number | bigint, bytes: number): Buffer {
  const out = Buffer.alloc(bytes)
  for (let i = 0, rest = BigInt(value); i < bytes; i++, rest >>= 8n) out[i] = Number(rest & 0xffn)
  return out
}

export function varint(value: number | bigint): Buffer {
  const out: number[] = []
  let rest = BigInt(value)
  for (; rest >= 0x80n; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80)
  return Buffer.from([...out, Number(rest)])
}

const zigzag = (n: number): Buffer => varint(n < 0 ? BigInt(-(n + 1)) * 2n + 1n : BigInt(n) * 2n)
const text = (value: string | Buffer): Buffer => Buffer.concat([varint(Buffer.from(value).length), Buffer.from(value)])

/** One zstd frame with content size and checksum. */
export function zstdFrame(data: Buffer): Buffer {
  const compressor = new Compressor()
  compressor.setParameters({ checksumFlag: true, contentSizeFlag: true })
  return compressor.compress(data)
}

export const skippable = (magic: number, content: Buffer): Buffer =>
  Buffer.concat([fixed(magic, 4), fixed(content.length, 4), content])

const kinds: Readonly<Record<string, number>> = { '0': 1, '1': 3, '2': 2, '5': 0 }

/** The honest draft of an archive with these members, `perFrame` of them to a frame; default: all in one. */
export function draftOf(members: readonly RawMember[], perFrame: number = Number.POSITIVE_INFINITY): Draft {
  const plain: Buffer[] = []
  const entries: ForgedEntry[] = []
  let frame: Buffer[] = []
  let size = 0
  members.forEach((member, i) => {
    if (i > 0 && i % perFrame === 0) {
      plain.push(Buffer.concat(frame))
      frame = []
      size = 0
    }
    const { name, type = '0', mode = 0o644, mtime = 1_600_000_000, link = '', data = '' } = member
    const bytes = rawMember(member)
    entries.push({
      ...{ path: Buffer.isBuffer(name) ? name : name.replace(/\/$/, ''), kind: kinds[type] ?? 1, mode, mtime },
      ...{ size: Buffer.from(data).length, frame: plain.length, offset: size + 512, sha256: hashOf(Buffer.from(data)) },
      ...{ target: link, spots: [] },
    })
    frame.push(bytes)
    size += bytes.length
  })
  plain.push(Buffer.concat([...frame, tarEnd]))
  return { plain, entries, prefixes: [], json: '{}', sums: {} }
}

function spotBytes(spots: readonly ForgedSpot[]): Buffer {
  let before = 0n
  const all = spots.map(({ encoding, offset, refers, slot }) => {
    const difference = BigInt.asUintN(64, BigInt(offset) - before)
    before = BigInt(offset)
    return Buffer.concat([
      fixed(encoding, 1),
      varint(difference),
      varint(refers),
      ...(encoding < 6 ? [varint(slot)] : []),
    ])
  })
  return Buffer.concat([varint(spots.length), ...all])
}

/** The uncompressed entry table of a draft. */
export function tableBytes({ entries, prefixes, entryCount, table }: Draft): Buffer {
  let mtime = 0
  const all = entries.map((e) => {
    const head = [fixed(e.kind | (e.spots.length > 0 ? 0x10 : 0), 1), varint(0), text(e.path), varint(e.mode)]
    const time = zigzag(e.mtime - mtime)
    mtime = e.mtime
    const spots = e.spots.length > 0 ? [spotBytes(e.spots)] : []
    const file = [varint(e.size), varint(e.frame), varint(e.offset), e.sha256, ...spots]
    return Buffer.concat([...head, time, ...(e.kind === 1 ? file : e.kind === 0 ? [] : [text(e.target)])])
  })
  const head = [Buffer.from('CDTB'), fixed(1, 2), fixed(0, 2), varint(prefixes.length), ...prefixes.map(text)]
  const bytes = Buffer.concat([...head, varint(entryCount ?? entries.length), ...all])
  return table === undefined ? bytes : table(bytes)
}

/** The true sums of a draft, for which sizes beyond any file count as they stand. */
function sumsOf({ entries }: Draft, digest: Buffer): Sums {
  const files = entries.filter(({ kind }) => kind === 1)
  const sizes = files.map(({ size }) => BigInt(size))
  const slots = files.flatMap(({ spots }) => spots.filter(({ encoding }) => encoding > 0 && encoding < 6))
  return {
    ...{ digest, entries: entries.length, files: files.length },
    bytes: BigInt.asUintN(
      64,
      sizes.reduce((sum, size) => sum + size, 0n),
    ),
    rewritten: files.filter(({ spots }) => spots.length > 0).length,
    longestPrefix: Math.min(0xffffffff, ...slots.map(({ slot }) => Number(slot))),
    largestFile: sizes.reduce((most, size) => (size > most ? size : most), 0n),
  }
}

function summaryBytes(draft: Draft, table: Buffer): Buffer {
  const digest = createHash('sha256').update(table).update(draft.json).digest()
  const s = { ...sumsOf(draft, digest), ...draft.sums }
  const numbers = [s.entries, s.files, s.bytes, s.rewritten].map((n) => fixed(n, 8))
  return Buffer.concat([
    ...[Buffer.from('CDSM'), fixed(1, 2), fixed(0, 2), s.digest, ...numbers],
    ...[
      fixed(s.longestPrefix, 4),
      fixed(s.largestFile, 8),
      fixed(Buffer.byteLength(draft.json), 4),
      Buffer.from(draft.json),
    ],
  ])
}

/** The bytes of an archive. */
export function forge(draft: Draft): Buffer {
  const table = tableBytes(draft)
  const frames = draft.plain.map(zstdFrame)
  const packedTable = Buffer.concat([fixed(draft.tableSize ?? table.length, 8), zstdFrame(table)])
  const parts = [...frames, skippable(0x184d2a5a, packedTable), skippable(0x184d2a5b, summaryBytes(draft, table))]
  const records = parts.map((part, i): [number, number] => [part.length, draft.plain[i]?.length ?? 0])
  draft.seek?.(records)
  const rows = records.map(([packed, size]) => Buffer.concat([fixed(packed, 4), fixed(size, 4)]))
  const footer = Buffer.concat([fixed(records.length, 4), fixed(0, 1), fixed(0x8f92eab1, 4)])
  return Buffer.concat([...parts, skippable(0x184d2a5e, Buffer.concat([...rows, footer]))])
}

/** Writes the archive of a draft. */
export function writeForged(path: string, draft: Draft): void {
  writeFileSync(path, forge(draft))
}

/** The least that an environment has: enough for every verb. */
export const leastMembers: readonly RawMember[] = [
  { name: 'conda-meta/', type: '5', mode: 0o755 },
  { name: 'conda-meta/history', data: '' },
  { name: 'lib/', type: '5', mode: 0o755 },
  { name: 'lib/data', data: 'plain content of a file\n' },
]
