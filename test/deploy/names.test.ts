/** Targets with difficult names, locks that are not to be had, and owners: what is refused in words, and what is only said. */
import { spawnSync } from 'node:child_process'
import { chownSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { EnvError } from '../../src/errors.js'
import { native } from '../../src/native.js'
import { checkPrefix, remarksOnPrefix } from '../../src/prefix/name.js'
import { withoutLocks } from '../../src/tree/lock.js'
import { cliFile } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { writeSample } from './sample.js'

const work = temporaryFolder('names')
const archive = join(work, 'sample.tar.zst')
let round = 0
const place = (): string => {
  const path = join(work, `${++round}`)
  mkdirSync(path)
  return path
}
beforeAll(async () => {
  await writeSample(archive, { binary: false })
})

describe('a name', () => {
  test.each([220, 221, 246, 255])('of %d bytes is a name like others', async (length) => {
    const at = place()
    const name = 'n'.repeat(length)
    await deploy({ archive, to: join(at, name) })
    expect(readdirSync(at)).toEqual([name])
    expect((await verify(join(at, name))).faults).toEqual([])
  })

  test('of more than 255 bytes is refused, before anything is made', async () => {
    const at = place()
    for (const to of [join(at, 'n'.repeat(256)), join(at, 'é'.repeat(128), 'env')])
      await expect(deploy({ archive, to })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringMatching(/has 256 bytes; a name can have 255/),
      })
    expect(readdirSync(at)).toEqual([])
  })

  test('that is not UTF-8 is refused', () => {
    const at = place()
    const shell = `exec "$0" "$1" "$2" --to "$(printf '%s/caf\\351' "$3")"`
    const done = spawnSync('/bin/sh', ['-c', shell, process.execPath, cliFile, archive, at], { encoding: 'utf8' })
    expect(done.status).toBe(2)
    expect(done.stderr).toContain('is not UTF-8')
    expect(readdirSync(at)).toEqual([])
    expect(() => checkPrefix('deploy', '/a/\udc80')).toThrow('is not UTF-8')
  })

  test('with a quote, a backslash or a colon is deployed, and warned of', async () => {
    const to = join(place(), "it's")
    const { warnings } = await deploy({ archive, to })
    expect(warnings).toEqual([expect.stringContaining("has a '")])
    expect(readFileSync(join(to, 'etc/prefix'), 'utf8')).toBe(`${to}\n`)
    expect(remarksOnPrefix('/a:b"c').length).toBe(2)
    expect(remarksOnPrefix('/a/plain path/é')).toEqual([])
  })
})

describe('a lock', () => {
  test('that another process holds is waited for no longer than told', async () => {
    const at = place()
    const held = native().lock(join(at, '.env.lock'), 'exclusive') as number
    const begin = performance.now()
    await expect(deploy({ archive, to: join(at, 'env'), wait: 0.2 })).rejects.toMatchObject({
      code: 'LOCK_HELD',
      exitStatus: 75,
      hint: expect.stringContaining('--wait'),
    })
    expect(performance.now() - begin).toBeGreaterThan(190)
    native().unlock(held)
    await deploy({ archive, to: join(at, 'env'), wait: 0 })
  })

  test.each([38, 37, 95])('that the file system does not have (errno %d) is said in words', (errno) => {
    const failed = new EnvError('IO', 'flock', { errno: -errno, syscall: 'flock' })
    expect(withoutLocks('/lustre/.env.lock', failed)).toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('has no file locks'),
      hint: expect.stringContaining('-o flock'),
    })
  })

  test('that fails otherwise stays what it is', () => {
    expect(withoutLocks('/x', new EnvError('IO', 'flock', { errno: -5, syscall: 'flock' }))).toBeNull()
    expect(withoutLocks('/x', new EnvError('IO', 'open', { errno: -38, syscall: 'open' }))).toBeNull()
  })
})

describe.skipIf(process.getuid?.() !== 0)('as root (skipped for other users: they cannot act as another)', () => {
  test('a tree is root’s, in a folder of another user too; that user’s deployment is neither adopted nor moved', async () => {
    const at = place()
    chownSync(at, 1234, 1234)
    const { prefix } = await deploy({ archive, to: join(at, 'env') })
    for (const path of ['', 'bin/hello', '.conda-deploy/ready']) expect(statSync(join(prefix, path)).uid).toBe(0)
    chownSync(prefix, 1234, 1234)
    await expect(deploy({ archive, to: prefix })).rejects.toMatchObject({ code: 'TARGET_EXISTS' })
    const { relocate } = await import('../../src/deploy/relocate.js')
    await expect(relocate({ directory: prefix, to: join(at, 'new') })).rejects.toMatchObject({
      code: 'PERMISSION',
      hint: expect.stringContaining('--copy'),
    })
    const copied = await relocate({ directory: prefix, to: join(at, 'new'), copy: true })
    expect(copied.reused.refused).toBe(0)
    expect(statSync(join(at, 'new')).uid).toBe(0)
  })
})
