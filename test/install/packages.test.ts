import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { packageCaches, unpackedIn, unpackPackages, writableCache } from '../../src/install/packages.js'
import type { RepoRecord } from '../../src/install/repodata.js'
import { ownedName } from '../../src/tree/owned.js'
import { rawZip } from '../support/raw-zip.js'
import { temporaryFolder } from '../support/temp.js'
import { type BuiltFile, build } from './built.js'

const folder = temporaryFolder('packages')
const channel = join(folder, 'channel')

let caches = 0
function cacheFolder(): string {
  const cache = join(folder, `pkgs-${caches++}`)
  mkdirSync(cache)
  return cache
}

const archive = (record: RepoRecord) => ({ record, file: join(channel, record.subdir, record.fn) })
const files: BuiltFile[] = [
  { path: 'bin/tool', content: '#!/bin/sh\n', mode: 0o4755 },
  { path: 'share/a name.txt', content: 'text', mode: 0o644 },
  { path: 'share/again.txt', same: 'share/a name.txt' },
  { path: 'share/link', link: 'a name.txt' },
  { path: `share/${'long/'.repeat(40)}empty`, content: '', mode: 0o444 },
  { path: 'share/ünïcode', content: 'ü' },
]

describe.each(['conda', 'tar.bz2'] as const)('a package of kind .%s', (kind) => {
  test('is unpacked with modes, times, links and names, and says where it is from', async () => {
    const record = await build(channel, { name: `tool-${kind.length}`, kind, files })
    const cache = cacheFolder()
    const [at = ''] = await unpackPackages([archive(record)], cache, { threads: 2 })
    expect(at).toBe(join(cache, `tool-${kind.length}-1.0-0`))
    const mask = process.umask()
    expect(statSync(join(at, 'bin/tool')).mode & 0o7777).toBe(0o755 & ~mask)
    expect(statSync(join(at, 'share/a name.txt'))).toMatchObject({ nlink: 2, mtimeMs: 1_700_000_000_000 })
    expect(readFileSync(join(at, 'share/again.txt'), 'utf8')).toBe('text')
    expect(readlinkSync(join(at, 'share/link'))).toBe('a name.txt')
    expect(statSync(join(at, `share/${'long/'.repeat(40)}empty`)).mode & 0o777).toBe(0o444)
    expect(readFileSync(join(at, 'share/ünïcode'), 'utf8')).toBe('ü')
    const noted = JSON.parse(readFileSync(join(at, 'info/repodata_record.json'), 'utf8')) as object
    expect(noted).toMatchObject({
      ...{ name: record.name, version: '1.0', build: '0', build_number: 0, subdir: 'linux-64', fn: record.fn },
      ...{ url: record.url, channel: `${record.channel}/linux-64`, sha256: record.sha256, md5: record.md5 },
      size: record.size,
    })
    expect(readdirSync(cache)).toEqual([`tool-${kind.length}-1.0-0`])
    expect(unpackedIn([join(folder, 'none'), cache], record)).toBe(at)
    expect(unpackedIn([cache], { ...record, sha256: '1'.repeat(64) })).toBeNull()
  })
})

describe('the cache', () => {
  test('keeps the folder of another installer, and replaces what was never finished or is another package', async () => {
    const record = await build(channel, { name: 'raced', files: [{ path: 'share/x', content: 'mine' }] })
    const cache = cacheFolder()
    const at = join(cache, 'raced-1.0-0')
    mkdirSync(join(at, 'info'), { recursive: true })
    writeFileSync(join(at, 'info/index.json'), '{}')
    await unpackPackages([archive(record)], cache, { threads: 1, patience: 50 })
    expect(readFileSync(join(at, 'share/x'), 'utf8')).toBe('mine')
    writeFileSync(join(at, 'marker'), '')
    await unpackPackages([archive(record)], cache, { threads: 1 })
    expect(readdirSync(at)).toContain('marker')
    const noted = join(at, 'info/repodata_record.json')
    writeFileSync(noted, readFileSync(noted, 'utf8').replaceAll(/"(sha256|md5)": "[0-9a-f]+"/g, '"$1": "00"'))
    await unpackPackages([archive(record)], cache, { threads: 1 })
    expect(readdirSync(at)).not.toContain('marker')
    expect(readdirSync(cache)).toEqual(['raced-1.0-0'])
  })

  test('waits for an installer that unpacks in place, as conda does, and takes what it made', async () => {
    const record = await build(channel, { name: 'slow', files: [{ path: 'share/x', content: 'mine' }] })
    const cache = cacheFolder()
    const at = join(cache, 'slow-1.0-0')
    mkdirSync(join(at, 'info'), { recursive: true })
    const ours = unpackPackages([archive(record)], cache, { threads: 1, patience: 600 })
    for (let i = 0; i < 8; i++) {
      await setTimeout(150)
      writeFileSync(join(at, `file-${i}`), 'theirs')
    }
    const { sha256, url } = record
    writeFileSync(join(at, 'info/repodata_record.json'), JSON.stringify({ sha256, url }))
    expect(await ours).toEqual([at])
    expect(readdirSync(at)).toContain('file-7')
    expect(readdirSync(cache)).toEqual(['slow-1.0-0'])
  })

  test('what a killed process of this machine left is removed, and nothing else', async () => {
    const record = await build(channel, { name: 'after', files: [{ path: 'share/x', content: 'x' }] })
    const cache = cacheFolder()
    const own = ownedName()
    const dead = spawnSync(process.execPath, ['-e', '']).pid
    const left = `.conda-deploy-${own.replace(/-\d+-\d+-/, `-${dead}-1-`)}`
    const stay = [`.conda-deploy-${own}`, '.conda-deploy-0123456789ab-1-1-abcdef', '.conda-deploy-mine']
    for (const name of [left, ...stay]) mkdirSync(join(cache, name, 'deep'), { recursive: true })
    await unpackPackages([archive(record)], cache, { threads: 1 })
    expect(readdirSync(cache).sort()).toEqual([...stay, 'after-1.0-0'].sort())
  })

  test('two at a time put one folder there', async () => {
    const record = await build(channel, { name: 'both', files: [{ path: 'share/x', content: 'x' }] })
    const cache = cacheFolder()
    await Promise.all([1, 2, 3].map(() => unpackPackages([archive(record)], cache, { threads: 1 })))
    expect(readdirSync(cache)).toEqual(['both-1.0-0'])
  })

  test('is the first that can be written, of the configuration or of conda', async () => {
    const home = { HOME: '/home/ann' }
    expect(packageCaches({ pkgsDirs: ['/a', '/b'] }, home)).toEqual(['/a', '/b'])
    expect(packageCaches({ pkgsDirs: [] }, home)).toEqual(['/home/ann/.conda/pkgs'])
    expect(packageCaches({ pkgsDirs: [] }, { ...home, CONDA_EXE: '/opt/conda/bin/conda' })).toEqual([
      '/opt/conda/pkgs',
      '/home/ann/.conda/pkgs',
    ])
    const file = join(folder, 'file')
    writeFileSync(file, '')
    const cache = join(folder, 'new', 'pkgs')
    expect(await writableCache([join(file, 'pkgs'), cache])).toBe(cache)
    await expect(writableCache([join(file, 'pkgs')])).rejects.toMatchObject({ code: 'PERMISSION' })
  })
})

