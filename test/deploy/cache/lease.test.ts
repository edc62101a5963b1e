import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { openCache, privateCache } from '../../../src/deploy/cache/folder.js'
import { checkHolder, jobHolder, processHolder } from '../../../src/deploy/cache/holder.js'
import { addLease, isVoid, leasesIn, releaseLeases } from '../../../src/deploy/cache/lease.js'
import { listCache } from '../../../src/deploy/cache/list.js'
import { Processes } from '../../../src/deploy/cache/processes.js'
import { deploy } from '../../../src/deploy/deploy.js'
import { run } from '../../../src/deploy/run.js'
import { runCli } from '../../support/run-cli.js'
import { temporaryFolder } from '../../support/temp.js'
import { writeSample } from '../sample.js'

const work = temporaryFolder('lease')
const archive = join(work, 'a.tar.zst')
beforeAll(async () => {
  await writeSample(archive)
})

let count = 0
function place(): { readonly root: string; readonly cache: string; readonly leases: () => string[] } {
  const root = join(work, `root${++count}`)
  mkdirSync(root)
  const cache = privateCache(root).path
  const folder = join(cache, '.leases')
  return { root, cache, leases: () => (existsSync(folder) ? readdirSync(folder).sort() : []) }
}

describe('holders', () => {
  test.each([
    [{ SLURM_JOB_ID: '4711' }, 'slurm:4711'],
    [{ PBS_JOBID: '12.head.example.org' }, 'pbs:12.head.example.org'],
    [{ PBS_JOBID: '12[3].head' }, 'pbs:12[3].head'],
    [{ LSB_JOBID: '99', LSB_JOBINDEX: '0' }, 'lsf:99'],
    [{ LSB_JOBID: '99', LSB_JOBINDEX: '4' }, 'lsf:99.4'],
    [{ JOB_ID: '7', SGE_TASK_ID: 'undefined', SGE_ROOT: '/opt/sge' }, 'sge:7'],
    [{ JOB_ID: '7', SGE_TASK_ID: '2', SGE_ROOT: '/opt/sge' }, 'sge:7.2'],
    [{ JOB_ID: '7' }, undefined],
    [{}, undefined],
    [{ SLURM_JOB_ID: '' }, undefined],
    [{ SLURM_JOB_ID: '../../x' }, undefined],
  ])('of %j is %s', (env, holder) => {
    expect(jobHolder(env)).toBe(holder)
  })

  test.each(['', 'slurm', 'slurm:', 'slurm:a/b', 'slurm:a b', 'slurm:../x', 'pid:1', 'pid:0:1', 'moab:1', 'slurm:a@b'])(
    '%j is none',
    (text) => {
      expect(() => checkHolder('test', text)).toThrow('names no holder')
    },
  )

  test.skipIf(process.platform !== 'linux')(
    'a process is told by its number and its start, as ps tells it',
    async () => {
      const child = spawn('sh', ['-c', 'exec -a "a) b (c" sleep 60'], { stdio: 'ignore' })
      await once(child, 'spawn')
      const holder = processHolder(child.pid ?? 0) ?? ''
      const [, number, start] = /^pid:(\d+):(\d+)$/.exec(holder) ?? []
      expect(Number(number)).toBe(child.pid)
      const [uptime] = readFileSync('/proc/uptime', 'utf8').split(' ')
      const elapsed = Number(execFileSync('ps', ['-o', 'etimes=', '-p', String(child.pid)], { encoding: 'utf8' }))
      expect(Math.abs(Number(uptime) - Number(start) / 100 - elapsed)).toBeLessThan(3)
      child.kill('SIGKILL')
      await once(child, 'close')
      expect(processHolder(child.pid ?? 0)).toBeUndefined()
    },
  )
})

