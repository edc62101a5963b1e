import { createHash } from 'node:crypto'
import { appendFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { checkUnchanged, digestOf, see } from '../../src/archive/digest.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('digest')
const path = join(work, 'archive')
const content = Buffer.alloc(3_000_000, 'content')

test('the digest is the SHA-256 of the file', async () => {
  writeFileSync(path, content)
  const seen = await see(path)
  expect(seen).toMatchObject({ path, size: content.length })
  expect(await digestOf(seen)).toEqual({ ...seen, digest: createHash('sha256').update(content).digest('hex') })
  await checkUnchanged(seen)
})

test('another content has another digest, also with the same size and time', async () => {
  writeFileSync(path, content)
  utimesSync(path, 1, 1)
  const { digest } = await digestOf(path)
  content[1_500_000] = 0
  writeFileSync(path, content)
  utimesSync(path, 1, 1)
  expect((await digestOf(path)).digest).not.toBe(digest)
})

test('a file that changes after it was seen is found', async () => {
  const seen = await see(path)
  appendFileSync(path, 'more')
  await expect(checkUnchanged(seen)).rejects.toMatchObject({ code: 'SOURCE_CHANGED', path })
  await expect(digestOf(seen)).rejects.toMatchObject({ code: 'SOURCE_CHANGED', path })
})

test('what cannot be read says so', async () => {
  await expect(digestOf(join(work, 'none'))).rejects.toMatchObject({ code: 'IO', syscall: 'stat' })
  await expect(digestOf(await see(path), AbortSignal.abort())).rejects.toMatchObject({ code: 'CANCELLED' })
})
