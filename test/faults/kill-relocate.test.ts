/** case 41: SIGKILL at the calls by which a relocation, or a deployment that takes content from another, changes anything. */
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { relocate } from '../../src/deploy/relocate.js'
import { verify } from '../../src/deploy/verify.js'
import { EnvError } from '../../src/errors.js'
import { runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'
import { type Fixture, makeFixture, namesIn, spread } from './fixture.js'
import { Injector, noInjection } from './inject.js'

const work = temporaryFolder('faults')

if (noInjection !== null) console.log(`skipped: kill during relocate and delta: ${noInjection}`)

const own = ['.conda-deploy']
const lanes = [0, 1] as const

/** One kind of work beneath a folder that is made anew for every attempt. */
interface Kind {
  /** Before the process that is killed. */
  prepare(at: string, archive: string): Promise<void>
  /** The command line that is killed. */
  args(at: string, archive: string): string[]
  /** The same again, to its end. */
  again(at: string, archive: string): Promise<unknown>
  /** Trees of which one at least must be there, whole, after the kill; those that are there must all be whole. */
  readonly either: readonly string[]
  /** Faults that a tree may have at that time, with the path `.`: it stands elsewhere than its files say. */
  readonly displaced: readonly string[]
  /** What is there at the end. */
  readonly names: readonly string[]
}

const kinds: Readonly<Record<string, Kind>> = {
  'relocate to another place': {
    prepare: async (at, archive) => void (await deploy({ archive, to: join(at, 'old') })),
    args: (at) => ['relocate', join(at, 'old'), join(at, 'new')],
    again: (at) => relocate({ directory: join(at, 'old'), to: join(at, 'new') }),
    ...{ either: ['old', 'new'], displaced: [], names: ['new'] },
  },
  'relocate --copy': {
    prepare: async (at, archive) => void (await deploy({ archive, to: join(at, 'old') })),
    args: (at) => ['relocate', '--copy', join(at, 'old'), join(at, 'new')],
    again: async (at) => {
      if (!existsSync(join(at, 'new')))
        await relocate({ directory: join(at, 'old'), to: join(at, 'new'), copy: true, threads: 2 })
      else await deploy({ archive: join(at, '../sample.tar.zst'), to: join(at, 'new') })
    },
    ...{ either: ['old'], displaced: [], names: ['new', 'old'] },
  },
  'relocate in place': {
    prepare: async (at, archive) => {
      await deploy({ archive, to: join(at, 'old') })
      renameSync(join(at, 'old'), join(at, 'new'))
    },
    args: (at) => ['relocate', join(at, 'new')],
    again: (at) => relocate({ directory: join(at, 'new') }),
    ...{ either: ['new'], displaced: ['new'], names: ['new'] },
  },
  'a delta': {
    prepare: async (at, archive) => void (await deploy({ archive, to: join(at, 'old') })),
    args: (at, archive) => [archive, '--to', join(at, 'new'), '--base', join(at, 'old')],
    again: (at, archive) => deploy({ archive, to: join(at, 'new'), base: join(at, 'old') }),
    ...{ either: ['old'], displaced: [], names: ['new', 'old'] },
  },
}

describe.skipIf(noInjection !== null)('SIGKILL', () => {
  let fixture: Fixture
  let injector: Injector
  beforeAll(async () => {
    fixture = await makeFixture(work)
    injector = new Injector(fixture.folder)
  })

  test.each(Object.keys(kinds))(
    'case 41: during %s leaves a complete tree, and the next one ends the work',
    async (name) => {
      const kind = kinds[name] as Kind
      const { archive } = fixture
      const places = lanes.map((lane) => join(fixture.folder, `${name.replace(/\W/g, '')}${lane}`))
      const wholes: Map<string, string>[] = []
      for (const at of places) {
        mkdirSync(at)
        await deploy({ archive, to: join(at, 'new') })
        wholes.push(describeTree(join(at, 'new'), own))
        removeTree(at)
      }
      const command = (at: string, threads: number): string[] => [
        ...kind.args(at, archive),
        ...['-q', '--threads', String(threads)],
      ]
      const [first = ''] = places
      mkdirSync(first)
      await kind.prepare(first, archive)
      const trace = await injector.trace({ beneath: [first] }, async (env) => {
        expect(await runCli(command(first, 1), { env })).toMatchObject({ status: 0 })
      })
      removeTree(first)
      // Of the calls that fill the stage, or empty what is no longer wanted, every fifth.
      const isMany = (call: string): boolean => /\.stage\/(?!\.conda-deploy)/.test(call)
      const points = trace.flatMap((call, i) => (isMany(call) && i % 5 > 0 ? [] : [{ at: i + 1, call }]))
      const wrong: string[] = []
      await spread(points, lanes.length, async ({ at: number, call }, lane) => {
        const [at = '', whole = new Map<string, string>()] = [places[lane], wholes[lane]]
        const fail = (what: string): void => void wrong.push(`${number} ${call}: ${what}`)
        mkdirSync(at)
        await kind.prepare(at, archive)
        const threads = number % 4 === 3 ? 4 : 1
        const { signal, stderr } = await runCli(command(at, threads), {
          env: injector.env({ beneath: [at], at: number }),
        })
        if (threads === 1) expect(signal, `${call}: ${stderr}`).toBe('SIGKILL')
        if (!kind.either.some((one) => existsSync(join(at, one)))) fail(`nothing is there but ${namesIn(at)}`)
        for (const one of ['old', 'new'].filter((other) => existsSync(join(at, other)))) {
          const { faults } = await verify(join(at, one))
          const counted = faults.filter(({ path }) => path !== '.' || !kind.displaced.includes(one))
          if (counted.length > 0) fail(`${one} is not whole: ${JSON.stringify(counted.slice(0, 3))}`)
        }
        const done = existsSync(join(at, 'new')) && !existsSync(join(at, 'old'))
        await kind.again(at, archive).catch((error: unknown) => {
          // Everything was done but the removal of the lock's file.
          if (!(done && error instanceof EnvError && error.code === 'NOT_A_DEPLOYMENT')) throw error
        })
        if (differences(describeTree(join(at, 'new'), own), whole).length > 0) fail('the next one differs')
        if (JSON.parse(readFileSync(join(at, 'new/.conda-deploy/ready'), 'utf8')).prefix !== join(at, 'new'))
          fail('the next one stands elsewhere than it says')
        if (namesIn(at).join(' ') !== kind.names.join(' ')) fail(`litter: ${namesIn(at)}`)
        removeTree(at)
      })
      console.log(`kill during ${name}: ${points.length} points, ${wrong.length} half-made or litter`)
      expect(wrong).toEqual([])
      expect(points.length).toBeGreaterThan(40)
    },
  )
})
