/** Targets that cannot take an environment: full, without inodes, noexec, read-only. Needs small file systems of its own. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, statfsSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { privateCache } from '../../src/deploy/cache/folder.js'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { condaPackTar } from '../support/conda-pack-archive.js'
import { makeEnvironment, python } from '../support/make-env.js'
import { temporaryFolder } from '../support/temp.js'
import { writeSample } from './sample.js'

const work = temporaryFolder('file-systems')
const archive = join(work, 'sample.tar.zst')
const ballast = [100, 30_000] as const

const mounted: string[] = []
/** A new tmpfs with these mount options; null: this user may not mount. */
function tmpfs(options: string): string | null {
  const path = join(work, `mount${mounted.length}`)
  mkdirSync(path)
  const done = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { encoding: 'utf8' })
  if (done.status !== 0) return null
  mounted.push(path)
  return path
}
const probe = tmpfs('size=1m')
if (probe === null) console.warn('skipped: test/deploy/file-systems: this user may not mount a tmpfs')
const mount = (options: string): string => tmpfs(options) as string

beforeAll(async () => {
  await writeSample(archive, { ballast })
})
afterAll(() => {
  for (const path of mounted) spawnSync('umount', [path])
})

const refused = async (at: string, code: string, message: RegExp): Promise<void> => {
  await expect(deploy({ archive, to: join(at, 'a/env') })).rejects.toMatchObject({
    code,
    message: expect.stringMatching(message),
  })
  expect(readdirSync(at)).toEqual([])
}

