import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { type CreateOptions, type CreateResult, create } from '../../src/install/create.js'
import type { RepoRecord } from '../../src/install/repodata.js'
import { runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { type Built, build, placeholder, text, writeIndex } from './built.js'
import { sandbox } from './sandbox.js'
import { serve } from './server.js'

const folder = temporaryFolder('create')
const channel = join(folder, 'channel')
const { home } = sandbox(folder)
let records: RepoRecord[]

/** Stands for python: that of the machine. */
const fakePython = '#!/bin/sh\nexec python3 "$@"\n'
const offered: Built[] = [
  {
    name: 'python',
    version: '3.11.4',
    files: [
      { path: 'bin/python3.11', content: fakePython, mode: 0o755 },
      { path: 'bin/python', link: 'python3.11' },
    ],
  },
  {
    name: 'tool',
    version: '2.0',
    depends: ['data'],
    files: [
      { path: 'bin/tool', content: `#!${placeholder}/bin/python\nprint()\n`, mode: 0o755, placeholder: 'text' },
      { path: 'lib/tool.bin', content: Buffer.from(`\0${placeholder}/share\0end`), placeholder: 'binary' },
      { path: 'share/state', content: 'changes', noLink: true },
      { path: 'share/big', content: 'same for all' },
      { path: 'share/link', link: 'big' },
    ],
  },
  { name: 'data', kind: 'tar.bz2', files: [{ path: 'share/common', content: 'of data' }] },
  { name: 'clobber', depends: ['data'], files: [{ path: 'share/common', content: 'of clobber' }] },
  {
    name: 'pure',
    noarch: 'python',
    depends: ['python'],
    entryPoints: ['pure = pure.main:run.it'],
    files: [
      { path: 'site-packages/pure/main.py', content: 'run = None\n' },
      { path: 'python-scripts/pure-script', content: '#!python\n', mode: 0o755 },
    ],
  },
  { name: 'evil', files: [{ path: 'share/ok', content: '' }], hidden: [{ path: '../evil', content: '' }] },
  { name: 'planted', files: [{ path: 'conda-meta', link: '../../planted' }] },
]

beforeAll(async () => {
  records = []
  for (const one of offered) records.push(await build(channel, one))
  writeIndex(channel, records)
})
let made = 0
const freePrefix = (): string => join(folder, 'envs', `env-${made++}`)
const make = (specs: readonly string[], more: Partial<CreateOptions> = {}): Promise<CreateResult> =>
  create({
    ...(more.name === undefined ? { prefix: freePrefix() } : {}),
    ...{ specs, channels: [channel], overrideChannels: true, ...more },
  })
const recordOf = (prefix: string, dist: string): Record<string, unknown> =>
  JSON.parse(text(join(prefix, 'conda-meta', `${dist}.json`))) as Record<string, unknown>

describe('an environment', () => {
  test('has the files of its packages, with its prefix, shared with the cache', async () => {
    const { prefix, packages, installed, warnings } = await make(['tool'])
    expect(packages.map(({ name }) => name)).toEqual(['data', 'tool'])
    expect(installed).toMatchObject({ downloaded: 0, rewritten: 2, compiled: 0 })
    expect(warnings).toEqual([])
    expect(text(join(prefix, 'bin/tool'))).toBe(`#!${prefix}/bin/python\nprint()\n`)
    expect(statSync(join(prefix, 'bin/tool')).mode & 0o111).toBe(0o111)
    const binary = readFileSync(join(prefix, 'lib/tool.bin'))
    expect(binary.toString()).toBe(`\0${prefix}/share${'\0'.repeat(placeholder.length - prefix.length)}\0end`)
    expect(readlinkSync(join(prefix, 'share/link'))).toBe('big')
    expect(statSync(join(prefix, 'share/state')).nlink).toBe(1)
    const cached = statSync(join(home, '.conda/pkgs/tool-2.0-0/share/big'))
    if (installed?.linked) expect(statSync(join(prefix, 'share/big')).ino).toBe(cached.ino)
    expect(readdirSync(join(folder, 'envs')).filter((name) => name.startsWith('.'))).toEqual([])
  })

  test('has records and a history that conda reads, and is in environments.txt', async () => {
    const { prefix } = await make(['tool>=1'], { command: 'conda-deploy create -c https://u:hid@den@host/c' })
    const tool = records.find(({ name }) => name === 'tool') as RepoRecord
    const hash = (path: string): string =>
      createHash('sha256')
        .update(readFileSync(join(prefix, path)))
        .digest('hex')
    const record = recordOf(prefix, 'tool-2.0-0')
    const cache = join(home, '.conda/pkgs/tool-2.0-0')
    expect(record).toMatchObject({
      ...{ name: 'tool', version: '2.0', build: '0', build_number: 0, depends: ['data'], constrains: [] },
      ...{ channel: `${tool.channel}/linux-64`, subdir: 'linux-64', fn: tool.fn, url: tool.url },
      ...{ md5: tool.md5, sha256: tool.sha256, size: tool.size, requested_spec: 'tool>=1' },
      ...{ extracted_package_dir: cache, link: { source: cache, type: 1 } },
      files: ['bin/tool', 'lib/tool.bin', 'share/state', 'share/big', 'share/link'],
    })
    const { paths } = record['paths_data'] as { paths: Record<string, unknown>[] }
    expect(paths[0]).toEqual({
      ...{ _path: 'bin/tool', path_type: 'hardlink', file_mode: 'text', prefix_placeholder: placeholder },
      ...{ sha256: expect.any(String), sha256_in_prefix: hash('bin/tool'), size_in_bytes: expect.any(Number) },
    })
    expect(paths[2]).toMatchObject({ no_link: true, sha256_in_prefix: hash('share/state') })
    expect(recordOf(prefix, 'data-1.0-0')['requested_spec']).toBe('None')
    const history = text(join(prefix, 'conda-meta/history'))
    expect(history).toMatch(
      /^==> \d{4}-\d\d-\d\d \d\d:\d\d:\d\d <==\n# cmd: conda-deploy create -c https:\/\/host\/c\n/,
    )
    expect(history).toContain(`\n+${tool.channel}/linux-64::tool-2.0-0\n# update specs: ["tool>=1"]\n`)
    expect(text(join(home, '.conda/environments.txt')).split('\n')).toContain(prefix)
  })

  test('has noarch packages where its python looks, compiled, with entry points', async () => {
    const { prefix, installed } = await make(['pure'])
    expect(installed).toMatchObject({ compiled: 1 })
    expect(text(join(prefix, 'lib/python3.11/site-packages/pure/main.py'))).toBe('run = None\n')
    const pyc = 'lib/python3.11/site-packages/pure/__pycache__/main.cpython-311.pyc'
    const says = 'import sys, marshal; print(marshal.loads(open(sys.argv[1], "rb").read()[16:]).co_filename)'
    const named = execFileSync('python3', ['-c', says, join(prefix, pyc)], { encoding: 'utf8' })
    expect(named).toBe('lib/python3.11/site-packages/pure/main.py\n')
    const cached = join(
      home,
      '.conda/pkgs/pure-1.0-0/.conda-deploy/pyc-python-3.11.4-0',
      pyc.replace(/.*(?=site-)/, ''),
    )
    expect(readFileSync(join(prefix, pyc))).toEqual(readFileSync(cached))
    expect(existsSync(join(prefix, 'bin/pure-script'))).toBe(true)
    const script = text(join(prefix, 'bin/pure'))
    expect(script).toMatch(`#!${prefix}/bin/python3.11\n`)
    expect(script).toContain('from pure.main import run\n')
    expect(script).toContain('sys.exit(run.it())')
    const { paths } = recordOf(prefix, 'pure-1.0-0')['paths_data'] as { paths: object[] }
    expect(paths).toContainEqual({ _path: pyc, path_type: 'pyc_file' })
    expect(paths).toContainEqual({ _path: 'bin/pure', path_type: 'unix_python_entry_point' })
  })

  test('with a prefix that scripts cannot name is refused, with one that is difficult warned of', async () => {
    for (const name of ['tab\t', 'line\nend', 'n'.repeat(256)])
      await expect(make(['pure'], { prefix: join(folder, 'envs', name) })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
      })
    const { warnings } = await make(['data'], { prefix: join(folder, 'envs', "it's") })
    expect(warnings).toContainEqual(expect.stringContaining("has a '"))
  })

  test('with a long prefix has scripts that /bin/sh starts', async () => {
    const prefix = join(folder, 'envs', 'long'.repeat(30))
    await make(['pure'], { prefix })
    expect(text(join(prefix, 'bin/pure'))).toMatch(`#!/bin/sh\n'''exec' "${prefix}/bin/python3.11" "$0" "$@" #'''\n`)
  })

  test('may be copied, and an empty directory becomes it', async () => {
    const prefix = freePrefix()
    mkdirSync(prefix, { recursive: true })
    const { installed } = await make(['data'], { copy: true, prefix })
    expect(installed).toMatchObject({ copied: 1, linked: 0, cloned: 0 })
    expect(recordOf(prefix, 'data-1.0-0')['link']).toMatchObject({ type: 3 })
  })

  test('says which files two packages have', async () => {
    const { prefix, clobbered, warnings } = await make(['clobber'])
    expect(clobbered).toEqual([{ path: 'share/common', packages: ['data-1.0-0.tar.bz2', 'clobber-1.0-0.conda'] }])
    expect(warnings).toHaveLength(1)
    expect(text(join(prefix, 'share/common'))).toBe('of clobber')
  })

  test('is only told about with dryRun', async () => {
    const prefix = freePrefix()
    const { packages, installed } = await make(['tool'], { prefix, dryRun: true })
    expect([packages.length, installed]).toEqual([2, null])
    expect(existsSync(prefix)).toBe(false)
  })
})

