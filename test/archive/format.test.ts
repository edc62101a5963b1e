import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { detectFormat, formatOf, formats } from '../../src/archive/format.js'
import { rawTar } from '../support/raw-tar.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('format')

const heads: Readonly<Record<string, Buffer>> = {
  tar: rawTar([{ name: 'a' }]),
  'tar.gz': Buffer.from('1f8b0800', 'hex'),
  'tar.zst': Buffer.from('28b52ffd', 'hex'),
  'tar.bz2': Buffer.from('BZh9'),
  'tar.xz': Buffer.from('fd377a585a00', 'hex'),
  zip: Buffer.from('PK\x03\x04'),
  squashfs: Buffer.from('hsqs'),
}

test.each(Object.entries(heads))('%s is known by its first bytes', (name, head) => {
  expect(detectFormat(head)?.name).toBe(name)
})

test('every format has a name that a file may have, and is tested here', () => {
  expect(formats.map(({ name }) => name).sort()).toEqual(Object.keys(heads).sort())
  for (const { name, extensions } of formats) expect(extensions).toContain(`.${name}`)
})

test('an empty zip is a zip', () => {
  expect(detectFormat(Buffer.from('PK\x05\x06'))?.name).toBe('zip')
})

test('what is cut off before its magic number is nothing', () => {
  expect(detectFormat(Buffer.alloc(0))).toBeNull()
  expect(detectFormat(rawTar([{ name: 'a' }]).subarray(0, 260))).toBeNull()
})

test('a tar without a magic number is known by the checksum of its first header', () => {
  const head = Buffer.from(rawTar([{ name: 'a' }]).subarray(0, 512))
  head.fill(0, 257, 512)
  const sum = head.reduce((all, byte, i) => all + (i >= 148 && i < 156 ? 0x20 : byte), 0)
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  expect(detectFormat(head)?.name).toBe('tar')
  head[0] = 'b'.charCodeAt(0)
  expect(detectFormat(head)).toBeNull()
  expect(detectFormat(Buffer.alloc(512))).toBeNull()
})

async function code(path: string): Promise<unknown> {
  return await formatOf(path).then(
    ({ name }) => name,
    ({ code, message }) => `${code}: ${message}`,
  )
}

test('the name of a file does not count', async () => {
  const path = join(work, 'environment.zip')
  writeFileSync(path, heads['tar.gz'] as Buffer)
  expect(await code(path)).toBe('tar.gz')
})

test('what cannot be read is refused in words', async () => {
  const path = join(work, 'x.tar.gz')
  expect(await code(path)).toMatch(/^ARCHIVE_NOT_FOUND: /)
  writeFileSync(path, '#!/bin/sh\n')
  expect(await code(path)).toMatch(/^ARCHIVE_UNKNOWN: .* begins with 23212f62/)
  truncateSync(path)
  expect(await code(path)).toMatch(/^ARCHIVE_UNKNOWN: .* is empty/)
  expect(await code(work)).toMatch(/^ARCHIVE_UNKNOWN: .* is not a regular file/)
})
