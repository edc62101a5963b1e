import {
  chmodSync,
  cpSync,
  lstatSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { type VerifyOptions, verify } from '../../src/deploy/verify.js'
import { temporaryFolder } from '../support/temp.js'
import { writeSample } from './sample.js'

const work = temporaryFolder('verify')
const archive = join(work, 'sample.tar.zst')
let digest = ''
let count = 0

beforeAll(async () => {
  digest = await writeSample(archive)
})

async function deployed(): Promise<string> {
  const { prefix } = await deploy({ archive, to: join(work, `env${++count}`), readOnly: false })
  return prefix
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  writeFileSync(path, bytes)
}

function relink(path: string, target: string): void {
  rmSync(path)
  symlinkSync(target, path)
}

describe('a deployed tree', () => {
  test('that is as it was deployed has no faults', async () => {
    const prefix = await deployed()
    expect(await verify(prefix)).toMatchObject({ path: prefix, kind: 'deployment', digest, faults: [], entries: 11 })
  })

  test.each<[string, (prefix: string) => void, object]>([
    ['a flipped byte', (at) => flip(join(at, 'lib/plain'), 50_000), { path: 'lib/plain', kind: 'content' }],
    [
      'a flipped byte in what was relocated',
      (at) => flip(join(at, 'lib/libsample.so'), 20),
      { path: 'lib/libsample.so', kind: 'content' },
    ],
    ['a missing file', (at) => rmSync(join(at, 'etc/kept')), { path: 'etc/kept', kind: 'missing' }],
    ['an extra file', (at) => writeFileSync(join(at, 'lib/extra'), ''), { path: 'lib/extra', kind: 'extra' }],
    ['another size', (at) => writeFileSync(join(at, 'etc/kept'), 'plain'), { path: 'etc/kept', kind: 'size' }],
    ['another mode', (at) => chmodSync(join(at, 'bin/hello'), 0o600), { path: 'bin/hello', kind: 'mode' }],
    [
      'another link',
      (at) => relink(join(at, 'bin/hi'), 'bye'),
      { path: 'bin/hi', kind: 'target', expected: 'hello', found: 'bye' },
    ],
    ['a link in place of a file', (at) => relink(join(at, 'etc/kept'), 'prefix'), { path: 'etc/kept', kind: 'type' }],
  ])('%s is found', async (_, change, fault) => {
    const prefix = await deployed()
    change(prefix)
    expect((await verify(prefix)).faults).toMatchObject([fault])
  })

  test('content is what counts: another mtime hides no flipped byte', async () => {
    const prefix = await deployed()
    const path = join(prefix, 'lib/plain')
    const { atime, mtime } = lstatSync(path)
    flip(path, 0)
    utimesSync(path, atime, mtime)
    expect((await verify(prefix)).faults).toMatchObject([{ path: 'lib/plain', kind: 'content' }])
  })

  test('that was moved away from its prefix has that fault', async () => {
    const prefix = await deployed()
    renameSync(prefix, `${prefix}.moved`)
    expect((await verify(`${prefix}.moved`)).faults).toEqual([
      { path: '.', kind: 'target', expected: prefix, found: `${prefix}.moved` },
    ])
  })

  test('a copy of it has that fault too; the same tree by another path has not', async () => {
    const prefix = await deployed()
    cpSync(prefix, `${prefix}.copy`, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
    expect((await verify(`${prefix}.copy`)).faults).toMatchObject([{ path: '.', kind: 'target' }])
    symlinkSync(prefix, `${prefix}.link`)
    expect((await verify(`${prefix}.link`)).faults).toEqual([])
  })

  test.each(['ready', 'index'])('without its %s is no deployment', async (name) => {
    const prefix = await deployed()
    rmSync(join(prefix, '.conda-deploy', name))
    const message = expect.stringContaining(`.conda-deploy/${name}`)
    await expect(verify(prefix)).rejects.toMatchObject({ code: 'NOT_A_DEPLOYMENT', path: prefix, message })
  })
})

describe('an archive', () => {
  test('that is whole has no faults', async () => {
    expect(await verify(archive)).toMatchObject({ path: archive, kind: 'archive', digest, faults: [], entries: 11 })
  })

  test('with a flipped byte in its content has faults', async () => {
    const broken = join(work, 'broken.tar.zst')
    const bytes = readFileSync(archive)
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
    writeFileSync(broken, bytes)
    expect((await verify(broken)).faults).not.toEqual([])
  })

  test('of others has nothing to verify', async () => {
    const other = join(work, 'other')
    writeFileSync(other, 'text')
    await expect(verify(other)).rejects.toMatchObject({ code: 'UNSUPPORTED', path: other })
  })
})

test('nothing there, or a misspelt option, is refused', async () => {
  await expect(verify(join(work, 'absent'))).rejects.toMatchObject({ code: 'ARCHIVE_NOT_FOUND' })
  await expect(verify(archive, { thread: 1 } as VerifyOptions)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  await expect(verify(archive, { threads: -1 })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
})
