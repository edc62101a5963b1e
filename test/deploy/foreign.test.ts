/** Archives of conda-pack and plain tars of environments, deployed; what must come out is what an installer would have put there. */
import { createHash } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, test } from 'vitest'
import { compress } from 'zstd-napi'
import { type DeployOptions, type DeployResult, deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { type CondaPacking, condaPackTar, type Packed, tarOf } from '../support/conda-pack-archive.js'
import { type FakeEnvironment, here, makeEnvironment, placeholder, python } from '../support/make-env.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, filesWith } from '../support/tree.js'

const work = temporaryFolder('foreign')
const origin = join(work, 'home/alice/envs/app')
const site = 'lib/python3.11/site-packages'
const elf = (strings: string): string => `\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0${strings}\0end`

const environment: FakeEnvironment = {
  packages: [
    {
      ...python,
      files: [
        ...(python.files ?? []),
        { path: 'bin/python3.11-config', text: `#!/bin/sh\np={prefix}\nq={prefix}/x\n`, executable: true },
      ],
    },
    {
      name: 'libx',
      files: [
        { path: 'bin/x-tool', text: '#!{prefix}/bin/python -s\nprint(1)\n', executable: true },
        { path: 'bin/x-two', text: '#!{prefix}/bin/python\nhome = "{prefix}"\n', executable: true },
        { path: 'bin/x-perl', text: '#!{prefix}/bin/perl\n1;\n', executable: true },
        { path: 'lib/libx.so.1', binary: elf('{prefix}/lib:{prefix}/lib64\0other'), executable: true },
        { path: 'lib/libx.so', link: 'libx.so.1' },
        { path: 'lib/pkgconfig/x.pc', text: 'prefix={prefix}\n' },
        { path: 'share/x/plain.txt', text: 'plain\n' },
      ],
    },
    {
      name: 'pytool',
      noarch: 'python',
      files: [
        { path: 'site-packages/pytool/__init__.py', text: 'HOME = "{prefix}"\n' },
        { path: 'site-packages/pytool/clean.py', text: 'x = 1\n' },
      ],
      listed: [
        { path: `${site}/pytool/__pycache__/__init__.cpython-311.pyc`, type: 'pyc_file' },
        { path: `${site}/pytool/__pycache__/clean.cpython-311.pyc`, type: 'pyc_file' },
        { path: 'bin/pytool', type: 'unix_python_entry_point' },
      ],
    },
  ],
  files: [
    { path: `${site}/pytool/__pycache__/__init__.cpython-311.pyc`, binary: 'pyc\0{prefix}\0' },
    { path: `${site}/pytool/__pycache__/clean.cpython-311.pyc`, text: 'pyc\xff' },
    { path: 'bin/pytool', text: '#!{prefix}/bin/python\nimport pytool\n', executable: true },
    { path: 'bin/piptool', text: '#!{prefix}/bin/python3.11\nimport piptool\n', executable: true },
    { path: 'bin/by-path', text: '#!/usr/bin/env python\nimport sys\n', executable: true },
    { path: `${site}/piptool.py`, text: 'no prefix\n' },
    { path: `${site}/config.py`, text: 'ROOT = "{prefix}/etc"\n' },
    { path: `${site}/__pycache__/config.cpython-311.pyc`, text: 'stale\n' },
    { path: `${site}/native.so`, binary: elf('{prefix}/lib'), executable: true },
    { path: 'share/own.txt', text: 'at {prefix}\n' },
    { path: 'share/absolute', link: '{prefix}/share/own.txt' },
  ],
}

/** What an installer would have put at `prefix`: the oracle. Files and links only. */
function installedAt(prefix: string): Map<string, string> {
  makeEnvironment(prefix, environment)
  const tree = files(prefix)
  rmSync(prefix, { recursive: true })
  return tree
}

const files = (prefix: string): Map<string, string> =>
  new Map([...describeTree(prefix, ['.conda-deploy'])].filter(([, line]) => !line.startsWith('directory')))

let tar: Buffer
beforeAll(async () => {
  makeEnvironment(origin, environment)
  tar = await condaPackTar(origin, environment)
})

let count = 0
const place = (): string => {
  const path = join(work, `place${++count}`)
  mkdirSync(path)
  return path
}
function archiveOf(bytes: Buffer, name = 'env.tar.gz'): string {
  const path = join(place(), name)
  writeFileSync(path, name.endsWith('.gz') ? gzipSync(bytes, { level: 1 }) : bytes)
  return path
}
const deployed = async (bytes: Buffer, options: Partial<DeployOptions> = {}): Promise<DeployResult> =>
  await deploy({ archive: archiveOf(bytes), to: join(place(), 'env'), readOnly: false, threads: 2, ...options })
const packed = async (packing: CondaPacking, what: FakeEnvironment = environment): Promise<Buffer> =>
  await condaPackTar(origin, what, packing)
const failure = async (bytes: Buffer, options: Partial<DeployOptions> = {}): Promise<string> => {
  const at = place()
  const told = await deployed(bytes, { to: join(at, 'env'), ...options }).then(
    () => 'deployed',
    (error) => `${error.code}: ${error.message}`,
  )
  expect(readdirSync(at), 'left behind').toEqual([])
  return told
}

/** Lines that differ from the oracle: what is different on purpose has to be named. */
function unlike({ prefix }: DeployResult): string[] {
  const mine = files(prefix)
  removeTree(prefix)
  const theirs = installedAt(prefix)
  const paths = [...new Set([...mine.keys(), ...theirs.keys()])].sort()
  return paths.filter((path) => mine.get(path) !== theirs.get(path) && !path.startsWith('conda-meta/'))
}

const onPurpose = [
  'bin/activate', // brought by the archive
  'bin/x-perl', // calls a program that the environment does not have
  `${site}/__pycache__/config.cpython-311.pyc`, // their sources were relocated
  `${site}/pytool/__pycache__/__init__.cpython-311.pyc`,
  'share/absolute', // relative now
]

describe('an archive of conda-pack', () => {
  test('becomes what an installer would have put there', async () => {
    const result = await deployed(tar)
    expect(result).toMatchObject({ method: 'deployed', trampolines: 0, byPath: [], warnings: [] })
    expect(result.foreign).toEqual({
      format: 'tar.gz',
      producer: 'conda-pack 0.9.0',
      root: '',
      origins: [origin],
      leftOut: ['bin/conda_unpack_progress.py', 'bin/conda-unpack'],
      droppedPyc: [`${site}/__pycache__/config.cpython-311.pyc`, `${site}/pytool/__pycache__/__init__.cpython-311.pyc`],
      restoredScripts: ['bin/piptool', 'bin/pytool', 'bin/x-tool'],
      kept: [],
      keptPyc: 0,
      duplicates: [],
      detached: [],
      outsideLinks: [],
    })
    expect((await verify(result.prefix)).faults).toEqual([])
    expect(filesWith(result.prefix, origin).filter((path) => !path.startsWith('.conda-deploy/'))).toEqual([])
    expect(
      filesWith(result.prefix, placeholder).filter((path) => !/^(\.conda-deploy\/|conda-meta\/.*json$)/.test(path)),
    ).toEqual([])
    expect(readlinkSync(join(result.prefix, 'share/absolute'))).toBe('own.txt')
    expect(readFileSync(join(result.prefix, 'bin/x-perl'), 'utf8')).toBe('#!/usr/bin/env perl\n1;\n')
    expect(unlike(result)).toEqual(onPurpose)
  })

  test('is the same whatever the order of its members', async () => {
    const there = files((await deployed(tar, { to: join(work, 'one/env') })).prefix)
    removeTree(join(work, 'one'))
    for (const order of ['reversed', 'halves'] as const) {
      const edit = (all: Packed[]): Packed[] => {
        const middle = all.length >> 1
        return order === 'reversed' ? all.reverse() : [...all.slice(middle), ...all.slice(0, middle)]
      }
      const result = await deployed(await packed({ edit }), { to: join(work, 'one/env') })
      expect(files(result.prefix), order).toEqual(there)
      expect((await verify(result.prefix)).faults).toEqual([])
      removeTree(join(work, 'one'))
    }
  })

  test('has records that are true, and nothing of the source machine', async () => {
    const { prefix } = await deployed(tar)
    const hash = (path: string): string =>
      createHash('sha256')
        .update(readFileSync(join(prefix, path)))
        .digest('hex')
    const record = JSON.parse(readFileSync(join(prefix, 'conda-meta/libx-1.0-0.json'), 'utf8'))
    for (const path of record.paths_data.paths)
      if (path.path_type === 'hardlink') expect(path.sha256_in_prefix).toBe(hash(path._path))
    const noarch = JSON.parse(readFileSync(join(prefix, 'conda-meta/pytool-1.0-0.json'), 'utf8'))
    expect(noarch.paths_data.paths[0]._path).toBe('site-packages/pytool/__init__.py')
    expect(noarch.paths_data.paths[0].sha256_in_prefix).toBe(hash(`${site}/pytool/__init__.py`))
    expect(noarch.files).not.toContain(`${site}/pytool/__pycache__/__init__.cpython-311.pyc`)
    expect(readFileSync(join(prefix, 'conda-meta/history'), 'utf8')).toBe(`# cmd: conda create -p ${prefix}\n`)
    expect(filesWith(join(prefix, 'conda-meta'), 'source-machine')).toEqual([])
  })

  test('is adopted when it is there, and is another content after a change', async () => {
    const archive = archiveOf(tar)
    const to = join(place(), 'env')
    const first = await deploy({ archive, to })
    expect(first.digest).toBe(createHash('sha256').update(readFileSync(archive)).digest('hex'))
    expect(await deploy({ archive, to })).toMatchObject({ method: 'adopted', digest: first.digest })
    expect(await failure(await packed({ edit: (all) => all.slice(1) }), { to })).toMatch(/^TARGET_EXISTS: /)
    removeTree(to)
  })

  test('is read-only unless asked otherwise', async () => {
    const { prefix } = await deployed(tar, { readOnly: true })
    expect(statSync(join(prefix, 'bin/pytool')).mode & 0o777).toBe(0o555)
    expect(statSync(join(prefix, 'share')).mode & 0o777).toBe(0o555)
    expect(statSync(join(prefix, 'share/own.txt')).mode & 0o777).toBe(0o444)
    expect((await verify(prefix)).faults).toEqual([])
  })

  test('of a mamba environment, whose records name no placeholder, relocates by the notes', async () => {
    const prefix = join(work, 'home/alice/envs/mam')
    const mamba = { ...environment, style: 'mamba' as const }
    makeEnvironment(prefix, mamba)
    const result = await deployed(await condaPackTar(prefix, mamba))
    expect(result.foreign).toMatchObject({ origins: [prefix], kept: [] })
    expect(result.warnings).toEqual([])
    expect(filesWith(result.prefix, placeholder).filter((path) => !path.startsWith('.conda-deploy/'))).toEqual([])
    expect(filesWith(result.prefix, prefix).filter((path) => !path.startsWith('.conda-deploy/'))).toEqual([])
    expect((await verify(result.prefix)).faults).toEqual([])
  })

  test('of packages that were in no cache relocates what an installer wrote', async () => {
    const result = await deployed(await packed({ uncached: ['libx', 'pytool', 'python'] }), { to: join(work, 'e') })
    expect(filesWith(result.prefix, origin).filter((path) => !path.startsWith('.conda-deploy/'))).toEqual([])
    expect(unlike(result)).toEqual(onPurpose)
  })

  test('keeps a prefix where it may not be changed, and says so', async () => {
    const extra = { path: 'share/data.bin', binary: 'data\xff\0{prefix}\0' }
    const prefix = join(work, 'home/alice/envs/dat')
    const what = {
      ...environment,
      files: [...(environment.files ?? []), extra, { path: 'lib/out', link: '/usr/lib/out' }],
    }
    makeEnvironment(prefix, what)
    const result = await deployed(await condaPackTar(prefix, what))
    expect(result.foreign).toMatchObject({
      kept: [{ path: 'share/data.bin', count: 1 }],
      outsideLinks: [{ path: 'lib/out', target: '/usr/lib/out' }],
    })
    expect(result.warnings).toEqual([
      'the prefix of the source environment stays in files whose structure is not known: share/data.bin',
      'links lead out of the environment: lib/out → /usr/lib/out',
    ])
  })
})

describe('prefixes', () => {
  test('that are long or have blanks make trampolines', async () => {
    const result = await deployed(tar, { to: join(place(), `with blank ${'n'.repeat(40)}`, 'env') })
    expect(result.trampolines).toBe(4)
    expect(readFileSync(join(result.prefix, 'bin/pytool'), 'utf8')).toBe(
      `#!/bin/sh\n'''exec' "${result.prefix}/bin/python" "$0" "$@" #'''\nimport pytool\n`,
    )
    expect((await verify(result.prefix)).faults).toEqual([])
  })

  test('longer than a placeholder are refused', async () => {
    const to = join(work, 'n'.repeat(120), 'n'.repeat(130))
    mkdirSync(dirname(to))
    await expect(deployed(tar, { to })).rejects.toMatchObject({
      code: 'PREFIX_TOO_LONG',
      paths: ['bin/python3.11', 'lib/libx.so.1'],
    })
    expect(readdirSync(dirname(to))).toEqual([])
  })

  test('longer than that of the source leave unmanaged programs as they were, by name', async () => {
    const result = await deployed(tar, { to: join(place(), 'n'.repeat(100)) })
    expect(result.foreign?.kept).toEqual([{ path: `${site}/native.so`, count: 1 }])
    expect(result.warnings).toEqual([
      `these keep the prefix of the source environment, because the new one is longer: ${site}/native.so`,
    ])
  })

  test('longer than that of the source are refused where the installer had written it', async () => {
    const told = await failure(await packed({ uncached: ['libx'] }), { to: join(work, 'm'.repeat(100)) })
    expect(told).toMatch(/^PREFIX_TOO_LONG: .* fit into lib\/libx\.so\.1/)
  })

  test('that hold the old one, or are held by it, are written once', async () => {
    for (const to of [`${origin}/deep`, `${origin}2`, `${dirname(origin)}/ap`]) {
      const result = await deployed(tar, { to })
      expect(readFileSync(join(to, 'share/own.txt'), 'utf8')).toBe(`at ${to}\n`)
      expect(readFileSync(join(to, 'lib/pkgconfig/x.pc'), 'utf8')).toBe(`prefix=${to}\n`)
      expect((await verify(to)).faults).toEqual([])
      removeTree(result.prefix)
    }
  })
})

describe('packing', () => {
  test.each([
    ['tar', (bytes: Buffer) => bytes],
    ['tar.zst', (bytes: Buffer) => compress(bytes)],
    ['tar.gz', (bytes: Buffer) => Buffer.concat([gzipSync(bytes.subarray(0, 5000)), gzipSync(bytes.subarray(5000))])],
  ])('%s is read', async (format, pack) => {
    const result = await deployed(tar, { archive: archiveOf(pack(tar), 'env') })
    expect(result).toMatchObject({ foreign: { format }, warnings: [] })
    expect((await verify(result.prefix)).faults).toEqual([])
  })

  test('a folder around everything is taken away, and named', async () => {
    const result = await deployed(await packed({ arcroot: 'app-1.0/inner' }))
    expect(result.foreign?.root).toBe('app-1.0/inner')
    expect(result.warnings).toEqual([
      'the environment is in the folder app-1.0/inner of the archive; the folder is not kept',
    ])
    expect(existsSync(join(result.prefix, 'bin/pytool'))).toBe(true)
    expect((await verify(result.prefix)).faults).toEqual([])
  })

  test('a folder around not quite everything is no environment', async () => {
    const bytes = await packed({ arcroot: 'app', edit: (all) => all })
    const more = await tarOf([{ name: 'README', data: Buffer.from('read me') }])
    expect(await failure(Buffer.concat([bytes.subarray(0, -1024), more]))).toMatch(
      /^NOT_AN_ENV: .*"README" lies outside/,
    )
  })

  test('a file larger than a batch goes through the disk', async () => {
    const data = Buffer.alloc(20 << 20, 'large {prefix} '.replace(here, placeholder))
    const record = {
      name: 'big',
      version: '1.0',
      files: ['lib/big'],
      paths_data: {
        paths: [{ _path: 'lib/big', path_type: 'hardlink', prefix_placeholder: placeholder, file_mode: 'text' }],
      },
    }
    const edit = (all: Packed[]): Packed[] => [
      { name: 'conda-meta/big-1.0-0.json', data: Buffer.from(JSON.stringify(record)) },
      ...all,
      { name: 'lib/big', data },
    ]
    const { prefix } = await deployed(await packed({ edit }), { archive: archiveOf(await packed({ edit }), 'env.tar') })
    expect(readFileSync(join(prefix, 'lib/big'), 'latin1')).toBe(
      data.toString('latin1').replaceAll(placeholder, prefix),
    )
    expect(readdirSync(join(prefix, '.conda-deploy')).sort()).toEqual(['index', 'ready'])
  })
})

describe('a plain tar of an environment', () => {
  const plainTar = async (edit: (all: Packed[]) => Packed[] = (all) => all): Promise<Buffer> => {
    const names = [...describeTree(origin).keys()].sort()
    const members = names.map((name): Packed => {
      const full = join(origin, name)
      const stat = lstatSync(full)
      const header = { name: `./${name}`, mode: stat.mode & 0o777, mtime: stat.mtime }
      if (stat.isSymbolicLink()) return { ...header, type: 'symlink', linkname: readlinkSync(full) }
      return stat.isDirectory() ? { ...header, type: 'directory' } : { ...header, data: readFileSync(full) }
    })
    return await tarOf(edit(members))
  }

  test('relocates by the prefix that its scripts name', async () => {
    const result = await deployed(await plainTar())
    expect(result.foreign).toMatchObject({ producer: null, origins: [origin], leftOut: [], restoredScripts: [] })
    expect(result.warnings).toEqual([])
    expect((await verify(result.prefix)).faults).toEqual([])
    expect(filesWith(result.prefix, origin).filter((path) => !path.startsWith('.conda-deploy/'))).toEqual([])
    expect(unlike(result)).toEqual(onPurpose.filter((path) => !path.startsWith('bin/')))
  })

  test('says so when nothing names the prefix', async () => {
    const result = await deployed(await plainTar((all) => all.filter(({ name }) => !name.startsWith('./bin/'))))
    expect(result.foreign).toMatchObject({ origins: [] })
    expect(result.warnings).toEqual([
      expect.stringMatching(/does not tell where its environment stood/),
      expect.stringMatching(/^links lead out .* share\/absolute/),
    ])
    expect(readFileSync(join(result.prefix, 'share/own.txt'), 'utf8')).toBe(`at ${origin}\n`)
  })

  test('of a deployed environment leaves out what was ours', async () => {
    const result = await deployed(
      await plainTar((all) => [...all, { name: './.conda-deploy/ready', data: Buffer.from('{}') }]),
    )
    expect(result.foreign?.leftOut).toEqual(['.conda-deploy/ready'])
    expect(result.warnings).toEqual(['left out, an archive cannot bring it: .conda-deploy/ready'])
  })

  test('without records is refused', async () => {
    expect(await failure(await plainTar((all) => all.filter(({ name }) => !name.includes('conda-meta'))))).toMatch(
      /^NOT_AN_ENV: /,
    )
    expect(await failure(await tarOf([{ name: 'src/main.c', data: Buffer.from('x') }]))).toMatch(/^NOT_AN_ENV: /)
  })

  test('with a record that is none is refused', async () => {
    const edit = (all: Packed[]): Packed[] => [...all, { name: 'conda-meta/x.json', data: Buffer.from('[]') }]
    expect(await failure(await plainTar(edit))).toMatch(/^ENV_DAMAGED: conda-meta\/x\.json/)
  })
})

test('a deployment can be cancelled while an archive is read', async () => {
  const stop = new AbortController()
  const at = place()
  const large = await packed({
    edit: (all) => [
      ...all,
      ...Array.from({ length: 6 }, (_, i) => ({ name: `lib/f${i}`, data: Buffer.alloc(12 << 20, String(i)) })),
    ],
  })
  const reporter = { phase() {}, warn() {}, progress: () => stop.abort() }
  await expect(deployed(large, { to: join(at, 'env'), signal: stop.signal, reporter })).rejects.toMatchObject({
    code: 'CANCELLED',
  })
  expect(readdirSync(at)).toEqual([])
})
