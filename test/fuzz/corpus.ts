/**
 * Makes the corpus of the fuzz targets: a few inputs each that lead far inside. Run it after a format grew:
 *   npx esbuild test/fuzz/corpus.ts --bundle --platform=node --format=esm --external:zstd-napi --external:vitest --outfile=build/corpus.mjs && node build/corpus.mjs
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type Draft, draftOf, type ForgedEntry, fixed, forge, leastMembers, tableBytes } from '../support/forge.js'
import { type RawMember, rawMember, rawPax, rawTar } from '../support/raw-tar.js'
import { rawZip } from '../support/raw-zip.js'

const folder = 'test/fuzz/corpus'

function put(target: string, name: string, bytes: Buffer): void {
  mkdirSync(join(folder, target), { recursive: true })
  writeFileSync(join(folder, target, name), bytes)
}

const prefix = '/old/prefix'
const strings = Buffer.from(`\x7fELF\0${prefix}/lib\0\0\0\0\0${prefix}:${prefix}/x\0end`)
const wide = Buffer.concat([Buffer.from(`${prefix}/a`, 'utf16le'), Buffer.alloc(12)])

const members: readonly RawMember[] = [
  ...leastMembers,
  { name: 'bin/', type: '5', mode: 0o755 },
  { name: 'bin/run', mode: 0o755, data: `#!${prefix}/bin/python -E\nprint("${prefix}")\n` },
  { name: 'bin/lib', data: strings },
  { name: 'bin/wide', data: wide },
  { name: 'bin/hard', type: '1', link: 'bin/run' },
  { name: 'bin/soft', type: '2', link: 'run', mode: 0o777 },
]

function full(perFrame?: number): Draft {
  const draft = draftOf(members, perFrame)
  draft.prefixes = [prefix]
  const spots = (number: number, all: ForgedEntry['spots']): void => {
    const entry = draft.entries[number]
    if (entry) entry.spots = all
  }
  const at = (content: Buffer | string, from = 0): number => Buffer.from(content).indexOf(prefix, from)
  const script = members[5]?.data ?? ''
  spots(
    5,
    [at(script), at(script, 5)].map((offset) => ({ encoding: 0, offset, refers: 0, slot: 0 })),
  )
  const [a, b] = [at(strings), at(strings, 10)]
  const rest = [b, at(strings, b + 1)].map((offset) => ({ encoding: 1, offset, refers: 0, slot: prefix.length }))
  spots(6, [{ encoding: 1, offset: a, refers: 0, slot: prefix.length + 3 }, ...rest])
  spots(7, [{ encoding: 2, offset: 0, refers: 0, slot: prefix.length + 2 }])
  return draft
}

for (const [name, draft] of Object.entries({ least: draftOf(leastMembers), full: full(), frames: full(3) })) {
  put('table', name, tableBytes(draft))
  put('archive', name, forge(draft))
  // As sealed.cc takes it apart: bytes of 512 to a frame, less one; the length of the tar; the tar; the table.
  const tar = Buffer.concat(draft.plain)
  if (name !== 'frames')
    put('sealed', name, Buffer.concat([Buffer.from([15]), fixed(tar.length, 2), tar, tableBytes(draft)]))
}
put('tar', 'members', rawTar(members))
put(
  'tar',
  'pax',
  Buffer.concat([
    rawMember(rawPax({ path: 'p'.repeat(300), linkpath: 'l', size: '3' })),
    rawTar([{ name: 'x', data: 'abc' }]),
  ]),
)
put('tar', 'entry', Buffer.from([1, 0xed, 1, 9, 0, 1, 200, 0, 1, 20, 0, ...Buffer.from('lib/a-name-of-a-file.so')]))
put(
  'tar',
  'link',
  Buffer.from([
    2,
    0xff,
    1,
    9,
    0,
    0,
    30,
    1,
    20,
    0,
    ...Buffer.from('../lib/a-target/of.sobin/'),
    ...Buffer.alloc(290, 'n'),
  ]),
)
const textual = Buffer.from(`#!${prefix}/bin/python3\n# ${prefix}/lib and ${prefix}2\n`)
put('rewrite', 'text', Buffer.concat([Buffer.from([7]), textual]))
put('rewrite', 'strings', Buffer.concat([Buffer.from([3]), strings]))
put('rewrite', 'wide', Buffer.concat([Buffer.from([3]), wide, Buffer.from(wide).swap16()]))
put(
  'rewrite',
  'own',
  Buffer.concat([Buffer.from([0, 4]), Buffer.from('abcd'), Buffer.from([2]), Buffer.from('xy/abcd\0/abcd/abcd')]),
)
const foreign = rawTar([
  { name: 'conda-meta/a.json', data: '{}' },
  { name: 'bin/run', mode: 0o4755, data: `#!/old/bin/python\n` },
  { name: 'lib/large', data: Buffer.alloc(1500, '/old/x\0') },
  { name: 'bin/run', data: 'again' },
  { name: 'lib/hard', type: '1', link: 'bin/run' },
  { name: 'lib/soft', type: '2', link: '../bin/run' },
])
put('decode', 'tar', Buffer.concat([Buffer.from([0]), foreign]))
put('decode', 'gzip', Buffer.concat([Buffer.from([1]), gzipSync(foreign)]))
const zipped = rawZip([
  { name: 'conda-meta/a.json', data: '{}' },
  { name: 'bin/run', data: `#!/old/bin/python\n` },
  { name: 'lib/large', data: Buffer.alloc(1500, '/old/x\0') },
])
put('decode', 'zip', Buffer.concat([Buffer.from([2]), zipped]))
