import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { create } from '../../src/install/create.js'
import { type LayoutOptions, standIn, withLayout } from '../../src/install/layout.js'
import type { RepoRecord } from '../../src/install/repodata.js'
import { type PackOptions, type PackResult, pack } from '../../src/pack/pack.js'
import { runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'
import { type Built, build, placeholder, text, writeIndex } from './built.js'
import { sandbox } from './sandbox.js'

const folder = temporaryFolder('layout')
const channel = join(folder, 'channel')
const { home } = sandbox(folder)
const pkgs = join(home, '.conda/pkgs')
let records: RepoRecord[]

const wide = (value: string): Buffer => Buffer.from(`${value}\0\0`, 'utf16le')
const offered: Built[] = [
  {
    name: 'python',
    version: '3.11.4',
    files: [
      { path: 'bin/python3.11', content: '#!/bin/sh\nexec python3 "$@"\n', mode: 0o755 },
      { path: 'bin/python', link: 'python3.11' },
      { path: 'lib/python3.11/os.py', content: '' },
      { path: 'lib/python3.1', link: 'python3.11' },
    ],
  },
  {
    name: 'tool',
    version: '2.0',
    depends: ['data'],
    files: [
      { path: 'bin/tool', content: `#!${placeholder}/bin/python\nprint()\n`, mode: 0o755, placeholder: 'text' },
      {
        path: 'lib/tool.bin',
        content: Buffer.concat([
          Buffer.from(`\x7fELF\0${placeholder}/share:${placeholder}2\0\0\0x\0`),
          wide(`${placeholder}/wide`),
          Buffer.from(`end ${placeholder}`),
        ]),
        placeholder: 'binary',
      },
      { path: 'lib/large.txt', content: `${placeholder}/a\n${'x'.repeat(1 << 20)}\n`.repeat(6), placeholder: 'text' },
      { path: 'share/state', content: 'changes', noLink: true },
      { path: 'share/one', content: 'shared' },
      { path: 'share/other', same: 'share/one' },
      { path: 'share/link', link: 'one' },
      { path: 'share/unlisted place', content: `see ${placeholder}/x` },
      { path: 'share/folder', link: '../lib' },
      { path: 'share/nowhere', link: 'not-there' },
      { path: 'share/empty', content: '', mode: 0o444 },
    ],
  },
  { name: 'data', kind: 'tar.bz2', files: [{ path: 'share/common', content: 'of data' }] },
  { name: 'clobber', depends: ['data'], files: [{ path: 'share/common', content: 'of clobber, longer' }] },
  {
    name: 'pure',
    noarch: 'python',
    depends: ['python'],
    entryPoints: ['pure = pure.main:run.it'],
    files: [
      { path: 'site-packages/pure/main.py', content: 'def run(): return "text"\n' },
      { path: 'site-packages/pure/placed.py', content: `WHERE = "${placeholder}/share"\n`, placeholder: 'text' },
      { path: 'site-packages/pure/other.py', content: 'this is no Python\n' },
      { path: 'python-scripts/pure-script', content: '#!python\n', mode: 0o755 },
    ],
  },
  { name: 'planted', files: [{ path: 'conda-meta', link: '../../planted' }] },
  { name: 'historian', files: [{ path: 'conda-meta/history', content: '' }] },
  {
    name: 'through',
    files: [{ path: 'way', link: '/etc' }],
  },
]
const all = ['tool', 'clobber', 'pure']

beforeAll(async () => {
  records = []
  for (const one of offered) records.push(await build(channel, one))
  writeIndex(channel, records)
})
let made = 0
const free = (name: string): string => join(folder, `${made++}-${name}`)
const straight = (
  output: string,
  specs: readonly string[],
  more: LayoutOptions & PackOptions = {},
): Promise<PackResult> => {
  const { name = 'env', files, ...packing } = more
  const asked = { specs, files, name, channels: [channel], overrideChannels: true }
  return withLayout(asked, (layout) => pack({ ...packing, output, layout }))
}

/** What both ways leave at one place, conda-unpack and the lines of the history that tell of the run aside. */
async function deployed(archive: string): Promise<Map<string, string>> {
  const prefix = join(folder, 'target')
  await deploy({ archive, to: prefix, allowShared: true })
  const lines = [...describeTree(prefix, ['.conda-deploy'])].filter(([path]) => path !== 'bin/conda-unpack')
  // Times aside: a file with a prefix in it is as old as the environment.
  const tree = new Map(lines.map(([path, line]) => [path, line.replace(/^(file \d+|directory \d+) \d+/, '$1')]))
  const told = text(join(prefix, 'conda-meta/history'))
  tree.set('conda-meta/history', told.replace(/^==> .* <==$/m, '').replace(/^# cmd: .*$/m, ''))
  execFileSync('chmod', ['-R', 'u+w', prefix])
  rmSync(prefix, { recursive: true })
  return tree
}

describe('an archive straight from packages', () => {
  test('is deployed to what creating an environment and packing it gives, byte for byte', async () => {
    const prefix = join(folder, 'envs', 'env')
    const both = [join(folder, 'made.tar.zst'), join(folder, 'straight.tar.zst')] as const
    await create({ prefix, specs: all, channels: [channel], overrideChannels: true })
    const packed = await pack({ prefix, output: both[0] })
    rmSync(join(folder, 'envs'), { recursive: true })
    const result = await straight(both[1], all)
    expect(existsSync(join(folder, 'envs'))).toBe(false)
    expect(result).toMatchObject({ prefix: null, name: 'env', counts: { modified: 0, installed: 0 } })
    expect(result).toMatchObject({
      entries: packed.entries,
      files: packed.files,
      kept: packed.kept,
      leftOut: packed.leftOut,
    })
    expect(result.placeholders.map(({ path }) => path)).toEqual(packed.placeholders.map(({ path }) => path))
    expect(result.warnings.filter((one) => one.includes('share/common'))).toHaveLength(1)
    expect(result.resolved).toMatchObject({ downloaded: 0, unpacked: 0, compiled: 0 })
    const [expected, got] = [await deployed(both[0]), await deployed(both[1])]
    expect(got.size).toBeGreaterThan(20)
    expect(differences(got, expected)).toEqual([])
    expect([...got.keys()].filter((path) => path.endsWith('.pyc'))).toEqual([
      'lib/python3.11/site-packages/pure/__pycache__/main.cpython-311.pyc',
    ])
  })

  test('is the same archive whenever it is made, from an empty cache too', async () => {
    const [one, other] = [free('one.tar.zst'), free('other.tar.zst')]
    await straight(one, all)
    const before = readdirSync(pkgs)
    rmSync(pkgs, { recursive: true })
    const { resolved } = await straight(other, all, { nThreads: 1 })
    expect(resolved).toMatchObject({ unpacked: 5, compiled: 1 })
    expect(readdirSync(pkgs).sort()).toEqual(before.sort())
    expect(readFileSync(one).equals(readFileSync(other))).toBe(true)
  })

  test('names nothing of this machine, and its stand-in only where scripts name their prefix', async () => {
    const output = free('plain.tar.zst')
    await straight(output, all)
    const at = free('plain')
    mkdirSync(at)
    execFileSync('tar', ['--zstd', '-xf', output, '-C', at])
    const naming = (what: string): string[] =>
      execFileSync('sh', ['-c', `cd '${at}' && grep -rl '${what}' . | sort`], { encoding: 'utf8' })
        .trim()
        .split('\n')
    expect(naming(standIn)).toEqual(['./bin/conda-unpack', './bin/pure'])
    expect(naming(home)).toEqual([''])
    // Without us: tar, and its own program.
    const prefix = join(folder, 'unpacked')
    renameSync(at, prefix)
    execFileSync('python3', [join(prefix, 'bin/conda-unpack')])
    expect(text(join(prefix, 'bin/pure'))).toMatch(`#!${prefix}/bin/python3.11\n`)
    expect(text(join(prefix, 'bin/tool'))).toBe(`#!${prefix}/bin/python\nprint()\n`)
  })

  test('takes the other formats, filters and a fixed prefix', async () => {
    const zip = free('env.zip')
    await straight(zip, all, { filters: [{ kind: 'exclude', pattern: 'share/nowhere' }] })
    const at = free('zip')
    execFileSync('python3', ['-m', 'zipfile', '-e', zip, at])
    // Without links: what they lead to.
    expect(text(join(at, 'share/link'))).toBe('shared')
    expect(existsSync(join(at, 'share/folder/large.txt'))).toBe(true)
    expect(text(join(at, 'bin/tool'))).toContain(placeholder)
    const directory = free('directory')
    await straight(directory, all, { format: 'no-archive', destPrefix: '/opt/there' })
    expect(text(join(directory, 'bin/pure'))).toMatch('#!/opt/there/bin/python3.11\n')
    expect(text(join(directory, 'bin/tool'))).toMatch('#!/opt/there/bin/python\n')
    expect(existsSync(join(directory, 'bin/conda-unpack'))).toBe(false)
    expect(readFileSync(join(directory, 'lib/tool.bin')).toString('latin1')).toContain('/opt/there/share:/opt/there2\0')
  })

  test('is found out and not written with dryRun', async () => {
    const output = free('dry.tar.zst')
    const { files, output: written } = await straight(output, ['data'], { dryRun: true })
    expect([written, existsSync(output), files > 0]).toEqual([null, false, true])
  })

  test('is made of an explicit list or environment.yml, which names it', async () => {
    const list = free('explicit.txt')
    const lines = records
      .filter(({ name }) => name === 'tool' || name === 'data')
      .map(({ url, md5 }) => `${url}#${md5}`)
    writeFileSync(list, `@EXPLICIT\n${lines.join('\n')}\n`)
    const output = free('explicit.tar.zst')
    const result = await straight(output, [], { files: [list] })
    expect(result.resolved?.packages.map(({ name }) => name)).toEqual(['data', 'tool'])
    const yml = free('env.yml')
    writeFileSync(yml, `name: from-yml\nchannels: [${channel}]\ndependencies: [data]\n`)
    const { name } = await withLayout({ files: [yml], overrideChannels: true }, (layout) =>
      pack({ layout, output: free('yml.tar.zst') }),
    )
    expect(name).toBe('from-yml')
  })
})

describe('what fails leaves no archive', () => {
  test.each([
    ['leads conda-meta elsewhere', ['planted'], 'UNSAFE_PATH'],
    ['brings a history of its own', ['historian'], 'UNSAFE_PATH'],
    ['is not there', ['nothing-like-it'], 'UNSATISFIABLE'],
  ])('a package that %s', async (_, specs, code) => {
    const output = free('failed.tar.zst')
    await expect(straight(output, specs)).rejects.toMatchObject({ code })
    expect(readdirSync(folder).filter((name) => name.includes('failed'))).toEqual([])
  })

  test('a file that the cache has lost, or that lies behind a link', async () => {
    await straight(free('first.tar.zst'), ['data', 'through'])
    const output = free('lost.tar.zst')
    const cached = join(pkgs, 'through-1.0-0')
    const paths = join(cached, 'info/paths.json')
    writeFileSync(paths, text(paths).replace('"way"', '"way/passwd"').replace('softlink', 'hardlink'))
    await expect(straight(output, ['through'])).rejects.toMatchObject({ code: 'PACKAGE_DAMAGED' })
    rmSync(join(pkgs, 'data-1.0-0/share/common'))
    await expect(straight(output, ['data'])).rejects.toMatchObject({ code: 'PACKAGE_DAMAGED' })
    expect(existsSync(output)).toBe(false)
    rmSync(pkgs, { recursive: true })
  })

  test('a file of the cache that somebody changed is packed as it is, and told', async () => {
    await straight(free('sound.tar.zst'), ['data'])
    writeFileSync(join(pkgs, 'data-1.0-0/share/common'), 'edited')
    const { modified } = await straight(free('edited.tar.zst'), ['data'])
    expect(modified).toEqual(['share/common'])
    rmSync(pkgs, { recursive: true })
  })
})

test('on the command line', async () => {
  const env = { HOME: home }
  const from = ['-c', channel, '--override-channels']
  const output = join(folder, 'typed.v2.tar.zst')
  const done = await runCli(['pack', '--from-packages', ...from, 'tool', '-o', output], { env })
  expect(done.stderr).toContain('made in')
  expect(done.stdout).toBe(`${output}\n`)
  expect(statSync(output).size).toBeGreaterThan(1000)
  const json = await runCli(['pack', '--from-packages', ...from, 'tool', '-o', output, '--force', '--json'], { env })
  expect(JSON.parse(json.stdout)).toMatchObject({ name: 'typed', prefix: null, resolved: { packages: [{}, {}] } })
  const wrong = await runCli(['pack', 'tool', '-o', output], { env })
  expect([wrong.status, wrong.stderr]).toEqual([2, expect.stringContaining('--from-packages')])
  const both = await runCli(['pack', '--from-packages', '-p', folder, 'tool'], { env })
  expect(both.status).toBe(2)
})
