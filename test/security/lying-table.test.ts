/** Archives of ours whose entry table, summary or seek table says what is not so. The tar inside is honest. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Range } from '../support/attack.js'
import { type Draft, draftOf, type ForgedEntry, forge, hashOf, leastMembers } from '../support/forge.js'

const range = new Range('lying-table')
const origin = '/origin/of/the/forgery'
const members = [...leastMembers, { name: 'lib/text', data: `see ${origin}/lib and ${origin}/bin\n` }]

/** An archive made dishonest by `lie`. */
function lying(lie: (draft: Draft, file: ForgedEntry, text: ForgedEntry) => void, perFrame?: number): Buffer {
  const draft = draftOf(members, perFrame)
  draft.prefixes = [origin]
  lie(draft, draft.entries[3] as ForgedEntry, draft.entries[4] as ForgedEntry)
  return forge(draft)
}

const spot = (offset: number | bigint, encoding = 0, slot: number | bigint = 0, refers: number | bigint = 0) => {
  return { encoding, offset, refers, slot }
}

test('an honest forgery deploys, and verifies: the forger itself can be believed', async () => {
  const honest = lying((_, __, text) => {
    text.spots = [spot(4), spot(4 + origin.length + 9)]
  })
  const { at, code } = await range.deploy(honest)
  expect(code).toBe('')
  expect(readFileSync(join(at, 'env/lib/text'), 'utf8')).toBe(`see ${at}/env/lib and ${at}/env/bin\n`)
  expect(await range.verify(honest)).toEqual([])
  expect(await range.verify(lying(() => {}, 2))).toEqual([])
})

/** Changes what the seek table says of the first frame: 0 its compressed, 1 its decompressed size. */
const first = (which: 0 | 1, to: (size: number) => number): NonNullable<Draft['seek']> => {
  return ([record]) => {
    if (record) record[which] = to(record[which])
  }
}

