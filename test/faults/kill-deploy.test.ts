/** case 41, case 40: SIGKILL at every call by which a deployment changes anything; then the next one. */
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'
import { type Fixture, makeFixture, namesIn, spread } from './fixture.js'
import { Injector, noInjection } from './inject.js'

const work = temporaryFolder('faults')

if (noInjection !== null) console.log(`skipped: kill during deploy: ${noInjection}`)

const own = ['.conda-deploy']
const lanes = [0, 1] as const

/** Where the processes of a lane work: always the same prefix, so that all trees of a lane are to be equal. */
interface Lane {
  readonly at: string
  readonly prefix: string
  readonly whole: Map<string, string>
}

describe.skipIf(noInjection !== null)('SIGKILL during a deployment', () => {
  let fixture: Fixture
  let injector: Injector
  beforeAll(async () => {
    fixture = await makeFixture(work)
    injector = new Injector(fixture.folder)
  })

  const args = (archive: string, prefix: string, threads: number): string[] => [
    ...[archive, '--to', prefix, '-q'],
    ...['--threads', String(threads)],
  ]

  async function makeLane(archive: string, name: string): Promise<Lane> {
    const at = join(fixture.folder, name)
    const prefix = join(at, 'env')
    mkdirSync(at)
    await deploy({ archive, to: prefix })
    const whole = describeTree(prefix, own)
    removeTree(at)
    return { at, prefix, whole }
  }

  /** What a killed process left, and what the next one makes of it. `half`, `litter`: what must never be. */
  async function judge(archive: string, { at, prefix, whole }: Lane, half: string[], litter: string[], label: string) {
    const isThere = existsSync(prefix)
    if (isThere && differences(describeTree(prefix, own), whole).length + (await verify(prefix)).faults.length > 0)
      half.push(label)
    const next = await deploy({ archive, to: prefix, threads: 2 })
    if (next.method !== (isThere ? 'adopted' : 'deployed')) half.push(`${label}: ${next.method}`)
    if (differences(describeTree(prefix, own), whole).length > 0) half.push(`${label}: the next one differs`)
    const left = namesIn(at).filter((name) => name !== 'env')
    if (left.length > 0) litter.push(`${label}: ${left.join(' ')}`)
    return isThere
  }

  test.each([
    ['deploy', 'archive', 200],
    ['foreign deploy', 'foreign', 100],
  ] as const)('case 41: at every call of a %s leaves an absent or a complete target', async (name, which, least) => {
    const archive = fixture[which]
    const places = await Promise.all(lanes.map((lane) => makeLane(archive, `kill-${which}-${lane}`)))
    const trace = await injector.trace({ beneath: [places[0]?.at ?? ''] }, async (env) => {
      mkdirSync(places[0]?.at ?? '')
      expect(await runCli(args(archive, places[0]?.prefix ?? '', 1), { env })).toMatchObject({ status: 0 })
      removeTree(places[0]?.at ?? '')
    })
    expect(trace.length).toBeGreaterThanOrEqual(least)
    // Writes are also torn: their first half reaches the file. With more threads the same number means another moment.
    const isFilling = (call: string): boolean => which === 'foreign' && /\.stage\/(?!\.conda-deploy)/.test(call)
    const points = trace.flatMap((call, i) =>
      // Every third call that fills the stage: of the foreign deployment they are many, and it takes twice the time.
      isFilling(call) && i % 3 > 0
        ? []
        : [
            { at: i + 1, how: 'kill' as const, threads: i % 5 === 4 ? 4 : 1 },
            ...(/^p?write .*(?:index|ready|large|f0)$/.test(call)
              ? [{ at: i + 1, how: 'torn' as const, threads: 1 }]
              : []),
          ],
    )
    const half: string[] = []
    const litter: string[] = []
    let present = 0
    await spread(points, lanes.length, async ({ at, how, threads }, lane) => {
      const place = places[lane] as Lane
      mkdirSync(place.at)
      const env = injector.env({ beneath: [place.at], at, how })
      const { signal, stderr } = await runCli(args(archive, place.prefix, threads), { env })
      // The last few calls of several threads may be fewer than those of one.
      if (threads === 1) expect(signal, `${at} ${how}: ${stderr}`).toBe('SIGKILL')
      if (await judge(archive, place, half, litter, `${at} ${how} ${trace[at - 1]}`)) present++
      removeTree(place.at)
    })
    console.log(
      `kill during ${name}: ${points.length} points, ${half.length} half-made, ${litter.length} litter ` +
        `(${present} complete, ${points.length - present} absent)`,
    )
    expect({ half, litter }).toEqual({ half: [], litter: [] })
    expect(trace.some((call) => /^rename .*\/env$/.test(call))).toBe(true)
    // The calls after the rename: the lock's file goes, and is closed.
    expect(present).toBeGreaterThanOrEqual(2)
    expect(differences(describeTree(fixture.prefix), fixture.before)).toEqual([])
  })

  test('case 41: of one that clears away what another left, still leaves a place that the third one clears', async () => {
    const [place] = await Promise.all([makeLane(fixture.archive, 'kill-twice')])
    const run = async (at: number): Promise<void> => {
      const env = injector.env({ beneath: [place.at], at })
      await runCli(args(fixture.archive, place.prefix, 1), { env })
    }
    const half: string[] = []
    const litter: string[] = []
    const points = Array.from({ length: 30 }, (_, i) => 2 + i * 4)
    for (const at of points) {
      mkdirSync(place.at)
      await run(150)
      expect(namesIn(place.at).some((name) => name.endsWith('.stage'))).toBe(true)
      await run(at)
      await judge(fixture.archive, place, half, litter, `150, then ${at}`)
      removeTree(place.at)
    }
    console.log(`kill twice: ${points.length} points, ${half.length} half-made, ${litter.length} litter`)
    expect({ half, litter }).toEqual({ half: [], litter: [] })
  })

  test('case 40: of the one that the others wait for: another of them takes over', async () => {
    const place = await makeLane(fixture.archive, 'takeover')
    mkdirSync(place.at)
    // It stops in the middle of filling its stage, and is killed when the others wait for it.
    const env = injector.env({ beneath: [place.at], at: 120, how: 'signal 19' })
    let leader: ChildProcess | undefined
    const during = (child: ChildProcess): void => {
      leader = child
    }
    const led = runCli(args(fixture.archive, place.prefix, 1), { env, during })
    while (!namesIn(place.at).some((name) => name.endsWith('.stage'))) await sleep(5)
    let waiting = 0
    const phase = (name: string): void => void (name.startsWith('wait') && ++waiting === 3 && leader?.kill('SIGKILL'))
    const reporter = { phase, progress() {}, warn() {} }
    const others = Array.from({ length: 3 }, () => deploy({ archive: fixture.archive, to: place.prefix, reporter }))
    const methods = (await Promise.all(others)).map(({ method }) => method).sort()
    expect((await led).signal).toBe('SIGKILL')
    expect(methods).toEqual(['adopted', 'adopted', 'deployed'])
    expect(namesIn(place.at)).toEqual(['env'])
    expect(differences(describeTree(place.prefix, own), place.whole)).toEqual([])
  })

  test('case 41: below a scratch folder leaves nothing but the folder of the user, and the next one adopts or deploys', async () => {
    const root = join(fixture.folder, 'kill-root')
    const cache = join(root, `conda-deploy-${process.getuid?.() ?? 0}`)
    const command = [fixture.archive, '--root', root, '-q', '--threads', '1']
    const trace = await injector.trace({ beneath: [root] }, (env) => runCli(command, { env }))
    removeTree(root)
    // All that happens around the filling of the stage, which is what the other tests kill in.
    const isFilling = (call: string): boolean => /\.stage\/(?!\.conda-deploy)/.test(call)
    const points = trace.flatMap((call, i) => (isFilling(call) ? [] : [i + 1]))
    const wrong: string[] = []
    for (const at of points) {
      const { signal } = await runCli(command, { env: injector.env({ beneath: [root], at }) })
      expect(signal).toBe('SIGKILL')
      const { prefix } = await deploy({ archive: fixture.archive, root })
      if ((await verify(prefix)).faults.length > 0) wrong.push(`${trace[at - 1]}: faults`)
      if (namesIn(cache).length !== 1 || namesIn(root).length !== 1) wrong.push(`${trace[at - 1]}: ${namesIn(cache)}`)
      removeTree(root)
    }
    console.log(`kill below a scratch folder: ${points.length} points, ${wrong.length} half-made or litter`)
    expect(wrong).toEqual([])
    expect(points.length).toBeGreaterThan(15)
  })
})
