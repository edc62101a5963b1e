/**
 * Two archives of one environment, an earlier and a newer one: everything that can become something else in an update does, and for everything
 * there is something that stays.
 */
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { native, type PackEntry, runJob } from '../../src/native.js'
import { describeTree } from './tree.js'

const origin = `/origin/of/an/environment${'/long'.repeat(25)}`

export const directory = (path: string, mode = 0o755, mtime = 1_000_000): PackEntry => ({
  ...{ path, kind: 'directory', mode, mtime, size: 0 },
})
export function file(path: string, text: string, mode = 0o644, mtime = 1_000_000): PackEntry {
  const data = Buffer.from(text.replaceAll('{prefix}', origin))
  return { path, kind: 'file', mode, mtime, size: data.length, data, policy: 'detect' }
}
export const symlink = (path: string, target: string): PackEntry => ({
  ...{ path, kind: 'symlink', mode: 0o777, mtime: 1_000_000, size: 0, target },
})
export const hardlink = (path: string, target: string): PackEntry => ({
  ...{ path, kind: 'hardlink', mode: 0o644, mtime: 1_000_000, size: 0, target },
})

const record = (version: string): PackEntry => {
  const what = { name: 'tool', version, build: '0', build_number: 0, subdir: 'linux-64', channel: 'c', files: [] }
  return file(`conda-meta/tool-${version}-0.json`, JSON.stringify({ ...what, paths_data: { paths: [] } }))
}
const common: readonly PackEntry[] = [
  ...['bin', 'conda-meta', 'lib', 'share', 'share/times', 'share/modes'].map((path) =>
    path.startsWith('share/') ? directory(path, 0o755, 1_500_000) : directory(path),
  ),
  file('conda-meta/history', ''),
  file('lib/stays', 'home = {prefix}\n'),
  file('lib/two', 'of two names\n'),
  file('share/modes/stays', 'stays\n'),
  hardlink('lib/two-too', 'lib/two'),
]

export const earlier: readonly PackEntry[] = [
  ...common,
  record('1.0'),
  file('bin/tool', '#!/bin/sh\n# {prefix}\necho 1\n', 0o755),
  symlink('bin/t', 'tool'),
  ...['share/goes', 'share/goes/deep', 'share/void', 'share/was-folder', 'share/was-folder/in'].map((path) =>
    directory(path),
  ),
  file('share/goes/one', 'one'),
  file('share/goes/deep/two', 'two {prefix}'),
  file('share/was-file', 'a file'),
  file('share/was-folder/in/it', 'in a folder'),
  file('lib/pair', 'a pair 1'),
  hardlink('lib/pair-too', 'lib/pair'),
]

export const newer: readonly PackEntry[] = [
  ...common.map((one) =>
    one.path === 'share/modes'
      ? { ...one, mode: 0o700 }
      : one.path === 'share/times'
        ? { ...one, mtime: 2_000_000 }
        : one,
  ),
  record('2.0'),
  file('bin/tool', '#!/bin/sh\n# {prefix}\necho 2\n', 0o755, 2_000_000),
  symlink('bin/t', './tool'),
  ...['share/comes', 'share/comes/deep', 'share/empty', 'share/was-file'].map((path) => directory(path)),
  file('share/comes/deep/one', 'one {prefix}'),
  file('share/was-file/in', 'in a file that became a folder'),
  file('share/was-folder', 'a folder that became a file'),
  file('lib/pair', 'a pair 2'),
  hardlink('lib/pair-too', 'lib/pair'),
]

/** Hard links come last, and directories before what they hold. */
export async function packed(output: string, entries: readonly PackEntry[]): Promise<string> {
  const last = (one: PackEntry): number => (one.kind === 'hardlink' ? 1 : 0)
  const sorted = [...entries].sort((a, b) => last(a) - last(b) || (a.path < b.path ? -1 : 1))
  const shape = { output, prefixes: [origin], level: 1, frameBytes: 4096, threads: 1 }
  const root = `${output}.root`
  mkdirSync(root)
  const job = { ...shape, root, entries: sorted, marker: '_none_' }
  const { draft } = await runJob((counters) => native().pack(job, counters))
  await runJob((counters) => native().seal({ ...shape, draft, entries: [], json: '{}' }, counters))
  return output
}

/** A deployment as comparable lines, with its own files, and who shares a file with whom; but for the time of its marker. */
export function stateOf(prefix: string): Map<string, string> {
  const lines = describeTree(prefix)
  const names = new Map<number, string[]>()
  for (const [path, line] of lines) {
    if (!line.startsWith('file')) continue
    const { ino } = statSync(join(prefix, path))
    names.set(ino, [...(names.get(ino) ?? []), path])
  }
  for (const all of names.values()) if (all.length > 1) lines.set(`names of ${all[0]}`, all.join(' '))
  const withoutTime = (path: string): void => {
    lines.set(
      path,
      (lines.get(path) ?? '')
        .split(' ')
        .filter((_, i) => i !== 2)
        .join(' '),
    )
  }
  for (const path of ['.conda-deploy', '.conda-deploy/index']) withoutTime(path)
  const { created: _, ...ready } = JSON.parse(readFileSync(join(prefix, '.conda-deploy/ready'), 'utf8')) as {
    created: string
  }
  lines.set(
    '.conda-deploy/ready',
    `${(statSync(join(prefix, '.conda-deploy/ready')).mode & 0o777).toString(8)} ${JSON.stringify(ready)}`,
  )
  lines.set('.', (statSync(prefix).mode & 0o777).toString(8))
  return lines
}

/** What is beside the prefix, and in its own folders, and is not of a deployment. */
export function litterOf(prefix: string): string[] {
  const beside = readdirSync(join(prefix, '..')).filter((name) => name.startsWith('.'))
  const own = readdirSync(join(prefix, '.conda-deploy')).filter((name) => name !== 'index' && name !== 'ready')
  return [...beside, ...own]
}
