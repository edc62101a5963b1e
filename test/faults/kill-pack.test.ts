/** case 41, case 20: SIGKILL at every call by which packing reads the environment or writes the archive; then the next one. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { verify } from '../../src/deploy/verify.js'
import { pack } from '../../src/pack/pack.js'
import { runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'
import { type Fixture, makeFixture, namesIn, spread } from './fixture.js'
import { Injector, noInjection } from './inject.js'

const work = temporaryFolder('faults')

if (noInjection !== null) console.log(`skipped: kill during pack: ${noInjection}`)

const reading = ['openr', 'read', 'pread']
const writing = [
  'open',
  'write',
  'pwrite',
  'close',
  'rename',
  'link',
  'unlink',
  'truncate',
  'chmod',
  'sync',
  'utime',
  'flock',
]
const hash = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

describe.skipIf(noInjection !== null)('SIGKILL during packing', () => {
  let fixture: Fixture
  let injector: Injector
  beforeAll(async () => {
    fixture = await makeFixture(work, 120)
    injector = new Injector(fixture.folder)
  })

  test.each([
    ['pack', false],
    ['pack that replaces an archive', true],
  ])(
    'case 20, case 41: at every call of a %s leaves the archive absent, as it was, or complete',
    async (name, replaces) => {
      const { prefix } = fixture
      const places = [0, 1].map((lane) => join(fixture.folder, `packed-${replaces}-${lane}`))
      const outputOf = (at: string): string => join(at, 'out.tar.zst')
      const old = 'what stood there'
      const prepare = (at: string): void => {
        mkdirSync(at)
        if (replaces) writeFileSync(outputOf(at), old)
      }
      const args = (output: string, threads: number): string[] => [
        ...['pack', '-p', prefix, '-o', output, '-q', '--threads', String(threads)],
        ...(replaces ? ['--force'] : []),
      ]
      const [first = ''] = places
      prepare(first)
      const fault = { beneath: [first, prefix], calls: replaces ? writing : [...reading, ...writing] }
      const trace = await injector.trace(fault, async (env) => {
        expect(await runCli(args(outputOf(first), 1), { env })).toMatchObject({ status: 0 })
      })
      const whole = hash(outputOf(first))
      rmSync(first, { recursive: true })
      const points = trace.flatMap((call, i) => [
        { at: i + 1, how: 'kill' as const, threads: i % 5 === 4 ? 4 : 1 },
        ...(/^p?write /.test(call) ? [{ at: i + 1, how: 'torn' as const, threads: 1 }] : []),
      ])
      const half: string[] = []
      const litter: string[] = []
      let present = 0
      await spread(points, places.length, async ({ at, how, threads }, lane) => {
        const place = places[lane] ?? ''
        const [output, label] = [outputOf(place), `${at} ${how} ${trace[at - 1]}`]
        prepare(place)
        const env = injector.env({ ...fault, beneath: [place, prefix], at, how })
        const { signal, stderr } = await runCli(args(output, threads), { env })
        if (threads === 1) expect(signal, `${label}: ${stderr}`).toBe('SIGKILL')
        const found = existsSync(output) ? hash(output) : ''
        if (found === whole) present++
        else if (replaces ? readFileSync(output, 'latin1') !== old : found !== '') half.push(label)
        await pack({ prefix, output, force: true, nThreads: 2 })
        if (hash(output) !== whole) half.push(`${label}: the next one differs`)
        const left = namesIn(place).filter((left) => left !== 'out.tar.zst')
        if (left.length > 0) litter.push(`${label}: ${left.join(' ')}`)
        rmSync(place, { recursive: true })
      })
      console.log(
        `kill during ${name}: ${points.length} points, ${half.length} half-made, ${litter.length} litter ` +
          `(${present} complete, ${points.length - present} ${replaces ? 'as before' : 'absent'})`,
      )
      expect(half).toEqual([])
      expect(litter).toEqual([])
      if (!replaces) expect(points.length).toBeGreaterThanOrEqual(200)
      expect(trace.some((call) => /^rename .*\/out\.tar\.zst$/.test(call))).toBe(true)
      expect(differences(describeTree(prefix), fixture.before)).toEqual([])
      expect((await verify(fixture.archive)).faults).toEqual([])
    },
  )
})
