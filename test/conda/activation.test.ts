/** What activating means: read from files made by hand, printed for every shell that is installed, applied for a program. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Activation, assignments, readActivation } from '../../src/conda/activation.js'
import { recordActivating } from '../../src/conda/recorded.js'
import { shellCode } from '../../src/conda/shell-code.js'
import { activating } from '../../src/conda/steps.js'
import { tellActivating } from '../../src/conda/taker.js'
import type { Shell } from '../../src/conda/takers.js'
import { activationScripts } from '../../src/pack/scripts/index.js'
import { hostile, isInstalled, makeActivationFiles, runScript, shells, write } from '../support/shells.js'

let work: string
let prefix: string
let activation: Activation

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'conda-deploy-activation-'))
  prefix = join(work, "e n'v$x [a]!")
  makeActivationFiles(prefix)
  for (const script of activationScripts()) write(join(prefix, script.path), script.text, script.mode)
  activation = await readActivation(prefix)
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

describe('reading', () => {
  test('case 39: variables of packages, then of the environment; scripts in order of bytes', () => {
    expect(activation).toMatchObject({
      prefix,
      name: prefix,
      prompt: '(environment) ',
      variables: { PKG_VAR: hostile, OVER: 'state', MULTI: 'a\nb', NUMBER: '1' },
      deactivates: true,
    })
    expect(activation.variables).not.toHaveProperty('GONE')
    const names = (files: readonly string[]): string[] => files.map((file) => file.slice(prefix.length))
    expect(names(activation.scripts.sh)).toEqual(['/etc/conda/activate.d/B.sh', '/etc/conda/activate.d/a.sh'])
    expect(activation.scripts.fish).toHaveLength(2)
    expect(activation.warnings).toEqual([
      `${prefix}/conda-meta/state: variable bad-name cannot be set by an environment`,
      `${prefix}/conda-meta/state: variable PATH cannot be set by an environment`,
    ])
  })

  test('an environment without any of it, named as conda names it', async () => {
    const plain = join(work, 'envs/plain')
    mkdirSync(plain, { recursive: true })
    expect(await readActivation(plain)).toEqual({
      prefix: plain,
      name: 'plain',
      prompt: '(plain) ',
      variables: {},
      scripts: { sh: [], fish: [], csh: [] },
      deactivates: false,
      warnings: [],
    })
  })

  test('in the cache of a node it is called as it was where it was packed, not by its digest', async () => {
    const named = async (folder: string, ready: string): Promise<string[]> => {
      const at = join(work, folder)
      write(join(at, '.conda-deploy/ready'), ready)
      const { name, prompt } = await readActivation(at)
      return [name.replace(work, ''), prompt]
    }
    const digest = '0123456789abcdef'
    const marked = (name: string): string =>
      `${JSON.stringify({ version: 1, prefix: '/"name":"x"', name, bytes: 1 })}\n`
    expect(await named(`conda-deploy-1000/${digest}`, marked('my project'))).toEqual(['my project', '(my project) '])
    expect(await named(`conda-deploy-shared/${digest}-w`, marked('$(id)'))).toEqual(['$(id)', '(environment) '])
    for (const [folder, ready] of [
      [`conda-deploy-1/${digest}`, marked('with "quotes"')],
      [`conda-deploy-2/${digest}`, '{"version":1}'],
      [`conda-deploy-1/${digest}0`, marked('x')],
      [`other/${digest}`, marked('x')],
    ] as const)
      expect(await named(folder, ready)).toEqual([`/${folder}`, `(${folder.replace(/.*\//, '')}) `])
  })

  test('what is broken is named, a prefix with a colon refused', async () => {
    const broken = join(work, 'broken')
    write(join(broken, 'conda-meta/state'), '{"env_vars": ')
    write(join(broken, 'etc/conda/env_vars.d/a.json'), '[1]')
    write(join(broken, 'etc/conda/env_vars.d/b.json'), '{"GOOD": "1", "BAD": {}, "NUL": "a\\u0000b"}')
    const read = await readActivation(broken)
    expect(read.variables).toEqual({ GOOD: '1' })
    expect(read.warnings).toHaveLength(4)
    expect(read.warnings.join('\n')).toMatch(
      /a\.json: expected an object.*b\.json: BAD is no text.*NUL.*state: .*not set/s,
    )
    const own = join(work, 'own')
    write(
      join(own, 'conda-meta/state'),
      '{"env_vars": {"UID": "0", "SHELLOPTS": "xtrace", "CONDA_SHLVL": "7", "MY_UID": "5"}}',
    )
    const { variables, warnings } = await readActivation(own)
    expect([variables, warnings.length]).toEqual([{ MY_UID: '5' }, 3])
    await expect(readActivation('/a:b')).rejects.toMatchObject({ code: 'NOT_AN_ENV' })
  })
})

describe('assigning', () => {
  const plain: Activation = {
    prefix: '/new',
    name: '/new',
    prompt: '(new) ',
    variables: { A: '1' },
    scripts: { sh: [], fish: [], csh: [] },
    deactivates: true,
    warnings: [],
  }

  test('the first level keeps what was there', () => {
    expect(Object.fromEntries(assignments(plain, { A: 'old' }).set)).toEqual({
      __CONDA_SHLVL_0_A: 'old',
      A: '1',
      CONDA_PREFIX: '/new',
      CONDA_DEFAULT_ENV: '/new',
      CONDA_PROMPT_MODIFIER: '(new) ',
      CONDA_SHLVL: '1',
      CONDA_DEPLOY_SET_1: 'A CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_PROMPT_MODIFIER CONDA_SHLVL',
    })
  })

  test("on an environment that conda activated it stands as conda's own would", () => {
    const now = { CONDA_SHLVL: '1', CONDA_PREFIX: '/opt/conda', CONDA_DEFAULT_ENV: 'base' }
    expect(Object.fromEntries(assignments(plain, now).set)).toMatchObject({
      CONDA_PREFIX: '/new',
      CONDA_PREFIX_1: '/opt/conda',
      CONDA_SHLVL: '2',
      CONDA_STACKED_2: 'true',
      __CONDA_SHLVL_1_CONDA_PREFIX: '/opt/conda',
    })
  })

  test('a level that is no number counts as none', () => {
    expect(Object.fromEntries(assignments(plain, { CONDA_SHLVL: 'x; rm' }).set)).toMatchObject({ CONDA_SHLVL: '1' })
  })
})

describe.each(shells.filter((shell) => isInstalled(shell.command[0] ?? '')))('code for $name', (shell) => {
  const word = shell.name.split(' ')[0] ?? ''
  const name = (['busybox', 'mksh'].includes(word) ? 'sh' : word) as Shell
  const base = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/dev/null', LC_ALL: 'C.UTF-8', OVER: hostile }

  test('case 38: activates by eval, and deactivate goes back', () => {
    const code = join(work, `code-${word}`)
    writeFileSync(code, shellCode(activating(activation, base), name))
    const read = { sh: `eval "$(cat '${code}')"`, fish: `cat '${code}' | source`, csh: `eval "\`cat '${code}'\`"` }[
      shell.family
    ]
    const strict = shell.family === 'sh' ? 'set -eu\n' : ''
    const ran = runScript(
      shell,
      `${strict}SNAPSHOT before\n${read}\nSNAPSHOT active\ndeactivate\nSNAPSHOT after\n`,
      base,
    )
    expect(ran.status, ran.stderr).toBe(0)
    const { MULTI, ...active } = ran.seen.get('active') ?? {}
    expect(active).toMatchObject({
      CONDA_PREFIX: prefix,
      CONDA_DEFAULT_ENV: prefix,
      CONDA_SHLVL: '1',
      PATH: `${prefix}/bin:${base.PATH}`,
      PKG_VAR: hostile,
      OVER: 'state',
      ORDER: '+B+a',
    })
    if (shell.family === 'csh')
      expect([MULTI, ran.stderr]).toEqual([undefined, expect.stringContaining('MULTI has a line break')])
    else expect(MULTI).toBe('a\nb')
    expect(ran.seen.get('after')).toEqual({ ...ran.seen.get('before'), ORDER: '+B+a-a-B' })
  })

  test('a second eval does not enter it twice', () => {
    const first = join(work, `first-${word}`)
    writeFileSync(first, shellCode(activating(activation, base), name))
    const read = (file: string): string =>
      ({ sh: `eval "$(cat '${file}')"`, fish: `cat '${file}' | source`, csh: `eval "\`cat '${file}'\`"` })[shell.family]
    const active = runScript(shell, `${read(first)}\nSNAPSHOT active\n`, base).seen.get('active') ?? {}
    const second = join(work, `second-${word}`)
    writeFileSync(second, shellCode(activating(activation, active), name))
    const again = runScript(shell, `${read(second)}\nSNAPSHOT again\n`, active)
    expect(again.seen.get('again'), again.stderr).toEqual({ ...active, ORDER: '+B+a+B+a' })
  })
})

test('as JSON', async () => {
  const { text } = await tellActivating(activation, 'json', { now: { PATH: '/usr/bin:/bin', OVER: 'before' } })
  const told = JSON.parse(text) as Record<string, unknown>
  expect(told).toMatchObject({
    prefix,
    variables: { CONDA_PREFIX: prefix, PATH: `${prefix}/bin:/usr/bin:/bin`, PKG_VAR: hostile, ORDER: '+B+a' },
    unset: [],
    warnings: activation.warnings,
  })
})

describe('the environment for a program', () => {
  test('has the effect of the scripts, and nothing else of the shell that ran them', async () => {
    const env = {
      PATH: '/usr/bin:/bin',
      OVER: 'x',
      HOME: '/dev/null',
      PWD: '/',
      SHLVL: '3',
      BASH_ENV: '/nonexistent/startup',
    }
    const { variables, warnings } = await recordActivating(activation, env)
    expect(warnings).toEqual([])
    const { set } = assignments(activation, env, ['ORDER'])
    expect(variables).toEqual({
      ...env,
      ...Object.fromEntries(set),
      PATH: `${prefix}/bin:/usr/bin:/bin`,
      ORDER: '+B+a',
    })
  })

  test('without scripts no shell is started', async () => {
    const { scripts: _, ...rest } = activation
    const plain: Activation = { ...rest, scripts: { sh: [], fish: [], csh: [] } }
    expect((await recordActivating(plain, { PATH: '' })).variables['PATH']).toBe(`${prefix}/bin`)
  })

  test('what scripts say is told, and one that ends the shell is named', async () => {
    const loud = join(work, 'loud')
    write(join(loud, 'etc/conda/activate.d/1.sh'), 'echo hello; echo warning >&2; export ONE=1\n')
    write(join(loud, 'etc/conda/activate.d/2.sh'), 'export TWO=2; exit 3\n')
    write(join(loud, 'etc/conda/activate.d/3.sh'), 'export THREE=3\n')
    const { variables, warnings } = await recordActivating(await readActivation(loud), { PATH: '/usr/bin:/bin' })
    expect(variables).toMatchObject({ ONE: '1', TWO: '2' })
    expect(variables).not.toHaveProperty('THREE')
    expect(variables).not.toHaveProperty('CONDA_DEPLOY_SOURCING')
    expect(warnings).toEqual([
      'hello',
      'warning',
      `${loud}/etc/conda/activate.d/2.sh ended the shell (status 3); the scripts after it did not run`,
    ])
  })

  test('what a script leaves running is not waited for', { timeout: 10_000 }, async () => {
    const daemon = join(work, 'daemon')
    const script = 'sleep 60 & export DAEMON=$!; echo said\n'
    write(join(daemon, 'etc/conda/activate.d/1.sh'), script)
    const { variables, warnings } = await recordActivating(await readActivation(daemon), { PATH: '/usr/bin:/bin' })
    expect(warnings).toEqual(['said'])
    // It lives on, as it would in a shell that sourced the script.
    expect(process.kill(Number(variables['DAEMON']), 'SIGTERM')).toBe(true)
  })

  test('it can be cancelled', async () => {
    const slow = join(work, 'slow')
    write(join(slow, 'etc/conda/activate.d/1.sh'), 'sleep 20\n')
    const stop = new AbortController()
    const going = recordActivating(await readActivation(slow), { PATH: '/usr/bin:/bin' }, { signal: stop.signal })
    setTimeout(() => stop.abort(), 100)
    await expect(going).rejects.toMatchObject({ code: 'CANCELLED' })
  })
})
