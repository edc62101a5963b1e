import { existsSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { native } from '../../src/native.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { start } from './child.js'
import { writeSample } from './sample.js'

const work = temporaryFolder('concurrency')
/** Large enough that its extraction can be caught in the middle. */
const archive = join(work, 'large.tar.zst')

beforeAll(async () => {
  await writeSample(archive, { ballast: [400, 10_000] })
})

let count = 0
afterEach(() => removeTree(join(work, `place${count}`)))
function place(): string {
  const path = join(work, `place${++count}`)
  mkdirSync(path)
  return path
}

const lockFile = (at: string): string => join(at, '.env.lock')
const stages = (at: string): string[] => readdirSync(at).filter((name) => name.endsWith('.stage'))

describe('many at once', () => {
  test('case 40: eight processes make one extraction; all get the same environment', async () => {
    const at = place()
    const prefix = join(at, 'env')
    const children = Array.from({ length: 8 }, () => start('deploy', { archive, to: prefix, threads: 2 }))
    const lines = (await Promise.all(children.map(({ ended }) => ended))).flat()
    expect(lines.filter(({ error }) => error)).toEqual([])
    const results = lines.flatMap(({ result }) => (result === undefined ? [] : [result]))
    expect(results.map(({ method }) => method).sort()).toEqual([...Array(7).fill('adopted'), 'deployed'])
    expect(lines.filter(({ phase }) => phase === 'extract')).toHaveLength(1)
    expect(readdirSync(at)).toEqual(['env'])
    expect((await verify(prefix)).faults).toEqual([])
  })

  test('eight calls in one process too, below one scratch root that has to be made', async () => {
    const root = join(place(), 'root')
    const results = await Promise.all(Array.from({ length: 8 }, () => deploy({ archive, root, threads: 1 })))
    expect(results.filter(({ method }) => method === 'deployed')).toHaveLength(1)
    expect(readdirSync(join(root, readdirSync(root)[0] ?? ''))).toHaveLength(1)
  })

  test('one that waits says so, and adopts what it waited for', async () => {
    const at = place()
    const told: string[] = []
    const held = native().lock(lockFile(at), 'exclusive')
    expect(held).not.toBeNull()
    const reporter = { phase: (name: string) => void told.push(name), progress() {}, warn() {} }
    const waiting = deploy({ archive, to: join(at, 'env'), reporter })
    while (!told.some((name) => name.startsWith('wait'))) await sleep(5)
    // The holder makes it elsewhere, with the same prefix, and puts it there.
    const other = start('deploy', { archive, to: join(at, 'env') })
    await sleep(50)
    expect(existsSync(join(at, 'env'))).toBe(false)
    rmSync(lockFile(at))
    native().unlock(held as number)
    const [result, lines] = await Promise.all([waiting, other.ended])
    const methods = [result.method, lines.find((line) => line.result)?.result.method].sort()
    expect(methods).toEqual(['adopted', 'deployed'])
    expect(readdirSync(at)).toEqual(['env'])
  })
})

describe('a process that is killed', () => {
  /** When to kill: as a phase begins, and milliseconds later. */
  const moments = [
    ['plan', 0],
    ['extract', 0],
    ['extract', 5],
    ['extract', 25],
    ['publish', 0],
    ['publish', 1],
  ] as const
  const found = { stages: 0, absent: 0 }

  test.each(moments)(
    'as %s begins, and %d ms later, leaves an absent or a complete target; the next one succeeds',
    async (phase, ms) => {
      const at = place()
      const prefix = join(at, 'env')
      const child = start('deploy', { archive, to: prefix, threads: 1 }, (line, process) => {
        if (line.phase === phase) setTimeout(() => process.kill('SIGKILL'), ms)
      })
      await child.ended
      found.stages += stages(at).length
      if (existsSync(prefix)) expect((await verify(prefix)).faults).toEqual([])
      else found.absent++
      const next = await deploy({ archive, to: prefix })
      expect(next.prefix).toBe(prefix)
      expect(readdirSync(at)).toEqual(['env'])
      expect((await verify(prefix)).faults).toEqual([])
    },
  )

  test('did leave stages behind in these tests, which the next ones removed', () => {
    expect(found.stages).toBeGreaterThan(0)
    expect(found.absent).toBeGreaterThan(0)
  })

  test('after publishing leaves a lock file, which adopting clears away', async () => {
    const at = place()
    await deploy({ archive, to: join(at, 'env') })
    native().unlock(native().lock(lockFile(at), 'exclusive') as number)
    mkdirSync(join(at, '.env.99999999.stage'))
    mkdirSync(join(at, '.env.other.stage'))
    expect((await deploy({ archive, to: join(at, 'env') })).method).toBe('adopted')
    expect(readdirSync(at).sort()).toEqual(['.env.other.stage', 'env'])
  })
})

describe('an abort', () => {
  test.each(['plan', 'extract', 'verify', 'publish'])('in phase %s leaves nothing', async (phase) => {
    const at = place()
    const controller = new AbortController()
    const reporter = {
      phase: (name: string) =>
        void (name === phase && setTimeout(() => controller.abort(), phase === 'extract' ? 5 : 0)),
      progress() {},
      warn() {},
    }
    const { signal } = controller
    const done = await deploy({
      archive,
      to: join(at, 'deep/er/env'),
      verify: true,
      threads: 1,
      signal,
      reporter,
    }).catch((error: unknown) => error)
    // Publishing may be quicker than the abort; nothing else may.
    if (phase !== 'publish' || done instanceof Error) {
      expect(done).toMatchObject({ code: 'CANCELLED' })
      expect(readdirSync(at)).toEqual([])
    }
  })

  test('while it waits for another leaves what the other has', async () => {
    const at = place()
    const held = native().lock(lockFile(at), 'exclusive') as number
    const before = lstatSync(lockFile(at)).ino
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 50)
    await expect(deploy({ archive, to: join(at, 'env'), signal: controller.signal })).rejects.toMatchObject({
      code: 'CANCELLED',
    })
    expect(lstatSync(lockFile(at)).ino).toBe(before)
    expect(readdirSync(at)).toEqual(['.env.lock'])
    native().unlock(held)
  })

  test('before it begins does nothing', async () => {
    const signal = AbortSignal.abort()
    await expect(deploy({ archive, to: join(place(), 'env'), signal })).rejects.toMatchObject({ code: 'CANCELLED' })
  })
})
