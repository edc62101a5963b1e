import { linkSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openEnvironment } from '../../src/conda/environment.js'
import type { PackEntry } from '../../src/native.js'
import { editablePackages, missingError } from '../../src/pack/checks.js'
import { ignored, type Plan, type PlanOptions, planPack } from '../../src/pack/plan.js'
import {
  type FakeEnvironment,
  here,
  makeEnvironment,
  placeholder,
  python,
  scanTree,
  temporaryFolder,
} from '../support/make-env.js'

const root = temporaryFolder()
let made = 0
const make = (what: Partial<FakeEnvironment>): string => {
  const prefix = join(root, `env-${made++}`)
  makeEnvironment(prefix, { packages: [python], ...what })
  return prefix
}
async function planned(prefix: string, options: Partial<PlanOptions> = {}): Promise<Plan> {
  const environment = await openEnvironment(prefix, { HOME: root })
  return planPack(environment, scanTree(prefix, ignored), {
    filters: [],
    scripts: [],
    reserved: [],
    skipped: [],
    ...options,
  })
}
const find = (plan: Plan, path: string): PackEntry | undefined => [...plan.entries].find((entry) => entry.path === path)
const site = 'lib/python3.11/site-packages'

describe('what is known of a file', () => {
  const pkg = {
    name: 'x',
    files: [
      { path: 'lib/x.so', binary: `ELF\0${here}/lib\0`, executable: true },
      { path: 'share/x.txt', text: 'plain' },
    ],
  }
  test('conda: hashes and placeholder', async () => {
    const plan = await planned(make({ packages: [pkg] }))
    expect(find(plan, 'lib/x.so')).toMatchObject({
      mode: 0o755,
      policy: 'detect',
      slot: 255,
      expect: { placeholder, mode: 'binary' },
    })
    expect(find(plan, 'share/x.txt')).toMatchObject({ mode: 0o644, policy: 'detect' })
    expect(find(plan, 'share/x.txt')?.slot).toBeUndefined()
  })

  test('mamba: two hashes that differ tell that a placeholder was replaced', async () => {
    const plan = await planned(make({ style: 'mamba', packages: [pkg] }))
    expect(find(plan, 'lib/x.so')).toMatchObject({ policy: 'any', slot: 255 })
    expect(find(plan, 'lib/x.so')?.expect).not.toHaveProperty('placeholder')
    expect(find(plan, 'share/x.txt')).toMatchObject({ policy: 'detect' })
  })

  test('pixi: the hash in the prefix only where it differs', async () => {
    const plan = await planned(make({ style: 'pixi', packages: [pkg] }))
    expect(find(plan, 'lib/x.so')?.expect).toHaveProperty('sha256InPrefix')
    expect(find(plan, 'share/x.txt')?.expect).not.toHaveProperty('sha256InPrefix')
    expect(plan.meta.map((entry) => entry.path)).toEqual(['conda-meta', 'conda-meta/x-1.0-0.json'])
  })

  test('nothing: a file of pip', async () => {
    const plan = await planned(
      make({ files: [{ path: 'bin/piped', text: '#!{prefix}/bin/python', executable: true }] }),
    )
    expect(find(plan, 'bin/piped')).toEqual({
      path: 'bin/piped',
      kind: 'file',
      mode: 0o755,
      mtime: 1_700_000_000,
      size: expect.any(Number),
      policy: 'detect',
    })
  })

  test('case 11: two packages own a path: the one whose size is that of the file is asked', async () => {
    const one = { name: 'a', files: [{ path: 'share/both', text: 'the longer content' }] }
    const two = { name: 'b', files: [{ path: 'share/both', text: 'short' }] }
    for (const packages of [
      [one, two],
      [two, one],
    ]) {
      const plan = await planned(make({ packages }))
      const expected = packages[1] === two ? 5 : 18
      expect([...plan.entries].filter((entry) => entry.path === 'share/both')).toHaveLength(1)
      expect(find(plan, 'share/both')?.size).toBe(expected)
      expect(plan.ownerOf('share/both')?.recorded?.size).toBe(expected)
    }
  })
})

test('directory by directory, sources before what is compiled from them, bin and conda-meta last', async () => {
  const prefix = make({
    files: [
      { path: 'lib/b/__pycache__/m.cpython-311.pyc', text: '1' },
      { path: 'lib/b/m.py', text: '1' },
      { path: 'lib/b/m.pyc', text: '1' },
      { path: 'lib/b/orphan.pyc', text: '1' },
      { path: 'lib/b/a-link', link: 'm.py' },
      { path: 'lib/z.txt', text: '1' },
      { path: 'zlib/x', text: '1' },
    ],
  })
  mkdirSync(join(prefix, 'empty/deep'), { recursive: true })
  const plan = await planned(prefix)
  expect([...plan.entries].map((entry) => entry.path)).toEqual([
    ...[
      'empty',
      'empty/deep',
      'lib',
      'lib/z.txt',
      'lib/b',
      'lib/b/m.py',
      'lib/b/m.pyc',
      'lib/b/orphan.pyc',
      'lib/b/a-link',
    ],
    ...[
      'lib/b/__pycache__',
      'lib/b/__pycache__/m.cpython-311.pyc',
      'zlib',
      'zlib/x',
      'bin',
      'bin/python3.11',
      'bin/python',
    ],
  ])
  expect(find(plan, 'lib/b/m.pyc')).toMatchObject({ policy: 'report', unlessRewritten: 'lib/b/m.py' })
  expect(find(plan, 'lib/b/__pycache__/m.cpython-311.pyc')).toMatchObject({ unlessRewritten: 'lib/b/m.py' })
  expect(find(plan, 'lib/b/orphan.pyc')?.unlessRewritten).toBeUndefined()
  expect(plan.meta.map((entry) => entry.path)).toEqual([
    'conda-meta',
    'conda-meta/history',
    'conda-meta/python-3.11.4-0.json',
  ])
  expect(plan.mtime).toBe(1_700_000_005)
})

