/** Broadcasting, with programs in the place of Slurm's that fail in all the ways in which those do. The real ones are in test/e2e/slurm. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { pack } from '../../src/pack/pack.js'
import { type BroadcastOptions, type BroadcastResult, broadcast } from '../../src/slurm/broadcast.js'
import { fakeSlurm } from '../support/fake-slurm.js'
import { makeEnvironment, python } from '../support/make-env.js'
import { cliFile, runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('broadcast')
const slurm = fakeSlurm(work)
const archive = join(work, 'sample.tar.zst')
let root: string
let count = 0

beforeAll(async () => {
  const prefix = join(work, 'envs/sample')
  mkdirSync(prefix, { recursive: true })
  makeEnvironment(prefix, { packages: [python] })
  await pack({ prefix, output: archive })
})
beforeEach(() => {
  root = join(work, `scratch${++count}`)
})

const before = { ...process.env }
const enter = (env: Readonly<Record<string, string>>): void => void Object.assign(process.env, env)
afterEach(() => {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
  Object.assign(process.env, before)
})

type How = Parameters<typeof slurm.env>[1]
const three = ['node1', 'node2', 'node3']

async function on(
  nodes: readonly string[],
  how?: How,
  options: Partial<BroadcastOptions> = {},
): Promise<BroadcastResult> {
  enter(slurm.env(nodes, how))
  return await broadcast({ archive, deploy: { root }, ...options })
}

/** Names in the scratch folder that are not the cache. */
const strays = (): string[] =>
  (existsSync(root) ? readdirSync(root) : []).filter((name) => !/^conda-deploy-\d+$/.test(name))
const statuses = ({ nodes }: BroadcastResult): string[] => nodes.map(({ node, status }) => `${node} ${status}`)

describe('the copy', () => {
  test('arrives, is checked, deployed, and taken away', async () => {
    const result = await on(['node1'])
    expect(result).toMatchObject({ job: '4711', from: 'broadcast', failed: 0, warnings: [] })
    expect(statuses(result)).toEqual(['node1 deployed'])
    const [node] = result.nodes
    expect(existsSync(join((node as { prefix: string }).prefix, 'conda-meta'))).toBe(true)
    expect(result.copy?.startsWith(`${root}/.conda-deploy-4711-`)).toBe(true)
    expect(strays()).toEqual([])
  })

  test('stays if it is to be kept', async () => {
    const result = await on(['node1'], {}, { keep: true })
    expect(result.nodes[0]).toMatchObject({ archive: result.copy })
    expect(readFileSync(result.copy ?? '')).toEqual(readFileSync(archive))
    expect(strays()).toEqual([result.copy?.slice(root.length + 1)])
  })

  test.each([
    ['partial', 'ARCHIVE_CORRUPT', /incomplete: .* has 100 bytes of \d+/, /status 1.*connect failure/],
    ['nothing', 'ARCHIVE_NOT_FOUND', /no copy arrived/, /status 2.*No such file or directory/],
    ['wrong', 'ARCHIVE_CORRUPT', /is not the archive: .* expected [0-9a-f]{64}/, null],
  ] as const)('a transfer that goes %s is found on the node', async (send, code, message, warning) => {
    const result = await on(['node1'], { send })
    expect(result.nodes).toEqual([
      expect.objectContaining({ status: 'failed', code, message: expect.stringMatching(message) }),
    ])
    expect(result.failed).toBe(1)
    if (warning !== null) expect(result.warnings.join()).toMatch(warning)
    expect(strays()).toEqual([])
    expect(readdirSync(root)).toEqual([])
  })
})

describe('nodes that fail are named, and the others done', () => {
  test.each([
    ['missing', /task ended with status 127/],
    ['killed', /task ended with status 137/],
    ['gone', /Slurm lost the node.*Node failure on node2/],
  ] as const)('%s', async (how, message) => {
    const result = await on(three, { nodes: { node2: how } }, { from: 'shared' })
    expect(result.failed).toBe(1)
    expect(result.nodes[1]).toMatchObject({ node: 'node2', status: 'failed', message: expect.stringMatching(message) })
    // They have the same files here: one deploys, the other adopts.
    expect(statuses(result).filter((line) => line.endsWith('failed'))).toEqual(['node2 failed'])
  })

  test('one that says nothing is given up, and what it left is taken away', async () => {
    const result = await on(['node1', 'node2'], { nodes: { node2: 'mute' } }, { silence: 10 })
    expect(statuses(result)).toEqual(['node1 deployed', 'node2 failed'])
    expect(result.nodes[1]).toMatchObject({ message: expect.stringMatching(/nothing for 10 s/) })
    expect(strays()).toEqual([])
    expect(readFileSync(slurm.log, 'utf8')).toMatch(/srun .*--nodelist=node2 .*rm -f -- \S+\.part \S+\n/)
  })

  test('a step that cannot be made is told as Slurm tells it', async () => {
    const result = await on(three, { nodes: { node1: 'refused' } })
    expect(result.failed).toBe(3)
    expect(result.nodes[2]).toMatchObject({ message: expect.stringContaining('Requested nodes are busy') })
  })

  test('by the command: status 1, names on stderr, the prefix on stdout', async () => {
    const { status, stdout, stderr } = await runCli(['broadcast', archive, '--from', 'shared', '--root', root], {
      env: slurm.env(three, { nodes: { node3: 'missing' } }),
    })
    expect(status).toBe(1)
    expect(stdout).toMatch(/^\/.*\/conda-deploy-\d+\/[0-9a-f]{16}\n$/)
    expect(stderr).toMatch(/node3\s+failed/)
    expect(stderr).toMatch(/warning: node3 failed: its task ended with status 127/)
    expect(stderr).toMatch(/2 done, 1 failed/)
  })

  test('one to which it cannot be sent fails alone: it is sent again to the others', async () => {
    // There is one folder for both here, and the second sending is no better than the first.
    const result = await on(['node1', 'node2'], { send: 'nothing' })
    expect(result.nodes[1]).toMatchObject({
      status: 'failed',
      message: expect.stringMatching(/could not be sent.*No such file/),
    })
    expect(result.nodes[0]).toMatchObject({ status: 'failed', code: 'ARCHIVE_NOT_FOUND' })
    const calls = readFileSync(slurm.log, 'utf8').split('\n').slice(-5)
    expect(calls.map((line) => /^(srun|sbcast)(?:.*--nodelist=(\S+))?/.exec(line)?.slice(1))).toEqual([
      ...[
        ['srun', 'node1,node2'],
        ['sbcast', undefined],
      ],
      ...[['srun', 'node1'], ['sbcast', undefined], undefined],
    ])
  })

  test('without a folder for the copy', async () => {
    const result = await on(['node1'], {}, { deploy: { root: '/proc/nowhere' } })
    expect(result).toMatchObject({ failed: 1, copy: null })
    expect(result.nodes[0]).toMatchObject({ code: 'TARGET_SHARED', message: expect.stringContaining('/proc/nowhere') })
  })

  test('what deploy refuses is the failure of the node', async () => {
    const { status, stdout } = await runCli(['broadcast', archive, '--root', root, '--json', '--max-files', '1'], {
      env: slurm.env(['node1']),
    })
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ failed: 1, nodes: [{ code: 'LIMIT_EXCEEDED' }] })
    expect(strays()).toEqual([])
  })
})

