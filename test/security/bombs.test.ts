/** Archives of a few kilobytes that become huge: refused before the disk, the memory or the patience is used up. */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { checkLimits, limitsFor } from '../../src/archive/limits.js'
import { native, runJob } from '../../src/native.js'
import { Range } from '../support/attack.js'
import { draftOf, type ForgedEntry, fixed, forge, hashOf, leastMembers, zstdFrame } from '../support/forge.js'
import { Random } from '../support/random.js'
import { rawMember, rawPax, rawTar, tarEnd } from '../support/raw-tar.js'

const range = new Range('bombs')
const record = rawMember({ name: 'conda-meta/a-1-0.json', data: '{"name": "a", "version": "1", "files": []}' })
const zeros = Buffer.alloc(8 << 20)

/** A zstd frame that becomes `count` times 128 KiB of zeros: each block is 4 bytes, a byte to be repeated. */
function zstdBomb(count: number): Buffer {
  const block = (last: number): Buffer => Buffer.concat([fixed((131072 << 3) | (1 << 1) | last, 3), Buffer.from([0])])
  // No checksum, no content size, a window of 128 KiB.
  const head = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (17 - 10) << 3])
  return Buffer.concat([head, ...Array.from({ length: count }, (_, i) => block(i === count - 1 ? 1 : 0))])
}

/** A frame with content size and checksum that holds `size` zeros: the same bytes, by the library. */
const zeroFile = (name: string, size: number): Buffer => rawMember({ name, size, data: '' }).subarray(0, 512)

describe('limits', () => {
  test('a hundred times the archive, at least 1 GiB; and what is said', () => {
    expect(limitsFor(1000, {})).toEqual({ maxBytes: 2 ** 30, maxFiles: 4_000_000 })
    expect(limitsFor(10 ** 9, {}).maxBytes).toBe(10 ** 11)
    expect(limitsFor(10 ** 9, { maxBytes: 5, maxFiles: 6 })).toEqual({ maxBytes: 5, maxFiles: 6 })
    expect(() => checkLimits('a', { maxBytes: 5, maxFiles: 6 }, 6, 5)).not.toThrow()
    expect(() => checkLimits('a', { maxBytes: 5, maxFiles: 6 }, 7, 5)).toThrow('7 entries or more')
    expect(() => checkLimits('a', { maxBytes: 5, maxFiles: 6 }, 6, 6)).toThrow('6 bytes or more')
  })

  test.each([{ maxBytes: 0 }, { maxFiles: 0 }, { maxBytes: -1 }])('%j is no limit', async (options) => {
    const { code } = await range.deploy(forge(draftOf(leastMembers)), options)
    expect(code).toBe('INVALID_OPTION')
  })

  test('an archive of ours is refused by what it declares, one of others by what was read', async () => {
    const members = [...leastMembers, { name: 'conda-meta/a-1-0.json', data: '{"name": "a", "version": "1"}' }]
    const large = { name: 'lib/large', data: Buffer.alloc(100_000) }
    const ours = forge(draftOf([...leastMembers, large]))
    const theirs = gzipSync(rawTar([...members, large]))
    for (const bytes of [ours, theirs]) {
      await range.refused(bytes, 'LIMIT_EXCEEDED', { maxBytes: 100_000 })
      await range.refused(bytes, 'LIMIT_EXCEEDED', { maxFiles: 4 })
      expect((await range.deploy(bytes, { maxBytes: 110_000, maxFiles: 7 })).code).toBe('')
    }
  })
})

describe('bombs of ours', () => {
  /** Entries of 128 MiB of zeros each, all true. */
  function declared(count: number): Buffer {
    const draft = draftOf(leastMembers)
    const size = 64 << 20
    const content = Buffer.alloc(size)
    draft.plain[0] = (draft.plain[0] as Buffer).subarray(0, -1024)
    for (let i = 0; i < count; i++) {
      const path = `lib/bomb${i}`
      const end = i === count - 1 ? tarEnd : Buffer.alloc(0)
      draft.plain.push(Buffer.concat([zeroFile(path, size), content, end]))
      const entry = {
        ...(draft.entries[3] as ForgedEntry),
        path,
        size,
        frame: i + 1,
        offset: 512,
        sha256: hashOf(content),
      }
      draft.entries.push(entry)
    }
    return forge(draft)
  }

  test('zeros that are more than a hundred times the archive', async () => {
    const bytes = declared(1)
    await range.refused(bytes, 'LIMIT_EXCEEDED', { maxBytes: 60_000_000 })
    expect(bytes.length).toBeLessThan(20_000)
  })

  test('frames that claim more than their bytes can hold', async () => {
    const draft = draftOf(leastMembers)
    draft.seek = (records) => {
      records[0] = [records[0]?.[0] ?? 0, 900_000_000]
    }
    await range.refused(forge(draft), 'ARCHIVE_CORRUPT')
  })
})

