/** case 43: a gzip that unpacks to more than it may, in one stream and in many members: stopped while it streams, with nothing left. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { rawMember, tarEnd } from '../support/raw-tar.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('gzip-bomb')
const record = rawMember({ name: 'conda-meta/a-1-0.json', data: '{"name": "a", "version": "1", "files": []}' })
const large = Buffer.concat([rawMember({ name: 'lib/zeros', size: 64 << 20 }), Buffer.alloc(64 << 20)])

test.each([
  ['one stream', gzipSync(Buffer.concat([record, large, tarEnd]))],
  ['members', Buffer.concat([record, large, tarEnd].map((part) => gzipSync(part)))],
])('case 43: %s', async (name, bytes) => {
  const at = join(work, name)
  const archive = join(work, `${name}.tar.gz`)
  mkdirSync(at)
  writeFileSync(archive, bytes)
  expect(bytes.length).toBeLessThan(100_000)
  const options = { archive, to: join(at, 'env'), threads: 2 }
  await expect(deploy({ ...options, maxBytes: 60 << 20 })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  expect(readdirSync(at)).toEqual([])
  await expect(deploy({ ...options, maxBytes: 0 })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
})
