/**
 * A deployed tree, whatever stands in it and whatever its prefix: relocated it is what the archive gives at the new prefix, and relocated back
 * it is what it was, byte by byte. An archive deployed with an earlier tree as its base gives what it gives without one.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Base, type Extracted, native, type PackEntry, runJob } from '../../src/native.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'

const work = temporaryFolder('relocate')
/** Long, as the prefixes are that conda-build puts into packages: so longer and shorter ones fit. */
const origin = `/origin/of/a/tree${'_placehold'.repeat(20)}`

const word = fc.stringMatching(/^[a-z \n"=]{0,40}$/)
const text = fc
  .array(fc.tuple(word, fc.boolean()), { maxLength: 30 })
  .map((parts) => Buffer.from(parts.map(([w, p]) => (p ? `${w}${origin}/x ` : w)).join('')))
const interpreter = fc.constantFrom(
  ...['bin/python3', 'bin/perl', 'bin/bash', 'bin/tclsh', 'bin/node', 'bin/Rscript', 'libexec/deep/lua'],
)
const script = fc
  .record({
    blank: fc.constantFrom('', ' ', '  ', '\t'),
    interpreter,
    options: fc.constantFrom('', ' -u', ' -E -s', ` -I${origin}/lib`),
    end: fc.constantFrom('\n', '\r\n', ''),
    rest: text,
  })
  // What Tcl's trampoline loses is known: its options.
  .map(({ blank, interpreter: by, options, end, rest }) => {
    const said = by.endsWith('tclsh') ? '' : options
    const line = `#!${blank}${origin}/${by}${said}${said === '' && end === '\r\n' ? '\n' : end}`
    return Buffer.concat([Buffer.from(line), end === '' ? Buffer.alloc(0) : rest])
  })
/** C strings as in an ELF file, each with the prefix up to three times, in one of the encodings, with or without NULs behind it. */
const strings = fc
  .record({
    width: fc.constantFrom(1, 2, 4),
    parts: fc.array(fc.tuple(word, fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 5 })), { maxLength: 20 }),
  })
  .map(({ width, parts }) => {
    const latin = parts.map(([w, n, more]) => `${`${origin}/${w}:`.repeat(n)}${w}${'\0'.repeat(1 + more)}`).join('')
    const wide = Buffer.alloc(latin.length * width)
    for (let i = 0; i < latin.length; i++) wide[i * width] = latin.charCodeAt(i)
    return Buffer.concat([Buffer.from('\x7fELF\0\0\0\0'), wide])
  })
const opaque = fc.uint8Array({ maxLength: 5000 }).map((bytes) => Buffer.concat([Buffer.from('PK\0'), bytes]))
const content = fc.oneof(text, script, strings, opaque)
const name = fc.stringMatching(/^[a-zA-Zéß0-9 ._-]{1,12}$/).filter((n) => n !== '.' && n !== '..')
const files = fc.dictionary(name, content, { maxKeys: 12 })
const prefix = fc.constantFrom(
  '/x',
  '/scratch/job/env',
  `/scratch/${'long'.repeat(35)}/env`,
  '/with a/blank $and "quote',
  origin,
)

type Files = Readonly<Record<string, Buffer>>
let round = 0

async function packed(tree: Files, frameBytes: number): Promise<string> {
  const output = join(work, `${round++}.tar.zst`)
  const mtime = 1_600_000_000
  const file = (path: string, data: Buffer): PackEntry => {
    return { path, kind: 'file', mode: 0o755, mtime, size: data.length, data, policy: 'any', slot: origin.length }
  }
  const folder = (path: string): PackEntry => ({ path, kind: 'directory', mode: 0o755, mtime: 7, size: 0 })
  const names = Object.keys(tree)
  const entries: PackEntry[] = [
    folder('bin'),
    ...['bash', 'node', 'perl', 'python3', 'Rscript', 'tclsh'].map((program) =>
      file(`bin/${program}`, Buffer.from('PK\0')),
    ),
    folder('d'),
    ...Object.entries(tree).map(([at, data]) => file(`d/${at}`, data)),
    folder('h'),
    ...names.slice(0, 2).map((at): PackEntry => {
      return { path: `h/${at}`, kind: 'hardlink', mode: 0o755, mtime, size: 0, target: `d/${at}` }
    }),
    folder('libexec'),
    folder('libexec/deep'),
    file('libexec/deep/lua', Buffer.from('PK\0')),
    { path: 'link', kind: 'symlink', mode: 0o777, mtime, size: 0, target: 'd' },
  ]
  const common = { output, prefixes: [origin], level: 1, frameBytes, threads: 2 }
  const { draft } = await runJob((c) => native().pack({ ...common, root: work, entries, marker: '_none_' }, c))
  const zeros = '0'.repeat(64)
  const record = Buffer.from(`${names.map(() => `"sha256": "${zeros}",\n`).join('')}${origin}\n`)
  const digests = names.map((at, i) => ({ offset: i * 78 + 11, path: `d/${at}` }))
  const seal = { ...common, draft, entries: [folder('meta'), { ...file('meta/record', record), digests }], json: '{}' }
  await runJob((c) => native().seal(seal, c))
  return output
}

interface Made extends Extracted {
  readonly root: string
}

async function extracted(archive: string | null, at: string, base?: Base, readOnly = true): Promise<Made> {
  const root = join(work, `${round++}`)
  mkdirSync(root)
  const job = { archive, root, prefix: at, readOnly, threads: 2, ...(base === undefined ? {} : { base }) }
  return { ...(await runJob((c) => native().extract(job, c))), root }
}

function expectEqual(one: string, other: string): void {
  const index = '.conda-deploy/index'
  expect(differences(describeTree(one, ['.conda-deploy']), describeTree(other, ['.conda-deploy']))).toEqual([])
  expect(readFileSync(join(one, index)).equals(readFileSync(join(other, index)))).toBe(true)
}

const share = fc.constantFrom<Base['share']>('never', 'read-only', 'always')

test('case 34: relocated there it is what the archive gives there, and back it is what it was', async () => {
  await fc.assert(
    fc.asyncProperty(files, prefix, prefix, share, fc.boolean(), async (tree, from, to, how, readOnly) => {
      const archive = await packed(tree, 4096)
      const first = await extracted(archive, from, undefined, readOnly)
      const direct = await extracted(archive, to, undefined, readOnly)
      const there = await extracted(null, to, { root: first.root, share: how, check: false }, readOnly)
      expectEqual(there.root, direct.root)
      const { files, bytes, rewritten, spots, trampolines, byPath } = direct
      expect(there).toMatchObject({ files, bytes, rewritten, spots, trampolines, byPath, readBytes: 0 })
      const back = await extracted(null, from, { root: there.root, share: how, check: true }, readOnly)
      expectEqual(back.root, first.root)
      for (const { root } of [first, direct, there, back]) removeTree(root)
    }),
    { numRuns: 60 },
  )
}, 120_000)

test('case 45: with a base a deployment is what it is without', async () => {
  await fc.assert(
    fc.asyncProperty(files, files, prefix, prefix, share, async (tree, changes, from, to, how) => {
      const base = await extracted(await packed(tree, 4096), from)
      const archive = await packed({ ...tree, ...changes }, 4096)
      const full = await extracted(archive, to)
      const delta = await extracted(archive, to, { root: base.root, share: how, check: false })
      expectEqual(delta.root, full.root)
      expect(delta.reused).toMatchObject({ refused: 0, why: '' })
      for (const { root } of [base, full, delta]) removeTree(root)
    }),
    { numRuns: 40 },
  )
}, 120_000)