describe('an end in the middle', () => {
  test('cancelled while it is sent', async () => {
    const stop = new AbortController()
    const going = on(['node1'], { send: 'slow' }, { signal: stop.signal })
    void arrived().then(() => stop.abort())
    await expect(going).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(strays()).toEqual([])
    expect(await running(root)).toEqual([])
  })

  test('cancelled before it began', async () => {
    enter(slurm.env(['node1']))
    const lines = readFileSync(slurm.log, 'utf8')
    await expect(broadcast({ archive, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(readFileSync(slurm.log, 'utf8')).toBe(lines)
  })

  test('an archive that changes while it is read', async () => {
    const changing = join(work, 'changing.tar.zst')
    writeFileSync(changing, Buffer.alloc(1 << 26, 'x'))
    const going = on(['node1'], { send: 'slow' }, { archive: changing })
    const writing = setInterval(() => writeFileSync(changing, 'y', { flag: 'a' }), 1)
    try {
      await expect(going).rejects.toMatchObject({ code: 'SOURCE_CHANGED' })
    } finally {
      clearInterval(writing)
    }
    expect(strays()).toEqual([])
  })

  test.each(['SIGTERM', 'SIGKILL'] as const)('%s while it is sent leaves nothing on the node', async (name) => {
    const env = { ...slurm.env(['node1'], { send: 'slow' }), HOME: '/dev/null' }
    const child = spawn(process.execPath, [cliFile, 'broadcast', archive, '--root', root], { env, stdio: 'ignore' })
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    await arrived()
    child.kill(name)
    expect(await ended).toBe(name === 'SIGTERM' ? 143 : null)
    for (let tries = 0; tries < 100 && (await running(root)).length > 0; tries++) await sleep(100)
    expect(await running(root)).toEqual([])
    expect(strays()).toEqual([])
  })

  /** Resolves when a part of the copy is there. */
  async function arrived(): Promise<void> {
    while (!strays().some((name) => name.endsWith('.part'))) await sleep(20)
  }

  /** Processes whose command line names the folder. */
  async function running(folder: string): Promise<string[]> {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    const lines = pids.map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      } catch {
        return '' // It has ended.
      }
    })
    return lines.filter((line) => line.includes(`${folder} `) || line.includes(`${folder}/`))
  }
})

describe('what is refused', () => {
  test('outside of an allocation', async () => {
    const { status, stderr } = await runCli(['broadcast', archive])
    expect(status).toBe(2)
    expect(stderr).toMatch(/not in an allocation of Slurm.*\n.*\n?hint: .*salloc/s)
  })

  test('without the programs of Slurm', async () => {
    enter({ ...slurm.env(['node1']), PATH: '/nonexistent' })
    await expect(broadcast({ archive })).rejects.toMatchObject({ code: 'COMMAND_NOT_FOUND', path: 'scontrol' })
  })

  test.each([
    [{ archive: '' }, 'INVALID_OPTION'],
    [{ archive: '-' }, 'INVALID_OPTION'],
    [{ archive: '/nonexistent.tar.zst' }, 'ARCHIVE_NOT_FOUND'],
    [{ archive: '/tmp' }, 'ARCHIVE_NOT_FOUND'],
    [{ archive, from: 'nfs' }, 'INVALID_OPTION'],
    [{ archive, from: 'shared', keep: true }, 'INVALID_OPTION'],
    [{ archive, silence: 1 }, 'INVALID_OPTION'],
    [{ archive, frm: 'shared' }, 'INVALID_OPTION'],
  ])('%j', async (options, code) => {
    enter(slurm.env(['node1']))
    await expect(broadcast(options as BroadcastOptions)).rejects.toMatchObject({ code })
  })
})

test('a dry run names the nodes, and calls nothing', async () => {
  const lines = readFileSync(slurm.log, 'utf8')
  const result = await on(three, {}, { dryRun: true })
  expect(statuses(result)).toEqual(['node1 planned', 'node2 planned', 'node3 planned'])
  expect(existsSync(root)).toBe(false)
  expect(readFileSync(slurm.log, 'utf8')).toBe(lines)
})
