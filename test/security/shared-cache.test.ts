/** The cache of all users: root fills it from archives of users, and users run what is there. Nobody may have another run what he made. */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { privateCache, sharedCache } from '../../src/deploy/cache/folder.js'
import { releaseLeases } from '../../src/deploy/cache/lease.js'
import { listCache } from '../../src/deploy/cache/list.js'
import { pruneCache } from '../../src/deploy/cache/prune.js'
import { type DeployOptions, type DeployResult, deploy } from '../../src/deploy/deploy.js'
import { EnvError } from '../../src/errors.js'
import { writeSample } from '../deploy/sample.js'
import { cliAs, noOtherUsers } from '../support/as-user.js'
import { type Draft, draftOf, type ForgedEntry, forge, hashOf, leastMembers } from '../support/forge.js'
import { temporaryFolder } from '../support/temp.js'
import { makeVictim } from '../support/victim.js'

const work = temporaryFolder('all-users')
chmodSync(work, 0o755)
const archive = join(work, 'a.tar.zst')
const other = join(work, 'b.tar.zst')
const [user, stranger] = [65_534, 65_533]
if (noOtherUsers !== null) console.log(`skipped: test/security/shared-cache: ${noOtherUsers}`)

let count = 0
/** A root that everybody may write to, as /tmp is, and a policy that shares below it. */
function site(): { readonly root: string; readonly cache: string; readonly policy: string } {
  const root = join(work, `root${++count}`)
  mkdirSync(root)
  chmodSync(root, 0o1777)
  const policy = join(work, `policy${count}.yaml`)
  writeFileSync(policy, `cache:\n  root: ${root}\n  shared: true\n`, { mode: 0o644 })
  return { root, cache: sharedCache(root).path, policy }
}

async function attempt(options: Partial<DeployOptions>): Promise<{ code: string; result: DeployResult | null }> {
  try {
    const result = await deploy({ archive, shared: true, threads: 2, ...options })
    return { code: result.method, result }
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    return { code: error.code, result: null }
  }
}

function deployAs(who: number, policy: string, ...more: string[]): DeployResult {
  const { status, stdout, stderr } = cliAs(who, [archive, '--json', '--quiet', ...more], {
    CONDA_DEPLOY_POLICY: policy,
  })
  expect(status, stderr).toBe(0)
  return JSON.parse(stdout) as DeployResult
}

const entriesOf = (cache: string): string[] => readdirSync(cache).filter((name) => !name.startsWith('.'))