test('files of one inode become hard links to the first; a .pyc goes with the file that its source shares', async () => {
  const prefix = make({
    files: [
      { path: 'lib/a.py', text: 'x' },
      { path: 'share/__pycache__/c.cpython-311.pyc', text: 'y' },
    ],
  })
  linkSync(join(prefix, 'lib/a.py'), join(prefix, 'lib/b.py'))
  linkSync(join(prefix, 'lib/a.py'), join(prefix, 'share/c.py'))
  linkSync(join(prefix, 'share/__pycache__/c.cpython-311.pyc'), join(prefix, 'share/__pycache__/d.cpython-311.pyc'))
  const plan = await planned(prefix)
  expect(find(plan, 'lib/b.py')).toMatchObject({ kind: 'hardlink', target: 'lib/a.py', size: 0 })
  expect(find(plan, 'share/c.py')).toMatchObject({ kind: 'hardlink', target: 'lib/a.py' })
  expect(find(plan, 'share/__pycache__/c.cpython-311.pyc')).toMatchObject({ kind: 'file', unlessRewritten: 'lib/a.py' })
  expect(find(plan, 'share/__pycache__/d.cpython-311.pyc')).toMatchObject({ kind: 'file' })
})

test('case 30: links into the environment become relative, by either spelling; others stay and are listed', async () => {
  const prefix = make({
    files: [
      { path: 'lib/inside', link: '{prefix}/bin/python' },
      { path: 'lib/root', link: '{prefix}' },
      { path: 'lib/host', link: '/usr/lib' },
      { path: 'lib/up', link: '../../elsewhere' },
      { path: 'lib/relative', link: '../bin/python' },
    ],
  })
  const spelled = join(root, 'spelled')
  symlinkSync(prefix, spelled)
  symlinkSync(`${spelled}/bin/python`, join(prefix, 'lib/spelled'))
  symlinkSync(`../../${prefix.split('/').at(-1)}/bin/python`, join(prefix, 'lib/around'))
  symlinkSync(`${prefix}-2/bin`, join(prefix, 'lib/sibling'))
  const plan = await planned(spelled)
  const texts = Object.fromEntries(
    [...plan.entries].filter((entry) => entry.kind === 'symlink').map((entry) => [entry.path, entry.target]),
  )
  expect(texts).toEqual({
    'bin/python': 'python3.11',
    'lib/around': '../bin/python',
    'lib/host': '/usr/lib',
    'lib/inside': '../bin/python',
    'lib/relative': '../bin/python',
    'lib/root': '..',
    'lib/sibling': `${prefix}-2/bin`,
    'lib/spelled': '../bin/python',
    'lib/up': '../../elsewhere',
  })
  expect(plan.outsideLinks.map((link) => link.path)).toEqual(['lib/host', 'lib/sibling', 'lib/up'])
  expect(plan.relinked.get('lib/inside')).toBe(`${prefix}/bin/python`)
})

test('case 12: what is no part of an environment stays out, and is said', async () => {
  const prefix = make({
    files: [
      ...[
        'pkgs/p/x',
        'envs/e/x',
        'conda-bld/x',
        'backup~',
        'etc/keep~',
        '.DS_STORE',
        'bin/activate',
        'bin/conda',
        'bin/conda-unpack',
      ].map((path) => ({ path, text: '' })),
    ],
  })
  const server = createServer().listen(join(prefix, 'socket'))
  await new Promise((resolve) => server.on('listening', resolve))
  const scripts = [{ path: 'bin/activate', text: 'ours', mode: 0o644 }]
  const plan = await planned(prefix, {
    scripts,
    reserved: ['bin/conda-unpack'],
    skipped: ['pkgs', 'envs'],
    output: 'lib/none',
  })
  await new Promise((resolve) => server.close(resolve))
  expect(Object.fromEntries(plan.leftOut.map(({ path, why }) => [path, why]))).toEqual({
    pkgs: 'ignored',
    envs: 'ignored',
    'backup~': 'ignored',
    '.DS_STORE': 'ignored',
    'bin/activate': 'replaced by that of the archive',
    'bin/conda': 'stray file of an old conda',
    'bin/conda-unpack': 'replaced by that of the archive',
    socket: 'socket, fifo or device',
  })
  expect(find(plan, 'etc/keep~')).toBeDefined()
  expect(Buffer.from(find(plan, 'bin/activate')?.data ?? []).toString()).toBe('ours')
  expect([...plan.entries].filter((entry) => entry.path.startsWith('bin/')).map((entry) => entry.path)).toEqual([
    'bin/activate',
    'bin/python3.11',
    'bin/python',
  ])
})

