/** case 40, case 41: the process that works on a cache is killed at every step of it: who waits takes over, and no lease is lost. */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { privateCache } from '../../src/deploy/cache/folder.js'
import { writeSample } from '../deploy/sample.js'
import { runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { leaderDies, prunerDies, stepsOf } from './cache-rounds.js'
import { Injector, noInjection } from './inject.js'

const work = temporaryFolder('faults')
const archive = join(work, 'sample.tar.zst')
if (noInjection !== null) console.log(`skipped: kill of who works on a cache: ${noInjection}`)

describe.skipIf(noInjection !== null)('SIGKILL of who works on a cache', () => {
  let injector: Injector
  beforeAll(async () => {
    await writeSample(archive, { ballast: [20, 3000] })
    injector = new Injector(work)
  })

  test('case 40: of the leader, 100 times: the others take over, and one of them at most deploys', async () => {
    const root = join(work, 'led')
    const steps = await stepsOf(injector, archive, root)
    const wrong: string[] = []
    const handovers: number[] = []
    let complete = 0
    // Every step but those that fill the stage, of which there are some.
    const isFilling = (call: string): boolean => /\.stage\/(?!\.conda-deploy)/.test(call)
    const points = steps.flatMap((call, i) => (isFilling(call) && i % 4 > 0 ? [] : [i + 1]))
    for (let round = 0; round < 100; round++) {
      const at = points[round % points.length] ?? 0
      const done = await leaderDies(injector, archive, root, at)
      wrong.push(...done.wrong.map((what) => `${at} ${steps[at - 1]}: ${what}`))
      handovers.push(done.handover)
      if (done.complete) complete++
    }
    const slowest = Math.max(...handovers)
    console.log(
      `leader killed: 100 rounds at ${points.length} of ${steps.length} steps, ${wrong.length} wrong; ${complete} had published; ` +
        `the others were done ${Math.round(slowest)} ms after its death at the latest`,
    )
    expect(wrong).toEqual([])
    expect(complete).toBeGreaterThan(0)
    expect(steps.some((call) => /\.leases\//.test(call))).toBe(true)
    expect(points.length).toBeLessThanOrEqual(100)
    // The wait of who polls is 100 ms at most; the rest is the deployment itself, on a machine that may do other things.
    expect(slowest).toBeLessThan(3000)
  })

  test('case 41: of who prunes, at every step', async () => {
    const root = join(work, 'pruned')
    const wrong: string[] = []
    let [points, complete] = [0, 0]
    for (let at = 1; ; at++) {
      const done = await prunerDies(injector, archive, root, at)
      if (done === undefined) break
      wrong.push(...done.wrong.map((what) => `${at}: ${what}`))
      points++
      if (done.complete) complete++
    }
    console.log(
      `pruner killed: ${points} points, ${wrong.length} wrong (${complete} complete, ${points - complete} gone)`,
    )
    expect(wrong).toEqual([])
    expect(complete).toBeGreaterThan(0)
    expect(points - complete).toBeGreaterThan(10)
  })

  test('case 40: 64 processes at once: one extraction, all succeed, all have their lease', async () => {
    const root = join(work, 'many')
    mkdirSync(root)
    const done = await Promise.all(
      Array.from({ length: 64 }, (_, i) =>
        runCli([archive, '--root', root, '--json', '-q'], { env: { SLURM_JOB_ID: String(i + 1) } }),
      ),
    )
    expect(done.filter(({ status }) => status !== 0)).toEqual([])
    const methods = done.map(({ stdout }) => (JSON.parse(stdout) as { method: string }).method)
    expect(methods.filter((method) => method === 'deployed')).toHaveLength(1)
    const { path } = privateCache(root)
    expect(readdirSync(path)).toHaveLength(2)
    expect(readdirSync(join(path, '.leases'))).toHaveLength(64)
  })
})