describe.skipIf(noOtherUsers !== null)('the shared cache', () => {
  beforeAll(async () => {
    await writeSample(archive)
    await writeSample(other)
  })

  test('is root’s alone, readable by all, and adopted by every user', async () => {
    const { root, cache, policy } = site()
    const { code, result } = await attempt({ policy, lease: 'slurm:1' })
    expect([code, result?.target.reason]).toEqual(['deployed', 'shared'])
    const prefix = result?.prefix ?? ''
    expect(prefix).toMatch(new RegExp(`^${cache}/[0-9a-f]{16}$`))
    const all = ['.', ...readdirSync(cache, { recursive: true, encoding: 'utf8' })].map((name) => join(cache, name))
    const wrong = all.filter((path) => {
      const stat = lstatSync(path)
      return stat.uid !== 0 || (!stat.isSymbolicLink() && (stat.mode & 0o7022) !== 0)
    })
    expect(wrong).toEqual([])
    const closed = all.filter((path) => !path.includes('.leases') && (statSync(path).mode & 0o444) !== 0o444)
    expect(closed).toEqual([])
    expect((await attempt({ policy })).code).toBe('adopted')
    for (const who of [user, stranger]) {
      const adopted = deployAs(who, policy, '--lease', `slurm:${who}`)
      expect([adopted.prefix, adopted.method, adopted.lease]).toEqual([prefix, 'adopted', `slurm:${who}`])
      // Nothing of the user's is in it: the lease lies in the user's own cache.
      expect(readdirSync(join(privateCache(root, who).path, '.leases'))).toHaveLength(1)
    }
    const listed = (await listCache({ root })).caches.find(({ kind }) => kind === 'shared')
    expect([...(listed?.deployments[0]?.leases ?? [])].sort()).toEqual([
      'slurm:1',
      `slurm:${stranger}`,
      `slurm:${user}`,
    ])
  })

  test('keeps what a user’s lease is on; an epilog gives that back, and it may go', async () => {
    const { root, policy } = site()
    const prefix = (await attempt({ policy })).result?.prefix ?? ''
    deployAs(user, policy, '--lease', 'slurm:8')
    const prune = () => pruneCache({ root, maxAge: 0 })
    expect((await prune()).kept).toMatchObject([{ prefix, why: 'slurm:8 has a lease on it' }])
    const { released } = await releaseLeases({ root, user, holder: 'slurm:8' })
    expect(released).toHaveLength(1)
    expect((await prune()).removed).toMatchObject([{ prefix }])
    expect(existsSync(prefix)).toBe(false)
  })

  test('is not for users to fill, nor to prune', async () => {
    const { root, cache, policy } = site()
    await attempt({ policy })
    const refused = cliAs(user, [archive, '--shared', '--root', root])
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining('only root deploys for all users')])
    expect(cliAs(user, ['cache', 'prune', '--max-age', '0s', '--root', root]).status).toBe(0)
    expect(entriesOf(cache)).toHaveLength(1)
    expect(cliAs(user, ['cache', 'prune', '--all-users', '--root', root]).status).toBe(1)
  })

  test('takes nothing of others’ making: there are no hashes in it', async () => {
    const { root, policy } = site()
    const foreign = join(work, 'foreign')
    mkdirSync(join(foreign, 'conda-meta'), { recursive: true })
    writeFileSync(join(foreign, 'conda-meta/history'), '')
    expect((await attempt({ policy, archive: foreign })).code).toBe('UNSUPPORTED')
    expect(existsSync(sharedCache(root).path)).toBe(false)
  })

  describe('an archive that lies is not deployed, and nothing is left', () => {
    const file = (draft: Draft): ForgedEntry => draft.entries[3] as ForgedEntry
    const lies: readonly [what: string, lie: (draft: Draft) => void][] = [
      ['the hash of a file', (draft) => (file(draft).sha256 = hashOf('something else'))],
      ['its own digest', (draft) => (draft.sums = { digest: hashOf('something else') })],
      ['the size of a file', (draft) => (file(draft).size = 5)],
      ['the name of a file', (draft) => (file(draft).path = 'lib/date')],
    ]
    test.each(lies)('about %s', async (_, lie) => {
      const { cache, policy } = site()
      const draft = draftOf(leastMembers)
      lie(draft)
      const path = join(work, `lie${count}.tar.zst`)
      writeFileSync(path, forge(draft))
      const { code } = await attempt({ policy, archive: path })
      const names = existsSync(cache) ? readdirSync(cache) : []
      if (code === 'deployed') {
        // What the table says is what was deployed: then nothing was claimed that is not so.
        expect(_).toMatch(/^the (name|size) of a file$/)
        expect(names).toHaveLength(1)
      } else expect([['VERIFY_FAILED', 'ARCHIVE_CORRUPT'].includes(code), names]).toEqual([true, []])
    })

    test('that claims the digest of another archive, to be run in its place', async () => {
      const { cache, policy } = site()
      const honest = (await attempt({ policy, dryRun: true })).result?.digest ?? ''
      const draft = draftOf(leastMembers)
      draft.sums = { digest: Buffer.from(honest, 'hex') }
      const path = join(work, 'impostor.tar.zst')
      writeFileSync(path, forge(draft))
      expect((await attempt({ policy, archive: path })).code).toBe('ARCHIVE_CORRUPT')
      expect(existsSync(cache) ? readdirSync(cache) : []).toEqual([])
      // Where the honest one is deployed, the impostor gets that, and not its own.
      const { result } = await attempt({ policy })
      const claimed = await attempt({ policy, archive: path })
      expect([claimed.code, claimed.result?.prefix]).toEqual(['adopted', result?.prefix])
      expect(existsSync(join(result?.prefix ?? '', 'bin/hello'))).toBe(true)
    })

    const swaps = ['plan', 'copy', 'extract', 'verify'] as const
    test.each(swaps)('that becomes another one as %s begins', async (when) => {
      const { cache, policy } = site()
      const path = join(work, `swapped${count}.tar.zst`)
      copyFileSync(archive, path)
      const phases: string[] = []
      const phase = (name: string): void => {
        phases.push(name)
        if (name === when) copyFileSync(other, path)
      }
      const { code, result } = await attempt({ policy, archive: path, reporter: { phase, progress() {}, warn() {} } })
      expect(phases).toEqual(expect.arrayContaining(['plan', 'copy']))
      if (code === 'SOURCE_CHANGED') expect(existsSync(cache)).toBe(false)
      else {
        // All of one archive or all of the other: what the marker says is what is there.
        const honest = await deploy({ archive: when === 'plan' ? other : archive, root: join(work, `h${count}`) })
        expect([code, result?.digest]).toEqual(['deployed', honest.digest])
        for (const name of ['lib/plain', 'etc/kept'])
          expect(readFileSync(join(result?.prefix ?? '', name))).toEqual(readFileSync(join(honest.prefix, name)))
      }
      if (when === 'copy') expect(code).toBe('SOURCE_CHANGED')
    })
  })

  describe('what root did not make is not used', () => {
    const adopts = (policy: string): boolean => deployAs(user, policy).prefix.includes('conda-deploy-shared')

    test.each([
      ['the folder belongs to a user', (cache: string) => chownSync(cache, stranger, stranger)],
      ['the folder can be written by others', (cache: string) => chmodSync(cache, 0o777)],
      [
        'the deployment belongs to a user',
        (cache: string, entry: string) => chownSync(join(cache, entry), stranger, 0),
      ],
      [
        'the deployment can be written by others',
        (cache: string, entry: string) => chmodSync(join(cache, entry), 0o775),
      ],
      [
        'its marker belongs to a user',
        (cache: string, entry: string) => chownSync(join(cache, entry, '.conda-deploy/ready'), stranger, 0),
      ],
      [
        'its marker can be written',
        (cache: string, entry: string) => chmodSync(join(cache, entry, '.conda-deploy/ready'), 0o666),
      ],
      ['the root belongs to a user', (cache: string) => chownSync(join(cache, '..'), stranger, stranger)],
      ['the root can be written by all, and is not sticky', (cache: string) => chmodSync(join(cache, '..'), 0o777)],
      [
        'the deployment is a link',
        (cache: string, entry: string) => {
          renameSync(join(cache, entry), join(cache, 'elsewhere'))
          symlinkSync('elsewhere', join(cache, entry))
        },
      ],
    ] as const)('%s', async (_, spoil) => {
      const { cache, policy } = site()
      await attempt({ policy })
      expect(adopts(policy)).toBe(true)
      spoil(cache, entriesOf(cache)[0] ?? '')
      const { prefix, method, target } = deployAs(user, policy)
      expect(prefix).not.toContain('conda-deploy-shared')
      expect(method).toBe('deployed')
      expect(target.rejected.map(({ source }) => source)).toContain('shared')
    })

    test('a user was there first: root shares nothing', async () => {
      const { root, cache, policy } = site()
      mkdirSync(cache)
      chownSync(cache, user, user)
      expect((await attempt({ policy })).code).toBe('PERMISSION')
      expect(readdirSync(cache)).toEqual([])
      const linked = site()
      const victim = makeVictim(join(work, `victim${count}`))
      symlinkSync(victim.folder, linked.cache)
      lchownSync(linked.cache, user, user)
      expect((await attempt({ policy: linked.policy })).code).toBe('PERMISSION')
      victim.intact()
      chmodSync(root, 0o777)
      expect((await attempt({ root })).code).toBe('PERMISSION')
    })
  })

  describe('root working in the caches of users', () => {
    test('prunes them, and touches nothing beyond', async () => {
      const { root, policy } = site()
      const victim = makeVictim(join(work, `victim${++count}`))
      const mine = deployAs(user, policy)
      expect(mine.prefix.startsWith(privateCache(root, user).path)).toBe(true)
      const folder = privateCache(root, user).path
      // What the user could plant: a link to another's directory under the name of a deployment, of a stage, and of the leases.
      symlinkSync(victim.folder, join(folder, '0123456789abcdef'))
      symlinkSync(victim.folder, join(folder, '.0123456789abcdef.1.stage'))
      symlinkSync(victim.folder, join(folder, '.leases'))
      for (const name of ['0123456789abcdef', '.0123456789abcdef.1.stage', '.leases'])
        lchownSync(join(folder, name), user, user)
      const { warnings } = await pruneCache({ root, maxAge: 0, allUsers: true })
      expect(warnings.join()).toContain('.leases')
      victim.intact()
      expect((await releaseLeases({ root, user, holder: 'slurm:1' })).released).toEqual([])
      victim.intact()
    })

    test('evicts their deployments when they are over a limit', async () => {
      const { root, policy } = site()
      const { prefix } = deployAs(user, policy, '--lease', 'slurm:5')
      expect((await pruneCache({ root, user, maxAge: 0 })).kept).toMatchObject([{ prefix }])
      await releaseLeases({ root, user, holder: 'slurm:5' })
      expect((await pruneCache({ root, user, maxAge: 0 })).removed).toMatchObject([{ prefix }])
      expect(entriesOf(privateCache(root, user).path)).toEqual([])
    })
  })
})
