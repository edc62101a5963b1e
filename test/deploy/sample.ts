/** A small environment as an archive of ours, made by the core alone from a list of entries: no conda, no packing policy. */
import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { native, type PackEntry, runJob } from '../../src/native.js'

/** The prefix in its files. */
export const origin = '/origin/of/the/sample/environment'
/** The longest prefix that its one binary takes. */
export const slot = 120

export interface Sample {
  /** Further files with random content: their number, and bytes each. */
  readonly ballast?: readonly [files: number, bytes: number]
  /** The binary with a limited slot; default true. */
  readonly binary?: boolean
  /** Text of `bin/hello` after its shebang; default: prints its prefix and its arguments. */
  readonly program?: string
}

const mtime = 1_600_000_000

/** Writes the archive at `path` and returns its digest. */
export async function writeSample(path: string, sample: Sample = {}): Promise<string> {
  mkdirSync(dirname(path), { recursive: true })
  const entries = sampleEntries(sample)
  const common = { output: path, prefixes: [origin], level: 1, frameBytes: 1 << 20, threads: 2 }
  const job = { ...common, root: dirname(path), entries, marker: '_no_such_marker_' }
  const { draft } = await runJob((counters) => native().pack(job, counters))
  const json = JSON.stringify({
    name: 'sample',
    packages: 2,
    kept: { total: 3, list: [{ path: 'etc/kept', count: 1 }] },
  })
  const seal = { ...common, draft, entries: [], json }
  return (await runJob((counters) => native().seal(seal, counters))).digest
}

function sampleEntries({
  ballast = [0, 0],
  binary = true,
  program = 'echo "$(cat "$(dirname "$0")/../etc/prefix")" "$@"',
}: Sample): PackEntry[] {
  const directory = (path: string): PackEntry => ({ path, kind: 'directory', mode: 0o755, mtime, size: 0 })
  const file = (path: string, content: string | Buffer, more: Partial<PackEntry> = {}): PackEntry => {
    const data = Buffer.from(content as string)
    return { path, kind: 'file', mode: 0o644, mtime, size: data.length, data, policy: 'detect', ...more }
  }
  const symlink = (path: string, target: string): PackEntry => ({
    path,
    kind: 'symlink',
    mode: 0o777,
    mtime,
    size: 0,
    target,
  })
  const string = Buffer.alloc(slot + 40)
  string.write(`${origin}/lib`, 'latin1')
  const padding = slot - origin.length
  const content = Buffer.concat([
    Buffer.from('\x7fELF\0\0'),
    string.subarray(0, `${origin}/lib`.length + padding + 1),
    Buffer.from('end\0'),
  ])
  const more = Array.from({ length: ballast[0] }, (_, i) =>
    file(`share/ballast${String(i).padStart(5, '0')}`, randomBytes(ballast[1])),
  )
  return [
    directory('bin'),
    file('bin/hello', `#!/bin/sh\n${program}\n`, { mode: 0o755 }),
    symlink('bin/hi', 'hello'),
    directory('conda-meta'),
    file('conda-meta/history', ''),
    directory('etc'),
    file('etc/kept', 'plain text\n'),
    file('etc/prefix', `${origin}\n`),
    directory('lib'),
    ...(binary ? [file('lib/libsample.so', content, { policy: 'any', slot })] : []),
    file('lib/plain', randomBytes(100_000)),
    ...(more.length > 0 ? [directory('share')] : []),
    ...more,
  ]
}
