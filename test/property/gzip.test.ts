/** Gzip as it can be written, decoded by one thread and by several, against zlib: any flush points, any members, any levels. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { constants, createGzip, gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readMembers } from '../support/members.js'
import { rawMember, tarEnd } from '../support/raw-tar.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('gzip')
let count = 0

type Flush = 'full' | 'sync' | 'partial' | 'block' | 'none' | 'member'
const flushes: Readonly<Record<Exclude<Flush, 'none' | 'member'>, number>> = {
  full: constants.Z_FULL_FLUSH,
  sync: constants.Z_SYNC_FLUSH,
  partial: constants.Z_PARTIAL_FLUSH,
  block: constants.Z_BLOCK,
}

/** Compresses `pieces`, with the flush of each behind it. */
async function packed(
  pieces: readonly { data: Buffer; flush: Flush }[],
  level: number,
  strategy: number,
): Promise<Buffer> {
  const out: Buffer[] = []
  const begin = () => createGzip({ level, strategy }).on('data', (chunk: Buffer) => out.push(chunk))
  let gzip = begin()
  const end = (): Promise<void> =>
    new Promise((resolve) => {
      gzip.once('end', resolve).end()
    })
  for (const { data, flush } of pieces) {
    gzip.write(data)
    if (flush === 'member') {
      await end()
      gzip = begin()
    } else if (flush !== 'none') await new Promise<void>((resolve) => gzip.flush(flushes[flush], resolve))
  }
  await end()
  return Buffer.concat(out)
}

/** Content with repetitions near and far, runs, and what does not compress, from a seed. */
function content(seed: number, size: number): Buffer {
  const out = Buffer.alloc(size)
  let state = seed | 1
  const next = (most: number): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % most
  }
  for (let at = 0; at < size; ) {
    const length = Math.min(size - at, 1 + next(next(8) === 0 ? 5000 : 300))
    const kind = next(4)
    if (kind === 0) for (let i = 0; i < length; i++) out[at + i] = next(256)
    else if (kind === 1) out.fill(next(256), at, at + length)
    else if (at > 0) {
      const back = 1 + next(Math.min(at, next(2) === 0 ? 20 : 40_000))
      for (let i = 0; i < length; i++) out[at + i] = out[at + i - back] as number
    }
    at += length
  }
  return out
}

async function decoded(bytes: Buffer, threads: number): Promise<string> {
  const path = join(work, `${++count}.tar.gz`)
  writeFileSync(path, bytes)
  const { members } = await readMembers(path, { threads })
  return members.at(-1)?.text ?? ''
}

const wrap = (data: Buffer): Buffer[] => [
  rawMember({ name: 'conda-meta/a.json' }),
  rawMember({ name: 'lib/data', size: data.length }),
  data,
  Buffer.alloc((512 - (data.length % 512)) % 512),
  tarEnd,
]

