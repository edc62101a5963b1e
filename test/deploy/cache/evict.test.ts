import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { verifyCache } from '../../../src/deploy/cache/check.js'
import { privateCache } from '../../../src/deploy/cache/folder.js'
import { releaseLeases } from '../../../src/deploy/cache/lease.js'
import { listCache } from '../../../src/deploy/cache/list.js'
import { limitOver, pruneCache } from '../../../src/deploy/cache/prune.js'
import { removeFromCache } from '../../../src/deploy/cache/remove.js'
import { deploy } from '../../../src/deploy/deploy.js'
import { verify } from '../../../src/deploy/verify.js'
import { native } from '../../../src/native.js'
import { noMounts, Space } from '../../faults/space.js'
import { runCli } from '../../support/run-cli.js'
import { removeTree, temporaryFolder } from '../../support/temp.js'
import { writeSample } from '../sample.js'

const work = temporaryFolder('evict')
const archives = ['a', 'b', 'c'].map((name) => join(work, `${name}.tar.zst`))
const [a = '', b = '', c = ''] = archives
beforeAll(async () => {
  for (const archive of archives) await writeSample(archive, { ballast: [5, 20_000] })
})

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

let count = 0
function place(): string {
  const root = join(work, `root${++count}`)
  mkdirSync(root)
  return root
}

/** Deploys, and says when it was adopted last. */
async function cached(root: string, archive: string, minutesAgo: number, lease?: string): Promise<string> {
  const { prefix } = await deploy({ archive, root, threads: 1, delta: false, lease })
  const at = new Date(Date.now() - minutesAgo * 60_000)
  utimesSync(join(prefix, '.conda-deploy/ready'), at, at)
  return prefix
}

const names = (prefixes: readonly { readonly prefix: string }[]): string[] => prefixes.map(({ prefix }) => prefix)

describe('prune', () => {
  test('without limits evicts nothing', async () => {
    const root = place()
    await cached(root, a, 100_000)
    expect(await pruneCache({ root })).toMatchObject({ removed: [], kept: [], cleared: [], voided: 0, warnings: [] })
    expect(await pruneCache({ root: join(root, 'absent'), maxAge: 0 })).toMatchObject({ removed: [] })
  })

  test('evicts what was not adopted for longer than an age', async () => {
    const root = place()
    const [old, young] = [await cached(root, a, 90), await cached(root, b, 30)]
    const { removed } = await pruneCache({ root, maxAge: 3600 })
    expect(removed).toEqual([{ prefix: old, name: 'sample', limit: 'age', bytes: expect.any(Number) }])
    expect([existsSync(old), (await verify(young)).faults]).toEqual([false, []])
    expect(readdirSync(privateCache(root).path)).toHaveLength(1)
  })

  test('goes by the last adoption, not by the age of the deployment', async () => {
    const root = place()
    const [first, second] = [await cached(root, a, 90), await cached(root, b, 80)]
    expect((await deploy({ archive: a, root })).method).toBe('adopted')
    expect(names((await pruneCache({ root, maxAge: 3600 })).removed)).toEqual([second])
    expect(existsSync(first)).toBe(true)
  })

  test.each([
    ['bytes', { maxBytes: 500_000 }],
    ['inodes', { maxInodes: 40 }],
  ] as const)('evicts until a cache has fewer %s', async (limit, options) => {
    const root = place()
    // 200 kB and 17 entries each.
    const [first, second, third] = [await cached(root, a, 3), await cached(root, b, 2), await cached(root, c, 1)]
    const { removed } = await pruneCache({ root, ...options })
    expect(removed).toEqual([expect.objectContaining({ prefix: first, limit })])
    expect([second, third].map((prefix) => existsSync(prefix))).toEqual([true, true])
  })

  test('a floor of free space evicts all it may, where that is not enough', async () => {
    const root = place()
    await cached(root, a, 2)
    const leased = await cached(root, b, 1, 'slurm:1')
    const { removed, kept } = await pruneCache({ root, minFree: Number.MAX_SAFE_INTEGER })
    expect(removed.map(({ limit }) => limit)).toEqual(['free'])
    expect(kept).toMatchObject([{ prefix: leased, limit: 'free', why: 'slurm:1 has a lease on it' }])
  })

  test('with dryRun says the same, and does nothing', async () => {
    const root = place()
    const prefixes = [await cached(root, a, 3), await cached(root, b, 2), await cached(root, c, 1)]
    const before = readdirSync(privateCache(root).path)
    const { removed, dryRun } = await pruneCache({ root, maxBytes: 500_000, dryRun: true })
    expect([names(removed), dryRun]).toEqual([[prefixes[0]], true])
    expect(readdirSync(privateCache(root).path)).toEqual(before)
  })

  test('the order of the limits', () => {
    const now = { used: Date.now() }
    const left = { bytes: 10, entries: 10 }
    const none = { maxAge: null, maxBytes: null, maxInodes: null, minFree: null }
    expect(limitOver(now, left, 10, none)).toBeNull()
    expect(limitOver({ used: 0 }, left, 10, { ...none, maxAge: 1, maxBytes: 1 })).toBe('age')
    expect(limitOver(now, left, 10, { ...none, maxBytes: 9, maxInodes: 9 })).toBe('bytes')
    expect(limitOver(now, left, 10, { ...none, maxInodes: 9, minFree: 11 })).toBe('inodes')
    expect(limitOver(now, left, 10, { ...none, minFree: 11 })).toBe('free')
    expect(limitOver(now, left, 10, { maxAge: 60, maxBytes: 10, maxInodes: 10, minFree: 10 })).toBeNull()
  })
})