const claims: readonly [what: string, lie: Parameters<typeof lying>[0]][] = [
  ['an offset outside of its frame', (_, file) => (file.offset = 1_000_000)],
  ['an offset of 2^64 - 1', (_, file) => (file.offset = 2n ** 64n - 1n)],
  ['a frame that does not exist', (_, file) => (file.frame = 7)],
  ['a frame of 2^32 - 1', (_, file) => (file.frame = 2n ** 32n - 1n)],
  ['a frame of 2^40', (_, file) => (file.frame = 2n ** 40n)],
  ['content inside the header before it', (_, file) => (file.offset = Number(file.offset) - 100)],
  ['two files with the same content', (_, file, text) => (text.offset = file.offset)],
  ['places out of their order', (_, file, text) => ([file.offset, text.offset] = [text.offset, file.offset])],
  ['a size that reaches into the next member', (_, file) => (file.size = 600)],
  ['a size beyond the end of the tar', (_, file) => (file.size = 100_000)],
  ['a size of 2^53', (_, file) => (file.size = 2n ** 53n)],
  ['a size of 2^64 - 1', (_, file) => (file.size = 2n ** 64n - 1n)],
  ['a size of 2^53, told by the summary alone', (draft) => (draft.sums = { bytes: 2n ** 53n })],
  ['a largest file of 2^53, told by the summary alone', (draft) => (draft.sums = { largestFile: 2n ** 53n })],
  ['2^64 - 1 bytes', (draft) => (draft.sums = { bytes: 2n ** 64n - 1n })],
  ['2^40 entries, told by the summary', (draft) => (draft.sums = { entries: 2n ** 40n })],
  ['more files than entries', (draft) => (draft.sums = { files: 6 })],
  ['2^40 entries, told by the table', (draft) => (draft.entryCount = 2n ** 40n)],
  ['fewer entries than there are', (draft) => (draft.entryCount = 3)],
  ['one entry more than there is', (draft) => (draft.entryCount = 6)],
  ['a table of 2^40 bytes', (draft) => (draft.tableSize = 2n ** 40n)],
  ['a table of 200 MB in a few hundred bytes', (draft) => (draft.tableSize = 200_000_000)],
  ['a digest that is not its own', (draft) => (draft.sums = { digest: hashOf('another') })],
  ['a spot that begins beyond the end', (_, __, text) => (text.spots = [spot(1000)])],
  ['a spot that ends beyond the end', (_, __, text) => (text.spots = [spot(60)])],
  ['a spot at 2^64 - 1', (_, __, text) => (text.spots = [spot(2n ** 64n - 1n)])],
  ['two spots that overlap', (_, __, text) => (text.spots = [spot(4), spot(10)])],
  ['the same spot twice', (_, __, text) => (text.spots = [spot(4), spot(4)])],
  ['spots in the wrong order', (_, __, text) => (text.spots = [spot(4 + origin.length + 9), spot(4)])],
  ['a slot beyond the end of the file', (_, __, text) => (text.spots = [spot(4, 1, 1000)])],
  ['a slot of 2^32 - 1', (_, __, text) => (text.spots = [spot(4, 1, 2n ** 32n - 1n)])],
  ['a slot shorter than what stands there', (_, __, text) => (text.spots = [spot(4, 1, 3)])],
  ['a slot for a text', (_, __, text) => (text.spots = [spot(4, 0, 40)])],
  ['a prefix that is not in the list', (_, __, text) => (text.spots = [spot(4, 0, 0, 1)])],
  ['an encoding that does not exist', (_, __, text) => (text.spots = [spot(4, 7)])],
  ['a spot where no prefix stands', (_, __, text) => (text.spots = [spot(5)])],
  ['a spot of wide characters where a text stands', (_, __, text) => (text.spots = [spot(4, 2, 30)])],
  ['a digest of itself', (_, __, text) => (text.spots = [spot(0, 6, 0, 4)])],
  ['a digest of a directory', (_, __, text) => (text.spots = [spot(0, 6, 0, 0)])],
  ['an empty prefix', (draft) => (draft.prefixes = [''])],
  ['a prefix with a NUL', (draft) => (draft.prefixes = ['/a\0b'])],
  ['a mode beyond permission bits', (_, file) => (file.mode = 0o100644)],
  ['a mode beyond 32 bits', (_, file) => (file.mode = 2n ** 33n)],
  ['a frame that is said to be smaller', (draft) => (draft.seek = first(1, (size) => size - 512))],
  ['a frame that is said to be larger', (draft) => (draft.seek = first(1, (size) => size + 512))],
  ['a frame that is said to hold 1 GiB', (draft) => (draft.seek = first(1, () => 2 ** 30))],
  ['a frame that is said to hold 4 GB', (draft) => (draft.seek = first(1, () => 2 ** 32 - 1))],
  ['frames that are longer than the file', (draft) => (draft.seek = first(0, (size) => size + 100))],
  ['a frame of no length', (draft) => (draft.seek = (all) => void all.unshift([0, 512]))],
  ['bytes behind the table', (draft) => (draft.table = (bytes) => Buffer.concat([bytes, Buffer.from('x')]))],
]

describe('refused as corrupt, with nothing left', () => {
  test.each(claims)('%s', async (_, lie) => {
    await range.refused(lying(lie), 'ARCHIVE_CORRUPT')
  })
})

