import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { compress } from 'zstd-napi'
import { batchBytes } from '../../src/archive/decode.js'
import { guessRoot } from '../../src/archive/root.js'
import { type Read, readMembers } from '../support/members.js'
import { type RawMember, rawMember, rawPax, rawTar, tarEnd } from '../support/raw-tar.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('tar')

let count = 0
function archive(bytes: Buffer): string {
  const path = join(work, `archive${++count}`)
  writeFileSync(path, bytes)
  return path
}

/** A record first, so that it is the archive of an environment; it is left out of what is found. */
const record: RawMember = { name: 'conda-meta/a.json' }

async function read(tar: Buffer, pack: (tar: Buffer) => Buffer = (same) => same): Promise<Read[]> {
  const { members } = await readMembers(archive(pack(Buffer.concat([rawMember(record), tar]))))
  return members.slice(1)
}
const one = async (...members: RawMember[]): Promise<Read | undefined> => (await read(rawTar(members))).at(-1)
const failure = async (bytes: Buffer): Promise<string> =>
  await readMembers(archive(bytes)).then(
    ({ members }) => `read ${members.length}`,
    (error) => `${error.code}: ${error.message}`,
  )

const sample = rawTar([
  { name: 'bin/', type: '5', mode: 0o755 },
  { name: 'bin/a', data: 'x'.repeat(1000), mode: 0o755 },
  { name: 'bin/b', type: '2', link: 'a' },
  { name: 'bin/c', type: '1', link: './bin/a' },
  { name: 'empty' },
])

describe('members', () => {
  test('have path, kind, mode, time and content', async () => {
    const common = { mode: 0o644, mtime: 1_600_000_000, size: 0, text: '' }
    expect(await read(sample)).toEqual([
      { ...common, path: 'bin', kind: 'directory', mode: 0o755 },
      { ...common, path: 'bin/a', kind: 'file', mode: 0o755, size: 1000, text: 'x'.repeat(1000) },
      { ...common, path: 'bin/b', kind: 'symlink', target: 'a' },
      { ...common, path: 'bin/c', kind: 'hardlink', target: 'bin/a' },
      { ...common, path: 'empty', kind: 'file' },
    ])
  })

  test.each(['./a/b', 'a//b', 'a/./b', './/a/b/'])('the name %s is a/b', async (name) => {
    expect((await one({ name, type: name.endsWith('/') ? '5' : '0' }))?.path).toBe('a/b')
  })

  test('the root of the archive is none', async () => {
    expect(await one({ name: './', type: '5' })).toBeUndefined()
  })

  test('pax headers count for names, links and times', async () => {
    const long = `${'d/'.repeat(150)}é`
    expect(
      await one(rawPax({ path: long, mtime: '-1.5', linkpath: `${long}2` }), { name: 'x', type: '2', link: 'y' }),
    ).toMatchObject({
      path: long,
      target: `${long}2`,
      mtime: -2,
    })
  })

  test('a global pax header counts until it is taken back', async () => {
    const members = [
      { ...rawPax({ mtime: '77' }), type: 'g' },
      { name: 'a' },
      rawPax({ mtime: '88' }),
      { name: 'b' },
      { name: 'c' },
    ]
    expect((await read(rawTar(members))).map(({ path, mtime }) => [path, mtime])).toEqual([
      ['a', 77],
      ['b', 88],
      ['c', 77],
    ])
  })

  test('long names as GNU tar writes them count', async () => {
    const long = 'n'.repeat(300)
    expect((await one({ name: '././@LongLink', type: 'L', data: `${long}\0` }, { name: 'x' }))?.path).toBe(long)
  })

  test('names that are not UTF-8 keep their bytes', async () => {
    expect((await one({ name: Buffer.from('a\xff\xe9b\xc3\xa9', 'latin1') }))?.path).toBe('a\udcff\udce9b\u00e9')
  })

  test('a hard link with content of its own is a file, as conda-pack means it', async () => {
    const found = await read(
      rawTar([{ name: 'a', data: 'first' }, { name: 'b', type: '1', link: 'a', data: 'own' }, { name: 'c' }]),
    )
    expect(found.map(({ path, kind, text, detached }) => [path, kind, text, detached])).toEqual([
      ['a', 'file', 'first', undefined],
      ['b', 'file', 'own', true],
      ['c', 'file', '', undefined],
    ])
  })

  test('a hard link that only claims content is refused, not taken for what follows', async () => {
    const members = [
      { name: 'a', data: 'x'.repeat(600) },
      { name: 'b', type: '1', link: 'a', size: 600 },
      { name: 'c', data: 'y'.repeat(600) },
    ]
    expect(await failure(rawTar(members))).toMatch(/^ARCHIVE_CORRUPT: .*hard link "b" claims content/)
  })
})