describe('what stays', () => {
  test('a deployment with a lease, until that is given back', async () => {
    const root = place()
    const prefix = await cached(root, a, 90, 'slurm:7')
    const over = { root, maxAge: 0 }
    expect((await pruneCache(over)).kept).toMatchObject([{ prefix, why: 'slurm:7 has a lease on it' }])
    await expect(removeFromCache({ root, which: ['sample'] })).resolves.toMatchObject({
      removed: [],
      kept: [{ prefix }],
    })
    await releaseLeases({ root, holder: 'slurm:7' })
    expect(names((await pruneCache(over)).removed)).toEqual([prefix])
  })

  test('the lease of a process that is gone keeps nothing, and goes', async () => {
    const root = place()
    const prefix = await cached(root, a, 90, 'pid:4194304:1')
    expect(await pruneCache({ root, maxAge: 0 })).toMatchObject({ removed: [{ prefix }], voided: 1 })
    expect(readdirSync(join(privateCache(root).path, '.leases'))).toEqual([])
  })

  const linux = process.platform === 'linux'
  test.skipIf(!linux).each(['exe', 'cwd', 'fd', 'maps'])('a deployment that a process uses: %s', async (how) => {
    const root = place()
    const { prefix } = await deploy({ archive: a, root, readOnly: false })
    copyFileSync('/bin/sleep', join(prefix, 'bin/sleep'))
    const commands: Readonly<Record<string, readonly [string, string[], string]>> = {
      exe: [join(prefix, 'bin/sleep'), ['60'], '/'],
      cwd: ['sleep', ['60'], join(prefix, 'etc')],
      fd: ['sh', ['-c', `exec 9<'${prefix}/etc/prefix'; exec sleep 60`], '/'],
      maps: ['sh', ['-c', `'${prefix}/bin/sleep' 60; :`], '/'],
    }
    const [program, args, cwd] = commands[how] ?? ['', [], '']
    const child = spawn(program, args, { cwd, stdio: 'ignore', detached: true })
    children.push(child)
    await once(child, 'spawn')
    await sleep(100)
    const { removed, kept } = await pruneCache({ root, maxAge: 0 })
    expect([removed, kept.map(({ why }) => why)]).toEqual([[], [expect.stringMatching(/^process \d+ \(.*\) uses it$/)]])
    if (how !== 'maps') expect(kept[0]?.why).toContain(`process ${child.pid}`)
    expect((await listCache({ root })).caches[0]?.deployments[0]?.inUse).toMatch(/^process \d+/)
    process.kill(-(child.pid ?? 0), 'SIGKILL')
    await once(child, 'close')
    await sleep(50)
    expect(names((await pruneCache({ root, maxAge: 0 })).removed)).toEqual([prefix])
  })

  test('what another process is working on', async () => {
    const root = place()
    const prefix = await cached(root, a, 90)
    const lock = join(privateCache(root).path, `.${prefix.slice(-16)}.lock`)
    const held = native().lock(lock, 'exclusive') as number
    expect((await pruneCache({ root, maxAge: 0 })).kept).toMatchObject([{ why: 'another process works on it' }])
    native().unlock(held)
    expect((await pruneCache({ root, maxAge: 0, dryRun: true })).cleared).toEqual([lock])
    expect(await pruneCache({ root, maxAge: 0 })).toMatchObject({ cleared: [lock], removed: [{ prefix }] })
  })

  test('what carries no mark of ours', async () => {
    const root = place()
    const prefix = await cached(root, a, 90)
    const { path } = privateCache(root)
    for (const name of ['notes', '0123456789abcdef', '.0123456789abcdee.old']) mkdirSync(join(path, name))
    mkdirSync(join(path, 'fedcba9876543210/.conda-deploy'), { recursive: true })
    writeFileSync(join(path, 'fedcba9876543210/.conda-deploy/ready'), 'nonsense')
    expect(names((await pruneCache({ root, maxAge: 0 })).removed)).toEqual([prefix])
    expect(readdirSync(path).sort()).toEqual(['.0123456789abcdee.old', '0123456789abcdef', 'fedcba9876543210', 'notes'])
  })
})

