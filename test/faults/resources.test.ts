/** case 47, case 42: threads, memory, and what a process may have too little of. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { pack } from '../../src/pack/pack.js'
import { makeEnvironment, python } from '../support/make-env.js'
import { cliFile } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'
import { type Fixture, makeFixture, namesIn, noise } from './fixture.js'

const work = temporaryFolder('faults')

const threads = [1, 2, 3, 8, 64]
let fixture: Fixture
beforeAll(async () => {
  fixture = await makeFixture(work, 60, 30_000)
})

test('case 47: packing with any number of threads gives the same bytes', async () => {
  const hashes = new Set<string>()
  for (const nThreads of threads) {
    const output = join(fixture.folder, `threads-${nThreads}.tar.zst`)
    await pack({ prefix: fixture.prefix, output, nThreads })
    hashes.add(createHash('sha256').update(readFileSync(output)).digest('hex'))
  }
  expect(hashes.size).toBe(1)
})

test.each(['archive', 'foreign'] as const)(
  'case 47: deploying an %s with any number of threads gives the same tree',
  async (which) => {
    const trees: Map<string, string>[] = []
    for (const count of threads) {
      const prefix = join(fixture.folder, 'threads')
      const done = await deploy({ archive: fixture[which], to: prefix, threads: count, verify: true })
      expect(done).toMatchObject({ method: 'deployed', threads: Math.min(count, availableParallelism()) })
      expect((await verify(prefix, { threads: count })).faults).toEqual([])
      trees.push(describeTree(prefix, ['.conda-deploy']))
      removeTree(prefix)
    }
    for (const tree of trees) expect(differences(tree, trees[0] as Map<string, string>)).toEqual([])
  },
)

const library = pathToFileURL(resolve(import.meta.dirname, '../../dist/index.js')).href

/** Peak resident memory of a verb in a process of its own, in bytes. */
function peak(verb: 'pack' | 'deploy', options: object): number {
  const code = `
    const { ${verb} } = await import(${JSON.stringify(library)})
    await ${verb}(${JSON.stringify(options)})
    console.log(process.resourceUsage().maxRSS * 1024)`
  const done = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' })
  expect(done.status, done.stderr).toBe(0)
  return Number(done.stdout)
}

describe('memory', () => {
  const folder = temporaryFolder('memory')
  test('case 47: does not grow with the size of the archive', () => {
    const sizes = [64, 1024].map((megabytes) => {
      const prefix = join(folder, `env-${megabytes}`)
      makeEnvironment(prefix, { packages: [python] })
      mkdirSync(join(prefix, 'data'))
      // A quarter of it in one file that spans frames; all of it holes behind a little noise, so that it is made fast; to the limits it looks like a bomb.
      const files = [[megabytes / 4, 1] as const, [(megabytes * 3) / 4 / 96, 96] as const]
      for (const [size, count] of files)
        for (let i = 0; i < count; i++) {
          const path = join(prefix, 'data', `${count}-${i}`)
          writeFileSync(path, noise(10_000, path))
          truncateSync(path, size * (1 << 20))
        }
      const archive = join(folder, `${megabytes}.tar.zst`)
      const target = join(folder, `deployed-${megabytes}`)
      const packed = peak('pack', { prefix, output: archive, nThreads: 2 })
      rmSync(prefix, { recursive: true })
      const deployed = peak('deploy', { archive, to: target, threads: 2, maxBytes: 2 ** 40 })
      removeTree(target)
      return { megabytes, packed, deployed }
    })
    const told = sizes.map(
      ({ megabytes, packed, deployed }) => `${megabytes} MiB: pack ${packed >> 20}, deploy ${deployed >> 20} MiB`,
    )
    console.log(`peak memory, 2 threads, ${told.join('; ')}`)
    const [small, large] = sizes as [(typeof sizes)[0], (typeof sizes)[0]]
    // Sixteen times the content may take its longer table, and what the allocator keeps.
    expect(large.packed - small.packed).toBeLessThan(64 << 20)
    expect(large.deployed - small.deployed).toBeLessThan(64 << 20)
    expect(Math.max(large.packed, large.deployed)).toBeLessThan(400 << 20)
  })
})

