/** The door to the native decoder: batches, their order, what is written of them, their ends. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  type Batch,
  batchBytes,
  type Decoded,
  decode as decodeArchive,
  type Member,
  type Receive,
} from '../../src/archive/decode.js'
import type { Limits } from '../../src/archive/limits.js'
import type { Rewrite } from '../../src/native.js'
import { noLimits, nothing, writing } from '../support/members.js'
import { type RawMember, rawTar } from '../support/raw-tar.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('decode')

let count = 0
function archive(members: readonly RawMember[]): string {
  const path = join(work, `${++count}.tar`)
  writeFileSync(path, rawTar([{ name: 'conda-meta/a.json' }, ...members]))
  return path
}

interface Way {
  readonly root?: string
  readonly signal?: AbortSignal
  readonly limits?: Limits
}

function newRoot(): string {
  const root = join(work, `root-${++count}`)
  mkdirSync(root)
  return root
}

const decode = (path: string, receive: Receive, { root = newRoot(), ...rest }: Way = {}): Promise<Decoded> => {
  const packing = { container: 'plain', command: [] } as const
  const into = { root, prefix: '/new', readOnly: false, threads: 2 }
  return decodeArchive({ archive: path, packing, into, limits: noLimits, receive, ...rest })
}

const ignore: Receive = async () => nothing

const content = (i: number, size: number): Buffer => Buffer.alloc(size, `file ${i} `)

/** Of the small buffers, and of the large one. */
const small = 2 << 20
const most = batchBytes
const sizes = [0, 1, small / 4, small / 2, small, 3, small + 1, 7, most, most + 1, 9, most - 1, small - 1, small - 1]
const members = sizes.map((size, i) => ({ name: `lib/f${i}`, data: content(i, size) }))

describe('batches', () => {
  test('bring every member once, in order, with its content', async () => {
    const names: string[] = []
    const path = archive(members)
    const result = await decode(path, async ({ members: some, buffer }) => {
      for (const { path: name, at, source, size } of some) {
        names.push(name)
        const i = Number(name.slice('lib/f'.length))
        if (Number.isNaN(i)) continue
        const data = source === undefined ? Buffer.from(buffer.buffer, at, size) : readFileSync(source)
        expect(data.equals(content(i, sizes[i] as number)), name).toBe(true)
        expect(source !== undefined).toBe(size > batchBytes)
      }
      return nothing
    })
    expect(names).toEqual(['conda-meta/a.json', ...members.map(({ name }) => name)])
    expect(result).toMatchObject({ root: '', bytes: sizes.reduce((sum, size) => sum + size, 0) })
  })

  test('come one at a time', async () => {
    const path = archive(members.filter(({ data }) => data.length <= batchBytes))
    let working = 0
    let bytes = 0
    const result = await decode(path, async ({ members: some }) => {
      expect(++working).toBe(1)
      for (const { size } of some) bytes += size
      await new Promise((resolve) => setTimeout(resolve, 30))
      working--
      return nothing
    })
    expect(bytes).toBe(result.bytes)
  })

  test('of very many small members are handed over before they fill a buffer', async () => {
    const path = archive(Array.from({ length: 9000 }, (_, i) => ({ name: `lib/${i}` })))
    const lengths: number[] = []
    await decode(path, async ({ members: some }: Batch) => {
      lengths.push(some.length)
      return nothing
    })
    expect(lengths).toEqual([8192, 809])
  })

  test('keep names that are not ASCII, and not UTF-8', async () => {
    const names = ['lib/ünï', 'lib/\u{1f40d}/x', 'lib/plain']
    const raw = rawTar([
      { name: 'conda-meta/a.json' },
      ...names.map((name) => ({ name })),
      { name: 'lib/link', type: '2', link: 'zül' },
      { name: 'lib/byte?' },
    ])
    const path = join(work, 'names.tar')
    writeFileSync(path, raw)
    const met: Member[] = []
    await decode(path, async ({ members: some }) => {
      met.push(...some)
      return nothing
    })
    expect(met.map(({ path: name }) => name)).toEqual(['conda-meta/a.json', ...names, 'lib/link', 'lib/byte?'])
    expect(met.find(({ kind }) => kind === 'symlink')?.target).toBe('zül')
  })
})