describe('a hostile or broken package', () => {
  const good: BuiltFile = { path: 'share/good', content: 'good' }
  test.each<[string, BuiltFile[], string]>([
    ['a name that leaves it', [{ path: '../../escaped', content: '' }], 'UNSAFE_PATH'],
    ['an absolute name', [{ path: '/tmp/escaped', content: '' }], 'UNSAFE_PATH'],
    [
      'a way through a link',
      [
        { path: 'way', link: '/tmp' },
        { path: 'way/escaped', content: '' },
      ],
      'UNSAFE_PATH',
    ],
    ['a hard link to nothing', [{ path: 'share/x', same: 'etc/passwd' }], 'PACKAGE_DAMAGED'],
    ['a hard link that leaves it', [{ path: 'share/x', same: '../../../etc/passwd' }], 'UNSAFE_PATH'],
    [
      'a hard link through a link',
      [
        { path: 'w', link: '/etc' },
        { path: 'x', same: 'w/passwd' },
      ],
      'UNSAFE_PATH',
    ],
  ])('with %s is refused, and nothing of its batch is kept', async (name, hidden, code) => {
    const fine = await build(channel, { name: 'fine', files: [good] })
    const bad = await build(channel, { name: `bad-${name.length}`, files: [good], hidden })
    const cache = cacheFolder()
    const failure = unpackPackages([archive(fine), archive(bad)], cache, { threads: 1 })
    await expect(failure).rejects.toMatchObject({ code })
    expect(readdirSync(cache)).toEqual([])
  })

  test('cut off anywhere, or with one bit changed, is refused', async () => {
    const record = await build(channel, { name: 'cut', files: [{ path: 'share/x', content: 'x'.repeat(5000) }] })
    const bytes = readFileSync(archive(record).file)
    const cache = cacheFolder()
    const file = join(folder, record.fn)
    for (const size of [0, 10, 200, Math.floor(bytes.length / 2), bytes.length - 1]) {
      writeFileSync(file, bytes.subarray(0, size))
      await expect(unpackPackages([{ record, file }], cache, { threads: 1 })).rejects.toMatchObject({
        code: 'PACKAGE_DAMAGED',
      })
    }
    const flipped = Buffer.from(bytes)
    flipped[150] = (flipped[150] ?? 0) ^ 1
    writeFileSync(file, flipped)
    await expect(unpackPackages([{ record, file }], cache, { threads: 1 })).rejects.toMatchObject({
      code: 'PACKAGE_DAMAGED',
    })
    expect(readdirSync(cache)).toEqual([])
  })

  test('that is a zip of something else is refused', async () => {
    const record = await build(channel, { name: 'other', files: [good] })
    const file = join(folder, record.fn)
    writeFileSync(file, rawZip([{ name: 'hello.txt', data: 'hello' }]))
    await expect(unpackPackages([{ record, file }], cacheFolder(), { threads: 1 })).rejects.toMatchObject({
      code: 'PACKAGE_DAMAGED',
      message: expect.stringContaining('.tar.zst'),
    })
  })

  test.skipIf(process.getuid?.() === 0)('a cache that cannot be written is told', async () => {
    const record = await build(channel, { name: 'denied', files: [good] })
    const cache = cacheFolder()
    chmodSync(cache, 0o555)
    await expect(unpackPackages([archive(record)], cache, { threads: 1 })).rejects.toMatchObject({ code: 'PERMISSION' })
  })
})