describe('bombs of others', () => {
  test('a zstd frame of 400 kB with 13 GB of zeros behind a file that claims them', async () => {
    const tar = [zstdFrame(Buffer.concat([record, zeroFile('lib/bomb', 2 ** 33 - 512)])), zstdBomb(100_000)]
    await range.refused(Buffer.concat(tar), 'LIMIT_EXCEEDED')
  })

  test('a gzip of zeros, told off before the file is written', async () => {
    const size = 16 * zeros.length
    const tar = Buffer.concat([record, zeroFile('lib/bomb', size), ...Array<Buffer>(16).fill(zeros), tarEnd])
    await range.refused(gzipSync(tar), 'LIMIT_EXCEEDED', { maxBytes: 100_000_000 })
  })

  test('a name that claims 8 GiB is not kept in memory', async () => {
    for (const type of ['x', 'g', 'L', 'K']) {
      const head = rawMember({ name: 'long', type, size: 2 ** 33 - 512 }).subarray(0, 512)
      const before = process.memoryUsage().rss
      await range.refused(
        Buffer.concat([zstdFrame(Buffer.concat([record, head])), zstdBomb(100_000)]),
        'ARCHIVE_CORRUPT',
      )
      expect(process.memoryUsage().rss - before).toBeLessThan(500e6)
    }
  })

  test('zeros without an end behind the tar', async () => {
    await range.refused(
      Buffer.concat([zstdFrame(Buffer.concat([record, tarEnd])), zstdBomb(20_000)]),
      'ARCHIVE_CORRUPT',
    )
  })

  test('zeros where the first record should be looked for', async () => {
    const tar = [zstdFrame(zeroFile('unusual/bomb', 2 ** 33 - 512)), zstdBomb(100_000)]
    await range.refused(Buffer.concat(tar), 'LIMIT_EXCEEDED')
  })

  test('a million empty files', async () => {
    const one = rawMember({ name: 'lib/x' })
    const many = Buffer.concat(Array<Buffer>(50_000).fill(one))
    await range.refused(gzipSync(Buffer.concat([record, many, tarEnd])), 'LIMIT_EXCEEDED', { maxFiles: 40_000 })
  })

  test('a pax size that is no size', async () => {
    for (const size of ['9007199254740993', '1e30', '-1', 'x', '', '99999999999999999999999']) {
      const tar = Buffer.concat([record, rawMember(rawPax({ size })), rawMember({ name: 'lib/x', data: 'x' }), tarEnd])
      const { at, code } = await range.deploy(gzipSync(tar))
      expect(['ARCHIVE_CORRUPT', 'LIMIT_EXCEEDED', '']).toContain(code)
      if (code !== '') expect(readdirSync(at)).toEqual([])
    }
  })
})

describe('texts that grow', () => {
  const content = '/'.repeat(400_000)
  const to = `/${'long/'.repeat(200)}env`.slice(0, 1000)

  test('a prefix of one letter in every byte of an archive of ours', async () => {
    const draft = draftOf([...leastMembers, { name: 'lib/text', data: content }])
    draft.prefixes = ['/']
    // Unevenly, so that the table does not shrink to less than a thousandth, which would be refused as well.
    const noise = new Random(1)
    const offsets = Array.from({ length: content.length }, (_, offset) => offset).filter(() => noise.below(8) > 0)
    const spots = offsets.map((offset) => ({ encoding: 0, offset, refers: 0, slot: 0 }))
    ;(draft.entries[4] as ForgedEntry).spots = spots
    const job = { archive: range.archive(forge(draft)), prefix: to, readOnly: false, threads: 1 }
    const root = join(range.work, 'grown')
    mkdirSync(root)
    await expect(runJob((counters) => native().extract({ ...job, root }, counters))).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
    })
    expect(readdirSync(root)).toEqual([])
  })

  test('a placeholder of one letter in a record of somebody else', () => {
    expect(() => native().rewrite(Buffer.from(content), [{ prefix: '/', mode: 'text' }], to)).toThrow(
      expect.objectContaining({ code: 'LIMIT_EXCEEDED' }),
    )
  })
})