describe('gzip', () => {
  test('any flush points and members, small', async () => {
    const piece = fc.record({
      size: fc.integer({ min: 0, max: 70_000 }),
      flush: fc.constantFrom<Flush>('full', 'sync', 'partial', 'block', 'none', 'member'),
    })
    const run = fc.record({
      pieces: fc.array(piece, { maxLength: 8 }),
      level: fc.integer({ min: 0, max: 9 }),
      strategy: fc.constantFrom(
        constants.Z_DEFAULT_STRATEGY,
        constants.Z_FIXED,
        constants.Z_HUFFMAN_ONLY,
        constants.Z_RLE,
      ),
      seed: fc.integer(),
    })
    await fc.assert(
      fc.asyncProperty(run, async ({ pieces, level, strategy, seed }) => {
        const data = content(
          seed,
          pieces.reduce((sum, { size }) => sum + size, 0),
        )
        const tar = Buffer.concat(wrap(data))
        let at = 0
        const cut = pieces.map(({ size, flush }) => {
          at += size
          return { data: tar.subarray(at - size, at), flush }
        })
        const bytes = await packed([...cut, { data: tar.subarray(at), flush: 'none' }], level, strategy)
        expect(gunzipSync(bytes).equals(tar)).toBe(true)
        expect((await decoded(bytes, 1)) === data.toString('latin1')).toBe(true)
      }),
      { numRuns: 40 },
    )
  })

  // Larger than some segments of the parallel decoder (512 KiB of packed bytes each).
  const large = content(7, 6 << 20)
  const tar = Buffer.concat(wrap(large))
  const every = (size: number, flush: (i: number) => Flush): { data: Buffer; flush: Flush }[] =>
    Array.from({ length: Math.ceil(tar.length / size) }, (_, i) => ({
      data: tar.subarray(i * size, (i + 1) * size),
      flush: flush(i),
    }))

  const kinds: [string, () => Promise<Buffer>][] = [
    ['one stream', async () => gzipSync(tar, { level: 1 })],
    ['stored blocks', async () => gzipSync(tar, { level: 0 })],
    [
      'full flushes (conda-pack -j N)',
      () =>
        packed(
          every(1 << 20, () => 'full'),
          6,
          0,
        ),
    ],
    [
      'sync flushes (pigz)',
      () =>
        packed(
          every(1 << 17, () => 'sync'),
          6,
          0,
        ),
    ],
    [
      'members (cat, bgzip)',
      () =>
        packed(
          every(1 << 16, () => 'member'),
          6,
          0,
        ),
    ],
    [
      'all of them',
      () =>
        packed(
          every(77_777, (i) => (['sync', 'full', 'member', 'none', 'block'] as const)[i % 5] ?? 'full'),
          3,
          0,
        ),
    ],
    ['zeros behind', async () => Buffer.concat([gzipSync(tar, { level: 1 }), Buffer.alloc(10_240)])],
  ]
  test.each(kinds)('%s, large, by any number of threads', async (_, make) => {
    const bytes = await make()
    for (const threads of [1, 2, 5])
      expect((await decoded(bytes, threads)) === large.toString('latin1'), `${threads}`).toBe(true)
  })

  test('what looks like a place to begin, and is none, misleads nobody', async () => {
    // Stored as they are, these bytes are markers and heads of members within content.
    const lies = Buffer.concat([
      ...Array.from({ length: 3000 }, (_, i) => Buffer.concat([content(i, 999), Buffer.from([0, 0, 0xff, 0xff])])),
      ...Array.from({ length: 300 }, (_, i) => Buffer.concat([gzipSync('x'), content(i, 9000)])),
    ])
    const bytes = gzipSync(Buffer.concat(wrap(lies)), { level: 0 })
    expect((await decoded(bytes, 4)) === lies.toString('latin1')).toBe(true)
  })
})

describe('damage', () => {
  const data = content(3, 4 << 20)
  const tar = Buffer.concat(wrap(data))
  test('of any byte is found, by one thread and by several', async () => {
    const bytes = await packed(
      Array.from({ length: 9 }, (_, i) => ({
        data: tar.subarray((i * tar.length) / 9, ((i + 1) * tar.length) / 9),
        flush: 'full',
      })),
      6,
      0,
    )
    for (let i = 0; i < 24; i++) {
      const broken = Buffer.from(bytes)
      const at = 10 + Math.floor((i * (bytes.length - 12)) / 23)
      broken[at] = (broken[at] as number) ^ (1 << (i % 8))
      const found = await decoded(broken, 1 + (i % 3)).catch((error) => error.code)
      expect(found, `byte ${at}`).toBe('ARCHIVE_CORRUPT')
    }
  })

  test('by cutting, and by what follows', async () => {
    const bytes = gzipSync(tar)
    for (const cut of [1, 4, 8, 9, 1000, bytes.length - 12])
      expect(await decoded(bytes.subarray(0, -cut), 3).catch((error) => error.code), `${cut}`).toBe('ARCHIVE_CORRUPT')
    expect(await decoded(Buffer.concat([bytes, Buffer.from('rest')]), 3).catch((error) => error.code)).toBe(
      'ARCHIVE_CORRUPT',
    )
  })
})