test('what dead processes left is cleared away, of deployments that nobody asks for any more, too', async () => {
  const root = place()
  await cached(root, a, 0)
  const { path } = privateCache(root)
  mkdirSync(join(path, '.0123456789abcdef.99999999.stage/lib'), { recursive: true })
  writeFileSync(join(path, '.0123456789abcdef.lock'), '')
  mkdirSync(join(path, '.fedcba9876543210-w.99999999.stage'))
  const left = readdirSync(path)
    .filter((name) => name.startsWith('.'))
    .map((name) => join(path, name))
  expect([...(await pruneCache({ root, dryRun: true })).cleared].sort()).toEqual(left.sort())
  expect([...(await pruneCache({ root })).cleared].sort()).toEqual(left.sort())
  expect(readdirSync(path)).toHaveLength(1)
})

describe('remove, list and verify', () => {
  test('by prefix, digest and name', async () => {
    const root = place()
    const [first, second] = [await cached(root, a, 2), await cached(root, b, 1)]
    const { caches } = await listCache({ root })
    expect(caches).toMatchObject([{ kind: 'private', owner: process.geteuid?.(), path: privateCache(root).path }])
    const [one, two] = caches[0]?.deployments ?? []
    expect([one?.prefix, two?.prefix]).toEqual([first, second])
    expect(one).toMatchObject({ name: 'sample', readOnly: true, bytes: expect.any(Number), leases: [], inUse: null })
    await expect(removeFromCache({ root, which: ['sample', 'absent'] })).rejects.toMatchObject({
      code: 'NOT_A_DEPLOYMENT',
    })
    const dry = await removeFromCache({ root, which: [one?.digest.slice(0, 10) ?? ''], dryRun: true })
    expect([dry.removed, existsSync(first)]).toEqual([[first], true])
    expect((await removeFromCache({ root, which: [one?.digest.slice(0, 10) ?? ''] })).removed).toEqual([first])
    expect((await removeFromCache({ root, which: [second] })).removed).toEqual([second])
    expect((await listCache({ root })).caches[0]?.deployments).toEqual([])
  })

  test('on the command line', async () => {
    const root = place()
    const prefix = await cached(root, a, 2, 'slurm:3')
    const list = await runCli(['cache', 'list', '--root', root])
    expect(list.stdout).toMatch(new RegExp(`^${prefix}\t\\d+ kB\tsample\t\\d{4}-.*\tslurm:3\n$`))
    expect((await runCli(['cache', 'verify', '--root', root])).status).toBe(0)
    const kept = await runCli(['cache', 'remove', '--root', root, 'sample'])
    expect([kept.status, kept.stdout, kept.stderr]).toEqual([75, '', expect.stringContaining('slurm:3 has a lease')])
    expect((await runCli(['cache', 'release', '--root', root, 'slurm:3'])).status).toBe(0)
    const pruned = await runCli(['cache', 'prune', '--root', root, '--max-age', '30s', '--json'])
    expect(JSON.parse(pruned.stdout)).toMatchObject({ removed: [{ prefix, limit: 'age' }] })
    for (const args of [
      ['--max-age', '3'],
      ['--max-bytes', 'x'],
      ['--max-inodes', '0'],
    ])
      expect((await runCli(['cache', 'prune', ...args])).status).toBe(2)
    expect((await runCli(['cache', 'nonsense'])).status).toBe(2)
  })

  test('verify tells which deployment is not what it was', async () => {
    const root = place()
    await cached(root, a, 2)
    const { prefix } = await deploy({ archive: b, root, readOnly: false })
    writeFileSync(join(prefix, 'etc/kept'), 'changed')
    const { deployments, faults } = await verifyCache({ root })
    expect(faults).toBeGreaterThan(0)
    expect(deployments.map((one) => [one.path === prefix, one.faults.length > 0])).toContainEqual([true, true])
    expect(deployments.filter((one) => one.faults.length > 0)).toHaveLength(1)
    expect((await runCli(['cache', 'verify', '--root', root])).status).toBe(3)
  })
})

