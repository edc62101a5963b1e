/**
 * Archives of every released format stay readable, and packing the same entries gives the same bytes from version to version.
 * `UPDATE_GOLDEN=1 npx vitest run test/golden` writes the archive of the present format when it is absent; one that is there is never changed.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { deploy } from '../../src/index.js'
import { native, type PackEntry, runJob } from '../../src/native.js'
import { describeTree } from '../support/tree.js'

const golden = join(import.meta.dirname, 'v1.tar.zst')
const work = mkdtempSync(join(tmpdir(), 'conda-deploy-golden-'))
afterAll(() => rmSync(work, { recursive: true, force: true }))

/** Long, so that any temporary folder fits into its slots. */
const origin = `/home/alice/.conda/envs/golden/${'p'.repeat(200)}`
const wide = (text: string): Buffer => Buffer.from(text, 'utf16le')
const file = (path: string, data: Buffer | string, more: Partial<PackEntry> = {}): PackEntry => {
  const content = Buffer.from(data as string)
  return {
    path,
    kind: 'file',
    mode: 0o644,
    mtime: 1_600_000_000,
    size: content.length,
    data: content,
    policy: 'detect',
    ...more,
  }
}
const folder = (path: string): PackEntry => ({ path, kind: 'directory', mode: 0o755, mtime: 1_600_000_001, size: 0 })

/** One of each thing that the format knows. */
const entries: readonly PackEntry[] = [
  folder('bin'),
  folder('conda-meta'),
  folder('lib'),
  file('bin/tool', `#!${origin}/bin/python3.11\nprint("${origin}")\n`, { mode: 0o755 }),
  file(
    'lib/strings.so',
    Buffer.concat([Buffer.from(`\x7fELF\0\0\0\0${origin}/lib:${origin}/lib64\0`), wide(`${origin}/x\0end\0`)]),
    { mode: 0o755 },
  ),
  file('lib/large.bin', Buffer.alloc(20_000, `PK\0 nothing to relocate `)),
  file('lib/empty', ''),
  file(`lib/${'long-name-'.repeat(15)}`, 'a name that ustar cannot hold\n', { mtime: -1 }),
  { path: 'lib/twin', kind: 'hardlink', mode: 0o755, mtime: 1_600_000_000, size: 0, target: 'bin/tool' },
  { path: 'lib/link', kind: 'symlink', mode: 0o777, mtime: 1_600_000_000, size: 0, target: '../bin/tool' },
]
const record = `{"sha256_in_prefix": "${'0'.repeat(64)}"}`
const generated = [
  file('conda-meta/tool-1-0.json', record, { digests: [{ offset: record.indexOf('0'), path: 'bin/tool' }] }),
]

async function pack(output: string): Promise<string> {
  const common = { output, prefixes: [origin], level: 4, frameBytes: 8192, threads: 2 }
  const { draft } = await runJob((counters) =>
    native().pack({ ...common, root: work, entries, marker: '_placehold_placehold' }, counters),
  )
  return (await runJob((c) => native().seal({ ...common, draft, entries: generated, json: '{"name":"golden"}' }, c)))
    .digest
}

test('packing the same entries gives the bytes that it gave before', async () => {
  const output = join(work, 'now.tar.zst')
  const digest = await pack(output)
  if (!existsSync(golden) && process.env['UPDATE_GOLDEN']) await pack(golden)
  expect(readFileSync(output).equals(readFileSync(golden))).toBe(true)
  expect(digest).toMatchInlineSnapshot(`"b79fa3e0e1dd90357b09e5f252ac7b10f3ecc25e4c038b2a51be65b08bd6a611"`)
})

test('the archive of version 1 deploys as it did', async () => {
  const prefix = join(work, 'env')
  await deploy({ archive: golden, to: prefix, readOnly: false })
  expect([...describeTree(prefix, ['.conda-deploy']).keys()].sort()).toEqual(
    [...entries, ...generated].map((e) => e.path).sort(),
  )
  expect(readFileSync(join(prefix, 'lib/twin'), 'utf8')).toBe(`#!${prefix}/bin/python3.11\nprint("${prefix}")\n`)
  const strings = readFileSync(join(prefix, 'lib/strings.so'))
  const before = entries.find((e) => e.path === 'lib/strings.so')?.size
  expect(strings.length).toBe(before)
  expect(strings.includes(`${prefix}/lib:${prefix}/lib64\0`)).toBe(true)
})
