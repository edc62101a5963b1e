/** case 42: every kind of system call fails, at its first, middle and last occurrence, with the errors that file systems give. */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { type CliResult, runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'
import { type Fixture, makeFixture, namesIn, spread } from './fixture.js'
import { type Fault, Injector, noInjection } from './inject.js'

const work = temporaryFolder('faults')

if (noInjection !== null) console.log(`skipped: errors of system calls: ${noInjection}`)

type Errno = 'EIO' | 'ENOSPC' | 'EDQUOT' | 'EROFS' | 'EACCES' | 'EMFILE' | 'ENOMEM'
const changing = ['EIO', 'ENOSPC', 'EDQUOT', 'EROFS', 'EACCES'] as const
const reads: readonly string[] = ['openr', 'read', 'pread', 'statfs']
const full: readonly string[] = ['ENOSPC', 'EDQUOT']

interface Point {
  readonly at: number
  readonly how: Errno
  readonly sticky: boolean
  readonly call: string
}

/** First, middle and last call of each name, with each error that fits it; a full disk also stays full. */
function pointsOf(trace: readonly string[]): Point[] {
  const places = new Map<string, number[]>()
  for (const [i, line] of trace.entries()) {
    const name = line.slice(0, line.indexOf(' '))
    places.set(name, [...(places.get(name) ?? []), i + 1])
  }
  return [...places].flatMap(([name, all]) => {
    const chosen = new Set([all[0], all[Math.floor(all.length / 2)], all.at(-1)] as number[])
    const errors: readonly Errno[] = reads.includes(name) ? ['EIO', 'EACCES'] : changing
    const extra: readonly Errno[] = name.startsWith('open') ? ['EMFILE', 'ENOMEM'] : []
    return [...chosen].flatMap((at) =>
      [...errors, ...extra].flatMap((how): Point[] => {
        const point = { at, how, call: trace[at - 1] ?? '' }
        return full.includes(how)
          ? [true, false].map((sticky) => ({ ...point, sticky }))
          : [{ ...point, sticky: false }]
      }),
    )
  })
}

/** What a failure must look like; a call whose failure changes nothing may be survived, but then all is well. */
function blame({ how, call }: Point, { status, signal, stderr }: CliResult): string | null {
  if (signal !== null) return `ended by ${signal}`
  if (status === 0) return null
  if (/^ {4}at |unexpected|bug of conda-deploy/m.test(stderr)) return `says ${stderr}`
  if (full.includes(how) && status !== 75) return `ends with ${status}: ${stderr}`
  // What --verify cannot read back is a fault of the tree.
  const inStage = /^(?:openr|p?read) .*\.stage\//.test(call)
  if (!full.includes(how) && status !== 1 && !(inStage && status === 3)) return `ends with ${status}: ${stderr}`
  if (!stderr.startsWith('conda-deploy: ')) return `says ${stderr}`
  return call === '' ? 'has no call' : null
}

describe.skipIf(noInjection !== null)('a system call that fails', () => {
  let fixture: Fixture
  let injector: Injector
  beforeAll(async () => {
    fixture = await makeFixture(work, 12, 500)
    injector = new Injector(fixture.folder)
  })

  interface Trial {
    readonly fault: Fault
    readonly points: readonly Point[]
    readonly args: readonly string[]
    /** Beneath which nothing may be left by a failure; what a success leaves. */
    readonly at: string
    readonly made: string
    readonly isWhole: () => boolean
  }

  async function tryAll(name: string, { fault, points, args, at, made, isWhole }: Trial): Promise<void> {
    const wrong: string[] = []
    const count = { failed: 0, survived: 0 }
    await spread(points, 1, async (point) => {
      mkdirSync(at)
      const done = await runCli(args, { env: injector.env({ ...fault, ...point }) })
      const label = `${point.how}${point.sticky ? ' from' : ' at'} ${point.at} (${point.call})`
      const blamed = blame(point, done)
      if (blamed !== null) wrong.push(`${label} ${blamed}`)
      if (done.status === 0) {
        count.survived++
        if (!isWhole()) wrong.push(`${label} ends with 0, and what it made is not whole`)
      } else {
        count.failed++
        // Removing may have been made to fail too, for as long as it was tried: then the stage is named, and the next one clears it.
        const told = (left: string): boolean => point.sticky || done.stderr.includes(left) || isRemoval(point.call)
        const left = namesIn(at).filter((left) => left !== made || !isWhole())
        if (left.some((one) => !told(one))) wrong.push(`${label} leaves ${left.join(' ')}: ${done.stderr}`)
      }
      removeTree(at)
    })
    console.log(
      `errors during ${name}: ${points.length} injected, ${count.failed} told, ${count.survived} survived, ${wrong.length} wrong`,
    )
    expect(wrong).toEqual([])
    expect(differences(describeTree(fixture.prefix), fixture.before)).toEqual([])
  }

  const isRemoval = (call: string): boolean => /^(?:unlink|rmdir) /.test(call)

  test.each(['archive', 'foreign'] as const)(
    'case 42: during the deployment of an %s is told, and nothing is left',
    async (which) => {
      const at = join(fixture.folder, `errors-${which}`)
      const [prefix, archive] = [join(at, 'env'), fixture[which]]
      mkdirSync(at)
      await deploy({ archive, to: prefix })
      const whole = describeTree(prefix, ['.conda-deploy'])
      removeTree(at)
      const args = [archive, '--to', prefix, '--threads', '1', '--verify']
      const fault: Fault = { beneath: [at, archive] }
      for (const calls of [undefined, reads]) {
        const watched = calls === undefined ? fault : { ...fault, calls }
        mkdirSync(at)
        const trace = await injector.trace(watched, (env) => runCli(args, { env }))
        removeTree(at)
        const isWhole = (): boolean =>
          existsSync(prefix) && differences(describeTree(prefix, ['.conda-deploy']), whole).length === 0
        const name = `${which === 'archive' ? 'deploy' : 'foreign deploy'}, ${calls === undefined ? 'changing' : 'reading'} calls`
        await tryAll(name, { fault: watched, points: pointsOf(trace), args, at, made: 'env', isWhole })
      }
    },
  )

  test('case 42, case 20: during packing is told, and nothing is left', async () => {
    const at = join(fixture.folder, 'errors-pack')
    const output = join(at, 'out.tar.zst')
    const args = ['pack', '-p', fixture.prefix, '-o', output, '--threads', '1']
    for (const calls of [undefined, reads]) {
      const fault: Fault = { beneath: [at, fixture.prefix], ...(calls === undefined ? {} : { calls }) }
      mkdirSync(at)
      const trace = await injector.trace(fault, (env) => runCli(args, { env }))
      removeTree(at)
      const isWhole = (): boolean => existsSync(output)
      const name = `pack, ${calls === undefined ? 'changing' : 'reading'} calls`
      await tryAll(name, { fault, points: pointsOf(trace), args, at, made: 'out.tar.zst', isWhole })
    }
  })

  test('case 42: during verify is told, and never taken for a sound tree', async () => {
    const at = join(fixture.folder, 'errors-verify')
    mkdirSync(at)
    const prefix = join(at, 'env')
    await deploy({ archive: fixture.archive, to: prefix })
    const wrong: string[] = []
    let injected = 0
    for (const subject of [prefix, fixture.archive]) {
      const fault: Fault = { beneath: [at, fixture.archive], calls: reads }
      const run = (env: Record<string, string>) => runCli(['verify', subject, '--threads', '1'], { env })
      for (const point of pointsOf(await injector.trace(fault, run))) {
        const done = await run(injector.env({ ...fault, ...point }))
        injected++
        // A file that cannot be read is a fault of the tree; an index that cannot be read is a failure.
        if (done.status !== 1 && done.status !== 3)
          wrong.push(`${point.how} at ${point.call}: ${done.status} ${done.stderr}`)
      }
    }
    console.log(`errors during verify: ${injected} injected, ${wrong.length} wrong`)
    expect(wrong).toEqual([])
  })
})
