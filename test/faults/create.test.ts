/** case 41, case 42: killed at any step of creating an environment, and every phase of it on a file system that is full. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { build, placeholder, writeIndex } from '../install/built.js'
import { type CliResult, runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'
import { namesIn, noise } from './fixture.js'
import { Injector, noInjection } from './inject.js'
import { noMounts, Space } from './space.js'

const work = temporaryFolder('faults')
if (noInjection !== null) console.log(`skipped: kill during create: ${noInjection}`)
if (noMounts !== null) console.log(`skipped: create on full file systems: ${noMounts}`)

const channel = join(work, 'channel')

async function makeChannel(): Promise<void> {
  const records = []
  const files = Array.from({ length: 12 }, (_, i) => ({ path: `share/f${i}`, content: noise(40_000, `f${i}`) }))
  const sources = Array.from({ length: 12 }, (_, i) => ({
    path: `site-packages/pure/m${i}.py`,
    content: `TEXT = '${noise(10_000, `m${i}`)}'\n`,
  }))
  for (const built of [
    {
      name: 'python',
      version: '3.11.4',
      files: [{ path: 'bin/python3.11', content: '#!/bin/sh\nexec python3 "$@"\n', mode: 0o755 }],
    },
    {
      name: 'tool',
      depends: ['data'],
      files: [
        { path: 'bin/tool', content: `#!${placeholder}/bin/sh\n`, mode: 0o755, placeholder: 'text' as const },
        { path: 'lib/tool.so', content: `\0${placeholder}\0${noise(60_000, 'so')}`, placeholder: 'binary' as const },
        { path: 'lib/link', link: 'tool.so' },
      ],
    },
    { name: 'data', kind: 'tar.bz2' as const, files },
    { name: 'pure', noarch: 'python' as const, depends: ['python'], entryPoints: ['pure = pure:run'], files: sources },
  ])
    records.push(await build(channel, built))
  writeIndex(channel, records)
}

/** Folders of one run: its home with the package cache, and its environment. */
const placeOf = (at: string) => ({
  home: join(at, 'home'),
  pkgs: join(at, 'home/.conda/pkgs'),
  prefix: join(at, 'envs/env'),
})

const argsFor = (at: string): string[] => {
  const { prefix } = placeOf(at)
  return ['create', '-p', prefix, '-c', channel, '--override-channels', 'tool', 'pure', '-q', '--threads', '1']
}
const create = (at: string, env: Record<string, string> = {}): Promise<CliResult> =>
  runCli(argsFor(at), { env: { ...env, HOME: placeOf(at).home } })

/** Without times, and what tells of the run or of where the cache is. */
function treeOf(prefix: string): Map<string, string> {
  const lines = [...describeTree(prefix)].filter(([path]) => !path.startsWith('conda-meta/'))
  return new Map(lines.map(([path, line]) => [path, line.replace(/^(file|directory) (\d+) \d+/, '$1 $2')]))
}

/** What a tree takes of a file system in memory, in bytes: whole pages, of each file once. */
function roomOf(folder: string): number {
  const pages = new Map<number, number>()
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const { ino, size } = lstatSync(join(folder, path))
    pages.set(ino, Math.ceil(size / 4096))
  }
  return [...pages.values()].reduce((sum, count) => sum + count, 0) * 4096
}

/** Folders of the cache that count as unpacked hold all that their packages list. */
function expectSoundCache(pkgs: string): void {
  for (const name of namesIn(pkgs)) {
    const info = join(pkgs, name, 'info')
    if (!existsSync(join(info, 'repodata_record.json'))) continue
    const { paths } = JSON.parse(readFileSync(join(info, 'paths.json'), 'utf8')) as { paths: { _path: string }[] }
    const kept = namesIn(join(pkgs, name, '.conda-deploy')).map((one) => join(pkgs, name, '.conda-deploy', one))
    const compiled = kept.flatMap((folder) =>
      (JSON.parse(readFileSync(join(folder, 'compiled.json'), 'utf8')) as string[]).map((path) => join(folder, path)),
    )
    const all = new Set(readdirSync(join(pkgs, name), { recursive: true, encoding: 'utf8' }))
    expect(paths.filter(({ _path }) => !all.has(_path))).toEqual([])
    expect(compiled.filter((path) => !existsSync(path))).toEqual([])
  }
}

const litterIn = (at: string): string[] => {
  const { pkgs, prefix } = placeOf(at)
  const beside = namesIn(join(prefix, '..')).filter((name) => name !== 'env' && !name.endsWith('.lock'))
  // The lock of the cache stays: whoever removed it could take it from one who waits for it.
  const own = namesIn(pkgs).filter((name) => name.startsWith('.conda-deploy') && name !== '.conda-deploy.lock')
  return [...own, ...beside]
}

