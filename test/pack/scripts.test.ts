/** The texts that go into every archive, in every shell that is installed. `conda-unpack` has a test of its own. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { activationScripts, unpackScript } from '../../src/pack/scripts/index.js'
import {
  hostile,
  isInstalled,
  makeActivationFiles,
  runScript,
  shells,
  type TestShell,
  write,
} from '../support/shells.js'

const folder = resolve(import.meta.dirname, '../../src/pack/scripts')
let work: string
let one: string
let two: string
/** Where a node keeps deployments. */
let cached: string
let quoted: string

/** An environment with the scripts in it, at a path that shells like to misread. */
function makeEnvironment(prefix: string): string {
  makeActivationFiles(prefix)
  for (const script of activationScripts()) write(join(prefix, script.path), script.text, script.mode)
  return prefix
}

beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'conda-deploy-scripts-'))
  one = makeEnvironment(join(work, "e n'v$x [a]!"))
  two = makeEnvironment(join(work, 'envs/two'))
  cached = makeEnvironment(join(work, 'conda-deploy-1000/0123456789abcdef'))
  quoted = makeEnvironment(join(work, 'conda-deploy-shared/fedcba9876543210-w'))
  for (const [prefix, name] of [
    [cached, 'my project'],
    [quoted, 'with "quotes"'],
    [two, 'other'],
  ] as const)
    write(join(prefix, '.conda-deploy/ready'), `${JSON.stringify({ version: 1, prefix: '/"name":"x"', name })}\n`)
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