describe('refused', () => {
  test.each([
    ['an absolute name', { name: '/etc/passwd' }],
    ['a name that climbs', { name: 'a/../../b' }],
    ['a name that climbs within', { name: 'a/../b' }],
    ['a hard link to an absolute name', { name: 'a', type: '1', link: '/etc/passwd' }],
    ['a hard link that climbs', { name: 'a', type: '1', link: '../passwd' }],
  ])('%s', async (_, member) => {
    expect(await failure(rawTar([member]))).toMatch(/^UNSAFE_PATH: /)
  })

  test.each([
    ['a character device', { name: 'tty', type: '3' }],
    ['a block device', { name: 'sda', type: '4' }],
    ['a fifo', { name: 'pipe', type: '6' }],
    ['of a type', { name: 'what', type: 'V' }],
  ])('%s', async (what, member) => {
    expect(await failure(rawTar([member]))).toMatch(new RegExp(`^UNSUPPORTED: .* is ${what}`))
  })

  test('a sparse file', async () => {
    expect(await failure(rawTar([rawPax({ 'GNU.sparse.major': '1' }), { name: 'x' }]))).toMatch(
      /^UNSUPPORTED: .*sparse/,
    )
  })

  test('a header that was damaged', async () => {
    const bytes = Buffer.from(sample)
    bytes[600] = 7
    expect(await failure(bytes)).toMatch(/^ARCHIVE_CORRUPT: /)
  })
})

const tool = (name: string, args: readonly string[], input: Buffer): Buffer =>
  execFileSync(name, args, { input, maxBuffer: 1 << 26 })
function has(name: string): boolean {
  try {
    execFileSync(name, ['--version'], { stdio: 'ignore', input: '' })
    return true
  } catch {
    return false
  }
}

const packers: [name: string, pack: (tar: Buffer) => Buffer, installed: boolean][] = [
  ['tar', (tar) => tar, true],
  ['tar.gz', (tar) => gzipSync(tar), true],
  [
    'tar.gz of several members',
    (tar) => Buffer.concat([gzipSync(tar.subarray(0, 700)), gzipSync(tar.subarray(700))]),
    true,
  ],
  ['tar.zst', (tar) => compress(tar), true],
  [
    'tar.zst of several frames',
    (tar) => Buffer.concat([compress(tar.subarray(0, 700)), compress(tar.subarray(700))]),
    true,
  ],
  ['tar.bz2', (tar) => tool('bzip2', ['-c'], tar), has('bzip2')],
  ['tar.xz', (tar) => tool('xz', ['-c'], tar), has('xz')],
]

describe.each(packers)('%s', (_, pack, installed) => {
  test.skipIf(!installed)('holds the same members', async () => {
    expect(await read(sample, pack)).toEqual(await read(sample))
  })

  // Content that does not shrink, so that every cut takes something away.
  const noise = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * i * 31 + (i >> 3)) & 0xff))
  const long = rawTar(Array.from({ length: 40 }, (_, i) => ({ name: `file${i}`, data: noise.subarray(i) })))
  test.skipIf(!installed)('is corrupt wherever it is cut off', async () => {
    const packed = pack(long)
    for (const part of [0.3, 0.6, 0.9]) {
      const cut = packed.subarray(0, Math.floor(packed.length * part))
      expect(await failure(cut), `at ${part}`).toMatch(/^ARCHIVE_CORRUPT: /)
    }
    expect(await failure(packed.subarray(0, -1))).toMatch(/^ARCHIVE_CORRUPT: /)
  })
})

test('a tar that ends between two members is corrupt', async () => {
  expect(await failure(sample.subarray(0, -1024))).toMatch(/^ARCHIVE_CORRUPT: .*end of the tar is missing/)
})