describe('what is admitted', () => {
  const admitAll =
    (rewrites: readonly Rewrite[], again = false): Receive =>
    async ({ members: met }) =>
      writing(met, 0o755, { rewrites, alone: again, unnamed: true })

  test('is written, from memory and by way of a file of its own', async () => {
    const root = newRoot()
    const { written } = await decode(archive(members), admitAll([]), { root })
    for (const [i, { name, data }] of members.entries()) {
      expect(readFileSync(join(root, name)).equals(data), name).toBe(true)
      expect(statSync(join(root, name)).mode & 0o777).toBe(0o755)
      expect(written.sizes[i + 1]).toBe(data.length)
    }
    expect(written.digests).toHaveLength(64 * (members.length + 1))
    expect(readdirSync(join(root, '.conda-deploy'))).toEqual([])
  })

  test('is relocated on the way', async () => {
    const root = newRoot()
    const large = Buffer.concat([Buffer.from('/old/x '), content(1, most)])
    const path = archive([
      { name: 'lib/small', data: Buffer.from('at /old/x') },
      { name: 'lib/large', data: large },
    ])
    const { written } = await decode(path, admitAll([{ prefix: '/old', mode: 'text' }]), { root })
    expect(readFileSync(join(root, 'lib/small'), 'latin1')).toBe('at /new/x')
    expect(readFileSync(join(root, 'lib/large'), 'latin1').slice(0, 7)).toBe('/new/x ')
    expect(written.rewritten.map(({ entry, spots }) => [entry, spots.length])).toEqual([
      [1, 1],
      [2, 1],
    ])
  })

  test('again is what came last', async () => {
    for (let round = 0; round < 20; round++) {
      const root = newRoot()
      const path = archive(
        Array.from({ length: 6 }, (_, i) => ({ name: 'lib/same', data: content(i, round + (i % 2) * (1 << 20)) })),
      )
      const last = new Map<string, Member>()
      await decode(
        path,
        async ({ members: some }) => {
          last.clear()
          for (const member of some) last.set(member.path, member)
          return writing([...last.values()], 0o644, { alone: true })
        },
        { root },
      )
      expect(readFileSync(join(root, 'lib/same')).equals(content(5, round + (1 << 20)))).toBe(true)
      expect(readdirSync(join(root, 'lib'))).toEqual(['same'])
    }
  })

  test('leads neither out of the tree nor into our own folder', async () => {
    const path = archive([{ name: 'lib/x', data: content(1, 9) }])
    for (const name of ['../x', '/x', 'a/../../x', '.conda-deploy/index']) {
      const receive: Receive = async ({ members: [first] }) => writing([{ ...(first as Member), path: name }], 0o644)
      await expect(decode(path, receive), name).rejects.toMatchObject({ code: 'UNSAFE_PATH' })
    }
  })

  test('is no more than is allowed, though a prefix stands everywhere', async () => {
    const path = archive([{ name: 'lib/x', data: Buffer.alloc(4000, '/o ') }])
    const limits = { maxBytes: 5000, maxFiles: 10 }
    await expect(decode(path, admitAll([{ prefix: '/o', mode: 'text' }]), { limits })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    })
  })

  test('that cannot be written ends it', async () => {
    const root = newRoot()
    mkdirSync(join(root, 'lib/x/inside'), { recursive: true })
    const path = archive([{ name: 'lib/x' }, ...members.slice(0, 4)])
    await expect(decode(path, admitAll([]), { root })).rejects.toMatchObject({ code: 'IO', path: join(root, 'lib/x') })
  })
})

describe('ends', () => {
  test('with the error of the archive, as it was', async () => {
    const path = archive([{ name: '../x' }])
    await expect(decode(path, ignore)).rejects.toMatchObject({
      name: 'EnvError',
      code: 'UNSAFE_PATH',
      path: '../x',
      exitStatus: 1,
    })
    await expect(decode(join(work, 'none'), ignore)).rejects.toMatchObject({
      code: 'ARCHIVE_NOT_FOUND',
      path: join(work, 'none'),
    })
  })

  const large = (): string =>
    archive(Array.from({ length: 20 }, (_, i) => ({ name: `lib/f${i}`, data: content(i, small - 9) })))

  test('with the error of whoever receives, which is not called again', async () => {
    const why = new Error('disk is full')
    let calls = 0
    const receive: Receive = async () => {
      calls++
      throw why
    }
    await expect(decode(large(), receive)).rejects.toBe(why)
    expect(calls).toBe(1)
  })

  test('when it is cancelled', async () => {
    const stop = new AbortController()
    const receive: Receive = async () => {
      stop.abort()
      return nothing
    }
    await expect(decode(large(), receive, { signal: stop.signal })).rejects.toMatchObject({ code: 'CANCELLED' })
    await expect(decode(large(), ignore, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' })
  })
})

test('many at once do not wait for one another', async () => {
  const path = archive(members.slice(0, 3))
  const all = Array.from({ length: 12 }, () => decode(path, ignore))
  const results = await Promise.all(all.map((one, i) => one.then(({ bytes }) => [i, bytes])))
  expect(new Set(results.map(([, bytes]) => bytes)).size).toBe(1)
})
