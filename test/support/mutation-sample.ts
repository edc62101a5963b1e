/** A small environment that has one of everything, for archives that are damaged thousands of times. */
import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { native, type PackEntry, runJob } from '../../src/native.js'
import { type RawMember, rawTar } from './raw-tar.js'

export const origin = '/origin/of/the/mutated/environment'
const slot = 120
const mtime = 1_600_000_000

/** Not compressible, and the same in every run. */
function noise(bytes: number): Buffer {
  const parts = Array.from({ length: Math.ceil(bytes / 32) }, (_, i) => createHash('sha256').update(String(i)).digest())
  return Buffer.concat(parts).subarray(0, bytes)
}

function library(): Buffer {
  const room = Buffer.alloc(slot + 20)
  room.write(`${origin}/lib`, 'latin1')
  const wide = Buffer.alloc(2 * slot + 20)
  wide.write(`${origin}/share`, 'utf16le')
  return Buffer.concat([Buffer.from('\x7fELF\0\0'), room, Buffer.from('end\0'), wide, Buffer.from('\0\0\0\0')])
}

const record =
  '{\n  "name": "a",\n  "version": "1",\n  "build": "0",\n  "files": [],\n  "paths_data": {"paths": []}\n}\n'

const members: readonly RawMember[] = [
  { name: 'conda-meta/', type: '5', mode: 0o755 },
  { name: 'conda-meta/a-1-0.json', data: record },
  { name: 'conda-meta/history', data: '' },
  { name: 'bin/', type: '5', mode: 0o755 },
  { name: 'bin/program', mode: 0o755, data: `#!${origin}/bin/python\nprint('${origin}')\n` },
  { name: 'bin/python', mode: 0o755, data: library() },
  { name: 'bin/python3', type: '1', link: 'bin/python', mode: 0o755 },
  { name: 'bin/link', type: '2', link: 'python', mode: 0o777 },
  { name: 'lib/', type: '5', mode: 0o755 },
  { name: 'lib/large', data: noise(3000) },
  { name: 'lib/text', data: `${`line with ${origin}/lib in it\n`.repeat(20)}` },
  { name: 'lib/empty', data: '' },
]

/** As a tar of somebody else's, plain or compressed. */
export const foreignTar: Buffer = rawTar(members)
export const foreignTarGz: Buffer = gzipSync(foreignTar)

/** Writes an archive of ours with frames of 1 KiB, so that there are many, and a file goes over several. */
export async function writeOurs(path: string, root: string): Promise<void> {
  mkdirSync(root, { recursive: true })
  const kinds = { '0': 'file', '1': 'hardlink', '2': 'symlink', '5': 'directory' } as const
  const entries = members.map(({ name, type = '0', mode = 0o644, link, data = '' }): PackEntry => {
    const kind = kinds[type as keyof typeof kinds]
    const content = kind === 'file' ? { data: Buffer.from(data), policy: 'any' as const, slot } : {}
    const target = link === undefined ? {} : { target: link }
    return {
      path: String(name).replace(/\/$/, ''),
      kind,
      mode,
      mtime,
      size: Buffer.from(data).length,
      ...target,
      ...content,
    }
  })
  const common = { output: path, prefixes: [origin], level: 3, frameBytes: 1024, threads: 1 }
  const job = { ...common, root, entries, marker: '_no_such_marker_' }
  const { draft } = await runJob((counters) => native().pack(job, counters))
  const digest: PackEntry = {
    ...{ path: 'conda-meta/b-1-0.json', kind: 'file', mode: 0o644, mtime, size: 70 },
    ...{ data: Buffer.from(`"${'0'.repeat(64)}"\n...`), digests: [{ offset: 1, path: 'bin/program' }] },
  }
  const seal = { ...common, draft, entries: [digest], json: '{"name":"mutated"}' }
  await runJob((counters) => native().seal(seal, counters))
}
