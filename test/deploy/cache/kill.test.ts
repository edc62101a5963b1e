/** A few of the rounds of test/faults/kill-cache.test.ts, quick enough for every run. */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { privateCache } from '../../../src/deploy/cache/folder.js'
import { leaderDies, prunerDies, stepsOf } from '../../faults/cache-rounds.js'
import { Injector, noInjection } from '../../faults/inject.js'
import { runCli } from '../../support/run-cli.js'
import { temporaryFolder } from '../../support/temp.js'
import { writeSample } from '../sample.js'

const work = temporaryFolder('kill-cache')
const archive = join(work, 'sample.tar.zst')
if (noInjection !== null) console.log(`skipped: test/deploy/cache/kill: ${noInjection}`)

beforeAll(async () => {
  await writeSample(archive)
})

test('case 40: a dozen processes of as many jobs: one extraction, all succeed, all have their lease', async () => {
  const root = join(work, 'many')
  mkdirSync(root)
  const run = (job: number) => runCli([archive, '--root', root, '--json', '-q'], { env: { SLURM_JOB_ID: String(job) } })
  const done = await Promise.all(Array.from({ length: 12 }, (_, i) => run(i + 1)))
  expect(done.filter(({ status }) => status !== 0)).toEqual([])
  const methods = done.map(({ stdout }) => (JSON.parse(stdout) as { method: string }).method)
  expect(methods.filter((method) => method === 'deployed')).toHaveLength(1)
  const { path } = privateCache(root)
  expect(readdirSync(path)).toHaveLength(2)
  expect(readdirSync(join(path, '.leases'))).toHaveLength(12)
})

describe.skipIf(noInjection !== null)('killed', { timeout: 120_000 }, () => {
  let injector: Injector
  beforeAll(() => {
    injector = new Injector(work)
  })

  test('case 41: the leader, around its lease and its publishing', async () => {
    const root = join(work, 'led')
    const steps = await stepsOf(injector, archive, root)
    const lease = steps.findIndex((call) => call.includes('.leases')) + 1
    const rename = steps.findIndex((call) => call.startsWith('rename ')) + 1
    expect([lease > 0, rename > lease]).toEqual([true, true])
    for (const at of [1, lease, lease + 1, rename - 1, rename, rename + 1]) {
      const { wrong, complete } = await leaderDies(injector, archive, root, at)
      expect([steps[at - 1], wrong]).toEqual([steps[at - 1], []])
      expect(complete).toBe(at > rename)
    }
  })

  test('case 41: who prunes, before and after the name is gone', async () => {
    const root = join(work, 'pruned')
    const outcomes = []
    for (const at of [1, 2, 3, 4, 8, 12]) outcomes.push(await prunerDies(injector, archive, root, at))
    expect(outcomes.flatMap((one) => one?.wrong ?? ['it was not killed'])).toEqual([])
    expect(new Set(outcomes.map((one) => one?.complete))).toEqual(new Set([true, false]))
  })
})