describe('a deployment', () => {
  test('is leased when it is deployed and when it is adopted, and says so', async () => {
    const { root, leases } = place()
    const first = await deploy({ archive, root, lease: 'slurm:1' })
    const entry = readdirSync(privateCache(root).path).find((name) => !name.startsWith('.'))
    expect([first.lease, leases()]).toEqual(['slurm:1', [`${entry}@slurm:1`]])
    const second = await deploy({ archive, root, lease: 'pbs:2.head' })
    expect([second.method, second.lease]).toEqual(['adopted', 'pbs:2.head'])
    expect(leases()).toEqual([`${entry}@pbs:2.head`, `${entry}@slurm:1`])
  })

  test('gets the lease of the job that the process belongs to; without one it gets none', async () => {
    const { root, leases } = place()
    expect((await runCli([archive, '--root', root])).status).toBe(0)
    expect(leases()).toEqual([])
    const { stdout } = await runCli([archive, '--root', root, '--json'], { env: { SLURM_JOB_ID: '55' } })
    expect(JSON.parse(stdout).lease).toBe('slurm:55')
    expect(leases()).toEqual([expect.stringMatching(/@slurm:55$/)])
  })

  test('at a target that is named has none: nothing is evicted there', async () => {
    const { root } = place()
    const to = join(root, 'env')
    await expect(deploy({ archive, to, lease: 'slurm:1' })).rejects.toThrow("'to' and 'lease' exclude each other")
    const { stdout } = await runCli([archive, '--to', to, '--json'], { env: { SLURM_JOB_ID: '55' } })
    expect(JSON.parse(stdout).lease).toBeNull()
    expect(readdirSync(root)).toEqual(['env'])
  })

  test('that fails leaves no lease and no folder', async () => {
    const { root } = place()
    const broken = join(work, 'broken.tar.zst')
    const bytes = readFileSync(archive)
    bytes.fill(0, 200, 300)
    writeFileSync(broken, bytes)
    await expect(deploy({ archive: broken, root, lease: 'slurm:1' })).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' })
    expect(readdirSync(root)).toEqual([])
  })

  test.skipIf(process.platform !== 'linux')('that a program runs in is leased while it runs', async () => {
    const { root, cache, leases } = place()
    // Its own lease is taken when it has started: it may be quicker.
    const wait = `while [ "$(ls '${cache}/.leases' | wc -l)" -lt 2 ]; do sleep 0.02; done`
    const script = `${wait}; ls '${cache}/.leases' > '${root}/seen'`
    const { deployment } = await run({ archive, root, command: ['sh', '-c', script] })
    const seen = readFileSync(join(root, 'seen'), 'utf8').trim().split('\n')
    expect(seen).toHaveLength(2)
    expect(seen.some((name) => name.includes(`@pid:${process.pid}:`))).toBe(true)
    expect([deployment.lease, leases()]).toEqual([null, []])
    expect(existsSync(join(cache, '.leases'))).toBe(false)
  })
})

