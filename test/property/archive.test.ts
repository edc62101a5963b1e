/**
 * Whatever stands in a tree: packing and extracting gives it back, relocating gives what a plain model gives, tar-stream reads the same members
 * out of the archive, and the cutting into frames and the number of threads change nothing.
 */
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { extract as tarExtract } from 'tar-stream'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { decompress } from 'zstd-napi'
import { native, type PackEntry, runJob } from '../../src/native.js'

const origin = '/origin/of/a/tree'
let work: string
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'conda-deploy-property-'))
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

interface File {
  readonly content: Buffer
  /** What it is at another prefix. */
  at(prefix: string): Buffer
}

const word = fc.stringMatching(/^[a-z \n"=]{0,40}$/)
/** A text in which the prefix is always followed by something that ends its last name. */
const text: fc.Arbitrary<File> = fc.array(fc.tuple(word, fc.boolean()), { maxLength: 30 }).map((parts) => {
  const at = (prefix: string): Buffer => Buffer.from(parts.map(([w, p]) => (p ? `${w}${prefix}/x ` : w)).join(''))
  return { content: at(origin), at }
})
/** C strings as in an ELF file, each with the prefix up to three times; they get shorter and are filled with NULs. */
const strings: fc.Arbitrary<File> = fc
  .array(fc.tuple(word, fc.integer({ min: 0, max: 3 })), { maxLength: 30 })
  .map((parts) => {
    const string = (prefix: string, [w, n]: [string, number]): string => `${`${prefix}/${w}:`.repeat(n)}${w}`
    const at = (prefix: string): Buffer => {
      const all = parts.map((part) => `${string(prefix, part).padEnd(string(origin, part).length, '\0')}\0`)
      return Buffer.from(`\x7fELF\0\0\0\0${all.join('')}`)
    }
    return { content: at(origin), at }
  })
const opaque: fc.Arbitrary<File> = fc.uint8Array({ maxLength: 5000 }).map((bytes) => {
  const content = Buffer.concat([Buffer.from('PK\0'), bytes])
  return { content, at: () => content }
})
const tree = fc.dictionary(
  fc.stringMatching(/^[a-zA-Zéß0-9 ._-]{1,12}$/).filter((n) => n !== '.' && n !== '..'),
  fc.oneof(text, strings, opaque),
  {
    maxKeys: 12,
  },
)

interface Case {
  readonly files: Readonly<Record<string, File>>
  readonly frameBytes: number
  readonly threads: number
}
const aCase: fc.Arbitrary<Case> = fc.record({
  files: tree,
  frameBytes: fc.constantFrom(1024, 4096, 1 << 20),
  threads: fc.integer({ min: 1, max: 4 }),
})

let round = 0
async function packed({ files, frameBytes, threads }: Case): Promise<string> {
  const output = join(work, `${round++}.tar.zst`)
  const entries: PackEntry[] = [
    { path: 'd', kind: 'directory', mode: 0o755, mtime: 5, size: 0 },
    ...Object.entries(files).map(([name, { content }]): PackEntry => {
      return {
        path: `d/${name}`,
        kind: 'file',
        mode: 0o644,
        mtime: -7,
        size: content.length,
        data: content,
        policy: 'detect',
      }
    }),
    { path: 'link', kind: 'symlink', mode: 0o777, mtime: 1, size: 0, target: 'd' },
  ]
  const common = { output, prefixes: [origin], level: 1, frameBytes, threads }
  const { draft } = await runJob((counters) =>
    native().pack({ ...common, root: work, entries, marker: '_none_' }, counters),
  )
  await runJob((counters) => native().seal({ ...common, draft, entries: [], json: '{}' }, counters))
  return output
}

async function extracted(archive: string, prefix: string, threads: number): Promise<string> {
  const root = join(work, `${round++}`)
  mkdirSync(root)
  await runJob((counters) => native().extract({ archive, root, prefix, readOnly: false, threads }, counters))
  return root
}

const read = (root: string, files: Case['files']): string[] =>
  Object.keys(files).map((name) => readFileSync(join(root, 'd', name)).toString('latin1'))
const expected = (files: Case['files'], prefix: string): string[] =>
  Object.values(files).map((file) => file.at(prefix).toString('latin1'))

test('extracting for the old prefix gives the tree back; for another one what the model says', async () => {
  await fc.assert(
    fc.asyncProperty(aCase, fc.constantFrom('/x', '/o/t', origin), async (one, prefix) => {
      const archive = await packed(one)
      const root = await extracted(archive, prefix, one.threads)
      expect(read(root, one.files)).toEqual(expected(one.files, prefix))
      expect(readlinkSync(join(root, 'link'))).toBe('d')
      for (const name of Object.keys(one.files))
        expect(Math.floor(lstatSync(join(root, 'd', name)).mtimeMs / 1000)).toBe(-7)
      const verified = await runJob((c) =>
        native().verify({ root, index: join(root, '.conda-deploy/index'), threads: 2 }, c),
      )
      expect(verified.faults).toEqual([])
      rmSync(root, { recursive: true })
      rmSync(archive)
    }),
    { numRuns: 60 },
  )
})

test('tar-stream reads the same members as the entry table names', async () => {
  await fc.assert(
    fc.asyncProperty(aCase, async (one) => {
      const archive = await packed(one)
      const members = new Map<string, string>()
      const reader = tarExtract()
      reader.end(decompressAll(readFileSync(archive)))
      for await (const member of reader) {
        const hash = createHash('sha256')
        for await (const part of member) hash.update(part as Buffer)
        members.set(member.header.name.replace(/\/$/, ''), hash.digest('hex'))
      }
      const index = await native().index(archive, true)
      const empty = createHash('sha256').digest('hex')
      expect(members).toEqual(new Map(index?.list?.map((entry) => [entry.path, entry.sha256 ?? empty])))
      rmSync(archive)
    }),
    { numRuns: 40 },
  )
})

/** Frame by frame, because zstd-napi's one-shot call stops after one; skippable frames are passed over by their length. */
function decompressAll(data: Buffer): Buffer {
  const parts: Buffer[] = []
  const seek = data.length - 9
  const count = data.readUInt32LE(seek)
  let at = 0
  for (let i = 0; i < count; i++) {
    const record = seek - 8 * (count - i)
    const size = data.readUInt32LE(record)
    if (data.readUInt32LE(record + 4) > 0) parts.push(Buffer.from(decompress(data.subarray(at, at + size))))
    at += size
  }
  return Buffer.concat(parts)
}

test('the bytes of an archive do not depend on the threads', async () => {
  await fc.assert(
    fc.asyncProperty(aCase, async (one) => {
      const [a, b] = [await packed({ ...one, threads: 1 }), await packed({ ...one, threads: 4 })]
      expect(readFileSync(a).equals(readFileSync(b))).toBe(true)
      rmSync(a)
      rmSync(b)
    }),
    { numRuns: 25 },
  )
})