if (noMounts !== null) console.log(`skipped: test/deploy/cache/evict: a full cache: ${noMounts}`)

describe.skipIf(noMounts !== null)('a place without room', () => {
  const at = join(work, 'mount')
  let space: Space
  beforeAll(async () => {
    mkdirSync(at)
    for (const name of ['x', 'y', 'z']) await writeSample(join(work, `${name}.tar.zst`), { ballast: [12, 100_000] })
    space = await Space.open(`mount -t tmpfs -o size=3m tmpfs '${at}'`)
  })
  afterAll(() => space.close())

  const put = (name: string, ...more: string[]) => {
    const { status, stdout, stderr } = space.cli([join(work, `${name}.tar.zst`), '--root', at, '--json', ...more])
    return { status, stderr, result: stdout === '' ? null : JSON.parse(stdout) }
  }

  test('has the idle deployments evicted that were not adopted for longest; leased ones stay', () => {
    const [x, y] = [put('x').result, put('y').result]
    expect([x.method, y.method]).toEqual(['deployed', 'deployed'])
    const dry = put('z', '--dry-run').result
    expect([dry.evicted, dry.method]).toEqual([[x.prefix], 'deployed'])
    expect(existsSync(space.seen(x.prefix))).toBe(true)
    const z = put('z', '--lease', 'slurm:1').result
    expect([z.method, z.evicted]).toEqual(['deployed', [x.prefix]])
    expect([x, y, z].map(({ prefix }) => existsSync(space.seen(prefix)))).toEqual([false, true, true])
    expect(put('y', '--lease', 'slurm:2').result.method).toBe('adopted')
    const refused = put('x')
    expect([refused.status, refused.stderr]).toEqual([75, expect.stringContaining('NO_SPACE')])
    expect([y, z].map(({ prefix }) => existsSync(space.seen(prefix)))).toEqual([true, true])
    expect(readdirSync(space.seen(privateCache(at).path)).sort()).toHaveLength(3)
  })

  test('nothing is evicted for what would not fit then either', async () => {
    const large = join(work, 'large.tar.zst')
    await writeSample(large, { ballast: [40, 100_000] })
    space.cli(['cache', 'release', '--root', at, 'slurm:2'])
    const before = readdirSync(space.seen(privateCache(at).path))
    expect(put('large').status).toBe(75)
    expect(readdirSync(space.seen(privateCache(at).path))).toEqual(before)
    removeTree(large)
  })
})

test('two versions are in use while pruning runs: neither is ever missing', { timeout: 120_000 }, async () => {
  const root = place()
  const versions = await Promise.all([a, b].map((archive) => deploy({ archive, root, threads: 1 })))
  const stop = new AbortController()
  const pruning = (async () => {
    let evicted = 0
    while (!stop.signal.aborted) {
      evicted += (await pruneCache({ root, maxAge: 0, threads: 1 })).removed.length
      await sleep(20)
    }
    return evicted
  })()
  const lost: string[] = []
  const use = async (archive: string, job: string): Promise<void> => {
    for (let i = 0; i < 8; i++) {
      const lease = `slurm:${job}${i}`
      const { prefix } = await deploy({ archive, root, lease, threads: 1 })
      for (let look = 0; look < 3; look++) {
        if (!existsSync(join(prefix, 'lib/plain')) || !existsSync(join(prefix, '.conda-deploy/ready'))) lost.push(lease)
        await sleep(3)
      }
      await releaseLeases({ root, holder: lease })
      await sleep(2)
    }
  }
  await Promise.all([use(a, '1'), use(b, '2')]).finally(() => stop.abort())
  expect(lost).toEqual([])
  // A race in which nothing was evicted shows nothing.
  expect(await pruning).toBeGreaterThan(0)
  expect(versions.map(({ method }) => method)).toEqual(['deployed', 'deployed'])
})
