/** SIGKILL, errors and full disks at the calls by which a deployment becomes that of another archive where it stands. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type DeployResult, deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { EnvError } from '../../src/errors.js'
import { noOtherUsers } from '../support/as-user.js'
import { type CliResult, cliFile, runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { differences } from '../support/tree.js'
import { earlier, litterOf, newer, packed, stateOf } from '../support/update-pair.js'
import { namesIn, spread } from './fixture.js'
import { Injector, noInjection } from './inject.js'
import { noMounts, Space } from './space.js'

const work = temporaryFolder('update-faults')
const lanes = [0, 1] as const
const kinds = { 'read-only': true, writable: false } as const
type Kind = keyof typeof kinds
const user = 65_534

if (noInjection !== null) console.log(`skipped: faults while deployments are updated: ${noInjection}`)

describe.skipIf(noInjection !== null)('a deployment that is updated', () => {
  let injector: Injector
  const archives = { old: join(work, 'old.tar.zst'), new: join(work, 'new.tar.zst') } as const
  type Which = keyof typeof archives

  beforeAll(async () => {
    injector = new Injector(work)
    await packed(archives.old, earlier)
    await packed(archives.new, newer)
  })

  /** An earlier deployment, to be had again and again, and what it and one of the newer archive look like. */
  class Case {
    readonly at: string
    readonly prefix: string
    readonly readOnly: boolean
    readonly #origin: string
    readonly states = { old: new Map<string, string>(), new: new Map<string, string>() }

    constructor(kind: Kind, lane: number) {
      this.at = join(work, `${kind}${lane}`)
      this.prefix = join(this.at, 'env')
      this.readOnly = kinds[kind]
      this.#origin = join(work, `${kind}${lane}-origin`)
    }

    async open(): Promise<this> {
      mkdirSync(this.at)
      for (const which of ['new', 'old'] as const) {
        removeTree(this.prefix)
        await deploy({ archive: archives[which], to: this.prefix, readOnly: this.readOnly })
        this.states[which] = stateOf(this.prefix)
      }
      execFileSync('cp', ['-a', this.prefix, this.#origin])
      return this
    }

    reset(): void {
      removeTree(this.at)
      mkdirSync(this.at)
      execFileSync('cp', ['-a', this.#origin, this.prefix])
    }

    args(threads = 1): string[] {
      const flags = [...(this.readOnly ? [] : ['--writable']), '--update', '-q', '--threads', `${threads}`]
      return [archives.new, '--to', this.prefix, ...flags]
    }

    run(env: Readonly<Record<string, string>> = {}, threads = 1): Promise<CliResult> {
      return runCli(this.args(threads), { env })
    }

    next(which: Which, update: boolean): Promise<DeployResult> {
      return deploy({ archive: archives[which], to: this.prefix, readOnly: this.readOnly, update, threads: 1 })
    }

    wrong(which: Which): string[] {
      // A lock of `install` was made and removed in that directory; who has it next removes what a killed process left of it.
      const isLocks = (line: string): boolean => !this.readOnly && /^conda-meta(?:\/\.conda-deploy\.lock)?: /.test(line)
      const differs = differences(stateOf(this.prefix), this.states[which]).filter((line) => !isLocks(line))
      return [...differs, ...litterOf(this.prefix).map((one) => `left: ${one}`)]
    }

    /** Which of the two it is; both null: neither. */
    side(): Which | null {
      if (differences(stateOf(this.prefix), this.states.old).length === 0) return 'old'
      return differences(stateOf(this.prefix), this.states.new).length === 0 ? 'new' : null
    }

    async calls(): Promise<string[]> {
      this.reset()
      return await injector.trace({ beneath: [this.at] }, async (env) => {
        expect(await this.run(env)).toMatchObject({ status: 0 })
      })
    }
  }

  const opened = new Map<Kind, Promise<Case[]>>()
  const casesOf = (kind: Kind): Promise<Case[]> => {
    const cases = opened.get(kind) ?? Promise.all(lanes.map((lane) => new Case(kind, lane).open()))
    opened.set(kind, cases)
    return cases
  }

  /** What comes next after a kill, in turns: each gives one of the two trees, and says which. */
  const nexts: readonly (readonly [which: Which, update: boolean])[] = [
    ['new', true],
    ['old', true],
    ['old', false],
    ['new', false],
  ]

  async function judge(one: Case, number: number): Promise<string[]> {
    const [which, update] = nexts[number % nexts.length] as (typeof nexts)[number]
    const interrupted = existsSync(join(one.prefix, '.conda-deploy/change/journal.json'))
    const found: string[] = []
    if (!interrupted && existsSync(join(one.prefix, '.conda-deploy/ready'))) {
      const { faults } = await verify(one.prefix)
      // Until the next command has looked at it, a done update may lack what it does to directories.
      const own = faults.filter(({ path, kind }) => kind !== 'extra' && !statSync(join(one.prefix, path)).isDirectory())
      if (own.length > 0) found.push(`not whole, and called complete: ${JSON.stringify(own[0])}`)
    }
    let stands: Which = which
    try {
      await one.next(which, update)
    } catch (error) {
      if (update || !(error instanceof EnvError) || error.code !== 'TARGET_EXISTS') throw error
      stands = which === 'old' ? 'new' : 'old'
    }
    return [...found, ...one.wrong(stands)].map((text) => `${which}${update ? ' --update' : ''}: ${text}`)
  }

  test.each(Object.keys(kinds) as Kind[])(
    'is one of the two after SIGKILL, once the next command has looked at it (%s)',
    async (kind) => {
      const cases = await casesOf(kind)
      const calls = await (cases[0] as Case).calls()
      expect((cases[0] as Case).wrong('new')).toEqual([])
      // Of the calls that fill the stage, or empty it, every sixth; what is writable differs little.
      const isMany = (call: string): boolean => /\/change\/(?:new|old)\//.test(call) && !/^(?:rename|link)/.test(call)
      const points = calls.flatMap((call, i) =>
        (isMany(call) && i % 6 > 0) || (kind === 'writable' && i % 3 > 0) ? [] : [{ at: i + 1, call }],
      )
      const wrong: string[] = []
      let turn = 0
      await spread(points, lanes.length, async ({ at, call }, lane) => {
        const one = cases[lane] as Case
        one.reset()
        const threads = at % 5 === 3 ? 3 : 1
        const { signal, stderr } = await one.run(injector.env({ beneath: [one.at], at }), threads)
        if (threads === 1) expect(signal, `${call}: ${stderr}`).toBe('SIGKILL')
        const found = await judge(one, turn++).catch((error: Error) => [error.message])
        if (found.length > 0) wrong.push(`${at} ${call}: ${found.slice(0, 3).join('; ')}`)
      })
      console.log(`kill during an update (${kind}): ${points.length} points, ${wrong.length} not whole`)
      expect(wrong).toEqual([])
      expect(points.length).toBeGreaterThan(20)
    },
  )

  test('is one of the two after SIGKILL while that is taken back, or ended', async () => {
    const [one] = (await casesOf('read-only')) as [Case]
    const calls = await one.calls()
    const middle =
      calls.findLastIndex((call) => call.startsWith('rename') && call.endsWith('/env/.conda-deploy/ready')) + 1
    const ended = calls.findIndex((call) => /^rename .*done\.json/.test(call)) + 5
    const wrong: string[] = []
    let tried = 0
    for (const [first, which] of [
      [middle, 'old'],
      [ended, 'new'],
    ] as const) {
      const killed = async (): Promise<void> => {
        one.reset()
        expect(await one.run(injector.env({ beneath: [one.at], at: first }))).toMatchObject({ signal: 'SIGKILL' })
      }
      await killed()
      const line = [archives[which], '--to', one.prefix, '-q', '--threads', '1']
      const steps = await injector.trace({ beneath: [one.at] }, async (env) => {
        expect(await runCli(line, { env })).toMatchObject({ status: 0 })
      })
      expect(one.wrong(which)).toEqual([])
      for (const [i, call] of steps.entries()) {
        if (i % 7 !== 3) continue
        tried++
        await killed()
        const { signal } = await runCli(line, { env: injector.env({ beneath: [one.at], at: i + 1 }) })
        expect(signal).toBe('SIGKILL')
        const found = await judge(one, tried).catch((error: Error) => [error.message])
        if (found.length > 0) wrong.push(`${i + 1} ${call}: ${found.slice(0, 3).join('; ')}`)
      }
    }
    console.log(`kill while an update is taken back: ${tried} points, ${wrong.length} not whole`)
    expect(wrong).toEqual([])
    expect(tried).toBeGreaterThan(15)
  })

  test.skipIf(noOtherUsers !== null)(
    'is whole, too, where it is a user’s, whom modes stop, with a file of theirs in it',
    async () => {
      chmodSync(work, 0o755)
      const [at, origin] = [join(work, 'users'), join(work, 'users-origin')]
      const prefix = join(at, 'env')
      mkdirSync(at)
      chownSync(at, user, user)
      const line = (which: Which): string[] => [archives[which], '--to', prefix, '--update', '-q', '--threads', '1']
      const as = (which: Which, env = {}): string => {
        // Not by setpriv, which would be what meets the fault.
        const { PATH } = process.env
        const means = { uid: user, gid: user, encoding: 'utf8', env: { PATH, HOME: '/nonexistent', ...env } } as const
        const { status, stderr } = spawnSync(process.execPath, [cliFile, ...line(which)], means)
        return `${status} ${stderr.split('\n')[0]}`
      }
      expect(as('old')).toBe('0 ')
      const mine = join(prefix, 'share/goes/deep/mine')
      chmodSync(dirname(mine), 0o755)
      writeFileSync(mine, 'mine')
      chmodSync(dirname(mine), 0o555)
      execFileSync('cp', ['-a', prefix, origin])
      const told = /^0 warning: files that are not of the deployment stay.*: share\/goes\/deep$/
      expect(as('new')).toMatch(told)
      const after = stateOf(prefix)
      const reset = (): void => {
        removeTree(prefix)
        execFileSync('cp', ['-a', origin, prefix])
      }
      reset()
      const calls = await injector.trace({ beneath: [prefix] }, async (env) => {
        writeFileSync(env['FAULT_LOG'] as string, '')
        chownSync(env['FAULT_LOG'] as string, user, user)
        expect(as('new', env)).toMatch(told)
      })
      const done = calls.findIndex((call) => /^rename .*done\.json/.test(call))
      const wrong: string[] = []
      for (const [i, call] of calls.entries()) {
        if (i < done ? i % 15 !== 4 : i % 2 > 0 || !/^(?:rmdir|chmod|utime) /.test(call) || call.includes('/change/'))
          continue
        reset()
        expect(as('new', injector.env({ beneath: [prefix], at: i + 1 }))).toBe('null ')
        const ended = as('new')
        if (!/^0 /.test(ended)) wrong.push(`${i + 1} ${call}: ${ended}`)
        const isTime = (text: string): boolean => /^share\/goes(?:\/deep)?: directory 555/.test(text)
        const differs = differences(stateOf(prefix), after).filter((text) => !isTime(text))
        wrong.push(...[...differs, ...litterOf(prefix)].map((text) => `${i + 1} ${call}: ${text}`))
      }
      expect(wrong).toEqual([])
      expect(calls.length - done).toBeGreaterThan(20)
    },
  )

  test.each(['ENOSPC', 'EACCES', 'EIO'] as const)(
    'is as it was after %s, or as it is to be, by itself',
    async (how) => {
      const kind = how === 'EIO' ? 'writable' : 'read-only'
      const cases = await casesOf(kind)
      const calls = await (cases[0] as Case).calls()
      const commit = calls.findIndex((call) => /^rename .*journal\.json/.test(call)) + 1
      const done = calls.findIndex((call) => /^rename .*done\.json/.test(call)) + 1
      const points = calls
        .map((call, i) => ({ call, at: i + 1 }))
        .filter(({ at }) => at % (at < commit || at > done + 25 ? 17 : 4) === 1)
      const wrong: string[] = []
      await spread(points, lanes.length, async ({ call, at }, lane) => {
        const one = cases[lane] as Case
        one.reset()
        const { status, stderr } = await one.run(injector.env({ beneath: [one.at], at, how }))
        const found: string[] = []
        // What fails after the change is done is a warning, and left for the next command; so is a lock's file.
        if (status === 0 || litterOf(one.prefix).every((name) => name === '.env.lock'))
          await one.next(status === 0 ? 'new' : 'old', false)
        found.push(...one.wrong(status === 0 ? 'new' : 'old'))
        if (status !== 0 && !stderr.includes(one.at)) found.push(`says not where: ${stderr}`)
        if (/^ {4}at |bug of conda-deploy/m.test(stderr)) found.push(stderr)
        if (found.length > 0) wrong.push(`${at} ${call}: status ${status}: ${stderr} ${found.slice(0, 3).join('; ')}`)
      })
      console.log(`${how} during an update: ${points.length} points, ${wrong.length} not as before`)
      expect(wrong).toEqual([])
    },
  )

  test('is as it was after SIGINT and SIGTERM, or as it is to be, by itself', async () => {
    const cases = await casesOf('read-only')
    const calls = await (cases[0] as Case).calls()
    const points = calls.flatMap((call, i) => (i % 13 === 5 ? [{ call, at: i + 1 }] : []))
    const wrong: string[] = []
    const seen = new Set<string>()
    await spread(points, lanes.length, async ({ call, at }, lane) => {
      const one = cases[lane] as Case
      one.reset()
      const number = at % 2 === 0 ? 2 : 15
      const { status, stderr } = await one.run(injector.env({ beneath: [one.at], at, how: `signal ${number}` }))
      if (status !== 0 && status !== 128 + number) wrong.push(`${at} ${call}: status ${status}: ${stderr}`)
      const which = one.side()
      seen.add(`${which}`)
      if (which === null || (status === 0 && which !== 'new')) wrong.push(`${at} ${call}: it is ${which}`)
      else wrong.push(...one.wrong(which).map((text) => `${at} ${call}: ${text}`))
    })
    expect(wrong).toEqual([])
    expect([...seen].sort()).toEqual(['new', 'old'])
  })

  test('that cannot be taken back keeps its journal, nobody takes it for whole, and the next command takes it back', async () => {
    const [one] = (await casesOf('writable')) as [Case]
    const calls = (await one.calls()).filter((call) => call.startsWith('rename'))
    const at = calls.findLastIndex((call) => call.includes('/share/')) + 1
    one.reset()
    const failed = await one.run(injector.env({ beneath: [one.at], at, how: 'EIO', sticky: true, calls: ['rename'] }))
    expect(failed.status).toBe(1)
    expect(failed.stderr).toMatch(/is in the midst of a change that cannot be taken back: .*\n\nhint: .* --update/)
    const { prefix } = one
    const readers: readonly (readonly string[])[] = [
      ['list', '-p', prefix],
      ['export', '-p', prefix],
      ['pack', '-p', prefix, '-o', join(work, 'x.tar.zst')],
      ['verify', prefix],
      ['activate', prefix, '--shell', 'bash'],
      ['relocate', prefix, join(one.at, 'moved')],
      ['relocate', prefix, join(one.at, 'copy'), '--copy'],
      ['remove', '-p', prefix, 'tool'],
      ['repair', '-p', prefix],
    ]
    const ends = await Promise.all(readers.map((line) => runCli(line, {})))
    const told = ends.map(({ status, stdout, stderr }, i) => `${readers[i]?.[0]} ${status} ${stdout} ${stderr}`)
    for (const text of told) expect(text).toMatch(/^\w+ 1 {2}.*left in the midst of an update.*hint: .* --update/s)
    expect(namesIn(one.at)).toEqual(['env'])
    const dry = await runCli([...one.args(), '--dry-run', '--json'], {})
    expect([dry.status, JSON.parse(dry.stdout)]).toMatchObject([0, { method: 'updated', dryRun: true }])
    expect(existsSync(join(prefix, '.conda-deploy/change/journal.json'))).toBe(true)
    const other = await runCli([archives.old, '--to', prefix, '--writable', '--base', prefix], {})
    expect(other).toMatchObject({ status: 0 })
    expect(one.wrong('old')).toEqual([])
    expect(await one.run()).toMatchObject({ status: 0 })
    expect(one.wrong('new')).toEqual([])
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
      space = await Space.open(`mount -t tmpfs -o size=2m,nr_inodes=400 tmpfs '${at}'`)
      const prefix = join(at, 'env')
      const seen = space.seen(prefix)
      expect(space.cli([archives.old, '--to', prefix, '-q'], {})).toMatchObject({ status: 0 })
      const before = stateOf(seen)
      const calls = ['open', 'write', 'mkdir', 'symlink', 'link', 'rename']
      const fault = { beneath: [at], calls, how, fill: join(at, 'other') }
      let failed = 0
      for (const moment of [1, 2, 3, 5, 8, 13, 20, 28, 36, 40, 45, 50, 60]) {
        const line = [archives.new, '--to', prefix, '--update', '-q', '--threads', '1']
        const ended = space.cli(line, injector.env({ ...fault, at: moment }))
        space.run(['sh', '-c', `rm -f '${at}'/other.*`])
        if (ended.status === 0) {
          expect(space.cli([archives.old, '--to', prefix, '--update', '-q'], {})).toMatchObject({ status: 0 })
        } else {
          failed++
          expect([ended.status, ended.stderr]).toEqual([75, expect.stringMatching(/no space left/i)])
        }
        expect([...differences(stateOf(seen), before), ...litterOf(seen)], `${moment}`).toEqual([])
      }
      console.log(`full (${how}) during an update: ${failed} told, 0 left behind`)
      expect(failed).toBeGreaterThanOrEqual(4)
    })
  })
})
