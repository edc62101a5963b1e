/** A few of the faults of test/faults, quick enough for every run. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { namesIn } from '../faults/fixture.js'
import { Injector, noInjection } from '../faults/inject.js'
import { runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { writeSample } from './sample.js'

if (noInjection !== null) console.log(`skipped: test/deploy/faults: ${noInjection}`)

describe.skipIf(noInjection !== null)('pulling the plug', { timeout: 120_000 }, () => {
  const work = temporaryFolder('plug')
  const archive = join(work, 'sample.tar.zst')
  const at = join(work, 'place')
  const prefix = join(at, 'env')
  const args = [archive, '--to', prefix, '--threads', '1']
  let injector: Injector
  let trace: string[]

  beforeAll(async () => {
    await writeSample(archive)
    injector = new Injector(work)
    mkdirSync(at)
    trace = await injector.trace({ beneath: [at] }, (env) => runCli(args, { env }))
    removeTree(at)
  })

  test('case 41: around publishing: absent or complete, and the next one succeeds', async () => {
    const rename = trace.findIndex((call) => call.startsWith('rename ')) + 1
    expect(rename).toBeGreaterThan(20)
    for (const point of [1, 4, Math.floor(rename / 2), rename - 5, rename - 1, rename, rename + 1]) {
      mkdirSync(at)
      const { signal } = await runCli(args, { env: injector.env({ beneath: [at], at: point }) })
      expect(signal).toBe('SIGKILL')
      expect(existsSync(prefix), trace[point - 1]).toBe(point > rename)
      expect(await deploy({ archive, to: prefix })).toMatchObject({ method: point > rename ? 'adopted' : 'deployed' })
      expect((await verify(prefix)).faults).toEqual([])
      expect(namesIn(at)).toEqual(['env'])
      removeTree(at)
    }
  })

  test.each([
    ['ENOSPC', 75],
    ['EDQUOT', 75],
    ['EIO', 1],
    ['EROFS', 1],
  ] as const)('case 42: %s ends with %d and leaves nothing', async (how, status) => {
    const calls = ['write', 'open', 'rename']
    for (const name of calls) {
      mkdirSync(at)
      const env = injector.env({ beneath: [at], calls: [name], at: name === 'rename' ? 1 : 3, how })
      const done = await runCli(args, { env })
      expect({ name, status: done.status, stdout: done.stdout }).toEqual({ name, status, stdout: '' })
      expect(done.stderr).not.toMatch(/unexpected|^ {4}at /m)
      expect(namesIn(at)).toEqual([])
      removeTree(at)
    }
  })
})
