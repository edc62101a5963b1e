/** case 20, case 50: SIGINT, SIGTERM and SIGHUP at chosen calls of a deployment and of packing; readers that go away. */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { verify } from '../../src/deploy/verify.js'
import { cliFile, runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'
import { type Fixture, makeFixture, namesIn } from './fixture.js'
import { Injector, noInjection } from './inject.js'

const work = temporaryFolder('faults')

if (noInjection !== null) console.log(`skipped: signals at chosen calls: ${noInjection}`)

let fixture: Fixture
beforeAll(async () => {
  fixture = await makeFixture(work, 12, 500)
})

describe.skipIf(noInjection !== null)('a signal', () => {
  let injector: Injector
  beforeAll(() => {
    injector = new Injector(fixture.folder)
  })

  test.each(['archive', 'foreign', 'pack'] as const)(
    'case 20, case 50: ends what it meets with 128 + its number and leaves nothing (%s)',
    async (which) => {
      const at = join(fixture.folder, `signals-${which}`)
      const made = join(at, which === 'pack' ? 'out.tar.zst' : 'env')
      const args =
        which === 'pack' ? ['pack', '-p', fixture.prefix, '-o', made] : [fixture[which], '--to', made, '--threads', '2']
      const fault = { beneath: [at, ...(which === 'pack' ? [fixture.prefix] : [])], calls: undefined }
      const { calls: _, ...watched } = fault
      const reading = { ...watched, ...(which === 'pack' ? { calls: ['openr', 'open', 'pwrite', 'rename'] } : {}) }
      mkdirSync(at)
      const trace = await injector.trace(reading, (env) => runCli(args, { env }))
      removeTree(at)
      const wrong: string[] = []
      const count = { ended: 0, done: 0 }
      const points = Array.from({ length: 10 }, (_, i) => 1 + Math.floor((i * (trace.length - 1)) / 9))
      for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
        for (const point of points) {
          const number = constants.signals[name]
          mkdirSync(at)
          const done = await runCli(args, { env: injector.env({ ...reading, at: point, how: `signal ${number}` }) })
          const label = `${name} at ${point} (${trace[point - 1]}): ${done.status} ${done.stderr}`
          if (done.status === 0) {
            count.done++
            if ((await verify(made)).faults.length > 0 || namesIn(at).length !== 1)
              wrong.push(`${label} ${namesIn(at)}`)
          } else {
            count.ended++
            if (done.status !== 128 + number || done.stdout !== '' || namesIn(at).length > 0)
              wrong.push(`${label} ${namesIn(at)}`)
          }
          removeTree(at)
        }
      console.log(
        `signals during ${which}: ${points.length * 3} points, ${count.ended} ended, ${count.done} were done, ${wrong.length} wrong`,
      )
      expect(wrong).toEqual([])
      expect(count.ended).toBeGreaterThan(10)
      expect(differences(describeTree(fixture.prefix), fixture.before)).toEqual([])
    },
  )
})

test.each([
  ['a reader that went away', '| true', 0],
  ['a closed stdout', '>&-', null],
])('case 50: %s ends no deployment', (name, redirected, status) => {
  const prefix = join(fixture.folder, `reader-${name.replaceAll(' ', '-')}`)
  const command = `'${process.execPath}' '${cliFile}' '${fixture.archive}' --to '${prefix}' ${redirected}; exit \${PIPESTATUS[0]}`
  const done = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
  if (status !== null) expect(done.status, done.stderr).toBe(status)
  expect(done.stderr).not.toMatch(/^ {4}at /m)
  expect(spawnSync(process.execPath, [cliFile, 'verify', prefix]).status).toBe(0)
})