describe('what fails leaves no environment', () => {
  const nothingAt = (prefix: string): void => {
    expect(existsSync(prefix)).toBe(false)
    expect(readdirSync(join(folder, 'envs')).filter((name) => name.includes('conda-deploy'))).toEqual([])
  }

  test.each([
    ['a hostile package', ['evil'], 'UNSAFE_PATH'],
    ['a package that leads conda-meta elsewhere', ['planted'], 'UNSAFE_PATH'],
    ['a package that is not there', ['nothing-like-it'], 'UNSATISFIABLE'],
  ])('%s', async (_, specs, code) => {
    const prefix = freePrefix()
    await expect(make(specs, { prefix })).rejects.toMatchObject({ code })
    nothingAt(prefix)
    expect(existsSync(join(folder, 'planted'))).toBe(false)
  })

  test('a prefix that does not fit', async () => {
    const prefix = join(folder, 'envs', 'x'.repeat(120), 'y'.repeat(120))
    await expect(make(['tool'], { prefix })).rejects.toMatchObject({ code: 'PREFIX_TOO_LONG' })
    expect(readdirSync(join(folder, 'envs', 'x'.repeat(120)))).toEqual([])
  })

  test('a file that the cache has lost', async () => {
    await make(['data'])
    const lost = join(home, '.conda/pkgs/data-1.0-0/share/common')
    const content = text(lost)
    execFileSync('rm', [lost])
    const prefix = freePrefix()
    await expect(make(['data'], { prefix })).rejects.toMatchObject({ code: 'PACKAGE_DAMAGED' })
    nothingAt(prefix)
    writeFileSync(lost, content)
  })

  test('something that is there is kept', async () => {
    const prefix = freePrefix()
    mkdirSync(prefix, { recursive: true })
    writeFileSync(join(prefix, 'mine'), '')
    await expect(make(['data'], { prefix })).rejects.toMatchObject({ code: 'TARGET_EXISTS' })
    expect(readdirSync(prefix)).toEqual(['mine'])
    const link = freePrefix()
    symlinkSync('nowhere', link)
    await expect(make(['data'], { prefix: link })).rejects.toMatchObject({ code: 'TARGET_EXISTS' })
  })
})

