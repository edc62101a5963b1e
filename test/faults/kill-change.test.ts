/** SIGKILL, errors and full disks at the calls by which install, update and remove change an environment. */
import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { install } from '../../src/install/install.js'
import { repair } from '../../src/install/repair.js'
import { text } from '../install/built.js'
import { makeChannel, stateOf } from '../install/changes.js'
import { runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { differences } from '../support/tree.js'
import { namesIn, spread } from './fixture.js'
import { Injector, noInjection } from './inject.js'
import { noMounts, Space } from './space.js'

const work = temporaryFolder('change-faults')
const home = join(work, 'home')
const lanes = [0, 1] as const

if (noInjection !== null) console.log(`skipped: faults while environments change: ${noInjection}`)

/** Packages of an environment, as explicit lists name them: no solver is asked, which would take most of the time. */
type Packages = readonly string[]
const base: Packages = ['linux-64/python-3.11.4-0.conda', 'linux-64/alone-1.0-0.conda', 'noarch/pure-1.0-0.conda']
const older: Packages = ['linux-64/tool-1.0-0.conda', 'linux-64/data-1.0-0.tar.bz2']
const newer: Packages = ['linux-64/tool-2.0-0.conda', 'linux-64/data-2.0-0.conda']

interface Kind {
  readonly before: Packages
  /** What is installed, or names of what is removed. */
  readonly install?: Packages
  readonly remove?: readonly string[]
}

const kinds: Readonly<Record<string, Kind>> = {
  install: { before: base, install: newer },
  'an update': { before: [...base, ...older], install: newer },
  'a change of python': { before: base, install: ['linux-64/python-3.12.1-0.conda'] },
  remove: { before: [...base, ...newer], remove: ['tool', 'pure'] },
}

describe.skipIf(noInjection !== null)('an environment that is changed', () => {
  let injector: Injector
  let channel: string

  beforeAll(async () => {
    channel = (await makeChannel(work)).all
    injector = new Injector(work)
  })
  beforeEach(() => {
    vi.stubEnv('HOME', home)
    for (const name of ['CONDARC', 'CONDA_PREFIX', 'CONDA_EXE', 'XDG_CONFIG_HOME']) vi.stubEnv(name, undefined)
    return () => vi.unstubAllEnvs()
  })

  function listOf(packages: Packages): string {
    const file = join(work, `${packages.join('+').replaceAll('/', '-')}.txt`)
    writeFileSync(file, `@EXPLICIT\n${packages.map((one) => `file://${channel}/${one}\n`).join('')}`)
    return file
  }

  /** An environment as it is before the change, to be had again and again; and its state before and after. */
  class Case {
    readonly at: string
    readonly kind: Kind
    readonly prefix: string
    readonly args: readonly string[]
    readonly #origin: string
    before = new Map<string, string>()
    after = new Map<string, string>()
    history = ''

    constructor(at: string, kind: Kind) {
      this.at = at
      this.kind = kind
      this.prefix = join(at, 'env')
      this.#origin = join(at, 'origin')
      const what =
        kind.install === undefined ? ['remove', ...(kind.remove ?? [])] : ['install', '-f', listOf(kind.install)]
      this.args = [...what, '-p', this.prefix, '-q', '--threads', '1']
    }

    async open(): Promise<this> {
      mkdirSync(this.at, { recursive: true })
      const made = await runCli(['create', '-p', this.prefix, '-f', listOf(this.kind.before), '-q'], {
        env: { HOME: home },
      })
      if (made.status !== 0) throw new Error(made.stderr)
      execFileSync('cp', ['-a', this.prefix, this.#origin])
      this.before = stateOf(this.prefix)
      this.history = text(join(this.prefix, 'conda-meta/history'))
      const changed = await this.run()
      if (changed.status !== 0) throw new Error(changed.stderr)
      this.after = stateOf(this.prefix)
      return this
    }

    /** As it was before the change. Files are shared with the origin: nothing writes into one. */
    reset(): void {
      removeTree(this.prefix)
      execFileSync('cp', ['-al', this.#origin, this.prefix])
    }

    run(env: Readonly<Record<string, string>> = {}, threads = '1') {
      return runCli([...this.args.slice(0, -1), threads], { env: { HOME: home, ...env } })
    }

    /** Where a name stays, the old file or the new one is there. */
    torn(): string[] {
      const own = ['conda-meta/history', 'conda-meta/.conda-deploy', 'conda-meta/.conda-deploy.lock']
      const now = stateOf(this.prefix, own)
      const isFile = (line = 'directory'): boolean => !line.startsWith('directory')
      const stays = [...this.before.keys()].filter(
        (path) => isFile(this.before.get(path)) && isFile(this.after.get(path)),
      )
      return stays.filter((path) => now.get(path) !== this.before.get(path) && now.get(path) !== this.after.get(path))
    }

    /** What is neither as it was nor as it is to be. */
    wrong(wanted: 'before' | 'after' | 'either'): string[] {
      const now = stateOf(this.prefix)
      const isBefore = text(join(this.prefix, 'conda-meta/history')) === this.history
      const side = wanted === 'either' ? (isBefore ? 'before' : 'after') : wanted
      const litter = [...namesIn(join(this.prefix, 'conda-meta')), ...namesIn(this.at)].filter((name) =>
        name.startsWith('.'),
      )
      return [
        ...differences(now, this[side]),
        ...(isBefore === (side === 'before') ? [] : ['the history says otherwise']),
        ...litter.filter((name) => name !== '.conda-deploy.lock'),
      ]
    }

    /** The calls that count in one undisturbed run. */
    async calls(): Promise<string[]> {
      this.reset()
      return await injector.trace({ beneath: [this.at] }, async (env) => {
        expect(await this.run(env)).toMatchObject({ status: 0 })
      })
    }
  }

  const opened = new Map<string, Promise<Case[]>>()
  const casesOf = (name: string): Promise<Case[]> => {
    const cases = opened.get(name) ?? openCases(name)
    opened.set(name, cases)
    return cases
  }
  const openCases = async (name: string): Promise<Case[]> => {
    const kind = kinds[name] as Kind
    return await Promise.all(
      lanes.map((lane) => new Case(join(work, `${name.replace(/\W/g, '')}${lane}`), kind).open()),
    )
  }

  test.each(Object.keys(kinds))(
    'is whole after SIGKILL during %s, once the next command has looked at it',
    async (name) => {
      const cases = await casesOf(name)
      const calls = await (cases[0] as Case).calls()
      // Of the calls that fill the stage, or empty it, every third.
      const isMany = (call: string): boolean =>
        /\.conda-deploy\/(?:new|old)\//.test(call) && !/^(?:rename|link)/.test(call)
      const points = calls.flatMap((call, i) => (isMany(call) && i % 3 > 0 ? [] : [{ at: i + 1, call }]))
      const wrong: string[] = []
      const seen = new Map<string, number>()
      await spread(points, lanes.length, async ({ at, call }, lane) => {
        const one = cases[lane] as Case
        one.reset()
        const threads = at % 4 === 3 ? '3' : '1'
        const { signal, stderr } = await one.run(injector.env({ beneath: [one.at], at }), threads)
        if (threads === '1') expect(signal, `${call}: ${stderr}`).toBe('SIGKILL')
        const torn = one.torn()
        const { recovered } = await repair({ prefix: one.prefix })
        seen.set(recovered, (seen.get(recovered) ?? 0) + 1)
        const side =
          recovered === 'finished' ? 'after' : recovered === 'nothing' || recovered === 'cleared' ? 'either' : 'before'
        const found = [...torn.map((path) => `${path} is torn`), ...one.wrong(side)]
        if (existsSync(join(one.prefix, 'conda-meta/.conda-deploy.lock'))) found.push('the lock is left')
        if (found.length > 0) wrong.push(`${at} ${call} (${recovered}): ${found.slice(0, 3).join('; ')}`)
      })
      const told = [...seen].map(([what, count]) => `${count} ${what}`).join(', ')
      console.log(
        `kill during ${name}: ${points.length} points of ${calls.length} (${told}), ${wrong.length} not whole`,
      )
      expect(wrong).toEqual([])
      expect(points.length).toBeGreaterThan(40)
      expect(seen.get('taken back') ?? 0).toBeGreaterThan(8)
      // And the same command does it then.
      const one = cases[0] as Case
      one.reset()
      expect(await one.run()).toMatchObject({ status: 0 })
      expect(one.wrong('after')).toEqual([])
    },
  )

  test('is whole after SIGKILL while that is taken back', async () => {
    const [one] = (await casesOf('an update')) as [Case]
    const calls = await one.calls()
    const middle = calls.findLastIndex((call) => call.startsWith('rename') && call.includes('/share/')) + 1
    const killed = async (): Promise<void> => {
      one.reset()
      expect(await one.run(injector.env({ beneath: [one.at], at: middle }))).toMatchObject({ signal: 'SIGKILL' })
    }
    const line = ['repair', '-p', one.prefix, '--threads', '1']
    await killed()
    const steps = await injector.trace({ beneath: [one.at] }, async (env) => {
      expect((await runCli(line, { env: { HOME: home, ...env } })).stdout).toBe('taken back\n')
    })
    expect(one.wrong('before')).toEqual([])
    const wrong: string[] = []
    const points = steps.map((call, i) => ({ call, at: i + 1 })).filter(({ at }) => at % 3 === 1)
    for (const { call, at } of points) {
      await killed()
      await runCli(line, { env: { HOME: home, ...injector.env({ beneath: [one.at], at }) } })
      await repair({ prefix: one.prefix })
      if (one.wrong('before').length > 0) wrong.push(`${at} ${call}: ${one.wrong('before').slice(0, 3)}`)
    }
    console.log(`kill during repair: ${points.length} points, ${wrong.length} not whole`)
    expect(wrong).toEqual([])
    expect(points.length).toBeGreaterThan(10)
  })

  test.each(['ENOSPC', 'EACCES', 'EIO'] as const)('is as it was after %s, by itself', async (how) => {
    const cases = await casesOf('an update')
    const calls = await (cases[0] as Case).calls()
    const commit = calls.findIndex((call) => /^rename .*journal\.json/.test(call)) + 1
    const done = calls.findIndex((call) => /^rename .*done\.json/.test(call)) + 1
    const points = calls
      .map((call, i) => ({ call, at: i + 1 }))
      .filter(({ at }) => at % (at < commit || at > done ? 7 : 2) === 1)
    const wrong: string[] = []
    await spread(points, lanes.length, async ({ call, at }, lane) => {
      const one = cases[lane] as Case
      one.reset()
      const { status, stderr } = await one.run(injector.env({ beneath: [one.at], at, how }))
      // What fails after the change is done is a warning, and left for the next command.
      if (status === 0) await repair({ prefix: one.prefix })
      const found = one.wrong(status === 0 ? 'after' : 'before')
      if (/^ {4}at |bug of conda-deploy/m.test(stderr)) found.push(stderr)
      if (found.length > 0) wrong.push(`${at} ${call}: status ${status}: ${found.slice(0, 3).join('; ')}`)
    })
    console.log(`${how} during an update: ${points.length} points, ${wrong.length} not as before`)
    expect(wrong).toEqual([])
  })

  test('whose change cannot be taken back keeps its journal, and the next command does it', async () => {
    const [one] = (await casesOf('an update')) as [Case]
    const calls = (await one.calls()).filter((call) => call.startsWith('rename'))
    const at = calls.findLastIndex((call) => call.includes('/share/')) + 1
    one.reset()
    const failed = await one.run(injector.env({ beneath: [one.at], at, how: 'EIO', sticky: true, calls: ['rename'] }))
    expect(failed.stderr).toMatch(
      /is in the midst of a change that cannot be taken back: .*\n\nhint: .* conda-deploy repair/,
    )
    const list = await runCli(['pack', '-p', one.prefix, '-o', join(work, 'x.tar.zst')], { env: { HOME: home } })
    expect(list.stderr).toMatch(/left in the midst of a change/)
    const again = await one.run()
    expect(again.stderr).toContain('an interrupted change was taken back')
    expect(one.wrong('after')).toEqual([])
  })

  describe.skipIf(noMounts !== null)('on a small file system', () => {
    let space: Space | undefined
    afterEach(async () => {
      await space?.close()
      space = undefined
    })

    test.each(['fill', 'crowd'] as const)('is as it was when that is full (%s)', async (how) => {
      const at = join(work, `mount-${how}`)
      mkdirSync(at)
      space = await Space.open(`mount -t tmpfs -o size=16m,nr_inodes=2000 tmpfs '${at}'`)
      const prefix = join(at, 'env')
      const env = { HOME: home }
      const seen = space.seen(prefix)
      const lists = [listOf([...base, ...older]), listOf(newer)] as const
      expect(space.cli(['create', '-p', prefix, '-f', lists[0], '-q'], env)).toMatchObject({ status: 0 })
      const before = stateOf(seen, [])
      const fault = {
        beneath: [at],
        calls: ['open', 'write', 'mkdir', 'symlink', 'link', 'rename'],
        how,
        fill: join(at, 'other'),
      }
      let failed = 0
      for (const moment of [1, 2, 3, 5, 8, 20, 40, 60, 75, 90, 100, 120, 140]) {
        const ended = space.cli(['install', '-p', prefix, '-f', lists[1], '-q'], {
          ...env,
          ...injector.env({ ...fault, at: moment }),
        })
        space.run(['sh', '-c', `rm -f '${at}'/other.*`])
        if (ended.status !== 0) {
          failed++
          expect(ended.stderr).toMatch(/No space left|no space left/)
          expect(ended.status).toBe(75)
        } else {
          expect(space.cli(['install', '-p', prefix, '-f', lists[0], '-q'], env)).toMatchObject({ status: 0 })
        }
        const differs = differences(stateOf(seen, ended.status === 0 ? undefined : []), before)
        expect(
          differs.filter((line) => ended.status !== 0 || !line.startsWith('conda-meta/history')),
          `${moment}`,
        ).toEqual([])
        if (ended.status === 0) writeFileSync(join(seen, 'conda-meta/history'), text(join(seen, 'conda-meta/history')))
        if (lstatSync(join(seen, 'conda-meta/.conda-deploy'), { throwIfNoEntry: false }))
          throw new Error('a stage is left')
        if (ended.status === 0) break
      }
      console.log(`full (${how}) during an update: ${failed} told, 0 left behind`)
      expect(failed).toBeGreaterThanOrEqual(5)
    })
  })

  test('of a package cache that is another user’s', async () => {
    const cache = join(work, 'theirs')
    const env = { HOME: home, CONDA_PKGS_DIRS: cache }
    const prefix = join(work, 'shared-cache')
    expect(await runCli(['create', '-p', prefix, '-f', listOf(base), '-q'], { env })).toMatchObject({ status: 0 })
    execFileSync('chmod', ['-R', 'a-w', cache])
    const own = join(work, 'own')
    const both = { ...env, CONDA_PKGS_DIRS: `${cache},${own}` }
    vi.stubEnv('CONDA_PKGS_DIRS', `${cache},${own}`)
    const done = await install({ prefix, files: [listOf(newer)] })
    expect(done.added).toHaveLength(2)
    // Root may write everywhere.
    expect(namesIn(process.getuid?.() === 0 ? cache : own)).toContain('tool-2.0-0')
    expect(await runCli(['remove', '-p', prefix, 'tool', '-q'], { env: both })).toMatchObject({ status: 0 })
    execFileSync('chmod', ['-R', 'u+w', cache])
  })
})
