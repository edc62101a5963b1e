/** The files that an administrator installs. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { readPolicy } from '../../src/deploy/cache/policy.js'
import { slurmInstall } from '../../src/slurm/install.js'
import { cliFile, runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('install')
const policy = join(work, 'absent/policy.yaml')
const hooks = ['epilog.d/50-conda-deploy', 'prolog.d/50-conda-deploy', 'task-prolog']

describe('slurm install', () => {
  test('writes hooks that can be executed, a policy that is read, and lines for slurm.conf', async () => {
    const to = join(work, 'site')
    const done = await runCli(['slurm', 'install', '--to', to, '--root', '/local', '--policy', policy])
    expect(done).toMatchObject({ status: 0, stderr: '' })
    const names = readdirSync(to, { recursive: true, encoding: 'utf8' }).filter((name) =>
      statSync(join(to, name)).isFile(),
    )
    expect(names.sort()).toEqual(['conda-deploy.yaml', ...hooks, 'slurm.conf.conda-deploy'].sort())
    for (const name of hooks) {
      expect((statSync(join(to, name)).mode & 0o7777).toString(8)).toBe('755')
      expect(spawnSync('sh', ['-n', join(to, name)], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' })
      const text = readFileSync(join(to, name), 'utf8')
      expect(text).toContain(`${process.execPath} ${cliFile}`)
      // Every comment line fits a terminal of an administrator.
      expect(
        text
          .split('\n')
          .filter((line) => line.startsWith('#') && line.replace(policy, '/etc/conda-deploy.yaml').length > 140),
      ).toEqual([])
    }
    const read = await readPolicy(join(to, 'conda-deploy.yaml'))
    expect(read).toMatchObject({
      cache: { root: '/local' },
      jobs: { timeout: 120, state: '/run/conda-deploy', rules: [] },
    })
    // What is commented out is right, too.
    const examples = readFileSync(join(to, 'conda-deploy.yaml'), 'utf8')
      .replace(/^ {2}rules: \[\]\n/m, '')
      .replaceAll(/^( +)# (\w+:(?: \S+)?| {2}- \{.*)$/gm, '$1$2')
    const all = join(work, 'examples.yaml')
    writeFileSync(all, examples, { mode: 0o644 })
    const { cache, jobs } = await readPolicy(all)
    expect(cache).toMatchObject({ shared: true, maxBytes: 100e9, maxInodes: 2_000_000, minFree: 20e9 })
    expect(jobs.rules).toHaveLength(2)
    const lines = readFileSync(join(to, 'slurm.conf.conda-deploy'), 'utf8')
    expect(lines).toContain(`Prolog=${to}/prolog.d/*\nEpilog=${to}/epilog.d/*\nTaskProlog=${to}/task-prolog\n`)
    expect(Number(/PrologEpilogTimeout=(\d+)/.exec(lines)?.[1])).toBeGreaterThan(130)
  })

  test('keeps what is there: a policy always, other files unless it may replace them', async () => {
    const to = join(work, 'again')
    const did = async (more: object = {}) => (await slurmInstall({ to, policy, ...more })).files.map((file) => file.did)
    expect(await did()).toEqual(['written', 'written', 'written', 'written', 'written'])
    expect(await did()).toEqual(['kept', 'same', 'same', 'same', 'same'])
    writeFileSync(join(to, 'conda-deploy.yaml'), 'cache: {}\n')
    writeFileSync(join(to, 'task-prolog'), '#!/bin/sh\necho mine\n')
    await expect(did()).rejects.toMatchObject({ code: 'OUTPUT_EXISTS', path: join(to, 'task-prolog') })
    expect(await did({ force: true })).toEqual(['kept', 'same', 'same', 'written', 'same'])
    expect(readFileSync(join(to, 'conda-deploy.yaml'), 'utf8')).toBe('cache: {}\n')
    expect(statSync(join(to, 'task-prolog')).mode & 0o777).toBe(0o755)
  })

  test('--dry-run prints all of it and writes nothing; a folder has to be named otherwise', async () => {
    const to = join(work, 'dry')
    const { status, stdout } = await runCli(['slurm', 'install', '--dry-run', '--to', to, '--policy', policy])
    expect(status).toBe(0)
    expect(existsSync(to)).toBe(false)
    for (const name of hooks) expect(stdout).toContain(`==> ${to}/${name} (mode 755) <==\n#!/bin/sh\n`)
    expect(await runCli(['slurm', 'install'])).toMatchObject({ status: 2, stderr: expect.stringContaining('--to DIR') })
  })

  test('the hooks agree with the policy that is in force', async () => {
    const there = join(work, 'there.yaml')
    writeFileSync(there, 'jobs: { timeout: 5m, state: /var/run/notes }\n', { mode: 0o644 })
    const { files } = await slurmInstall({ to: join(work, 'agree'), policy: there, dryRun: true })
    const texts = Object.fromEntries(files.map(({ path, text }) => [path.slice(path.lastIndexOf('/') + 1), text]))
    expect(texts['task-prolog']).toContain('[ -e /var/run/notes/slurm:')
    expect(texts['task-prolog']).toContain(`--policy ${there}`)
    expect(texts['slurm.conf.conda-deploy']).toContain('PrologEpilogTimeout=360')
    expect(parse(texts['conda-deploy.yaml'] ?? '')).toMatchObject({
      jobs: { timeout: '300s', state: '/var/run/notes' },
    })
  })

  /** A node and a conda-deploy of their own, in a folder with a blank and a quote in its name. */
  async function withProgram(
    code: string,
    more: object = {},
  ): Promise<(hook: string, env?: object) => ReturnType<typeof run>> {
    const folder = join(work, `it's ${Math.random().toString(36).slice(2)} here`)
    mkdirSync(folder, { recursive: true })
    const file = join(folder, 'conda-deploy')
    writeFileSync(file, `#!/bin/sh\n${code}\n`, { mode: 0o755 })
    writeFileSync(join(folder, 'main.cjs'), '')
    await slurmInstall({ to: join(folder, 'site'), policy, command: [file, join(folder, 'main.cjs')], ...more })
    return (hook, env = {}) => run(join(folder, 'site', hook), env)
  }
  const run = (file: string, env: object) => {
    const { status, stdout } = spawnSync(file, [], {
      encoding: 'utf8',
      env: { ...env },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return { status, stdout }
  }

  test('a hook calls its program without a PATH, and its failure is none for Slurm unless that is wanted', async () => {
    const failing = await withProgram('echo "$2 $3 $4"; exit 70')
    expect(failing('prolog.d/50-conda-deploy').status).toBe(0)
    expect(failing('epilog.d/50-conda-deploy').status).toBe(0)
    expect(failing('task-prolog')).toEqual({ status: 0, stdout: '' })
    const asked = failing('task-prolog', { CONDA_DEPLOY_ENV: '/x' })
    expect(asked.status).toBe(0)
    expect(asked.stdout).toMatch(/^task-prolog --policy .*\nprint conda-deploy: the task prolog ended with status 70/)
    const strict = await withProgram('exit 70', { strict: true })
    expect(strict('prolog.d/50-conda-deploy').status).toBe(70)
    expect(strict('epilog.d/50-conda-deploy').status).toBe(0)
    expect(strict('task-prolog', { CONDA_DEPLOY_ENV: '/x' }).status).toBe(70)
  })

  test('a conda-deploy that is not there is no failure either, and told to jobs that asked', async () => {
    const absent = { command: ['/no/node', '/no/conda-deploy.cjs'] }
    const hook = await withProgram('exit 70', absent)
    expect(['prolog.d/50-conda-deploy', 'epilog.d/50-conda-deploy'].map((name) => hook(name).status)).toEqual([0, 0])
    expect(hook('task-prolog', { CONDA_DEPLOY_ENV: '/x' })).toEqual({
      status: 0,
      stdout: 'print conda-deploy: it is not installed on this node: no environment is activated\n',
    })
  })

  test.skipIf(process.geteuid?.() !== 0)('a policy that others could have written is not followed', async () => {
    const open = join(work, 'open.yaml')
    writeFileSync(open, 'jobs: {}\n')
    chmodSync(open, 0o666)
    await expect(slurmInstall({ to: join(work, 'open'), policy: open })).rejects.toMatchObject({ code: 'PERMISSION' })
  })

  test.each([
    ['jobs: { rules: [ { partition: x } ] }', /'jobs\.rules': expected an archive in each rule/],
    ['jobs: { rules: [ { archive: x.tar } ] }', /expected an absolute path/],
    ['jobs: { rules: [ { archiv: /x } ] }', /expected rules of user, partition, constraint, archive/],
    ['jobs: { rules: { archive: /x } }', /expected a list of rules/],
    ['jobs: { rules: [ /x ] }', /expected rules of/],
    ['jobs: { timeout: 120 }', /'jobs\.timeout': expected a span of time/],
    ['jobs: { state: run }', /'jobs\.state': expected an absolute path/],
    ['jobs: { tiemout: 5m }', /unknown key 'jobs\.tiemout'; known are timeout, state, rules/],
  ])('the policy %j is refused', async (text, why) => {
    const file = join(work, 'refused.yaml')
    writeFileSync(file, `${text}\n`, { mode: 0o644 })
    await expect(readPolicy(file)).rejects.toMatchObject({
      code: 'CONFIG_DAMAGED',
      message: expect.stringMatching(why),
    })
  })
})