describe('files of specs', () => {
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content)
    return join(folder, name)
  }

  test('environment.yml gives name, channels and packages', async () => {
    const yml = file('environment.yml', `name: from-yml\nchannels: [${channel}]\ndependencies:\n  - tool=2.0\n`)
    const { prefix, packages } = await create({ files: [yml], overrideChannels: true })
    expect(prefix).toBe(join(home, '.conda/envs/from-yml'))
    expect(packages.map(({ name }) => name)).toEqual(['data', 'tool'])
  })

  test('an explicit list is installed as it stands, in the order of what depends on what, from a server', async () => {
    const server = await serve(channel)
    const lines = ['tool', 'data'].map((name) => {
      const { subdir, fn, md5 } = records.find((one) => one.name === name) as RepoRecord
      return `${server.url}/${subdir}/${fn}#${md5}`
    })
    vi.stubEnv('CONDA_PKGS_DIRS', join(folder, 'explicit-pkgs'))
    const { prefix, packages, installed } = await create({
      prefix: freePrefix(),
      files: [file('explicit.txt', `# platform: linux-64\n@EXPLICIT\n${lines.join('\n')}\n`)],
    })
    expect(packages.map(({ name }) => name)).toEqual(['data', 'tool'])
    expect(installed).toMatchObject({ downloaded: 2 })
    expect(recordOf(prefix, 'tool-2.0-0')).toMatchObject({ depends: ['data'], channel: `${server.url}/linux-64` })
    expect(readdirSync(join(folder, 'explicit-pkgs'))).toContain('tool-2.0-0.conda')
  })

  test.each([
    ['pixi.lock', 'version: 6\nenvironments: {}\npackages: []', 'UNSUPPORTED'],
    ['wrong.yml', 'dependencies: tool', 'INVALID_SPEC'],
    ['wrong.txt', '@EXPLICIT\nhttp://host/linux-64/tool.zip', 'INVALID_SPEC'],
  ])('%s is refused', async (name, content, code) => {
    const failure = create({ prefix: freePrefix(), files: [file(name, content)], channels: [channel] })
    await expect(failure).rejects.toMatchObject({ code })
  })
})

describe('on the command line', () => {
  test('create prints the path, the result or the plan', async () => {
    const env = { HOME: home }
    const from = ['-c', channel, '--override-channels']
    const done = await runCli(['create', '-n', 'typed', ...from, 'tool', '-y'], { env })
    expect(done.stderr).toContain('2 packages')
    expect(done.stdout).toBe(`${join(home, '.conda/envs/typed')}\n`)
    const plan = await runCli(['create', '-n', 'typed2', ...from, '--dry-run', 'tool'], { env })
    expect(plan.stdout).toMatch(/^data 1\.0 0 file:.*\ntool 2\.0 0 file:/)
    const again = await runCli(['create', '-n', 'typed', ...from, 'tool'], { env })
    expect(again.status).toBe(1)
    expect(again.stderr).toContain('exists already')
    const json = await runCli(['create', '-p', freePrefix(), ...from, 'data', '--json'], { env })
    expect(JSON.parse(json.stdout)).toMatchObject({ packages: [{ name: 'data' }], clobbered: [] })
  })
})
