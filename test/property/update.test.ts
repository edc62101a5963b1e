/**
 * Whatever two trees are: a deployment of the one that is updated to the other is, but for the time of its marker, what a deployment of the
 * other is. As root and as a user, whom the modes of a read-only tree stop.
 */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type DeployOptions, deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { native, type PackEntry, runJob } from '../../src/native.js'
import { cliAs, noOtherUsers } from '../support/as-user.js'
import { removeTree } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'

const origin = `/origin/of/a/tree${'/long'.repeat(25)}`
const nobody = 65_534
if (noOtherUsers !== null) console.log(`skipped: updates by another user: ${noOtherUsers}`)

let work: string
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'conda-deploy-update-'))
  chmodSync(work, 0o755)
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

interface Thing {
  readonly kind: PackEntry['kind']
  readonly content: string
  readonly mode: number
  readonly mtime: number
}
type Tree = readonly (readonly [path: string, thing: Thing])[]

const thing: fc.Arbitrary<Thing> = fc.record({
  kind: fc.constantFrom('file', 'file', 'file', 'symlink', 'hardlink', 'directory'),
  content: fc.constantFrom('one', 'another', `of ${origin}/x\n`, `\x7fELF ${origin}\0`, `${origin}:${origin}/a `),
  mode: fc.constantFrom(0o644, 0o755, 0o600),
  mtime: fc.constantFrom(1_000_000, 2_000_000),
})
const path = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 }).map((names) => names.join('/'))
const tree: fc.Arbitrary<Tree> = fc.uniqueArray(fc.tuple(path, thing), { maxLength: 14, selector: ([at]) => at })
/** The second one is mostly the first. */
const pair: fc.Arbitrary<readonly [Tree, Tree]> = tree.chain((first) =>
  fc.tuple(
    fc.constant(first),
    fc.tuple(fc.subarray([...first]), tree).map(([kept, more]) => [...kept, ...more]),
  ),
)

/** The entries of a tree: the first thing of a name counts, and what is not beneath a directory is left out. */
function entriesOf(things: Tree): PackEntry[] {
  const entries = new Map<string, PackEntry>()
  const links: PackEntry[] = []
  for (const [at, { kind, content, mode, mtime }] of [...things].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const above = at
      .split('/')
      .slice(0, -1)
      .map((_, i, names) => names.slice(0, i + 1).join('/'))
    const isFree = !entries.has(at) && !links.some((link) => link.path === at)
    const isReachable = above.every((one) => (entries.get(one)?.kind ?? 'directory') === 'directory')
    if (!isFree || !isReachable || above.some((one) => links.some((link) => link.path === one))) continue
    for (const one of above)
      if (!entries.has(one)) entries.set(one, { path: one, kind: 'directory', mode: 0o755, mtime: 5, size: 0 })
    const data = Buffer.from(content)
    const file = [...entries.values()].find((entry) => entry.kind === 'file')
    if (kind === 'file') entries.set(at, { path: at, kind, mode, mtime, size: data.length, data, policy: 'detect' })
    else if (kind === 'symlink') entries.set(at, { path: at, kind, mode: 0o777, mtime, size: 0, target: 'a' })
    else if (kind === 'directory') entries.set(at, { path: at, kind, mode: mode | 0o700, mtime, size: 0 })
    else if (file !== undefined)
      links.push({ path: at, kind, mode: file.mode, mtime: file.mtime, size: 0, target: file.path })
  }
  return [...entries.values(), ...links]
}

let round = 0
async function packed(things: Tree): Promise<string> {
  const output = join(work, `${round++}.tar.zst`)
  const common = { output, prefixes: [origin], level: 1, frameBytes: 4096, threads: 1 }
  const job = { ...common, root: work, entries: entriesOf(things), marker: '_none_' }
  const { draft } = await runJob((counters) => native().pack(job, counters))
  await runJob((counters) => native().seal({ ...common, draft, entries: [], json: '{}' }, counters))
  return output
}

/** Names of one file, so that trees can be compared by who shares with whom. */
function families(root: string): string[] {
  const found = new Map<number, string[]>()
  for (const [at, line] of describeTree(root, ['.conda-deploy'])) {
    if (!line.startsWith('file')) continue
    const { ino } = statSync(join(root, at))
    found.set(ino, [...(found.get(ino) ?? []), at])
  }
  return [...found.values()].map((names) => names.sort().join(' ')).sort()
}

const read = (root: string): string => readFileSync(join(root, '.conda-deploy/index'), 'latin1')

type Deploy = (options: Pick<DeployOptions, 'archive' | 'to' | 'readOnly' | 'threads' | 'update'>) => Promise<string>

const inThisProcess: Deploy = async (options) => (await deploy(options)).method

/** Whom the modes of a read-only tree stop. */
const byAnotherUser: Deploy = async ({ archive, to = '', readOnly, threads, update }) => {
  const flags = [
    ...(readOnly ? [] : ['--writable']),
    ...(update ? ['--update'] : []),
    '--json',
    '--threads',
    `${threads}`,
  ]
  const { status, stdout, stderr } = cliAs(nobody, [archive, '--to', to, ...flags])
  if (status !== 0) throw new Error(stderr)
  return (JSON.parse(stdout) as { method: string }).method
}

async function expectSame(name: string, by: Deploy, numRuns: number): Promise<void> {
  const folder = join(work, name)
  mkdirSync(folder)
  chmodSync(folder, 0o777)
  const runs = fc.asyncProperty(
    pair,
    fc.boolean(),
    fc.constantFrom(1, 3),
    async ([before, after], readOnly, threads) => {
      const [old, next] = [await packed(before), await packed(after)]
      const to = join(folder, `${round}`)
      await by({ archive: old, to, readOnly, threads })
      expect(['updated', 'adopted']).toContain(await by({ archive: next, to, readOnly, threads, update: true }))
      expect((await verify(to)).faults).toEqual([])
      const [updated, sharing, index] = [describeTree(to, ['.conda-deploy']), families(to), read(to)]
      const own = ['', '.conda-deploy', '.conda-deploy/index', '.conda-deploy/ready']
      const modes = own.map((at) => statSync(join(to, at)).mode & 0o222)
      expect(modes).toEqual(own.map(() => (readOnly ? 0 : 0o200)))
      expect(readdirSync(join(to, '.conda-deploy')).sort()).toEqual(['index', 'ready'])
      removeTree(to)
      await by({ archive: next, to, readOnly, threads })
      expect(differences(updated, describeTree(to, ['.conda-deploy']))).toEqual([])
      expect(sharing).toEqual(families(to))
      expect(index === read(to)).toBe(true)
      removeTree(to)
      for (const archive of [old, next]) rmSync(archive)
    },
  )
  await fc.assert(runs, { numRuns })
}

test('an updated deployment is a new one', async () => await expectSame('own', inThisProcess, 40))

test.skipIf(noOtherUsers !== null)(
  'also for a user whom modes stop',
  async () => await expectSame('user', byAnotherUser, 8),
)
