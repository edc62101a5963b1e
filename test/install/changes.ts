/** A channel whose packages come in versions, and environments changed from it: what the tests of install, update and remove share. */
import { chmodSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { RepoRecord } from '../../src/install/repodata.js'
import { describeTree } from '../support/tree.js'
import { type Built, type BuiltFile, build, placeholder, text, writeIndex } from './built.js'

/** Stands for python: what it is asked to compile becomes a file; sources that say `broken` do not compile. */
const python = (tag: string): string => `#!/bin/sh
exec python3 -c '
import os, sys
texts = sys.stdin.buffer.read().split(b"\\0")
for i in range(0, len(texts) - 1, 3):
    source, _, target = texts[i:i + 3]
    data = open(source, "rb").read()
    if b"broken" in data:
        print(i // 3, 0)
        continue
    os.makedirs(os.path.dirname(target), exist_ok=True)
    open(target, "wb").write(b"${tag}\\n" + data)
'
`
const pythonOf = (version: string): Built => {
  const minor = version.split('.').slice(0, 2).join('.')
  return {
    ...{ name: 'python', version },
    files: [
      { path: `bin/python${minor}`, content: python(minor.replace('.', '')), mode: 0o755 },
      { path: 'bin/python', link: `python${minor}` },
      { path: `lib/python${minor}/os.py`, content: `# ${version}\n` },
    ],
  }
}

const many = (folder: string, count: number, content: string): BuiltFile[] =>
  Array.from({ length: count }, (_, i) => ({ path: `${folder}/f${i}`, content: `${content} ${i}` }))

const tool = (version: string, more: readonly BuiltFile[] = []): Built => ({
  ...{ name: 'tool', version, depends: [`data >=${version}`] },
  files: [
    { path: 'bin/tool', content: `#!/bin/sh\n# ${placeholder} ${version}\n`, mode: 0o755, placeholder: 'text' },
    { path: 'lib/libtool.so', link: `libtool.so.${version}` },
    {
      path: `lib/libtool.so.${version}`,
      content: Buffer.from(`\0${placeholder}/lib\0${version}`),
      placeholder: 'binary',
    },
    ...many('share/tool/both', 12, version),
    ...many(`share/tool/only-${version}`, 5, version),
    ...more,
  ],
})

export const offered: readonly Built[] = [
  pythonOf('3.11.4'),
  pythonOf('3.11.9'),
  pythonOf('3.12.1'),
  tool('1.0', [
    { path: 'share/turns/into/a-file', content: '1' },
    { path: 'share/becomes', content: 'a file' },
    { path: 'share/leads', link: 'tool' },
  ]),
  tool('2.0', [
    { path: 'share/turns', content: 'a file now' },
    { path: 'share/becomes/a-folder', content: '2' },
    { path: 'share/leads/not', content: '2' },
  ]),
  { name: 'data', version: '1.0', kind: 'tar.bz2', files: [{ path: 'share/data', content: 'one' }] },
  { name: 'data', version: '2.0', files: [{ path: 'share/data', content: 'two' }] },
  { name: 'alone', files: [{ path: 'share/alone/deep/er/file', content: 'alone' }] },
  {
    ...{ name: 'pure', noarch: 'python', depends: ['python'], entryPoints: ['pure = pure.main:run'] },
    files: [
      { path: 'site-packages/pure/__init__.py', content: '' },
      { path: 'site-packages/pure/main.py', content: 'run = None\n' },
      { path: 'site-packages/pure/broken.py', content: 'broken' },
    ],
  },
  {
    name: 'native',
    depends: ['python'],
    files: [{ path: 'lib/python3.11/site-packages/native.py', content: 'x = 1\n' }],
  },
  // The first of the two is linked first.
  {
    name: 'first',
    files: [
      { path: 'share/common', content: 'of first' },
      { path: 'share/first', content: '' },
    ],
  },
  {
    name: 'second',
    files: [
      { path: 'share/common', content: 'of second' },
      { path: 'share/second', content: '' },
    ],
  },
  { name: 'newer', depends: ['tool >=2'], files: [{ path: 'share/newer', content: '' }] },
  { name: 'through', files: [{ path: 'share/elsewhere/file', content: '' }] },
]

/** Builds the channel; packages of one version alone are what an older day of it offered. */
export async function makeChannel(folder: string): Promise<{ all: string; old: string; records: RepoRecord[] }> {
  const [all, old] = [join(folder, 'channel'), join(folder, 'old')]
  const records: RepoRecord[] = []
  const before: RepoRecord[] = []
  for (const one of offered) {
    records.push(await build(all, one))
    if (one.name !== 'python' && one.version === '2.0') continue
    if (one.version === '3.11.9' || one.version === '3.12.1') continue
    before.push(await build(old, one))
  }
  writeIndex(all, records)
  writeIndex(old, before)
  return { all, old, records }
}

/** An environment without times, and without the history, which tells how it came to be what it is. */
export function stateOf(prefix: string, skip: readonly string[] = ['conda-meta/history']): Map<string, string> {
  const lines = [...describeTree(prefix)].filter(
    ([path]) => !skip.some((one) => path === one || path.startsWith(`${one}/`)),
  )
  return new Map(
    lines.map(([path, line]) => {
      if (/^conda-meta\/[^/]*\.json$/.test(path)) return [path, JSON.stringify(withoutPlaces(text(join(prefix, path))))]
      return [path, line.replace(/^(file|directory) (\d+) \d+/, '$1 $2')]
    }),
  )
}

/** The two channels are of one content; which one a package came from is not compared, nor whether its archive came by the cache. */
function withoutPlaces(json: string): unknown {
  const { channel, url, package_tarball_full_path, ...rest } = JSON.parse(json) as Record<string, unknown>
  return rest
}

export function lockTree(path: string, mode: number): void {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) lockTree(join(path, entry.name), mode)
  chmodSync(path, mode)
}

export function folderAt(...parts: readonly string[]): string {
  const path = join(...parts)
  mkdirSync(path, { recursive: true })
  return path
}