const single = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
const quote = ({ family }: TestShell, text: string): string =>
  family === 'fish'
    ? `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
    : family === 'csh'
      ? single(text).replaceAll('!', '\\!')
      : single(text)
const source = (shell: TestShell, prefix: string, name = 'activate'): string => {
  const suffix = shell.family === 'sh' ? '' : `.${shell.family}`
  return `${shell.family === 'sh' ? '.' : 'source'} ${quote(shell, `${prefix}/bin/${name}${suffix}`)}`
}

describe('the texts', () => {
  test('texts.json holds the files (node src/pack/scripts/embed.mjs makes it)', () => {
    const code = `import(${JSON.stringify(join(folder, 'embed.mjs'))}).then((m) => process.stdout.write(m.embedded()))`
    const made = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' })
    expect(made.stdout).toBe(readFileSync(join(folder, 'texts.json'), 'utf8'))
  })

  test('no prefix and no secret of a machine stands in them', () => {
    for (const script of [...activationScripts(), { text: unpackScript({ producer: '0', files: [] }) }])
      expect(script.text).not.toMatch(/\/home\/|\/work\/|\/opt\/|\/root\b/)
  })

  test.skipIf(!isInstalled('shellcheck'))('shellcheck has nothing to say (needs shellcheck)', () => {
    const done = spawnSync('shellcheck', [join(folder, 'activate'), join(folder, 'deactivate')], { encoding: 'utf8' })
    expect(done.stdout).toBe('')
  })
})

const absent = shells.filter((shell) => !isInstalled(shell.command[0] ?? ''))
if (absent.length > 0)
  console.warn(`skipped: test/pack/scripts: not installed: ${absent.map((shell) => shell.name).join(', ')}`)

describe.each(shells.filter((shell) => !absent.includes(shell)))('$name', (shell) => {
  const strict = shell.family === 'sh' ? 'set -eu\n' : ''

  test('activating sets what conda sets, and deactivating brings everything back', () => {
    const ran = runScript(
      shell,
      `${strict}SNAPSHOT before\n${source(shell, one)}\nSNAPSHOT active\ndeactivate\nSNAPSHOT after\n`,
      { OVER: hostile },
    )
    expect(ran.status, ran.stderr).toBe(0)
    const [before, active, after] = ['before', 'active', 'after'].map((name) => ran.seen.get(name) ?? {})
    expect(active).toMatchObject({
      CONDA_PREFIX: one,
      CONDA_DEFAULT_ENV: one,
      CONDA_SHLVL: '1',
      PATH: `${one}/bin:${before?.['PATH']}`,
      PKG_VAR: hostile,
      OVER: 'state',
      MULTI: 'a\nb',
      NUMBER: '1',
      ORDER: '+B+a',
    })
    expect(active).not.toHaveProperty('GONE')
    expect(active).not.toHaveProperty('PS1')
    expect(ran.stderr.replaceAll(/^.*variable (bad-name|PATH) cannot be set by an environment\n/gm, '')).toBe('')
    expect(after).toEqual({ ...before, ORDER: '+B+a-a-B' })
  })

  test.each([
    ['as it was where it was packed', () => cached, 'my project', 'my project'],
    ['by its folder, where the name is none for a shell', () => quoted, null, 'fedcba9876543210-w'],
    ['by its folder, elsewhere', () => two, 'two', 'two'],
  ])('an environment in the cache of a node is called %s', (_, prefix, name, shown) => {
    const ran = runScript(shell, `${strict}${source(shell, prefix())}\nSNAPSHOT active\ndeactivate\nSNAPSHOT after\n`)
    expect(ran.status, ran.stderr).toBe(0)
    expect(ran.seen.get('active')).toMatchObject({
      CONDA_PREFIX: prefix(),
      CONDA_DEFAULT_ENV: name ?? prefix(),
      CONDA_PROMPT_MODIFIER: `(${shown}) `,
    })
    expect(ran.seen.get('after')).not.toHaveProperty('CONDA_DEFAULT_ENV')
  })

  test('environments nest, and one that is active already is not entered twice', () => {
    const steps = ['SNAPSHOT before', source(shell, one), 'SNAPSHOT first', source(shell, one), 'SNAPSHOT again']
    steps.push(
      source(shell, two),
      'SNAPSHOT second',
      'deactivate',
      'SNAPSHOT back',
      source(shell, one, 'deactivate'),
      'SNAPSHOT after',
    )
    const ran = runScript(shell, `${strict}${steps.join('\n')}\n`)
    expect(ran.status, ran.stderr).toBe(0)
    const at = (name: string): Record<string, string> => {
      const { ORDER: _, ...rest } = ran.seen.get(name) ?? {}
      return rest
    }
    expect(at('first')).toMatchObject({ CONDA_SHLVL: '1' })
    expect(at('again')).toEqual(at('first'))
    expect(at('second')).toMatchObject({
      CONDA_PREFIX: two,
      CONDA_DEFAULT_ENV: 'two',
      CONDA_PREFIX_1: one,
      CONDA_SHLVL: '2',
    })
    expect(at('second')['PATH']).toBe(`${two}/bin:${one}/bin:${at('before')['PATH']}`)
    expect(at('back')).toEqual(at('first'))
    expect(at('after')).toEqual(at('before'))
  })

  test('a shell that inherits an active environment can leave it', () => {
    const active = runScript(shell, `${source(shell, one)}\nSNAPSHOT active\n`).seen.get('active') ?? {}
    expect(active['CONDA_PREFIX']).toBe(one)
    const left = runScript(shell, `${source(shell, one, 'deactivate')}\nSNAPSHOT after\n`, active)
    expect(left.status, left.stderr).toBe(0)
    const after = left.seen.get('after') ?? {}
    expect(Object.keys(after).filter((name) => /CONDA/.test(name))).toEqual([])
    expect(after['PATH']).toBe('/usr/local/bin:/usr/bin:/bin')
  })

  test('it is found from its own folder, by a relative path', () => {
    const suffix = shell.family === 'sh' ? '' : `.${shell.family}`
    const word = shell.family === 'sh' ? '.' : 'source'
    const cd = `cd ${quote(shell, `${one}/bin`)}`
    const ran = runScript(shell, `${cd}\n${word} ./activate${suffix}\nSNAPSHOT active\n`)
    expect(ran.seen.get('active')?.['CONDA_PREFIX'], ran.stderr).toBe(one)
  })

  test('deactivating nothing is said and harmless', () => {
    const ran = runScript(shell, `${source(shell, one, 'deactivate')}\necho alive\n`)
    expect(ran.stdout).toContain('alive')
    expect(ran.stderr).toContain('no environment is active')
  })

  test('a broken state file is named, and the rest is activated', () => {
    const prefix = makeEnvironment(join(work, `broken-${shell.name.replaceAll(/\W/g, '')}`))
    writeFileSync(join(prefix, 'conda-meta/state'), '{"env_vars": {"OVER": "state", ')
    const ran = runScript(shell, `${strict}${source(shell, prefix)}\nSNAPSHOT active\n`)
    expect(ran.seen.get('active'), ran.stderr).toMatchObject({ CONDA_PREFIX: prefix, OVER: 'package', ORDER: '+B+a' })
    expect(ran.stderr).toContain(`${prefix}/conda-meta/state: not JSON`)
  })
})

describe('prompts', () => {
  const prompts = [
    { shell: 'bash', command: ['bash', '--norc', '-i'], show: 'echo "@$PS1@"' },
    { shell: 'zsh', command: ['zsh', '-f', '-i'], show: 'echo "@$PS1@"' },
    { shell: 'ksh', command: ['ksh', '-i'], show: 'echo "@$PS1@"' },
    { shell: 'dash', command: ['dash', '-i'], show: 'echo "@$PS1@"' },
    { shell: 'tcsh', command: ['tcsh', '-f', '-i'], show: 'echo "@$prompt:q@"' },
  ]
  test.each(prompts.filter(({ shell }) => isInstalled(shell)))(
    '$shell shows the name while it is interactive',
    ({ shell, command, show }) => {
      const csh = shell === 'tcsh'
      const set = csh ? "set prompt = 'here> '" : "PS1='here> '"
      const enter = (prefix: string): string =>
        csh ? `source '${prefix}/bin/activate.csh'` : `. '${prefix}/bin/activate'`
      const plain = makeEnvironment(join(work, 'plain'))
      const evil = makeEnvironment(join(work, 'evil$(touch pwned)'))
      const input = [
        `cd ${work}`,
        set,
        enter(plain),
        show,
        'deactivate',
        show,
        enter(evil),
        show,
        'deactivate',
        'exit',
        '',
      ].join('\n')
      const [program = '', ...args] = command
      const env = { PATH: '/usr/bin:/bin', HOME: work, TERM: 'dumb' }
      const done = spawnSync(program, args, { input, encoding: 'utf8', env, timeout: 20_000 })
      expect(done.stdout.match(/@[^@\n]*@/g), done.stderr).toEqual([
        '@(plain) here> @',
        '@here> @',
        '@(environment) here> @',
      ])
      expect(() => readFileSync(join(work, 'pwned'))).toThrow()
    },
  )
})

test('a shell that does not tell where it reads from says what to do', () => {
  // No such shell is on a Linux machine; a text that is not read from its file is the same.
  mkdirSync(join(work, 'nowhere'), { recursive: true })
  const text = readFileSync(join(one, 'bin/activate'), 'utf8')
  const run = (env: Record<string, string>) =>
    spawnSync('dash', ['-c', 'eval "$TEXT"; echo "$CONDA_PREFIX"'], {
      encoding: 'utf8',
      cwd: work,
      env: { PATH: '/usr/bin:/bin', TEXT: text, ...env },
    })
  if (!isInstalled('dash')) return
  expect(run({}).stderr).toContain('CONDA_DEPLOY_PREFIX=/path/of/env')
  expect(run({ CONDA_DEPLOY_PREFIX: one }).stdout.trim()).toBe(one)
})