test('bin/conda of an environment that has conda is no stray', async () => {
  const plan = await planned(
    make({ packages: [{ name: 'conda', files: [{ path: 'bin/conda', text: 'x', executable: true }] }] }),
  )
  expect(find(plan, 'bin/conda')).toBeDefined()
})

test('filters empty directories away, but keep those that were empty', async () => {
  const prefix = make({
    packages: [],
    files: [
      { path: 'lib/a/b.pyx', text: '' },
      { path: 'lib/a/c/d.pyx', text: '' },
    ],
  })
  mkdirSync(join(prefix, 'var/empty'), { recursive: true })
  const plan = await planned(prefix, {
    filters: [
      { kind: 'exclude', pattern: '*.pyx' },
      { kind: 'include', pattern: 'lib/a/c/*' },
    ],
  })
  expect([...plan.entries].map((entry) => entry.path)).toEqual([
    'lib',
    'lib/a',
    'lib/a/c',
    'lib/a/c/d.pyx',
    'var',
    'var/empty',
  ])
  expect(plan.leftOut).toEqual([{ path: 'lib/a/b.pyx', why: 'excluded' }])
  const none = await planned(prefix, { filters: [{ kind: 'exclude', pattern: '*' }] })
  expect([...none.entries, ...none.meta]).toEqual([])
})

test('a script cannot be put where a directory is none', async () => {
  const prefix = make({ packages: [], files: [{ path: 'etc', text: 'a file' }] })
  await expect(planned(prefix, { scripts: [{ path: 'etc/conda/x', text: '', mode: 0o644 }] })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    path: 'etc',
  })
})

describe('missing files', () => {
  const pkg = {
    name: 'toolz',
    version: '0.1',
    files: ['a.py', 'b.py', 'c.py', 'd.py', 'e.py'].map((name) => ({ path: `${site}/toolz/${name}`, text: name })),
    listed: [
      { path: `${site}/toolz/__pycache__/a.cpython-311.pyc`, type: 'pyc_file' },
      { path: 'var/toolz', type: 'directory' },
      { path: '.nonadmin', type: 'hardlink' },
    ],
  }
  test('case 9: are named as conda-pack names them', async () => {
    const prefix = make({ packages: [python, pkg] })
    rmSync(join(prefix, site, 'toolz'), { recursive: true })
    const { missing } = await planned(prefix)
    expect(missing).toMatchObject([{ name: 'toolz', version: '0.1' }])
    expect(missingError(missing).message).toContain(
      `in the\nfollowing packages:\n\n- toolz 0.1:\n    ${site}/toolz/a.py\n    ${site}/toolz/b.py\n    ${site}/toolz/c.py\n    + 2 others\n\n`,
    )
    expect(missingError(missing).paths).toHaveLength(5)
  })

  test('case 9: are not directories, compiled Python, what a filter leaves out, or what is reached over a link', async () => {
    const prefix = make({
      packages: [python, pkg, { name: 'y', listed: [{ path: 'lib64/y', type: 'hardlink' }] }],
      files: [{ path: 'lib/y', text: '' }],
    })
    symlinkSync('lib', join(prefix, 'lib64'))
    rmSync(join(prefix, site, 'toolz/a.py'))
    const filters = [{ kind: 'exclude', pattern: '*/a.py' }] as const
    const plan = await planned(prefix, { filters })
    expect(plan.missing).toEqual([])
    expect(plan.ownerOf('lib/y')).toBeDefined()
  })
})

test('case 10: editable installs', async () => {
  const prefix = make({
    files: [
      {
        path: `${site}/modern_one-1.0.dist-info/direct_url.json`,
        text: '{"dir_info": {"editable": true}, "url": "file:///home/x"}',
      },
      { path: `${site}/normal-1.0.dist-info/direct_url.json`, text: '{"dir_info": {}, "url": "file:///home/x"}' },
      { path: `${site}/broken-1.0.dist-info/direct_url.json`, text: '{' },
      { path: `${site}/old-one.egg-link`, text: '/home/x' },
      { path: `${site}/__editable__.found-0.1.pth`, text: 'import x' },
      { path: `lib/other/elsewhere.egg-link`, text: '/home/x' },
    ],
  })
  const environment = await openEnvironment(prefix, { HOME: root })
  expect(await editablePackages(environment, scanTree(prefix))).toEqual(['found', 'modern_one', 'old-one'])
})

test('an archive that is written into the environment is not packed', async () => {
  const prefix = make({ packages: [] })
  writeFileSync(join(prefix, 'env.tar.zst'), 'old')
  const plan = await planned(prefix, { output: 'env.tar.zst' })
  expect(plan.leftOut).toEqual([{ path: 'env.tar.zst', why: 'the archive itself' }])
})
