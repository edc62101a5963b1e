import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type DeployOptions, type DeployResult, deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { native, type PackEntry, runJob } from '../../src/native.js'
import { runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'

const work = temporaryFolder('delta')
const origin = `/origin/of/the/delta/environment${'/long'.repeat(25)}`
const packages = 40
const own = ['.conda-deploy']
let round = 0

const place = (): string => {
  const path = join(work, `${++round}`)
  mkdirSync(path)
  return path
}

/** The same bytes for the same seed; they do not compress. */
function noise(seed: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  for (let i = 0, x = seed + 1; i < size; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    bytes[i] = x >>> 24
  }
  return bytes
}

/** An environment of many packages, each a folder with files, some with its prefix; `versions` of the packages by number. */
async function write(path: string, name: string, versions: Readonly<Record<number, number>> = {}): Promise<string> {
  const mtime = 1_600_000_000
  const folder = (at: string): PackEntry => ({ path: at, kind: 'directory', mode: 0o755, mtime, size: 0 })
  const file = (at: string, data: Buffer): PackEntry => {
    return { path: at, kind: 'file', mode: 0o644, mtime, size: data.length, data, policy: 'any', slot: origin.length }
  }
  const entries = Array.from({ length: packages }, (_, i) => String(i).padStart(2, '0')).flatMap((i) => {
    const seed = Number(i) * 1000 + (versions[Number(i)] ?? 0)
    return [
      folder(`p${i}`),
      file(`p${i}/a.bin`, noise(seed, 60_000)),
      file(`p${i}/b.txt`, Buffer.from(`version ${seed}\nprefix ${origin}/p${i}\n`)),
      file(`p${i}/c.so`, Buffer.concat([Buffer.from(`\x7fELF${origin}/lib\0\0`), noise(seed, 3000)])),
    ]
  })
  const common = { output: path, prefixes: [origin], level: 1, frameBytes: 1 << 17, threads: 2 }
  const { draft } = await runJob((c) => native().pack({ ...common, root: work, entries, marker: '_none_' }, c))
  const json = JSON.stringify({ name, packages })
  return (await runJob((c) => native().seal({ ...common, draft, entries: [], json }, c))).digest
}

const first = join(work, 'first.tar.zst')
const second = join(work, 'second.tar.zst')
const other = join(work, 'other.tar.zst')
beforeAll(async () => {
  await write(first, 'app')
  await write(second, 'app', { 7: 1 })
  await write(other, 'another', { 9: 1 })
})

/** The first version in a new cache. */
async function cache(): Promise<{ root: string; base: string }> {
  const root = place()
  return { root, base: (await deploy({ archive: first, root })).prefix }
}

/** Is a deployment what it would be without a base? */
async function expectFull(done: DeployResult, archive: string, options: Partial<DeployOptions>): Promise<void> {
  expect((await verify(done.prefix)).faults).toEqual([])
  const made = describeTree(done.prefix, own)
  const index = readFileSync(join(done.prefix, '.conda-deploy/index'))
  removeTree(done.prefix)
  const full = await deploy({ archive, ...options, delta: false, base: undefined })
  expect(full).toMatchObject({ prefix: done.prefix, base: null, method: 'deployed' })
  expect(full.reused).toBeUndefined()
  expect(differences(made, describeTree(full.prefix, own))).toEqual([])
  expect(index.equals(readFileSync(join(full.prefix, '.conda-deploy/index')))).toBe(true)
  const { files, bytes, rewritten, spots, trampolines, byPath } = full
  expect(done).toMatchObject({ files, bytes, rewritten, spots, trampolines, byPath })
}

describe('case 45: with an earlier deployment in the cache', () => {
  test('only what changed is read and written; the result is that of a full deployment', async () => {
    const { root, base } = await cache()
    const before = describeTree(base)
    const done = await deploy({ archive: second, root })
    expect(done).toMatchObject({ method: 'deployed', base, warnings: [] })
    // One package of forty: one of its files has no prefix in it and is linked in the others.
    expect(done.reused).toMatchObject({ linked: 39, cloned: 0, copied: 0, rewritten: 78, refused: 0, why: '' })
    const inode = (tree: string, path: string) => statSync(join(tree, path)).ino
    expect(inode(base, 'p00/a.bin')).toBe(inode(done.prefix, 'p00/a.bin'))
    expect(inode(base, 'p07/a.bin')).not.toBe(inode(done.prefix, 'p07/a.bin'))
    const table = 30_000
    expect(done.readBytes).toBeLessThan(2 * (60_000 + 3000) + 2 * (1 << 17) + table)
    expect(differences(before, describeTree(base))).toEqual([])
    await expectFull(done, second, { root })
  })

  test('is not used where there is none of the same name, nor for a writable one, nor with delta false', async () => {
    const { root } = await cache()
    expect((await deploy({ archive: other, root })).base).toBeNull()
    expect((await deploy({ archive: second, root, readOnly: false })).base).toBeNull()
    expect((await deploy({ archive: second, root, delta: false })).base).toBeNull()
  })

  test('the newest is taken', async () => {
    const { root } = await cache()
    const newer = await deploy({ archive: second, root })
    const third = join(work, 'third.tar.zst')
    await write(third, 'app', { 7: 1, 8: 1 })
    expect((await deploy({ archive: third, root })).base).toBe(newer.prefix)
  })
})

describe('a base that is named', () => {
  test('serves any target; a writable target shares nothing with it', async () => {
    const { base } = await cache()
    for (const readOnly of [true, false]) {
      const to = join(place(), 'env')
      const done = await deploy({ archive: second, to, base, readOnly })
      expect(done.reused).toMatchObject(readOnly ? { linked: 39, copied: 0 } : { linked: 0, rewritten: 78 })
      if (!readOnly) expect(statSync(join(to, 'p00/a.bin')).nlink).toBe(1)
      await expectFull(done, second, { to, readOnly })
    }
  })

  test('that is writable is hashed, and not linked', async () => {
    const { prefix } = await deploy({ archive: first, to: join(place(), 'env'), readOnly: false })
    const changed = join(prefix, 'p03/a.bin')
    const { atime, mtime } = statSync(changed)
    writeFileSync(changed, noise(99, 60_000))
    utimesSync(changed, atime, mtime)
    const to = join(place(), 'env')
    const done = await deploy({ archive: second, to, base: prefix })
    expect(done.reused).toMatchObject({ linked: 0, copied: 38, refused: 1 })
    expect(done.warnings).toEqual([expect.stringMatching(/1 file.*p03\/a\.bin: has another content/)])
    await expectFull(done, second, { to })
  })

  test('must be a deployment', async () => {
    const refused = deploy({ archive: second, to: join(place(), 'env'), base: work })
    await expect(refused).rejects.toMatchObject({ code: 'NOT_A_DEPLOYMENT' })
  })
})

describe('a base that is not what its index says', () => {
  const spoil: [string, (base: string) => void, object][] = [
    ['a file is gone', (base) => rmSync(join(base, 'p01/a.bin')), { refused: 1, linked: 38 }],
    ['a file is shorter', (base) => writeFileSync(join(base, 'p01/a.bin'), 'short'), { refused: 1, linked: 38 }],
    ['a relocated file is changed', (base) => flip(join(base, 'p01/c.so')), { refused: 1, rewritten: 77 }],
    ['a folder is gone', (base) => removeTree(join(base, 'p01')), { refused: 3 }],
    [
      'a file was written to, and has another time',
      (base) => writeFileSync(join(base, 'p01/a.bin'), noise(4711, 60_000)),
      { refused: 1, linked: 38 },
    ],
    [
      'a file can be written by others',
      (base) => chmodSync(join(base, 'p01/a.bin'), 0o666),
      { refused: 0, linked: 38, copied: 1 },
    ],
    [
      'its index is broken',
      (base) => writeFileSync(join(base, '.conda-deploy/index'), 'CDTB'),
      { linked: 0, refused: 0 },
    ],
  ]
  const flip = (path: string): void => {
    const bytes = readFileSync(path)
    bytes[10] = (bytes[10] ?? 0) ^ 1
    writeFileSync(path, bytes)
  }

  test.each(spoil)('%s: that is read from the archive, and said', async (_, change, expected) => {
    const { root, base } = await cache()
    for (const path of ['', '.conda-deploy', 'p01']) chmodSync(join(base, path), 0o755)
    for (const name of readdirSync(join(base, 'p01'))) chmodSync(join(base, 'p01', name), 0o644)
    chmodSync(join(base, '.conda-deploy/index'), 0o644)
    change(base)
    if (existsSync(join(base, 'p01')))
      for (const name of readdirSync(join(base, 'p01')))
        if (statSync(join(base, 'p01', name)).mode % 8 === 4) chmodSync(join(base, 'p01', name), 0o444)
    const done = await deploy({ archive: second, root })
    expect(done.base).toBe(base)
    expect(done.reused).toMatchObject(expected)
    const silent = 'refused' in expected && expected.refused === 0 && 'copied' in expected
    expect(done.warnings).toEqual(silent ? [] : [expect.stringContaining('read from the archive instead')])
    await expectFull(done, second, { root })
  })

  test('unnoticed by size and time is found by --verify', async () => {
    const { root, base } = await cache()
    const path = join(base, 'p01/a.bin')
    const { atime, mtime } = statSync(path)
    chmodSync(path, 0o644)
    writeFileSync(path, noise(4711, 60_000))
    utimesSync(path, atime, mtime)
    chmodSync(path, 0o444)
    const done = await deploy({ archive: second, root, verify: true })
    expect(done.reused).toMatchObject({ refused: 1 })
    await expectFull(done, second, { root })
  })
})

test('the command says what it took, and --json too', async () => {
  const { root, base } = await cache()
  const dry = await runCli([second, '--root', root, '--dry-run'])
  expect(dry.stdout).toContain(`what is equal in ${base}`)
  const json = await runCli([second, '--root', root, '--json'])
  expect(JSON.parse(json.stdout)).toMatchObject({ base, reused: { linked: 39 } })
  const said = await runCli([second, '--to', join(place(), 'env'), '--base', base])
  expect(said.stderr).toMatch(/reused +117 files/)
  const none = await runCli([first, '--to', join(place(), 'env'), '--no-delta', '--base', base])
  expect(none).toMatchObject({ status: 2 })
})
