/**
 * The real conda-pack, where CONDA_PACK names its command (`CONDA_PACK='python3 -m conda_pack.cli'`): that our fixture is like what it
 * makes, and that deploying gives what tar and its conda-unpack give, but for what conda-unpack leaves undone.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readUnpacker, unpackScript } from '../../src/archive/conda-pack.js'
import { deploy } from '../../src/deploy/deploy.js'
import { condaPackTar } from '../support/conda-pack-archive.js'
import {
  type FakeEnvironment,
  type FakePackage,
  here,
  makeEnvironment,
  placeholder,
  python,
} from '../support/make-env.js'
import { readMembers } from '../support/members.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree } from '../support/tree.js'

const command = process.env['CONDA_PACK']
// Where all tests are skipped nothing would remove the folder.
const work = command === undefined ? '/nowhere' : temporaryFolder('conda-pack')
const origin = join(work, 'envs/app')
const pkgs = join(work, 'pkgs')

const linked = (name: string, version = '1.0'): Required<Pick<FakePackage, 'record'>> => {
  const source = join(pkgs, `${name}-${version}-0`)
  return { record: { link: { source, type: 1 }, extracted_package_dir: source } }
}

const environment: FakeEnvironment = {
  packages: [
    {
      ...python,
      ...linked('python', '3.11.4'),
      files: [
        ...(python.files ?? []),
        { path: 'bin/python3.11-config', text: '#!/bin/sh\np={prefix}\nq={prefix}\n', executable: true },
      ],
    },
    {
      name: 'libx',
      ...linked('libx'),
      files: [
        { path: 'bin/x-tool', text: '#!{prefix}/bin/python -s\nprint(1)\n', executable: true },
        { path: 'bin/x-two', text: '#!{prefix}/bin/python\nhome = "{prefix}"\n', executable: true },
        { path: "lib/it's.txt", text: 'at {prefix}\n' },
        { path: 'lib/libx.so', binary: '\x7fELF\0{prefix}/lib:{prefix}\0other', executable: true },
        { path: 'share/plain', text: 'plain\n' },
      ],
    },
  ],
  files: [
    { path: 'bin/piptool', text: '#!{prefix}/bin/python3.11\nimport piptool\n', executable: true },
    { path: 'share/own.txt', text: 'at {prefix}\n' },
    { path: 'share/link', link: 'own.txt' },
    { path: 'share/caf\u00e9.txt', text: 'caf\u00e9\n' },
  ],
}

/** The package cache that conda-pack takes the bytes of packages from. */
function makeCache(): void {
  for (const { name, version = '1.0', files = [] } of environment.packages) {
    const root = join(pkgs, `${name}-${version}-0`)
    const paths = files.map(({ path, text, binary, link, executable }) => {
      const content = (binary ?? text ?? '').replaceAll(here, placeholder)
      mkdirSync(dirname(join(root, path)), { recursive: true })
      if (link !== undefined) symlinkSync(link, join(root, path))
      else
        writeFileSync(join(root, path), content, {
          encoding: binary === undefined ? 'utf8' : 'latin1',
          mode: executable ? 0o755 : 0o644,
        })
      const mode = binary === undefined ? 'text' : 'binary'
      const replaced = content.includes(placeholder) ? { prefix_placeholder: placeholder, file_mode: mode } : {}
      return { _path: path, path_type: link === undefined ? 'hardlink' : 'softlink', ...replaced }
    })
    mkdirSync(join(root, 'info'), { recursive: true })
    writeFileSync(join(root, 'info/paths.json'), JSON.stringify({ paths, paths_version: 1 }))
  }
}

async function contents(path: string): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for (const { path: name, target, text } of (await readMembers(path)).members) found.set(name, target ?? text)
  return found
}

describe.skipIf(command === undefined)(
  `the real conda-pack${command === undefined ? ' (CONDA_PACK does not name its command)' : ''}`,
  () => {
    const real = join(work, 'real.tar.gz')

    test('makes what our fixture makes', async () => {
      makeCache()
      makeEnvironment(origin, environment)
      const [program = '', ...args] = (command ?? '').split(' ')
      execFileSync(program, [...args, '-q', '-p', origin, '-o', real], { stdio: 'pipe' })
      const fixture = join(work, 'fixture.tar')
      writeFileSync(fixture, await condaPackTar(origin, environment))
      const [theirs, ours] = [await contents(real), await contents(fixture)]
      const notes = (of: Map<string, string>) =>
        readUnpacker(Buffer.from(of.get(unpackScript) ?? '', 'latin1').toString())?.notes
      expect(notes(ours)?.toSorted((a, b) => (a.path < b.path ? -1 : 1))).toEqual(
        notes(theirs)?.toSorted((a, b) => (a.path < b.path ? -1 : 1)),
      )
      for (const name of [
        unpackScript,
        'bin/conda_unpack_progress.py',
        'bin/activate',
        'bin/activate.fish',
        'bin/deactivate',
      ])
        for (const of of [theirs, ours]) of.delete(name)
      const data = (of: Map<string, string>) =>
        [...of].map(([name, text]) => [name, name.endsWith('.json') ? JSON.parse(text) : text])
      expect(data(ours)).toEqual(data(theirs))
    })

    test('deploys to what tar and conda-unpack give, and more', async () => {
      const to = join(work, 'target')
      const result = await deploy({ archive: real, to, readOnly: false })
      const mine = describeTree(to, ['.conda-deploy'])
      const saved = new Map(
        ['bin/x-tool', 'bin/python3.11-config'].map((path) => [path, readFileSync(join(to, path), 'utf8')]),
      )
      removeTree(to)
      mkdirSync(to)
      execFileSync('tar', ['-xzf', real, '-C', to])
      execFileSync('python3', [join(to, unpackScript)], { stdio: 'pipe' })
      const content = (line: string | undefined): string | undefined =>
        line?.replace(/^directory .*/, 'directory').replace(/^file \d+ \d+ /, '')
      const theirs = describeTree(to)
      const paths = [...new Set([...mine.keys(), ...theirs.keys()])].filter(
        (path) => content(mine.get(path)) !== content(theirs.get(path)),
      )
      expect(paths.sort()).toEqual([
        'bin/conda-unpack',
        'bin/conda_unpack_progress.py',
        'bin/piptool', // the interpreter of the environment again
        'bin/python3.11', // never noted by conda-pack
        'bin/python3.11-config',
        'bin/x-tool',
        'conda-meta/history', // true for the target
        'conda-meta/libx-1.0-0.json',
        'conda-meta/python-3.11.4-0.json',
      ])
      expect(saved.get('bin/x-tool')).toBe(`#!${to}/bin/python -s\nprint(1)\n`)
      expect(saved.get('bin/python3.11-config')).toBe(`#!/bin/sh\np=${to}\nq=${to}\n`)
      expect(result.foreign?.producer).toMatch(/^conda-pack \d/)
    })
  },
)