describe('creating an environment', () => {
  let whole: Map<string, string>
  let bytes: number
  beforeAll(async () => {
    await makeChannel()
    // Where the later ones stand, so that the same prefix is in its files.
    const at = join(work, 'at')
    mkdirSync(at)
    expect(await create(at)).toMatchObject({ status: 0 })
    const { prefix } = placeOf(at)
    whole = treeOf(prefix)
    bytes = roomOf(at)
    rmSync(at, { recursive: true })
  })

  test.skipIf(noInjection !== null)(
    'case 41: killed at any step: the environment is absent or complete, the cache sound, and the next run makes it',
    async () => {
      const at = join(work, 'at')
      const injector = new Injector(work)
      const beneath = [at]
      const trace = await injector.trace({ beneath }, async (env) => {
        expect(await create(at, env)).toMatchObject({ status: 0 })
      })
      rmSync(at, { recursive: true })
      const { prefix, pkgs } = placeOf(at)
      const step = Math.ceil(trace.length / 45)
      const points = trace.map((_, i) => i + 1).filter((point) => point % step === 0)
      let absent = 0
      for (const point of points) {
        const killed = await create(at, injector.env({ beneath, at: point }))
        expect(killed.signal, `${point} ${trace[point - 1]}`).toBe('SIGKILL')
        if (existsSync(prefix)) expect(differences(treeOf(prefix), whole), trace[point - 1]).toEqual([])
        else absent++
        expectSoundCache(pkgs)
        const there = existsSync(prefix)
        if (there) rmSync(prefix, { recursive: true })
        const next = await create(at)
        expect(next, `${trace[point - 1]}: ${next.stderr}`).toMatchObject({ status: 0 })
        expect(differences(treeOf(prefix), whole), trace[point - 1]).toEqual([])
        expect(litterIn(at), trace[point - 1]).toEqual([])
        rmSync(at, { recursive: true })
      }
      console.log(
        `kill during create: ${points.length} of ${trace.length} points, ${absent} absent, 0 half-made, 0 litter`,
      )
      expect(absent).toBeGreaterThan(30)
    },
  )

  describe.skipIf(noMounts !== null)('on a file system', () => {
    let space: Space | undefined
    afterEach(async () => {
      await space?.close()
      space = undefined
    })

    test('case 42: that is full in any phase: nothing of it is left, and with room it is made', async () => {
      const at = join(work, 'at')
      mkdirSync(at, { recursive: true })
      const told = new Map<string, number>()
      for (const part of [5, 10, 15, 20, 25, 30, 32, 33, 34, 35, 36, 37, 38, 39, 40, 42]) {
        const opened = await Space.open(`mount -t tmpfs -o size=${Math.ceil((bytes * part) / 40)} tmpfs '${at}'`)
        space = opened
        const env = { HOME: placeOf(at).home }
        const ended = opened.cli(argsFor(at), env)
        const { prefix, pkgs } = placeOf(opened.seen(at))
        if (ended.status === 0) {
          expect(differences(treeOf(prefix), whole)).toEqual([])
        } else {
          expect(ended, ended.stderr).toMatchObject({ status: 75, stdout: '' })
          expect(ended.stderr).toMatch(/^conda-deploy: .*(No space left on device|no space left|are needed)/m)
          expect(ended.stderr).not.toMatch(/^ {4}at |unexpected|bug of conda-deploy/m)
          expect(existsSync(prefix)).toBe(false)
          expect(litterIn(opened.seen(at))).toEqual([])
          expectSoundCache(pkgs)
          const unpacked = namesIn(pkgs).filter((name) => existsSync(join(pkgs, name, 'info'))).length
          const phase =
            unpacked < 4 ? 'unpack' : namesIn(join(pkgs, 'pure-1.0-0/.conda-deploy')).length === 0 ? 'compile' : 'link'
          told.set(phase, (told.get(phase) ?? 0) + 1)
          opened.run(['mount', '-o', 'remount,size=64m', at])
          expect(opened.cli(argsFor(at), env)).toMatchObject({ status: 0 })
          expect(differences(treeOf(prefix), whole)).toEqual([])
        }
        await opened.close()
        space = undefined
      }
      console.log(
        `full during create: ${[...told].map(([phase, times]) => `${phase} ${times} times`).join(', ')}; 0 left behind`,
      )
      expect([...told.keys()].sort()).toEqual(['compile', 'link', 'unpack'])
    })
  })
})
