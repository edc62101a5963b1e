/** The hooks as a scheduler calls them, as root for another user: what they do, what they refuse, and what they leave behind. */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { writeSample } from '../deploy/sample.js'
import { makeEnvironment, python } from '../support/make-env.js'
import { type CliOptions, type CliResult, cliFile, runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'

const nobody = 65534
const missing =
  process.platform !== 'linux'
    ? 'needs Linux'
    : process.getuid?.() !== 0
      ? 'needs root, to act for another user'
      : spawnSync('/usr/bin/setpriv', ['--version']).status !== 0
        ? 'needs setpriv'
        : null
if (missing !== null) console.log(`skipped: hooks: ${missing}`)

describe.skipIf(missing !== null)('hooks', () => {
  const work = temporaryFolder('hooks')
  const shared = join(work, 'shared')
  const archive = join(shared, 'sample.tar.zst')
  const state = join(work, 'run')
  const policy = join(work, 'policy.yaml')
  const root = join(work, 'scratch')
  const note = join(state, 'slurm:77')
  const ids = { SLURM_JOB_UID: String(nobody), SLURM_JOB_GID: String(nobody) }
  const job = { SLURM_JOB_ID: '77', SLURM_JOB_USER: 'nobody', SLURM_JOB_PARTITION: 'test', ...ids }

  beforeAll(async () => {
    chmodSync(work, 0o755)
    await writeSample(archive, { ballast: [200, 1000] })
    chmodSync(shared, 0o755)
    chmodSync(archive, 0o644)
  })

  beforeEach(() => {
    for (const path of [root, state]) removeTree(path)
    mkdirSync(root)
    chmodSync(root, 0o1777)
    writePolicy()
  })

  function writePolicy(cache: readonly string[] = [], jobs: readonly string[] = []): void {
    const lines = ['cache:', `  root: ${root}`, ...cache, 'jobs:', `  state: ${state}`, ...jobs]
    writeFileSync(policy, `${lines.join('\n')}\n`, { mode: 0o644 })
  }

  /** As slurmd calls them: no PATH, no HOME. */
  const bare = { PATH: undefined, HOME: undefined, TMPDIR: undefined }
  const prolog = (comment: string | null, ...more: string[]): Promise<CliResult> => hook('prolog', comment, more)
  const hook = (name: string, comment: string | null, more: string[], options: CliOptions = {}): Promise<CliResult> =>
    runCli([name, '--policy', policy, ...more], {
      ...options,
      env: { ...bare, ...job, ...(comment === null ? {} : { SLURM_JOB_COMMENT: comment }) },
    })
  const asking = (path: string): string => `conda-deploy=${path}`

  /** A task of the job: not root. */
  function task(env: Readonly<Record<string, string>> = {}): {
    status: number | null
    lines: string[]
    stderr: string
  } {
    const words = [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups', process.execPath, cliFile, 'task-prolog']
    const { status, stdout, stderr } = spawnSync('/usr/bin/setpriv', [...words, '--policy', policy], {
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin', HOME: '/', ...job, SLURM_SCRIPT_CONTEXT: 'prolog_task', ...env },
    })
    return { status, lines: stdout.split('\n').slice(0, -1), stderr }
  }

  /** Everything beneath the scratch folder that is no complete deployment, lease or folder of a cache. */
  function halfMade(): string[] {
    const names = readdirSync(root, { recursive: true, encoding: 'utf8' })
    return names.filter((name) => /\.(?:stage|lock|aside|part)$/.test(name))
  }
  const deployments = (): string[] =>
    readdirSync(root).flatMap((cache) =>
      readdirSync(join(root, cache))
        .filter((name) => /^[0-9a-f]{16}$/.test(name))
        .map((name) => join(root, cache, name)),
    )
  const readNote = () => JSON.parse(readFileSync(note, 'utf8')) as Record<string, unknown>

  test('a job that asks for nothing costs nothing, and gets nothing', async () => {
    expect(await prolog(null)).toMatchObject({ status: 0, stderr: '', stdout: 'slurm:77 of nobody asks for nothing\n' })
    expect([existsSync(note), readdirSync(root)]).toEqual([false, []])
    expect(task()).toEqual({ status: 0, lines: [], stderr: '' })
  })

  test('from prolog to epilog: deployed as the user, activated in the task, given back', async () => {
    const done = await prolog(asking(archive), '--json')
    expect(done).toMatchObject({ status: 0, stderr: '' })
    const told = JSON.parse(done.stdout)
    expect(told).toMatchObject({
      ...{ job: 'slurm:77', user: 'nobody', shared: false, warnings: [] },
      wanted: { archive, by: 'the comment of the job' },
      deployment: { method: 'deployed' },
    })
    const [prefix = ''] = deployments()
    expect(told.deployment.prefix).toBe(prefix)
    expect(lstatSync(prefix).uid).toBe(nobody)
    // The user may read the note, others may not, and nobody but root may put another one there.
    expect(lstatSync(note)).toMatchObject({ uid: nobody, mode: 0o100400 })
    expect(lstatSync(state)).toMatchObject({ uid: 0, mode: 0o40755 })
    const { status, lines, stderr } = task()
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(lines).toEqual(
      expect.arrayContaining([
        `export CONDA_PREFIX=${prefix}`,
        `export PATH=${prefix}/bin:/usr/bin:/bin`,
        `export CONDA_DEPLOY_TASK=slurm:77 ${prefix}`,
        'unset SLURM_SCRIPT_CONTEXT',
      ]),
    )
    expect(lines.filter((line) => !/^(?:export [A-Za-z_]\w*=|unset [A-Za-z_]\w*$|print )/.test(line))).toEqual([])
    const leases = (): string[] => readdirSync(join(prefix, '../.leases'))
    expect(leases().filter((name) => name.endsWith('@slurm:77'))).toHaveLength(1)
    expect(await hook('epilog', null, [])).toMatchObject({ status: 0, stderr: '' })
    expect([existsSync(note), leases()]).toEqual([false, []])
  })

  test('a step inherits what the task before it was given; an environment that the user activated instead stays', async () => {
    await prolog(asking(archive))
    const [prefix = ''] = deployments()
    const given = Object.fromEntries(
      task()
        .lines.filter((line) => line.startsWith('export '))
        .map((line) => [line.slice(7, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    )
    expect(task(given).lines).toEqual([])
    expect(task({ ...given, CONDA_PREFIX: '/other/env', CONDA_SHLVL: '2' }).lines).toEqual([])
    // Of another job, which a job was submitted from.
    const fresh = task({ ...given, CONDA_DEPLOY_TASK: `slurm:76 ${prefix}` }).lines
    expect(fresh).toContain(`export CONDA_DEPLOY_TASK=slurm:77 ${prefix}`)
  })

  test('without a prolog the task deploys; its variable comes before the note; none means nothing', async () => {
    const alone = task({ CONDA_DEPLOY_ENV: archive }).lines
    const [prefix = ''] = deployments()
    expect(alone).toContain(`export CONDA_PREFIX=${prefix}`)
    const second = join(shared, 'second.tar.zst')
    await writeSample(second)
    chmodSync(second, 0o644)
    await prolog(asking(archive))
    const other = task({ CONDA_DEPLOY_ENV: second }).lines
    expect(deployments()).toHaveLength(2)
    expect(other).toContain(`export CONDA_PREFIX=${deployments().find((one) => one !== prefix)}`)
    expect(task({ CONDA_DEPLOY_ENV: 'none' }).lines).toEqual([])
  })

  test('what the policy gives, and what is gone by the time of the task', async () => {
    writePolicy([], ['  rules:', `    - { partition: test, archive: ${archive} }`])
    expect((await prolog(null)).stdout).toContain(`${archive}, by the policy of the site`)
    const [prefix = ''] = deployments()
    removeTree(prefix)
    const { lines } = task()
    expect(lines).toContain(`print conda-deploy: ${prefix} is gone: it is deployed again`)
    expect(lines).toContain(`export CONDA_PREFIX=${prefix}`)
  })

  const unfit: readonly (readonly [what: string, make: () => string, why: RegExp])[] = [
    ['is absent', () => join(shared, 'absent.tar.zst'), /there is no archive .*absent\.tar\.zst/],
    ['is a folder', () => shared, /is not a regular file/],
    ['is a device', () => '/dev/zero', /is not a regular file/],
    ['is a pipe', makePipe, /is not a regular file/],
    ['only root may read', () => secret(0o600, 0), /user nobody cannot read .*permission denied/],
    ['lies where only root may look', hidden, /user nobody cannot read .*permission denied/],
    ['is a link to what only root may read', linked, /user nobody cannot read .*permission denied/],
    ['is cut off', () => broken(), /broken\.tar\.zst/],
    ['is named oddly', () => '-rf', /is not an absolute path|there is no archive/],
  ]
  test.each(unfit)('an archive that %s: the node stays up, the user is told, nothing is left', async (_, make, why) => {
    const path = make()
    const done = await prolog(asking(path))
    expect(done).toMatchObject({ status: 0, stdout: '', stderr: expect.stringMatching(why) })
    expect(halfMade()).toEqual([])
    expect(deployments()).toEqual([])
    expect(readNote()).toMatchObject({ deployed: null, failure: { message: expect.stringMatching(why) } })
    const { status, lines } = task()
    expect(status).toBe(0)
    expect(lines[0]).toMatch(/^print conda-deploy: not activated: /)
    expect(lines.filter((line) => !line.startsWith('print '))).toEqual([])
    // One task of the node says it.
    expect(task({ SLURM_LOCALID: '1' }).lines).toEqual([])
    expect((await prolog(asking(path), '--strict')).status).not.toBe(0)
  })

  function makePipe(): string {
    const path = join(work, 'pipe')
    spawnSync('mkfifo', ['-m', '666', path])
    return path
  }
  function secret(mode: number, group: number): string {
    const path = join(work, 'secret.tar.zst')
    copyFileSync(archive, path)
    chownSync(path, 0, group)
    chmodSync(path, mode)
    return path
  }
  function hidden(): string {
    const folder = join(work, 'hidden')
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    copyFileSync(archive, join(folder, 'sample.tar.zst'))
    chmodSync(join(folder, 'sample.tar.zst'), 0o644)
    return join(folder, 'sample.tar.zst')
  }
  function linked(): string {
    const path = join(work, 'link.tar.zst')
    rmSync(path, { force: true })
    symlinkSync(secret(0o600, 0), path)
    return path
  }
  function broken(): string {
    const path = join(work, 'broken.tar.zst')
    copyFileSync(archive, path)
    truncateSync(path, 50_000)
    return path
  }

  test('the user reads by all groups of theirs, as the system knows them', async () => {
    const path = secret(0o640, 4242)
    const groups = join(work, 'group')
    writeFileSync(groups, `${readFileSync('/etc/group', 'utf8')}testers:x:4242:nobody\n`)
    const inside = 'mount --bind "$1" /etc/group && shift && exec "$@"'
    const command = [process.execPath, cliFile, 'prolog', '--policy', policy, '--strict']
    const unshared = spawnSync('unshare', ['-m', 'sh', '-c', inside, 'sh', groups, ...command], {
      encoding: 'utf8',
      env: { ...job, PATH: process.env['PATH'], SLURM_JOB_COMMENT: asking(path) },
    })
    expect(unshared, unshared.stderr).toMatchObject({ status: 0 })
    expect(deployments()).toHaveLength(1)
  })

  test('what takes too long ends, leaves nothing half-made, and is tried again by the task', async () => {
    const large = join(shared, 'large.tar.zst')
    await writeSample(large, { ballast: [3000, 20_000] })
    chmodSync(large, 0o644)
    const done = await prolog(asking(large), '--timeout', '0.2')
    expect(done).toMatchObject({ status: 0, stderr: expect.stringContaining('took longer than 0.2 s') })
    expect([halfMade(), deployments()]).toEqual([[], []])
    const { lines } = task()
    expect(lines).toContain(`export CONDA_PREFIX=${deployments()[0]}`)
    expect(lines.join('\n')).toMatch(/^print conda-deploy: in the prolog, .* took longer than/m)
    // Ended by the scheduler while it extracts.
    removeTree(root)
    mkdirSync(root)
    chmodSync(root, 0o1777)
    const cut = await hook('prolog', asking(large), [], {
      during: (child) => {
        void (async () => {
          while (halfMade().length === 0 && child.exitCode === null) await sleep(5)
          child.kill('SIGTERM')
        })()
      },
    })
    expect([0, 143]).toContain(cut.status)
    expect(halfMade()).toEqual([])
  })

  test('for all users: root fills the cache, another user runs from it, and what does not suit is private', async () => {
    writePolicy(['  shared: true'])
    const done = JSON.parse((await prolog(asking(archive), '--json')).stdout)
    expect(done).toMatchObject({ shared: true, deployment: { method: 'deployed' } })
    const { prefix } = done.deployment
    expect(prefix).toContain('/conda-deploy-shared/')
    expect(lstatSync(prefix)).toMatchObject({ uid: 0, mode: 0o40555 })
    expect(task().lines).toContain(`export CONDA_PREFIX=${prefix}`)
    expect(JSON.parse((await prolog(asking(archive), '--json')).stdout)).toMatchObject({
      shared: true,
      deployment: { method: 'adopted', prefix },
    })
    expect(await hook('epilog', null, [])).toMatchObject({ status: 0, stderr: '' })
    const own = secret(0o400, 0)
    chownSync(own, nobody, nobody)
    const private_ = JSON.parse((await prolog(asking(own), '--json')).stdout)
    expect(private_).toMatchObject({
      shared: false,
      warnings: [expect.stringContaining('may not be read by everybody')],
    })
    const [foreign, environment] = [join(shared, 'foreign.tar'), join(work, 'envs/foreign')]
    makeEnvironment(environment, { packages: [python] })
    expect(spawnSync('tar', ['-C', environment, '-cf', foreign, '.']).status).toBe(0)
    const other = JSON.parse((await prolog(asking(foreign), '--json')).stdout)
    expect(other).toMatchObject({ shared: false })
    expect(other.warnings[0]).toContain('was not made by conda-deploy: it is deployed for user nobody alone')
  })

  test('notes are kept in a folder of root, and those of others are not followed', async () => {
    mkdirSync(state)
    chmodSync(state, 0o777)
    expect(await prolog(asking(archive))).toMatchObject({ status: 0, stderr: expect.stringContaining("'jobs.state'") })
    writeFileSync(
      note,
      JSON.stringify({ version: 1, archive, deployed: { prefix: '/evil', digest: 'x' }, failure: null }),
    )
    chownSync(note, 1, 1)
    chmodSync(note, 0o644)
    expect(task().lines[0]).toContain('belongs to user 1: it is not followed')
    // Only the note goes, not what it leads to.
    const victim = join(work, 'victim')
    writeFileSync(victim, 'x')
    rmSync(note)
    symlinkSync(victim, note)
    expect((await hook('epilog', null, [])).status).toBe(0)
    expect([existsSync(victim), lstatSync(note, { throwIfNoEntry: false })]).toEqual([true, undefined])
  })

  test('the epilog removes what the policy does not want kept, and no more while another job holds it', async () => {
    writePolicy(['  maxAge: 0s'])
    await prolog(asking(archive))
    expect(task({ SLURM_JOB_ID: '78', CONDA_DEPLOY_ENV: archive }).lines).not.toEqual([])
    const [prefix = ''] = deployments()
    expect((await hook('epilog', null, [])).stdout).toBe('slurm:77: 1 lease given back, 0 deployments removed\n')
    expect(deployments()).toEqual([prefix])
    const last = JSON.parse((await hook('epilog', null, ['--job', 'slurm:78', '--json'])).stdout)
    expect(last).toMatchObject({ job: 'slurm:78', user: 'nobody', removed: [prefix], warnings: [] })
    expect([deployments(), halfMade()]).toEqual([[], []])
    // A job that used nothing.
    expect((await hook('epilog', null, [])).stdout).toBe('slurm:77: 0 leases given back, 0 deployments removed\n')
  })

  test('what a prolog that was killed left half-made is gone after the epilog', async () => {
    const large = join(shared, 'killed.tar.zst')
    await writeSample(large, { ballast: [4000, 20_000] })
    chmodSync(large, 0o644)
    const stages = (): string[] => halfMade().filter((name) => name.endsWith('.stage'))
    await hook('prolog', asking(large), [], {
      during: (child) => {
        void (async () => {
          while (stages().length === 0 && child.exitCode === null) await sleep(2)
          child.kill('SIGKILL')
          for (const pid of processesOf(large)) process.kill(pid, 'SIGKILL')
        })()
      },
    })
    while (processesOf(large).length > 0) await sleep(10)
    expect(stages()).toHaveLength(1)
    expect(existsSync(note)).toBe(false)
    await hook('epilog', null, [])
    expect([halfMade(), deployments()]).toEqual([[], []])
  })

  /** Those that have the path on their command line, and still run. */
  function processesOf(path: string): number[] {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    return pids.map(Number).filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(path)
      } catch {
        return false // It has ended.
      }
    })
  }

  test('an epilog ends with 0 whatever is wrong', async () => {
    for (const args of [
      ['--policy', join(work, 'no-policy.yaml')],
      ['--policy', policy, '--job', 'slurm:1', '--user', 'no-such-user'],
    ])
      expect(await runCli(['epilog', ...args], { env: bare })).toMatchObject({
        status: 0,
        stderr: expect.stringMatching(/./),
      })
    expect(await runCli(['epilog', '--policy', policy], { env: bare })).toMatchObject({ status: 0 })
  })
})
