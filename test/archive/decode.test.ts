/** The door to the native decoder: batches, their order, their ends. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  type Batch,
  batchBytes,
  type Decoded,
  decode as decodeArchive,
  type Receive,
} from '../../src/archive/decode.js'
import { noLimits } from '../support/members.js'
import { type RawMember, rawTar } from '../support/raw-tar.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('pool')
const parts = join(work, 'parts')
mkdirSync(parts)

let count = 0
function archive(members: readonly RawMember[]): string {
  const path = join(work, `${++count}.tar`)
  writeFileSync(path, rawTar([{ name: 'conda-meta/a.json' }, ...members]))
  return path
}
const decode = (path: string, receive: Receive, signal?: AbortSignal): Promise<Decoded> => {
  const packing = { container: 'plain', command: [] } as const
  return decodeArchive({ archive: path, packing, parts, threads: 2, limits: noLimits, receive, signal })
}

const content = (i: number, size: number): Buffer => Buffer.alloc(size, `file ${i} `)

const most = batchBytes
const sizes = [0, 1, most / 4, most / 2, most - 9, most, 3, most + 1, 7, most - 1, most - 1, most - 1]
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
        if (source !== undefined) rmSync(source)
      }
    })
    expect(names).toEqual(['conda-meta/a.json', ...members.map(({ name }) => name)])
    expect(result).toMatchObject({ root: '', bytes: sizes.reduce((sum, size) => sum + size, 0) })
    expect(readdirSync(parts)).toEqual([])
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
    })
    expect(bytes).toBe(result.bytes)
  })

  test('of very many small members are handed over before they fill a buffer', async () => {
    const path = archive(Array.from({ length: 9000 }, (_, i) => ({ name: `lib/${i}` })))
    const lengths: number[] = []
    await decode(path, async ({ members: some }: Batch) => void lengths.push(some.length))
    expect(lengths).toEqual([8192, 809])
  })
})

describe('ends', () => {
  test('with the error of the archive, as it was', async () => {
    const path = archive([{ name: '../x' }])
    await expect(decode(path, async () => {})).rejects.toMatchObject({
      name: 'EnvError',
      code: 'UNSAFE_PATH',
      path: '../x',
      exitStatus: 1,
    })
    await expect(decode(join(work, 'none'), async () => {})).rejects.toMatchObject({
      code: 'ARCHIVE_NOT_FOUND',
      path: join(work, 'none'),
    })
  })

  const large = (): string =>
    archive(Array.from({ length: 8 }, (_, i) => ({ name: `lib/f${i}`, data: content(i, batchBytes - 9) })))

  test('with the error of whoever receives, which is not called again', async () => {
    const why = new Error('disk is full')
    let calls = 0
    const receive = async (): Promise<void> => {
      calls++
      throw why
    }
    await expect(decode(large(), receive)).rejects.toBe(why)
    expect(calls).toBe(1)
  })

  test('when it is cancelled', async () => {
    const stop = new AbortController()
    await expect(decode(large(), async () => stop.abort(), stop.signal)).rejects.toMatchObject({ code: 'CANCELLED' })
    await expect(decode(large(), async () => {}, AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED' })
  })
})

test('many at once do not wait for one another', async () => {
  const path = archive(members.slice(0, 3))
  const all = Array.from({ length: 12 }, () => decode(path, async () => {}))
  const results = await Promise.all(all.map((one, i) => one.then(({ bytes }) => [i, bytes])))
  expect(new Set(results.map(([, bytes]) => bytes)).size).toBe(1)
})
