/** An environment with everything that matters to relocation, packed by conda-pack, and what an installer would have put elsewhere. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect } from 'vitest'
import { type DeployOptions, type DeployResult, deploy } from '../../src/deploy/deploy.js'
import { type CondaPacking, condaPackTar } from '../support/conda-pack-archive.js'
import { type FakeEnvironment, makeEnvironment, python } from '../support/make-env.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree } from '../support/tree.js'

export const work: string = temporaryFolder('foreign')
export const origin: string = join(work, 'home/alice/envs/app')
/** Where its python keeps packages. */
export const site: string = 'lib/python3.11/site-packages'
const elf = (strings: string): string => `\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0${strings}\0end`

export const environment: FakeEnvironment = {
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

/** Files and links beneath a prefix, in words. */
export const files = (prefix: string): Map<string, string> =>
  new Map([...describeTree(prefix, ['.conda-deploy'])].filter(([, line]) => !line.startsWith('directory')))

makeEnvironment(origin, environment)
/** What conda-pack makes of it. */
export const tar: Buffer = await condaPackTar(origin, environment)

let count = 0
export const place = (): string => {
  const path = join(work, `place${++count}`)
  mkdirSync(path)
  return path
}
export function archiveOf(bytes: Buffer, name = 'env.tar.gz'): string {
  const path = join(place(), name)
  writeFileSync(path, name.endsWith('.gz') ? gzipSync(bytes, { level: 1 }) : bytes)
  return path
}
export const deployed = async (bytes: Buffer, options: Partial<DeployOptions> = {}): Promise<DeployResult> =>
  await deploy({ archive: archiveOf(bytes), to: join(place(), 'env'), readOnly: false, threads: 2, ...options })
export const packed = async (packing: CondaPacking, what: FakeEnvironment = environment): Promise<Buffer> =>
  await condaPackTar(origin, what, packing)
/** Code and message of a deployment that must leave nothing behind. */
export const failure = async (bytes: Buffer, options: Partial<DeployOptions> = {}): Promise<string> => {
  const at = place()
  const told = await deployed(bytes, { to: join(at, 'env'), ...options }).then(
    () => 'deployed',
    (error) => `${error.code}: ${error.message}`,
  )
  expect(readdirSync(at), 'left behind').toEqual([])
  return told
}

/** Lines that differ from the oracle: what is different on purpose has to be named. */
export function unlike({ prefix }: DeployResult): string[] {
  const mine = files(prefix)
  removeTree(prefix)
  const theirs = installedAt(prefix)
  const paths = [...new Set([...mine.keys(), ...theirs.keys()])].sort()
  return paths.filter((path) => mine.get(path) !== theirs.get(path) && !path.startsWith('conda-meta/'))
}

export const onPurpose: readonly string[] = [
  'bin/activate', // brought by the archive
  'bin/x-perl', // calls a program that the environment does not have
  `${site}/__pycache__/config.cpython-311.pyc`, // their sources were relocated
  `${site}/pytool/__pycache__/__init__.cpython-311.pyc`,
  'share/absolute', // relative now
]
