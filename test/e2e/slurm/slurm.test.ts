/**
 * Jobs of a real Slurm, with the files that `conda-deploy slurm install` writes: a task starts in its environment without a line of setup,
 * four tasks extract once, a broken archive costs no node, an epilog gives the disk back, a cancelled job leaves nothing half-made.
 */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { TraceReport } from '../../../src/trace/report.js'
import { writeSample } from '../../deploy/sample.js'
import { environmentOf } from '../../faults/fixture.js'
import { makeEnvironment } from '../../support/make-env.js'
import { cliFile, runCli } from '../../support/run-cli.js'
import { removeTree, temporaryFolder } from '../../support/temp.js'
import { Cluster, missingForSlurm, until } from './cluster.js'

const missing = missingForSlurm()
if (missing !== null) console.warn(`skipped: test/e2e/slurm: ${missing}`)

/** A user that every Linux knows, and who owns nothing. */
const nobody = 65534

describe.skipIf(missing !== null)('jobs of a real Slurm', () => {
  const folder = temporaryFolder('slurm')
  const cluster = new Cluster(join(folder, 'cluster'), 2)
  /** Stands for the parallel file system. */
  const shared = join(folder, 'shared')
  const site = join(folder, 'site')
  const scratch = join(cluster.local, 'scratch')
  const archive = join(shared, 'sample.tar.zst')

  beforeAll(async () => {
    chmodSync(folder, 0o755)
    for (const path of [cluster.folder, shared, site]) mkdirSync(path)
    const prefix = join(folder, 'envs/sample')
    const what = environmentOf(300, 2000)
    const script = 'export SAMPLE_HOME="$CONDA_PREFIX/share" SAMPLE_LINES="one\ntwo"\n'
    const files = [...(what.files ?? []), { path: 'etc/conda/activate.d/sample.sh', text: script }]
    makeEnvironment(prefix, { ...what, files })
    await must('pack', '-p', prefix, '-o', archive, '-q')
    writeFileSync(join(shared, 'broken.tar.zst'), readFileSync(archive).subarray(0, 100_000))
    await writeSample(join(shared, 'large.tar.zst'), { ballast: [4000, 20_000] })
    for (const name of readdirSync(shared)) chmodSync(join(shared, name), 0o644)
    const policy = join(site, 'conda-deploy.yaml')
    writePolicy()
    await must('slurm', 'install', '--to', site, '--policy', policy, '-q')
    await cluster.up({
      prolog: join(site, 'prolog.d/*'),
      epilog: join(site, 'epilog.d/*'),
      taskProlog: join(site, 'task-prolog'),
    })
  })

  afterAll(async () => await cluster.down())

  /** `lines` in the section of the cache. */
  function writePolicy(lines: readonly string[] = [], jobs: readonly string[] = []): void {
    const state = `state: ${cluster.local}/run`
    const text = ['cache:', `root: ${scratch}`, ...lines, 'jobs:', state, 'timeout: 30s', ...jobs]
    const indented = text.map((line) => (['cache:', 'jobs:'].includes(line) ? line : `  ${line}`))
    writeFileSync(join(site, 'conda-deploy.yaml'), `${indented.join('\n')}\n`, { mode: 0o644 })
  }

  async function must(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await runCli(args)
    expect(status, stderr).toBe(0)
    return stdout
  }

  const asking = (path = archive): string => `--comment=conda-deploy=${path}`
  const user = { uid: nobody, env: { HOME: '/', USER: 'nobody' } }
  const scratchOf = (node: string): string => join(cluster.localOf(node), 'scratch')
  const namesIn = (path: string): string[] => (existsSync(path) ? readdirSync(path) : [])
  const cachesOf = (node: string): string[] =>
    namesIn(scratchOf(node))
      .filter((name) => name.startsWith('conda-deploy-'))
      .map((name) => join(scratchOf(node), name))
  /** Deployments in the caches of a node, and what stands half-made beside them. */
  const inCaches = (node: string): string[] =>
    cachesOf(node).flatMap((cache) => namesIn(cache).filter((name) => /^[0-9a-f]{16}/.test(name)))
  const halfMade = (node: string): string[] =>
    cachesOf(node).flatMap((cache) => namesIn(cache).filter((name) => /\.(?:stage|lock|aside|part)$/.test(name)))
  const leases = (node: string): string[] => cachesOf(node).flatMap((cache) => namesIn(join(cache, '.leases')))
  const notes = (node: string): string[] => namesIn(join(cluster.localOf(node), 'run'))
  const allUp = ['idle none', 'idle none']
  const prefixIn = (output: string): string => /^CONDA_PREFIX=(.*)$/m.exec(output)?.[1] ?? ''
  const telling = 'echo "CONDA_PREFIX=$CONDA_PREFIX"'

  beforeEach(() => {
    for (const node of cluster.nodes)
      for (const name of namesIn(scratchOf(node))) removeTree(join(scratchOf(node), name))
    writePolicy()
  })

  /** A hook of the site under `conda-deploy trace`, while `act` runs: a report to a run beneath `reports`, on the node's disk. */
  async function traced(hook: string, act: () => Promise<void>): Promise<TraceReport[]> {
    const file = join(site, hook)
    const original = readFileSync(file, 'utf8')
    const reports = join(scratch, 'reports')
    for (const node of cluster.nodes) {
      mkdirSync(join(scratchOf(node), 'reports'))
      chmodSync(join(scratchOf(node), 'reports'), 0o1777)
    }
    // Not beside it: Slurm runs whatever is in prolog.d.
    const aside = join(site, 'original')
    writeFileSync(aside, original, { mode: 0o755 })
    const trace = `'${process.execPath}' '${cliFile}' trace -q --shared '${shared}' --output '${reports}'/$$.json -- '${aside}'`
    writeFileSync(file, `#!/bin/sh\nPATH=/usr/bin:/bin; export PATH\nexec ${trace}\n`)
    try {
      await act()
      return cluster.nodes.flatMap((node) =>
        namesIn(join(scratchOf(node), 'reports')).map((name) =>
          JSON.parse(readFileSync(join(scratchOf(node), 'reports', name), 'utf8')),
        ),
      )
    } finally {
      writeFileSync(file, original)
      rmSync(aside)
    }
  }

  test('a task starts in the environment that its job asks for, without a line of setup in its script', async () => {
    const script = `${telling}; tool; echo "$SAMPLE_HOME:$SLURM_SCRIPT_CONTEXT"; srun -N2 -n2 sh -c 'echo "at $(which tool)"'`
    const { job, state, output } = await cluster.batch(script, ['-N2', asking()], user)
    expect(state, output).toBe('COMPLETED')
    const prefix = prefixIn(output)
    expect(prefix).toMatch(/\/local\/scratch\/conda-deploy-65534\/[0-9a-f]{16}$/)
    const lines = output.trim().split('\n')
    expect(lines).toContain(prefix)
    expect(lines).toContain(`${prefix}/share:`)
    expect(lines.filter((line) => line === `at ${prefix}/bin/tool`)).toHaveLength(2)
    // What cannot be said in Slurm's grammar is named, once.
    expect(lines.filter((line) => line.includes('SAMPLE_LINES has a line break'))).toHaveLength(1)
    for (const node of cluster.nodes) {
      expect(inCaches(node)).toEqual([prefix.slice(-16)])
      expect(statSync(join(scratchOf(node), 'conda-deploy-65534', prefix.slice(-16))).uid).toBe(nobody)
      expect([halfMade(node), notes(node), leases(node).filter((name) => name.includes(job))]).toEqual([[], [], []])
    }
    expect(cluster.stateOfNodes()).toEqual(allUp)
  })

  test('srun asks by its comment, a partition and a feature by rules of the site', async () => {
    const rule = (what: string): string => `  - { ${what}, archive: ${archive} }`
    writePolicy([], ['rules:', rule('partition: ruled'), rule('constraint: conda')])
    const prefixes = [[asking()], ['-p', 'ruled'], ['-C', 'conda']].map((args) => {
      const { status, stdout, stderr } = cluster.run('srun', ['-N1', ...args, 'sh', '-c', telling], user)
      expect(status, stderr).toBe(0)
      return prefixIn(stdout)
    })
    const interactive = cluster.run('salloc', ['-N1', '-Q', asking(), 'srun', 'sh', '-c', telling], user)
    expect(interactive.status, interactive.stderr).toBe(0)
    expect(new Set([...prefixes, prefixIn(interactive.stdout)]).size).toBe(1)
    expect(prefixes[0]).toMatch(/[0-9a-f]{16}$/)
    const { stdout } = cluster.run('srun', ['-N1', 'sh', '-c', telling], user)
    expect(stdout).toBe('CONDA_PREFIX=\n')
  })

  test('four tasks on each of two nodes, without a prolog: each node extracts once', async () => {
    const env = { ...user.env, CONDA_DEPLOY_ENV: archive }
    const reports = await traced('task-prolog', async () => {
      const { status, stdout, stderr } = cluster.run('srun', ['-N2', '-n8', '--ntasks-per-node=4', 'tool'], {
        uid: nobody,
        env,
      })
      expect(status, stderr).toBe(0)
      expect(stdout.split('\n').filter((line) => /[0-9a-f]{16}$/.test(line))).toHaveLength(16)
    })
    expect(reports).toHaveLength(8)
    // Extracting makes the 300 files.
    const calls = reports.map((report) => report.servers.local.calls).sort((a, b) => b - a)
    expect(calls.filter((count) => count > 600)).toHaveLength(2)
    expect(cluster.nodes.map((node) => inCaches(node).length)).toEqual([1, 1])
  })

  test('the running task touches no shared file; what the prolog touches is counted', async () => {
    const report = join(scratch, 'task.json')
    const trace = `'${process.execPath}' '${cliFile}' trace -q --shared '${shared}' --output '${report}' -- tool`
    const prologs = await traced('prolog.d/50-conda-deploy', async () => {
      const { state, output } = await cluster.batch(trace, ['-N1', '-w', 'node1', asking()], user)
      expect(state, output).toBe('COMPLETED')
    })
    const running = JSON.parse(readFileSync(join(scratchOf('node1'), 'task.json'), 'utf8')) as TraceReport
    expect(running.servers.local.calls).toBeGreaterThan(0)
    expect(running.servers.shared.calls).toBe(0)
    // The archive is opened as the user, then for its index, then to be extracted.
    expect(prologs.map(({ servers }) => servers.shared.calls)).toEqual([3])
  })

  test('a broken archive: the node stays up, the job runs, and its output says why', async () => {
    const { state, output } = await cluster.batch(telling, ['-N2', asking(join(shared, 'broken.tar.zst'))], user)
    expect(state).toBe('COMPLETED')
    expect(output).toMatch(/^conda-deploy: not activated: .*broken\.tar\.zst/m)
    expect(output).toMatch(/^CONDA_PREFIX=$/m)
    expect(cluster.stateOfNodes()).toEqual(allUp)
    expect(cluster.nodes.flatMap((node) => [...inCaches(node), ...halfMade(node)])).toEqual([])
  })

  test('the epilog gives the disk back, as the policy says', async () => {
    writePolicy(['maxAge: 0s'])
    const words = ['-N1', '-w', 'node1', asking()]
    // Another job of the same environment runs until it is told to end.
    const stop = join(scratchOf('node1'), 'stop')
    const other = cluster.batch(`while ! [ -e ${join(scratch, 'stop')} ]; do sleep 0.1; done; tool`, words, user)
    await until('the other job to run', 60, () => leases('node1').length === 1)
    const { state, output } = await cluster.batch(telling, words, user)
    expect(state, output).toBe('COMPLETED')
    expect(prefixIn(output)).toMatch(/[0-9a-f]{16}$/)
    expect(inCaches('node1')).toHaveLength(1)
    writeFileSync(stop, '')
    expect(await other).toMatchObject({ state: 'COMPLETED', output: expect.stringContaining(prefixIn(output)) })
    expect([inCaches('node1'), halfMade('node1'), leases('node1'), notes('node1')]).toEqual([[], [], [], []])
  })

  test('a job that is cancelled during its prolog leaves nothing half-made', async () => {
    const words = [
      '--parsable',
      '-N1',
      '-w',
      'node1',
      '-o',
      '/dev/null',
      '-D',
      '/',
      asking(join(shared, 'large.tar.zst')),
    ]
    const job = cluster.run('sbatch', [...words, '--wrap', 'sleep 60'], user).stdout.trim()
    await until('the prolog to extract', 20, () => halfMade('node1').some((name) => name.endsWith('.stage')))
    expect(cluster.run('scancel', [job], user).status).toBe(0)
    expect(await cluster.finished(job)).toBe('CANCELLED')
    expect([halfMade('node1'), notes('node1'), leases('node1')]).toEqual([[], [], []])
    for (const name of inCaches('node1')) {
      const prefix = join(scratchOf('node1'), 'conda-deploy-65534', name)
      expect(existsSync(join(prefix, '.conda-deploy/ready'))).toBe(true)
    }
    expect(cluster.stateOfNodes()).toEqual(allUp)
  })

  test('one copy for all users, filled by root', async () => {
    writePolicy(['shared: true'])
    const [first, second] = [nobody, 2].map((uid) => {
      const { status, stdout, stderr } = cluster.run(
        'srun',
        ['-N1', '-w', 'node1', asking(), 'sh', '-c', `${telling}; tool`],
        {
          uid,
          env: user.env,
        },
      )
      expect(status, stderr).toBe(0)
      return prefixIn(stdout)
    })
    expect(first).toContain('/conda-deploy-shared/')
    expect(second).toBe(first)
    const there = statSync(join(scratchOf('node1'), 'conda-deploy-shared', (first ?? '').slice(-16)))
    expect({ uid: there.uid, mode: there.mode & 0o7777 }).toEqual({ uid: 0, mode: 0o555 })
  })
})