describe.skipIf(process.platform !== 'linux')('too little', () => {
  const at = (): string => join(fixture.folder, 'limits')
  const isComplete = (prefix: string): boolean => spawnSync(process.execPath, [cliFile, 'verify', prefix]).status === 0

  /** Either done and complete, or told plainly and absent. */
  function tryWith(limit: string, args: readonly string[]): 'done' | 'told' | 'node' {
    const words = (all: readonly string[]): string => all.map((word) => `'${word}'`).join(' ')
    const bash = (line: string) => spawnSync('bash', ['-c', `${limit} && exec ${line}`], { encoding: 'utf8' })
    // What Node itself cannot live with says nothing of us.
    if (bash(words([process.execPath, '-e', 'import("node:fs/promises")'])).status !== 0) return 'node'
    mkdirSync(at())
    const prefix = join(at(), 'env')
    const { status, signal, stderr } = bash(words([process.execPath, cliFile, ...args, '--to', prefix]))
    try {
      if (status === 0) {
        expect(isComplete(prefix)).toBe(true)
        expect(namesIn(at())).toEqual(['env'])
        return 'done'
      }
      expect(existsSync(prefix)).toBe(false)
      // Where V8 finds no memory, or Node no descriptor for a module, it ends the process; the next deployment clears up.
      if (/node:internal\/modules/.test(stderr) || signal !== null || status === 134 || status === 133 || status === 5)
        return 'node'
      expect(stderr).not.toMatch(/^ {4}at |unexpected/m)
      expect(namesIn(at()), stderr).toEqual([])
      return 'told'
    } finally {
      removeTree(at())
    }
  }

  test.each([
    ['archive', [18, 20, 21, 22, 24, 28, 40, 64]],
    // Threads of Node take about ten descriptors each.
    ['foreign', [64, 128]],
  ] as const)('case 42: file descriptors: done, or told (%s)', (which, limits) => {
    const ends = limits.map((n) => `${n} ${tryWith(`ulimit -n ${n}`, [fixture[which], '--threads', '8'])}`)
    console.log(`descriptors, ${which}: ${ends.join(', ')}`)
    expect(ends.at(-1)).toMatch(/done$/)
  })

  test('case 42: address space: done, or told', () => {
    const ends = [700, 1000, 4000].map(
      (n) => `${n} MiB ${tryWith(`ulimit -v ${n * 1024}`, [fixture.archive, '--threads', '8'])}`,
    )
    console.log(`address space: ${ends.join(', ')}`)
    expect(ends.at(-1)).toBe('4000 MiB done')
  })

  test('case 42: file size: told', () => {
    expect(tryWith('ulimit -f 8', [fixture.archive])).toBe('told')
  })

  test('case 42: names and paths that are too long are told', () => {
    for (const [prefix, message, status] of [
      [join(fixture.folder, 'x'.repeat(300)), /has 300 bytes; a name can have 255/, 2],
      [join(fixture.folder, ...Array.from({ length: 50 }, () => 'x'.repeat(100))), /name too long/, 1],
    ] as const) {
      const done = spawnSync(process.execPath, [cliFile, fixture.archive, '--to', prefix], { encoding: 'utf8' })
      expect(done.status).toBe(status)
      expect(done.stderr).toMatch(message)
      expect(done.stderr).not.toMatch(/^ {4}at |unexpected/m)
    }
    expect(namesIn(fixture.folder).filter((name) => name.startsWith('x'))).toEqual([])
  })

  test('case 35, case 42: a program that runs in the environment hinders neither verifying nor adopting nor packing it', async () => {
    const prefix = join(fixture.folder, 'busy')
    await deploy({ archive: fixture.archive, to: prefix, readOnly: false })
    const program = join(prefix, 'bin/busy')
    spawnSync('cp', ['/bin/sleep', program])
    const script =
      `'${program}' 30 & pid=$!; '${process.execPath}' '${cliFile}' '${fixture.archive}' --to '${prefix}' --writable; ` +
      `status=$?; '${process.execPath}' '${cliFile}' pack -p '${prefix}' -o '${prefix}.tar.zst' -q || status=9; kill $pid; exit $status`
    const done = spawnSync('bash', ['-c', script], { encoding: 'utf8' })
    expect(done.stderr).not.toMatch(/text file busy|ETXTBSY/i)
    expect(done.status, done.stderr).toBe(0)
  })
})