describe('a wrong hash of a file that is patched: nothing is deployed, verified or not', () => {
  const spots = [spot(4), spot(4 + origin.length + 9)]

  test('in one frame', async () => {
    const bytes = lying((_, __, text) => Object.assign(text, { spots, sha256: hashOf('something else') }))
    const error = await range.refused(bytes, 'ARCHIVE_CORRUPT')
    expect(error.message).toContain(hashOf('something else').toString('hex'))
    expect(error.path).toBe('lib/text')
  })

  /** The text in a frame of its own, and cut into several, as a file larger than a frame is. */
  const divided = (sha256?: Buffer): Buffer => {
    const content = `see ${origin}/lib and ${origin}/bin\n`.repeat(40)
    const draft = draftOf([...leastMembers, { name: 'lib/text', data: content }], leastMembers.length)
    const [head = Buffer.alloc(0), text = Buffer.alloc(0)] = draft.plain
    const line = content.length / 40
    const cuts = [0, 512 + 10 * line, 512 + 25 * line, text.length]
    draft.plain = [head, ...cuts.slice(1).map((end, i) => text.subarray(cuts[i], end))]
    draft.prefixes = [origin]
    const entry = draft.entries[leastMembers.length] as ForgedEntry
    entry.spots = Array.from({ length: 40 }, (_, i) => spots.map((one) => spot(Number(one.offset) + i * line))).flat()
    if (sha256 !== undefined) entry.sha256 = sha256
    return forge(draft)
  }

  test('in several frames', async () => {
    const { at, code } = await range.deploy(divided())
    expect(code).toBe('')
    expect(readFileSync(join(at, 'env/lib/text'), 'utf8')).toBe(`see ${at}/env/lib and ${at}/env/bin\n`.repeat(40))
    await range.refused(divided(hashOf('something else')), 'ARCHIVE_CORRUPT')
  })
})

describe('what only reading the content can tell is told by verify', () => {
  test('a wrong hash', async () => {
    const bytes = lying((_, file) => (file.sha256 = hashOf('something else')))
    expect(await range.verify(bytes)).toEqual(['content lib/data'])
    await range.refused(bytes, 'VERIFY_FAILED', { verify: true })
  })

  test('the hash of another file of the archive', async () => {
    const bytes = lying((_, file, text) => (file.sha256 = text.sha256))
    expect(await range.verify(bytes)).toEqual(['content lib/data'])
  })

  const versus: readonly [what: string, fault: string, lie: Parameters<typeof lying>[0]][] = [
    ['another name', 'extra lib/data', (_, file) => (file.path = 'lib/date')],
    ['another size', 'size lib/data', (_, file) => (file.size = 5)],
  ]
  test.each(versus)('%s in the table than in the tar', async (_, fault, lie) => {
    expect(await range.verify(lying(lie))).toContain(fault)
  })

  test('a link that leads elsewhere in the tar than in the table', async () => {
    const draft = draftOf([...members, { name: 'lib/link', type: '2', link: 'data', mode: 0o777 }])
    ;(draft.entries[5] as ForgedEntry).target = range.canary
    expect(await range.verify(forge(draft))).toEqual(['target lib/link'])
  })

  test('a symbolic link in the tar that is a file in the table', async () => {
    const draft = draftOf([...members, { name: 'lib/link', type: '2', link: 'data', mode: 0o777 }])
    ;(draft.entries[5] as ForgedEntry).kind = 1
    ;(draft.entries[5] as ForgedEntry).sha256 = hashOf('')
    expect(await range.verify(forge(draft))).toEqual(['type lib/link'])
  })

  test('a member that the table does not name, and an entry without a member', async () => {
    const more = draftOf([...members, { name: 'lib/hidden', data: 'x' }])
    more.entries.pop()
    expect(await range.verify(forge(more))).toEqual(['extra lib/hidden'])
    const less = draftOf(members)
    less.entries.push({ ...(less.entries[2] as ForgedEntry), path: 'lost' })
    expect((await range.verify(forge(less))).length).toBe(1)
  })

  test('modes of the tar that the table does not have', async () => {
    const draft = draftOf([...leastMembers, { name: 'lib/su', mode: 0o4755, data: 'x' }])
    ;(draft.entries[4] as ForgedEntry).mode = 0o755
    expect(await range.verify(forge(draft))).toEqual(['mode lib/su'])
  })
})