describe('giving back', () => {
  test('takes the leases of one holder, and nothing else', async () => {
    const { root, leases } = place()
    await deploy({ archive, root, lease: 'slurm:1' })
    await deploy({ archive, root, lease: 'slurm:11' })
    const { released, warnings } = await releaseLeases({ root, holder: 'slurm:1' })
    expect(released).toEqual([expect.stringMatching(/@slurm:1$/)])
    expect(warnings).toEqual([])
    expect(leases()).toEqual([expect.stringMatching(/@slurm:11$/)])
    expect((await releaseLeases({ root, holder: 'slurm:1' })).released).toEqual([])
    await expect(releaseLeases({ root, holder: 'slurm:*' })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  test('where there is no cache, and where something else stands, does nothing', async () => {
    const { root } = place()
    expect(await releaseLeases({ root, holder: 'slurm:1' })).toEqual({ released: [], warnings: [] })
    const other = place()
    mkdirSync(join(other.root, 'elsewhere/.leases'), { recursive: true })
    writeFileSync(join(other.root, 'elsewhere/.leases/0123456789abcdef@slurm:1'), '')
    symlinkSync('elsewhere', other.cache)
    const { released, warnings } = await releaseLeases({ root: other.root, holder: 'slurm:1' })
    expect([released, warnings.length]).toEqual([[], 1])
    expect(existsSync(join(other.root, 'elsewhere/.leases/0123456789abcdef@slurm:1'))).toBe(true)
  })
})

describe.skipIf(process.platform !== 'linux')('a lease counts', () => {
  const day = 86_400
  function written(holder: string): { readonly file: string; readonly isVoid: (leaseAge?: number) => boolean } {
    const { root, cache } = place()
    mkdirSync(cache, { mode: 0o700 })
    addLease(cache, '0123456789abcdef', holder)
    const open = openCache(privateCache(root))
    if (open === null) throw new Error('no cache')
    return {
      file: join(cache, '.leases', `0123456789abcdef@${holder}`),
      isVoid(leaseAge = day) {
        const [lease] = leasesIn(open)
        if (lease === undefined) throw new Error('no lease')
        return isVoid(lease, leaseAge, new Processes())
      },
    }
  }

  test('as long as its process lives, whatever its age', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' })
    await once(child, 'spawn')
    const { isVoid } = written(processHolder(child.pid ?? 0) ?? '')
    expect([isVoid(), isVoid(-1)]).toEqual([false, false])
    child.kill('SIGKILL')
    await once(child, 'close')
    expect(isVoid()).toBe(true)
  })

  test('not for another process of the same number', () => {
    const [, start = ''] = /:(\d+)$/.exec(processHolder(process.pid) ?? '') ?? []
    expect(written(`pid:${process.pid}:${start}`).isVoid()).toBe(false)
    expect(written(`pid:${process.pid}:${Number(start) - 1}`).isVoid()).toBe(true)
  })

  test('for a job until it is given back, or too old with no process of the job left', async () => {
    const { isVoid } = written('slurm:987654')
    expect([isVoid(), isVoid(-1)]).toEqual([false, true])
    const child = spawn('sleep', ['60'], { stdio: 'ignore', env: { ...process.env, SLURM_JOB_ID: '987654' } })
    await once(child, 'spawn')
    expect(isVoid(-1)).toBe(false)
    child.kill('SIGKILL')
    await once(child, 'close')
    expect(isVoid(-1)).toBe(true)
  })

  test('for nobody when the machine has booted since; for long when nothing is known of it', () => {
    const { file, isVoid } = written('slurm:987654')
    writeFileSync(file, '{"boot":"another","pids":""}')
    expect(isVoid()).toBe(true)
    for (const text of ['', '{"boot', 'null', '[]']) {
      writeFileSync(file, text)
      expect([text, isVoid(), isVoid(-1)]).toEqual([text, false, true])
    }
  })

  test('for a process of a container, which is not seen from here, until it is old', () => {
    const { file, isVoid } = written('pid:1:1')
    const { boot } = JSON.parse(readFileSync(file, 'utf8'))
    writeFileSync(file, JSON.stringify({ boot, pids: 'pid:[1]' }))
    expect([isVoid(), isVoid(-1)]).toEqual([false, true])
  })

  test('no longer because its owner set its time', () => {
    const { file, isVoid } = written('slurm:987654')
    utimesSync(file, new Date('2100-01-01'), new Date('2100-01-01'))
    expect(isVoid(-1)).toBe(true)
  })
})

test('links, folders and other names among the leases are nobody’s', async () => {
  const { root, cache } = place()
  const { prefix } = await deploy({ archive, root, lease: 'slurm:1' })
  const folder = join(cache, '.leases')
  const entry = prefix.slice(cache.length + 1)
  writeFileSync(join(root, 'precious'), 'kept')
  symlinkSync(join(root, 'precious'), join(folder, `${entry}@slurm:2`))
  mkdirSync(join(folder, `${entry}@slurm:3`))
  writeFileSync(join(folder, `${entry}@nobody:4`), '')
  writeFileSync(join(folder, 'README'), '')
  expect((await listCache({ root })).caches[0]?.deployments[0]?.leases).toEqual(['slurm:1'])
  for (const holder of ['slurm:2', 'slurm:3']) expect((await releaseLeases({ root, holder })).released).toEqual([])
  expect(readFileSync(join(root, 'precious'), 'utf8')).toBe('kept')
  // A link in place of the folder itself.
  renameSync(folder, join(root, 'moved'))
  symlinkSync(join(root, 'moved'), folder)
  const { released, warnings } = await releaseLeases({ root, holder: 'slurm:1' })
  expect([released, warnings.length]).toEqual([[], 1])
})
