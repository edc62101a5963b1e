import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { cachedPrefix } from '../../src/deploy/cache/folder.js'
import { type DeployOptions, deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { filesWith } from '../support/tree.js'
import { origin, slot, writeSample } from './sample.js'

const work = temporaryFolder('deploy')
const archive = join(work, 'archives/sample.tar.zst')
let digest = ''

beforeAll(async () => {
  digest = await writeSample(archive)
})

let count = 0
/** A new folder for one test. */
function place(): string {
  const path = join(work, `place${++count}`)
  mkdirSync(path)
  return path
}

describe('a fresh deployment', () => {
  test('stands at the target, relocated, read-only, complete', async () => {
    const at = place()
    const prefix = join(at, 'env')
    const result = await deploy({ archive, to: prefix, threads: 2 })
    expect(result).toMatchObject({ prefix, digest, method: 'deployed', readOnly: true, dryRun: false, threads: 2 })
    expect(result).toMatchObject({ files: 6, rewritten: 2, spots: 2, warnings: [], target: { root: at, reason: 'to' } })
    expect(execFileSync(join(prefix, 'bin/hi'), ['you'], { encoding: 'utf8' })).toBe(`${prefix} you\n`)
    expect(filesWith(prefix, origin).filter((path) => !path.startsWith('.conda-deploy/'))).toEqual([])
    expect(statSync(prefix).mode & 0o777).toBe(0o555)
    expect(statSync(join(prefix, 'etc/prefix')).mode & 0o777).toBe(0o444)
    expect(readdirSync(at)).toEqual(['env'])
    const ready = JSON.parse(readFileSync(join(prefix, '.conda-deploy/ready'), 'utf8'))
    const created = expect.stringMatching(/^\d{4}-.*Z$/)
    expect(ready).toEqual({
      version: 1,
      digest,
      prefix,
      readOnly: true,
      created,
      name: 'sample',
      bytes: 100_241,
      entries: 11,
    })
    expect((await verify(prefix)).faults).toEqual([])
  })

  test('can be writable, and can be read back before it is published', async () => {
    const prefix = join(place(), 'env')
    const result = await deploy({ archive, to: prefix, readOnly: false, verify: true })
    expect(result.seconds.verify).toBeGreaterThan(0)
    expect(statSync(prefix).mode & 0o777).toBe(0o755)
    writeFileSync(join(prefix, 'etc/new'), '')
  })

  test('makes the parents of its target', async () => {
    const prefix = join(place(), 'some/where/env')
    expect((await deploy({ archive, to: prefix })).method).toBe('deployed')
  })

  test('writes the prefix as it was named, where a parent is a symbolic link', async () => {
    const at = place()
    mkdirSync(join(at, 'real'))
    symlinkSync('real', join(at, 'link'))
    const prefix = join(at, 'link/env')
    expect((await deploy({ archive, to: prefix })).prefix).toBe(prefix)
    expect(readFileSync(join(at, 'real/env/etc/prefix'), 'utf8')).toBe(`${prefix}\n`)
    expect((await verify(join(at, 'real/env'))).faults).toEqual([])
  })

  test('tells its phases and its progress', async () => {
    const told: string[] = []
    const reporter = { phase: (name: string) => void told.push(name), progress() {}, warn() {} }
    await deploy({ archive, to: join(place(), 'env'), verify: true, reporter })
    expect(told).toEqual(['plan', 'extract', 'verify', 'publish'])
  })

  test('a deployment that is there is read too when it is to be verified; a writable one may differ', async () => {
    const at = place()
    const [fixed, loose] = [join(at, 'fixed'), join(at, 'loose')]
    await deploy({ archive, to: fixed })
    await deploy({ archive, to: loose, readOnly: false })
    expect(await deploy({ archive, to: fixed, verify: true })).toMatchObject({ method: 'adopted' })
    for (const prefix of [fixed, loose]) {
      const file = join(prefix, 'lib/plain')
      chmodSync(file, 0o644)
      writeFileSync(file, 'changed')
    }
    await expect(deploy({ archive, to: fixed, verify: true })).rejects.toMatchObject({
      code: 'VERIFY_FAILED',
      message: expect.stringContaining('lib/plain'),
      hint: expect.stringContaining('deploy again'),
    })
    expect(await deploy({ archive, to: fixed })).toMatchObject({ method: 'adopted' })
    expect(await deploy({ archive, to: loose, readOnly: false, verify: true })).toMatchObject({ method: 'adopted' })
  })
})

describe('adoption', () => {
  test('of an equal deployment touches nothing and takes milliseconds', async () => {
    const prefix = join(place(), 'env')
    await deploy({ archive, to: prefix })
    const before = lstatSync(prefix, { bigint: true })
    const results = []
    for (let i = 0; i < 5; i++) results.push(await deploy({ archive, to: prefix }))
    for (const result of results)
      expect(result).toMatchObject({ method: 'adopted', prefix, digest, files: 6, readBytes: 0 })
    expect(Math.min(...results.map(({ seconds }) => seconds.total))).toBeLessThan(0.05)
    const after = lstatSync(prefix, { bigint: true })
    expect([after.ino, after.mtimeNs, after.ctimeNs]).toEqual([before.ino, before.mtimeNs, before.ctimeNs])
  })

  test('is refused for a writable one, and for another archive', async () => {
    const at = place()
    const to = join(at, 'env')
    const other = join(at, 'other.tar.zst')
    await deploy({ archive, to })
    await writeSample(other)
    const refusals = [
      [{ archive: other, to }, /another archive/],
      [{ archive, to, readOnly: false }, /the same environment, but read-only/],
    ] as const
    for (const [options, message] of refusals)
      await expect(deploy(options)).rejects.toMatchObject({
        code: 'TARGET_EXISTS',
        message: expect.stringMatching(message),
      })
  })

  test('is refused for a tree that was moved', async () => {
    const at = place()
    await deploy({ archive, to: join(at, 'old') })
    renameSync(join(at, 'old'), join(at, 'new'))
    const message = expect.stringContaining(`made for ${join(at, 'old')}`)
    await expect(deploy({ archive, to: join(at, 'new') })).rejects.toMatchObject({ code: 'TARGET_EXISTS', message })
  })
})

describe('a target that exists', () => {
  test.each<[string, (path: string) => void]>([
    ['a symbolic link', (path) => symlinkSync('nowhere', path)],
    ['a file', (path) => writeFileSync(path, 'mine')],
    ['a directory that conda-deploy did not make', (path) => mkdirSync(path)],
  ])('%s is refused and left alone', async (what, make) => {
    const at = place()
    make(join(at, 'env'))
    const message = `${join(at, 'env')} exists: ${what}`
    await expect(deploy({ archive, to: join(at, 'env') })).rejects.toMatchObject({ code: 'TARGET_EXISTS', message })
    expect(readdirSync(at)).toEqual(['env'])
  })

  test('a deployment that never became complete is not adopted', async () => {
    const prefix = join(place(), 'env')
    await deploy({ archive, to: prefix, readOnly: false })
    writeFileSync(join(prefix, '.conda-deploy/ready'), '{"version":1,"dig')
    await expect(deploy({ archive, to: prefix, readOnly: false })).rejects.toMatchObject({ code: 'TARGET_EXISTS' })
  })
})

test('a parent that is a file is refused and left alone', async () => {
  const at = place()
  writeFileSync(join(at, 'file'), 'mine')
  const message = `${join(at, 'file')} is not a directory`
  for (const to of [join(at, 'file/env'), join(at, 'file/deep/env')])
    await expect(deploy({ archive, to })).rejects.toMatchObject({ code: 'IO', message })
  expect(readdirSync(at)).toEqual(['file'])
})

describe('the prefix', () => {
  test('case 24: that is as long as the slot fits; one byte more is refused before anything is written', async () => {
    const at = place()
    const longest = join(at, 'x'.repeat(slot - at.length - 1))
    expect(longest).toHaveLength(slot)
    await deploy({ archive, to: longest })
    const binary = readFileSync(join(longest, 'lib/libsample.so'))
    expect(binary.includes(`${longest}/lib\0`)).toBe(true)
    removeTree(longest)
    await expect(deploy({ archive, to: `${longest}y` })).rejects.toMatchObject({
      code: 'PREFIX_TOO_LONG',
      paths: ['lib/libsample.so'],
      message: expect.stringContaining('lib/libsample.so'),
    })
    const nested = join(at, 'a/b', 'x'.repeat(slot))
    await expect(deploy({ archive, to: nested })).rejects.toMatchObject({ code: 'PREFIX_TOO_LONG' })
    expect(readdirSync(at)).toEqual([])
  })

  test('has no control characters and is not the root', async () => {
    for (const to of ['/tmp/a\nb', '/'])
      await expect(deploy({ archive, to })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  test('with a colon is deployed, and warned of', async () => {
    const { warnings } = await deploy({ archive, to: join(place(), 'a:b') })
    expect(warnings).toEqual([expect.stringContaining('cannot stand in PATH')])
  })
})

describe('options', () => {
  test('are checked by name, type and sense', async () => {
    const wrong: object[] = [
      { archive, too: '/x' },
      { archive, to: 5 },
      { archive, to: '' },
      { archive, to: '/x', root: '/y' },
      { archive, threads: 0 },
      { archive, threads: 1.5 },
      {},
    ]
    for (const options of wrong)
      await expect(deploy(options as DeployOptions), JSON.stringify(options)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
      })
  })

  test('dryRun tells where and writes nothing', async () => {
    const at = place()
    const prefix = join(at, 'deep/env')
    const planned = await deploy({ archive, to: prefix, dryRun: true })
    expect(planned).toMatchObject({ dryRun: true, method: 'deployed', prefix, digest, files: 6 })
    expect(readdirSync(at)).toEqual([])
    await deploy({ archive, to: prefix })
    expect(await deploy({ archive, to: prefix, dryRun: true })).toMatchObject({ dryRun: true, method: 'adopted' })
  })
})

describe('a scratch root', () => {
  test('gets a folder of this user with the digest as name', async () => {
    const root = place()
    const result = await deploy({ archive, root })
    const folder = join(root, `conda-deploy-${process.getuid?.()}`)
    expect(result.prefix).toBe(join(folder, digest.slice(0, 16)))
    expect(result.target).toMatchObject({ root, reason: 'root', rejected: [] })
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(readdirSync(folder)).toEqual([digest.slice(0, 16)])
    expect((await deploy({ archive, root })).method).toBe('adopted')
    const writable = await deploy({ archive, root, readOnly: false })
    expect(writable).toMatchObject({ method: 'deployed', prefix: `${result.prefix}-w` })
  })

  test.each<[string, (folder: string) => void]>([
    ['is no directory', (folder) => symlinkSync('.', folder)],
    [
      'can be written by others',
      (folder) => {
        mkdirSync(folder)
        chmodSync(folder, 0o777)
      },
    ],
  ])('is not used when that folder %s', async (why, make) => {
    const root = place()
    make(join(root, `conda-deploy-${process.getuid?.()}`))
    const message = expect.stringContaining(why)
    await expect(deploy({ archive, root })).rejects.toMatchObject({ code: 'PERMISSION', message })
  })
})

describe('detection', () => {
  const names = ['CONDA_DEPLOY_ROOT', 'SLURM_TMPDIR', 'LOCAL_SCRATCH', 'TMPDIR']

  /** Deploys with only these of the variables set. */
  async function deployWith(env: Record<string, string>, more: Partial<DeployOptions> = {}) {
    const before = names.map((name) => [name, process.env[name]] as const)
    for (const name of names) delete process.env[name]
    Object.assign(process.env, env)
    try {
      return await deploy({ archive, ...more })
    } finally {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
    }
  }

  test('takes the first place that will do and says why not the ones before it', async () => {
    const [slurm, file] = [place(), join(place(), 'file')]
    writeFileSync(file, '')
    const env = { CONDA_DEPLOY_ROOT: join(work, 'absent'), SLURM_TMPDIR: file, LOCAL_SCRATCH: slurm, TMPDIR: work }
    const result = await deployWith(env)
    expect(result.prefix).toBe(cachedPrefix(slurm, digest, true))
    expect(result.target).toMatchObject({
      root: slurm,
      reason: '$LOCAL_SCRATCH',
      rejected: [
        { source: '$CONDA_DEPLOY_ROOT', why: 'it does not exist' },
        { source: '$SLURM_TMPDIR', why: 'it is not a directory' },
      ],
    })
    expect(result.warnings).toEqual([expect.stringMatching(/CONDA_DEPLOY_ROOT is passed over/)])
    expect(await deployWith(env)).toMatchObject({ method: 'adopted', prefix: result.prefix })
  })

  test('passes over a root where the prefix would be too long', async () => {
    const long = join(place(), 'x'.repeat(slot))
    mkdirSync(long)
    const root = place()
    const { target } = await deployWith({ SLURM_TMPDIR: long, TMPDIR: root })
    expect(target).toMatchObject({ root, rejected: [{ path: long, why: expect.stringContaining('lib/libsample.so') }] })
  })
})

describe('bad input', () => {
  test.each<[string, (path: string) => void, string]>([
    ['nothing', () => {}, 'ARCHIVE_NOT_FOUND'],
    ['a directory', (path) => mkdirSync(path), 'NOT_AN_ENV'],
    ['an empty file', (path) => writeFileSync(path, ''), 'ARCHIVE_UNKNOWN'],
    ['some text', (path) => writeFileSync(path, 'no archive\n'.repeat(1000)), 'ARCHIVE_UNKNOWN'],
  ])('%s', async (_, make, code) => {
    const at = place()
    const path = join(at, 'archive')
    make(path)
    await expect(deploy({ archive: path, to: join(at, 'env') })).rejects.toMatchObject({ code, path })
    expect(existsSync(join(at, 'env'))).toBe(false)
    expect(readdirSync(at).filter((name) => name !== 'archive')).toEqual([])
  })

  test('case 43: a flipped byte anywhere is found, and nothing is left', async () => {
    const at = place()
    const whole = readFileSync(archive)
    const step = Math.ceil(whole.length / 40)
    for (let i = 0; i < whole.length; i += step) {
      const broken = Buffer.from(whole)
      broken[i] = (broken[i] ?? 0) ^ 0x40
      const path = join(work, 'broken.tar.zst')
      writeFileSync(path, broken)
      await expect(deploy({ archive: path, to: join(at, 'env') }), `byte ${i}`).rejects.toMatchObject({
        code: expect.stringMatching(/^(?:ARCHIVE_CORRUPT|ARCHIVE_UNKNOWN|UNSAFE_PATH|NOT_AN_ENV|UNSUPPORTED)$/),
      })
      expect(readdirSync(at)).toEqual([])
    }
  })

  test('an archive that was cut anywhere is refused, and nothing is left', async () => {
    const at = place()
    const whole = readFileSync(archive)
    for (const size of [
      1,
      3,
      100,
      1000,
      whole.length >> 1,
      whole.length - 700,
      whole.length - 40,
      whole.length - 9,
      whole.length - 1,
    ]) {
      const path = join(work, 'cut.tar.zst')
      writeFileSync(path, whole.subarray(0, size))
      await expect(deploy({ archive: path, to: join(at, 'env') }), `${size} bytes`).rejects.toMatchObject({
        code: expect.stringMatching(/^(?:ARCHIVE_CORRUPT|ARCHIVE_UNKNOWN|NOT_AN_ENV)$/),
      })
      expect(readdirSync(at), `${size} bytes`).toEqual([])
    }
  })
})