describe.skipIf(probe === null)('a file system', () => {
  test('with too few bytes is refused beforehand', async () => {
    await refused(mount('size=2m'), 'NO_SPACE', /mount\d+.* has 20\d\d kB free on tmpfs; \d+ kB are needed/)
  })

  test('where the sizes would just fit, but not in whole blocks, is refused beforehand', async () => {
    // 3.1 MB in files that take 8 pages each: 3.3 MB, and the table.
    await refused(mount('size=3150k'), 'NO_SPACE', /are needed/)
  })

  test('that is just large enough is not refused', async () => {
    const { method } = await deploy({ archive, to: join(mount('size=3700k'), 'env') })
    expect(method).toBe('deployed')
  })

  test('with too few inodes is refused beforehand', async () => {
    await refused(mount('size=100m,nr_inodes=50'), 'NO_SPACE', /\d+ free inodes on tmpfs; 112 are needed/)
  })

  test('without exec is refused beforehand', async () => {
    await refused(mount('size=100m,noexec'), 'TARGET_NOEXEC', /is on tmpfs, mounted noexec/)
  })

  test('that is read-only is refused beforehand', async () => {
    const at = mount('size=100m')
    expect(spawnSync('mount', ['-o', 'remount,ro', at]).status).toBe(0)
    await refused(at, 'PERMISSION', /read-only file system/)
  })

  test('that fills up meanwhile: the error says so and nothing is left', async () => {
    const at = mount('size=8m')
    const phase = (name: string): void => {
      const { bavail, bsize } = statfsSync(at)
      if (name === 'extract') writeFileSync(join(at, 'ballast'), Buffer.alloc((bavail - 200) * bsize))
    }
    const reporter = { phase, progress() {}, warn() {} }
    await expect(deploy({ archive, to: join(at, 'env'), reporter })).rejects.toMatchObject({ code: 'NO_SPACE' })
    expect(readdirSync(at)).toEqual(['ballast'])
  })

  describe('that fills up meanwhile, with deployments of the cache on it', () => {
    const other = join(work, 'other.tar.zst')
    const foreign = join(work, 'foreign.tar.gz')
    beforeAll(async () => {
      await writeSample(other, { ballast })
      // Unpacked it is a hundred times as large, which nothing tells beforehand.
      const files = Array.from({ length: 50 }, (_, i) => ({ path: `share/f${i}`, text: `${i}${' '.repeat(60_000)}` }))
      const what = { packages: [python, { name: 'many', files }] }
      const origin = join(work, 'envs/wide')
      mkdirSync(origin, { recursive: true })
      makeEnvironment(origin, what)
      writeFileSync(foreign, gzipSync(await condaPackTar(origin, what)))
    })
    const cache = (at: string): string[] => readdirSync(privateCache(at).path).sort()

    /** Another process takes all room but 800 kB when the extraction begins, once. */
    function filler(at: string) {
      const free = (): number => {
        const { bavail, bsize } = statfsSync(at)
        return bavail * bsize
      }
      const phase = (name: string): void => {
        if (name === 'extract' && !existsSync(join(at, 'taken')))
          writeFileSync(join(at, 'taken'), Buffer.alloc(free() - 800_000))
      }
      return { phase, progress() {}, warn() {} }
    }

    test('has the idle ones evicted, and is tried once more', async () => {
      const at = mount('size=9m')
      const { prefix } = await deploy({ archive, root: at })
      const done = await deploy({ archive: other, root: at, reporter: filler(at) })
      expect([done.method, done.evicted]).toEqual(['deployed', [prefix]])
      expect((await verify(done.prefix)).faults).toEqual([])
      expect(cache(at)).toEqual([basename(done.prefix)])
    })

    test('keeps the leased ones: the error says so and nothing is left', async () => {
      const at = mount('size=9m')
      const { prefix } = await deploy({ archive, root: at, lease: 'slurm:1' })
      const done = deploy({ archive: other, root: at, reporter: filler(at) })
      await expect(done).rejects.toMatchObject({ code: 'NO_SPACE' })
      expect(cache(at)).toEqual(['.leases', basename(prefix)])
    })

    test('has room for an archive made by others, whose size is not known beforehand', async () => {
      const at = mount('size=5m')
      const { prefix } = await deploy({ archive, root: at })
      const done = await deploy({ archive: foreign, root: at })
      expect([done.method, done.evicted]).toEqual(['deployed', [prefix]])
      expect((await verify(done.prefix)).faults).toEqual([])
      expect(cache(at)).toEqual([basename(done.prefix)])
    })
  })

  test('that only a killed deployment fills has room after all', async () => {
    const at = mount('size=5m')
    mkdirSync(join(at, '.env.99999999.stage'))
    writeFileSync(join(at, '.env.99999999.stage/half'), Buffer.alloc(4 << 20))
    writeFileSync(join(at, '.env.lock'), '')
    expect((await deploy({ archive, to: join(at, 'env') })).method).toBe('deployed')
    expect(readdirSync(at)).toEqual(['env'])
  })

  test('in memory is told, when nobody named it; one without exec is passed over', async () => {
    const [noexec, memory] = [mount('size=100m,noexec'), mount('size=100m')]
    const before = { ...process.env }
    Object.assign(process.env, { CONDA_DEPLOY_ROOT: noexec, SLURM_TMPDIR: memory })
    try {
      const { target, warnings } = await deploy({ archive })
      expect(target).toMatchObject({ root: memory, fileSystem: { type: 'tmpfs', locality: 'memory' } })
      expect(target.rejected).toMatchObject([{ path: noexec, why: expect.stringContaining('noexec') }])
      expect(warnings).toContainEqual(expect.stringMatching(/is in memory/))
    } finally {
      for (const name of ['CONDA_DEPLOY_ROOT', 'SLURM_TMPDIR']) {
        if (before[name] === undefined) delete process.env[name]
        else process.env[name] = before[name]
      }
    }
  })
})

const user = process.getuid?.()
if (user === 0)
  console.warn('skipped: test/deploy/file-systems: root may write into a read-only folder (tried on a read-only mount)')
test.skipIf(user === 0)('a folder without write permission is refused beforehand', async () => {
  const at = join(work, 'folder')
  mkdirSync(at)
  chmodSync(at, 0o555)
  await refused(at, 'PERMISSION', /: permission denied$/)
})
