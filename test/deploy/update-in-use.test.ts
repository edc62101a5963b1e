/** Updates where others are at work, or were: other processes, other users, and files that the deployment knows nothing of. */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { type DeployOptions, type DeployResult, deploy } from '../../src/deploy/deploy.js'
import { EnvError } from '../../src/errors.js'
import { cliAs, noOtherUsers } from '../support/as-user.js'
import { runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { differences } from '../support/tree.js'
import { directory, earlier, file, litterOf, newer, packed, stateOf, symlink } from '../support/update-pair.js'

const work = temporaryFolder('update-in-use')
chmodSync(work, 0o755)
const [old, next, third] = ['old', 'new', 'third'].map((name) => join(work, `${name}.tar.zst`)) as [
  string,
  string,
  string,
]
const user = 65_534

beforeAll(async () => {
  await packed(old, earlier)
  await packed(next, newer)
  await packed(third, [...earlier, directory('share/third'), file('share/third/it', 'of {prefix}')])
})

let count = 0
async function deployed(options: Partial<DeployOptions> = {}): Promise<string> {
  const folder = join(work, `place${++count}`)
  mkdirSync(folder)
  return (await deploy({ archive: old, to: join(folder, 'env'), ...options })).prefix
}

const updated = (to: string, options: Partial<DeployOptions> = {}): Promise<DeployResult> =>
  deploy({ archive: next, to, update: true, threads: 2, ...options })

async function refusal(doing: Promise<unknown>): Promise<EnvError> {
  const error = await doing.then(
    () => null,
    (failure: unknown) => failure,
  )
  if (!(error instanceof EnvError)) throw error ?? new Error('it was not refused')
  return error
}

/** What became other than it was. */
const changes = (to: string, before: Map<string, string>): string[] => [
  ...differences(stateOf(to), before),
  ...litterOf(to),
]

/** What a deployment of an archive at a prefix looks like. */
async function freshAt(prefix: string, archive: string, readOnly = true): Promise<Map<string, string>> {
  const aside = `${prefix}-aside`
  renameSync(prefix, aside)
  await deploy({ archive, to: prefix, readOnly })
  const state = stateOf(prefix)
  execFileSync('chmod', ['-R', 'u+w', prefix])
  rmSync(prefix, { recursive: true })
  renameSync(aside, prefix)
  return state
}

describe('processes', () => {
  test('two at once to the same archive: one of them updates', async () => {
    const to = await deployed()
    const ended = await Promise.all(Array.from({ length: 3 }, () => runCli([next, '--to', to, '--update', '--json'])))
    const methods = ended.map(({ stdout, stderr }) => (stderr === '' ? JSON.parse(stdout).method : stderr)).sort()
    expect(methods).toEqual(['adopted', 'adopted', 'updated'])
    expect(differences(stateOf(to), await freshAt(to, next))).toEqual([])
    expect(litterOf(to)).toEqual([])
  })

  test('several at once to different archives: one after the other, and the last one’s stands', async () => {
    const to = await deployed()
    const all = [next, third, old, next, third, old]
    const ended = await Promise.all(all.map((archive) => runCli([archive, '--to', to, '--update', '-q'])))
    expect(ended.map(({ status, stderr }) => `${status} ${stderr}`)).toEqual(all.map(() => '0 '))
    const { digest } = JSON.parse(readFileSync(join(to, '.conda-deploy/ready'), 'utf8'))
    const stands = await Promise.all(
      all.map(async (archive) => (await deploy({ archive, to, update: true, dryRun: true })).digest),
    )
    const which = all[stands.indexOf(digest)] as string
    expect(differences(stateOf(to), await freshAt(to, which))).toEqual([])
    expect(litterOf(to)).toEqual([])
  })

  test('a program that runs in the tree goes on, with the files that it has', async () => {
    const to = await deployed()
    let told = ''
    const script = `exec 3<${to}/lib/pair; echo ready; until test -e ${work}/go; do sleep 0.05; done; cat <&3; sh ${to}/bin/tool`
    const running = runCli(['run', old, '--to', to, '--', 'sh', '-c', script], {
      during: (child) =>
        child.stdout?.on('data', (text: Buffer) => {
          told += String(text)
        }),
    })
    while (!told.includes('ready')) await sleep(20)
    expect((await updated(to)).method).toBe('updated')
    writeFileSync(join(work, 'go'), '')
    expect(await running).toMatchObject({ status: 0, stdout: 'ready\na pair 12\n' })
  })

  test('waits for who changes the environment no longer than it is told to', async () => {
    const to = await deployed({ readOnly: false })
    const lock = join(to, 'conda-meta/.conda-deploy.lock')
    writeFileSync(lock, '')
    const held = spawnSync(
      'flock',
      [
        lock,
        process.execPath,
        '-e',
        `
      const { spawnSync } = require('node:child_process')
      const { status, stderr } = spawnSync(process.execPath, process.argv.slice(1), { encoding: 'utf8' })
      console.log(status, stderr)
    `,
        join(import.meta.dirname, '../../dist/conda-deploy.cjs'),
        next,
        '--to',
        to,
        '--writable',
        '--update',
        '--wait',
        '0.2',
      ],
      { encoding: 'utf8' },
    )
    expect(held.stdout).toMatch(/^75 .*another process works there, and holds .*conda-meta/)
    expect(litterOf(to)).toEqual([])
    expect((await updated(to, { readOnly: false })).method).toBe('updated')
  })

  test('what an interrupted install left is put right first, by the command for that', async () => {
    const to = await deployed({ readOnly: false })
    mkdirSync(join(to, 'conda-meta/.conda-deploy'))
    const error = await refusal(updated(to, { readOnly: false }))
    expect([error.code, error.hint]).toEqual(['ENV_DAMAGED', expect.stringContaining('conda-deploy repair')])
    expect(litterOf(to)).toEqual([])
    expect(existsSync(join(to, 'conda-meta/.conda-deploy.lock'))).toBe(false)
  })
})

describe('files of others', () => {
  test('in the way are named, and nothing is done', async () => {
    const to = await deployed({ readOnly: false })
    mkdirSync(join(to, 'share/comes/deep'), { recursive: true })
    for (const path of ['share/comes/deep/one', 'share/empty']) writeFileSync(join(to, path), 'mine')
    const before = stateOf(to)
    const error = await refusal(updated(to, { readOnly: false }))
    expect(error.code).toBe('TARGET_EXISTS')
    expect(error.paths).toEqual(['share/comes/deep/one', 'share/empty'])
    expect(changes(to, before)).toEqual([])
  })

  test('in directories that go stay, and are told', async () => {
    const to = await deployed({ readOnly: false })
    writeFileSync(join(to, 'share/goes/deep/mine'), 'mine')
    writeFileSync(join(to, 'share/void/mine'), 'mine')
    chmodSync(join(to, 'share/void'), 0o555)
    const { warnings } = await updated(to, { readOnly: false })
    expect(warnings).toEqual([expect.stringMatching(/not of the deployment stay.*: share\/goes\/deep, share\/void$/)])
    expect(readFileSync(join(to, 'share/goes/deep/mine'), 'utf8')).toBe('mine')
    expect(existsSync(join(to, 'share/goes/one'))).toBe(false)
    expect(litterOf(to)).toEqual([])
  })

  test('in a directory in whose place a file comes: nothing is done', async () => {
    const to = await deployed({ readOnly: false })
    writeFileSync(join(to, 'share/was-folder/in/mine'), 'mine')
    utimesSync(join(to, 'share/was-folder/in'), 1_000_000, 1_000_000)
    const before = stateOf(to)
    const error = await refusal(updated(to, { readOnly: false }))
    expect([error.code, error.message]).toEqual(['TARGET_EXISTS', expect.stringContaining('share/was-folder/in')])
    expect(changes(to, before)).toEqual([])
  })

  test('files that were changed are named, and nothing is done', async () => {
    const to = await deployed({ readOnly: false })
    appendFileSync(join(to, 'lib/pair'), 'changed')
    rmSync(join(to, 'share/goes/one'))
    const before = stateOf(to)
    const error = await refusal(updated(to, { readOnly: false }))
    expect([error.code, error.message]).toEqual(['VERIFY_FAILED', expect.stringContaining('lib/pair')])
    expect(error.message).toContain('share/goes/one')
    expect(changes(to, before)).toEqual([])
  })

  test('links that a user put in the place of directories are followed nowhere', async () => {
    for (const path of ['share/modes', 'share/goes', 'lib']) {
      const to = await deployed({ readOnly: false })
      const elsewhere = join(to, '../elsewhere')
      renameSync(join(to, path), elsewhere)
      symlinkSync(elsewhere, join(to, path))
      const before = stateOf(to)
      const outcome = await updated(to, { readOnly: false }).then(
        ({ method }) => method,
        (error: EnvError) => error.code,
      )
      // Nothing comes or goes beneath the first one.
      expect(outcome).toBe(path === 'share/modes' ? 'updated' : 'VERIFY_FAILED')
      if (outcome !== 'updated') expect(changes(to, before)).toEqual([])
      expect(litterOf(to)).toEqual([])
    }
  })
})

test('by another name of the same place it is not updated, but told whose it is', async () => {
  const to = await deployed()
  const way = join(work, `way${count}`)
  symlinkSync(join(to, '..'), way)
  const error = await refusal(updated(join(way, 'env')))
  expect(error.code).toBe('TARGET_EXISTS')
  expect(litterOf(to)).toEqual([])
})

test('a kept link is no way out of the tree', async () => {
  const at = join(work, `links${++count}`)
  mkdirSync(at)
  const outside = join(at, 'outside')
  mkdirSync(outside)
  const [one, two] = [join(at, 'one.tar.zst'), join(at, 'two.tar.zst')]
  await packed(one, [file('a', 'a'), symlink('lib', '../outside')])
  await packed(two, [file('a', 'a'), directory('lib'), file('lib/passwd', 'written')])
  const to = join(at, 'env')
  await deploy({ archive: one, to })
  const done = await deploy({ archive: two, to, update: true })
  expect([done.method, readFileSync(join(to, 'lib/passwd'), 'utf8')]).toEqual(['updated', 'written'])
  expect(existsSync(join(outside, 'passwd'))).toBe(false)
  await deploy({ archive: one, to, update: true })
  expect(differences(stateOf(to), await freshAt(to, one))).toEqual([])
})

describe.skipIf(noOtherUsers !== null)('users', () => {
  const place = (owner: number): string => {
    const folder = join(work, `users${++count}`)
    mkdirSync(folder)
    chownSync(folder, owner, owner)
    return join(folder, 'env')
  }
  const flags = (archive: string, to: string): string[] => [archive, '--to', to, '-q', '--update']

  test('a user updates a read-only tree', async () => {
    const to = place(user)
    expect(cliAs(user, flags(old, to))).toMatchObject({ status: 0, stderr: '' })
    expect(cliAs(user, flags(next, to))).toMatchObject({ status: 0, stderr: '' })
    const state = stateOf(to)
    expect(litterOf(to)).toEqual([])
    execFileSync('rm', ['-r', to])
    expect(cliAs(user, flags(next, to))).toMatchObject({ status: 0 })
    expect(differences(state, stateOf(to))).toEqual([])
  })

  test('nobody updates what is another’s, nor ends what another left', async () => {
    const roots = place(user)
    await deploy({ archive: old, to: roots })
    const theirs = place(user)
    expect(cliAs(user, flags(old, theirs))).toMatchObject({ status: 0 })
    const before = [stateOf(roots), stateOf(theirs)]
    expect(cliAs(user, flags(next, roots))).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/not permitted|denied/),
    })
    expect((await refusal(updated(theirs))).message).toContain(`of another user (${user})`)
    expect([stateOf(roots), stateOf(theirs)]).toEqual(before)
    expect([...litterOf(roots), ...litterOf(theirs)]).toEqual([])
  })

  test('a directory of another user in it: nothing is done', async () => {
    const to = place(user)
    expect(cliAs(user, [...flags(old, to), '--writable'])).toMatchObject({ status: 0 })
    chownSync(join(to, 'share'), 0, 0)
    const before = stateOf(to)
    expect(cliAs(user, [...flags(next, to), '--writable'])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('share'),
    })
    expect(changes(to, before)).toEqual([])
  })
})
