/** Archives of conda-pack, deployed; what must come out is what an installer would have put there. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { condaPackTar, type Packed } from '../support/conda-pack-archive.js'
import { makeEnvironment, placeholder } from '../support/make-env.js'
import { removeTree } from '../support/temp.js'
import { filesWith } from '../support/tree.js'
import {
  archiveOf,
  deployed,
  environment,
  failure,
  files,
  onPurpose,
  origin,
  packed,
  place,
  site,
  tar,
  unlike,
  work,
} from './foreign-sample.js'

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
