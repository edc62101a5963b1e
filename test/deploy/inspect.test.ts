import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { type InspectOptions, inspect } from '../../src/deploy/inspect.js'
import { temporaryFolder } from '../support/temp.js'
import { origin, slot, writeSample } from './sample.js'

const work = temporaryFolder('inspect')
const archive = join(work, 'sample.tar.zst')
let digest = ''

beforeAll(async () => {
  digest = await writeSample(archive)
})

test('an archive tells its content, its limit, and what sets it', async () => {
  expect(await inspect(archive)).toMatchObject({
    ...{ archive, digest, version: 1, name: 'sample', packages: 2 },
    ...{ entries: 11, files: 6, directories: 4, symlinks: 1, hardlinks: 0, rewritten: 2, spots: 2 },
    ...{ prefixes: [origin], longestPrefix: slot, limits: [{ path: 'lib/libsample.so', slot }] },
    ...{ kept: [{ path: 'etc/kept', count: 1 }], cut: { kept: 3 }, placeholders: [] },
  })
})

test('without a limited place any prefix fits', async () => {
  const free = join(work, 'free.tar.zst')
  await writeSample(free, { binary: false })
  const found = await inspect(free, { to: `/${'x'.repeat(4000)}` })
  expect(found).toMatchObject({ longestPrefix: null, limits: [], fit: { fits: true, tooLong: [] } })
})

test('a prefix is said to fit, or which files it does not fit', async () => {
  const exact = `/${'x'.repeat(slot - 1)}`
  expect((await inspect(archive, { to: exact })).fit).toEqual({ prefix: exact, fits: true, tooLong: [] })
  expect((await inspect(archive, { to: `${exact}x` })).fit).toEqual({
    prefix: `${exact}x`,
    fits: false,
    tooLong: [{ path: 'lib/libsample.so', slot }],
  })
})

test('what is not ours is refused, and so is a misspelt option', async () => {
  const other = join(work, 'other')
  writeFileSync(other, 'text')
  await expect(inspect(other)).rejects.toMatchObject({ code: 'UNSUPPORTED', path: other })
  await expect(inspect(join(work, 'absent'))).rejects.toMatchObject({ code: 'ARCHIVE_NOT_FOUND' })
  await expect(inspect(work)).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' })
  await expect(inspect(archive, { too: '/x' } as InspectOptions)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
})