test('zeros after the end, as GNU tar writes them, do no harm', async () => {
  expect(await read(Buffer.concat([sample, Buffer.alloc(9216)]))).toHaveLength(5)
})

describe('what expands without limit', () => {
  const size = 8 << 20
  const member = Buffer.concat([rawMember({ name: 'lib/zeros', size }), Buffer.alloc(size)])
  const packers: [string, (bytes: Buffer) => Buffer][] = [
    ['zstd', (bytes) => compress(bytes, { compressionLevel: 1 })],
    ['gzip', (bytes) => gzipSync(bytes, { level: 1 })],
  ]
  test.each(packers)('is not held in memory: %s', async (_, pack) => {
    const packed = pack(member)
    const path = archive(
      Buffer.concat([pack(rawMember(record)), ...Array.from({ length: 100 }, () => packed), pack(tarEnd)]),
    )
    const before = process.memoryUsage.rss()
    let most = 0
    const use = (): void => {
      most = Math.max(most, process.memoryUsage.rss())
    }
    const { decoded } = await readMembers(path, { use })
    expect(decoded.bytes).toBe(size * 100)
    expect(most - before).toBeLessThan(150 << 20)
    await expect(readMembers(path, { use, limits: { maxBytes: size * 99, maxFiles: 1000 } })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      path,
    })
    await expect(readMembers(path, { use, limits: { maxBytes: size * 100, maxFiles: 99 } })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    })
  })
})

describe('the root of the environment', () => {
  const rootOf = async (...names: string[]): Promise<string> => {
    const path = archive(rawTar(names.map((name) => ({ name, type: name.endsWith('/') ? '5' : '0' }))))
    return await readMembers(path).then(
      ({ decoded }) => decoded.root,
      (error) => error.code,
    )
  }

  test('is found where the first batch does not tell', async () => {
    const large = { name: 'env/opt/large', data: Buffer.alloc(batchBytes) }
    const path = archive(rawTar([large, large, { name: 'env/conda-meta/a.json', data: 'x' }]))
    const { decoded, members } = await readMembers(path)
    expect(decoded.root).toBe('env')
    expect(members.map(({ path: name }) => name)).toEqual(['opt/large', 'opt/large', 'conda-meta/a.json'])
  })

  test.each([
    ['that has two things at its top, none of them usual', ['README', 'src/a', 'src/b', 'src/c'], 0],
    [
      'that has an environment in a folder, and more beside it',
      ['env/a', 'README', 'src/b', 'env/conda-meta/a.json'],
      0,
    ],
    ['that looks like one', ['README', 'lib/a', 'lib/b', 'lib/c'], 4],
  ])('of a long archive %s: nothing is written in vain', async (_, names, received) => {
    const data = Buffer.alloc(batchBytes - 2 * 512)
    const path = archive(rawTar(names.map((name) => ({ name, data }))))
    let times = 0
    const use = (): void => {
      times++
    }
    await readMembers(path, { use }).then(
      ({ decoded }) => expect(decoded.root).toBe(''),
      (error) => expect(error).toMatchObject({ code: 'NOT_AN_ENV' }),
    )
    expect(times).toBe(received)
  })

  test('does not count what lies outside of it', async () => {
    expect(guessRoot([{ path: 'README', kind: 'file' }])).toBeNull()
    expect(await rootOf('env/a', 'env/conda-meta/a.json', 'other')).toBe('NOT_AN_ENV')
  })

  test.each([
    ['', ['bin/a', 'conda-meta/a.json']],
    ['', ['./', './zzz', './conda-meta/a.json']],
    ['env', ['env/bin/a', 'env/conda-meta/a.json']],
    ['env', ['./env/', './env/bin/a', './env/conda-meta/a.json']],
    ['a/b', ['a/', 'a/b/', 'a/b/x', 'a/b/conda-meta/a.json']],
    ['', ['README', 'conda-meta/a.json']],
    ['', ['AAA/conda-meta-data/x', 'apps/conda-meta/b.json', 'conda-meta/a.json']],
    ['NOT_AN_ENV', ['src/a', 'conda-meta', 'src/conda-meta']],
    ['NOT_AN_ENV', ['README', 'env/conda-meta/a.json']],
  ])('is %j for %j', async (root, names) => {
    expect(await rootOf(...names)).toBe(root)
  })
})
