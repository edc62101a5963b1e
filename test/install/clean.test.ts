import { existsSync, linkSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { usingCaches } from '../../src/install/cache-lock.js'
import { type CleanOptions, clean } from '../../src/install/clean.js'
import { native } from '../../src/native.js'
import { runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { sandbox } from './sandbox.js'

const folder = temporaryFolder('clean')
sandbox(folder)
let cache: string
let made = 0
let env: Record<string, string>

beforeEach(() => {
  cache = join(folder, `pkgs-${made++}`)
  env = { HOME: join(folder, 'home'), CONDA_PKGS_DIRS: cache, XDG_CACHE_HOME: join(folder, `cache-${made}`) }
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  put('used-1-0/info/index.json', '{}')
  put('used-1-0/lib/shared', 'shared')
  put('used-1-0/lib/rewritten', '/prefix')
  mkdirSync(join(folder, `env-${made}`))
  linkSync(join(cache, 'used-1-0/lib/shared'), join(folder, `env-${made}/shared`))
  put('unused-2-0/info/index.json', '{}')
  put('unused-2-0/lib/x', '12345')
  // Two names of one file inside of the package: nobody else has it.
  linkSync(join(cache, 'unused-2-0/lib/x'), join(cache, 'unused-2-0/lib/y'))
  put('no-package/file', '')
  put('used-1-0.conda', 'archive')
  put('part-1-0.conda.part', 'part')
  put('old-1-0.tar.bz2.partial', 'part')
  put('urls.txt', 'https://host/x\n')
  put('cache/abc.json', '{}')
  put('.logs/fetch.log', '')
  put('.conda-deploy-killed/half-1-0/info/index.json', '{}')
})

function put(path: string, content: string): void {
  mkdirSync(dirname(join(cache, path)), { recursive: true })
  writeFileSync(join(cache, path), content)
}
const names = (list: readonly { readonly name: string }[] | null): string[] | undefined =>
  list?.map(({ name }) => name).sort()
const left = (): string[] =>
  readdirSync(cache)
    .filter((name) => !name.endsWith('.lock'))
    .sort()
const everything = () => left()

describe('clean', () => {
  test('takes unpacked packages that no environment is linked to, and no others', async () => {
    const before = everything()
    const { packages, tarballs, bytes, removed } = await clean({ packages: true })
    expect([names(packages), tarballs, bytes, removed]).toEqual([['unused-2-0'], null, 12, true])
    expect(left()).toEqual(before.filter((name) => name !== 'unused-2-0'))
  })

  test('takes archives and parts of them', async () => {
    const { tarballs } = await clean({ tarballs: true })
    expect(names(tarballs)).toEqual(['old-1-0.tar.bz2.partial', 'part-1-0.conda.part', 'used-1-0.conda'])
    expect(left().filter((name) => /conda$|bz2|part/.test(name))).toEqual([])
  })

  test('takes indexes, conda’s and ours, and what killed runs left; never the list of addresses', async () => {
    const own = join(env['XDG_CACHE_HOME'] ?? '', 'conda-deploy/repodata')
    mkdirSync(own, { recursive: true })
    writeFileSync(join(own, 'x.json'), '{}')
    const { indexCache, tempfiles, logfiles } = await clean({ indexCache: true, tempfiles: true, logfiles: true })
    expect(indexCache).toEqual([own, join(cache, 'cache')])
    expect([names(tempfiles), logfiles]).toEqual([['.conda-deploy-killed'], [join(cache, '.logs/fetch.log')]])
    expect(existsSync(own)).toBe(false)
    expect(left()).toEqual([
      '.logs',
      'no-package',
      'old-1-0.tar.bz2.partial',
      'part-1-0.conda.part',
      'unused-2-0',
      'urls.txt',
      'used-1-0',
      'used-1-0.conda',
    ])
  })

  test('takes all of it, and says it first with dryRun', async () => {
    const before = everything()
    const plan = await clean({ all: true, dryRun: true })
    expect(everything()).toEqual(before)
    const done = await clean({ all: true })
    expect({ ...done, removed: false }).toEqual(plan)
    expect(left()).toEqual(['.logs', 'no-package', 'urls.txt', 'used-1-0'])
    expect(await clean({ all: true })).toMatchObject({ packages: [], tarballs: [], tempfiles: [], bytes: 0 })
  })

  test('asks for something to do, and passes over caches that are not there', async () => {
    await expect(clean({})).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await expect(clean({ packges: true } as CleanOptions)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    vi.stubEnv('CONDA_PKGS_DIRS', join(folder, 'nowhere'))
    expect(await clean({ packages: true })).toMatchObject({ packages: [] })
  })

  test('follows no link out of the cache', async () => {
    const outside = join(folder, `outside-${made}`)
    mkdirSync(join(outside, 'info'), { recursive: true })
    writeFileSync(join(outside, 'info/index.json'), '{}')
    symlinkSync(outside, join(cache, 'linked-1-0'))
    symlinkSync(outside, join(cache, 'unused-2-0/out'))
    await clean({ all: true })
    expect(readdirSync(join(outside, 'info'))).toEqual(['index.json'])
    expect(left()).toContain('linked-1-0')
  })
})

describe('beside an installer', () => {
  test('nothing is removed while one uses the cache', async () => {
    await usingCaches([cache], undefined, async () => {
      await expect(clean({ all: true })).rejects.toMatchObject({ code: 'LOCK_HELD', path: cache })
      expect(await clean({ packages: true, dryRun: true })).toMatchObject({ removed: false })
      const { status } = await runCli(['clean', '--all', '--yes'], { env })
      expect(status).toBe(75)
    })
    expect(left()).toContain('unused-2-0')
    expect(names((await clean({ packages: true })).packages)).toEqual(['unused-2-0'])
  })

  test('an installer waits for the end of cleaning; several of them do not wait for each other', async () => {
    const lock = native().lock(join(cache, '.conda-deploy.lock'), 'exclusive')
    let used = false
    const installer = usingCaches([cache], undefined, async () => {
      used = true
    })
    await pause(150)
    expect(used).toBe(false)
    native().unlock(lock as number)
    await installer
    expect(used).toBe(true)
    await usingCaches([cache], undefined, () =>
      usingCaches([cache, join(folder, 'nowhere')], undefined, async () => {}),
    )
    const stop = AbortSignal.timeout(50)
    const again = native().lock(join(cache, '.conda-deploy.lock'), 'exclusive')
    await expect(usingCaches([cache], stop, async () => {})).rejects.toMatchObject({ code: 'CANCELLED' })
    native().unlock(again as number)
  })
})

describe('on the command line', () => {
  test('says in words of conda what it will do, and wants to be told yes', async () => {
    const plan = await runCli(['clean', '--all', '--dry-run'], { env })
    expect(plan.stdout).toBe(`Will remove 3 (15 B) tarball(s).
Will remove 1 (12 B) package(s).
Will remove 1 (2 B) tempfile(s).
Will remove 1 index cache(s).
Will remove 1 logfile(s).
`)
    const asked = await runCli(['clean', '--tarballs'], { env })
    expect([asked.status, asked.stdout]).toEqual([2, ''])
    expect(asked.stderr).toContain('--yes')
    expect(left()).toContain('used-1-0.conda')
    const json = await runCli(['clean', '-t', '-p', '-y', '--json'], { env })
    expect(JSON.parse(json.stdout)).toEqual({
      success: true,
      tarballs: {
        pkg_sizes: { [cache]: { 'old-1-0.tar.bz2.partial': 4, 'part-1-0.conda.part': 4, 'used-1-0.conda': 7 } },
        pkgs_dirs: { [cache]: ['old-1-0.tar.bz2.partial', 'part-1-0.conda.part', 'used-1-0.conda'] },
        ...{ total_size: 15, warnings: [] },
      },
      packages: {
        pkg_sizes: { [cache]: { 'unused-2-0': 12 } },
        pkgs_dirs: { [cache]: ['unused-2-0'] },
        ...{ total_size: 12, warnings: [] },
      },
    })
    const nothing = await runCli(['clean', '-t', '-y'], { env })
    expect(nothing.stdout).toBe('There are no unused tarball(s) to remove.\n')
  })
})
