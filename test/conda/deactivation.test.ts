/** Going in and out again in every shell that is installed, by what `conda-deploy activate` and `deactivate` print. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { readActivation } from '../../src/conda/activation.js'
import { changesOf, record } from '../../src/conda/recorded.js'
import { deactivating } from '../../src/conda/steps.js'
import { tellActivating, tellDeactivating } from '../../src/conda/taker.js'
import { activationScripts } from '../../src/pack/scripts/index.js'
import { cliFile } from '../support/run-cli.js'
import {
  hostile,
  isInstalled,
  makeActivationFiles,
  runScript,
  shells,
  type TestShell,
  write,
} from '../support/shells.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('deactivation')
/** As conda or `conda-deploy create` leaves it. */
const plain = join(work, "e n'v$x [a]!")
/** As an archive leaves it: with bin/activate and bin/deactivate. */
const packed = join(work, 'envs/packed')
/** Its scripts are for POSIX shells only, as in most packages; they change, add and remove. */
const single = join(work, 'envs/single')

beforeAll(() => {
  for (const prefix of [plain, packed]) makeActivationFiles(prefix)
  for (const script of activationScripts()) write(join(packed, script.path), script.text, script.mode)
  for (const prefix of [plain, packed, single]) {
    mkdirSync(join(prefix, 'conda-meta'), { recursive: true })
    mkdirSync(join(prefix, 'bin'), { recursive: true })
  }
  write(
    join(single, 'etc/conda/activate.d/compiler.sh'),
    'export CONDA_BACKUP_CC="$CC" CC=/new/cc ADDED="it\'s $HOME" LINES2="a\nb"; unset REMOVED; not_exported=1\necho welcome\n',
  )
  write(
    join(single, 'etc/conda/deactivate.d/compiler.sh'),
    'export CC="$CONDA_BACKUP_CC"; unset CONDA_BACKUP_CC ADDED LINES2\n',
  )
})

const base = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/dev/null', LC_ALL: 'C.UTF-8', OVER: hostile }

const inSh = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/** The command stands in a file of its own: csh would expand what is quoted in a line of it. */
let commands = 0
function evaluated(shell: TestShell, ...words: readonly string[]): string {
  const word = shell.name.split(' ')[0] ?? ''
  const name = ['busybox', 'mksh'].includes(word) ? 'sh' : word
  const file = join(work, `command${++commands}`)
  const line = [process.execPath, cliFile, '-q', ...words, '--shell', name].map(
    (part) => `'${part.replaceAll("'", "'\\''")}'`,
  )
  write(file, line.join(' '))
  return { sh: `eval "$(sh ${file})"`, fish: `sh ${file} | source`, csh: `eval "\`sh ${file}\`"` }[shell.family]
}

describe.each(shells.filter((shell) => isInstalled(shell.command[0] ?? '')))('$name', (shell) => {
  const strict = shell.family === 'sh' ? 'set -eu\n' : ''
  const run = (lines: readonly string[], env = {}) =>
    runScript(shell, `${strict}${lines.join('\n')}\n`, { ...base, ...env })
  const enter = (prefix: string): string => evaluated(shell, 'activate', prefix)
  const leave = evaluated(shell, 'deactivate')

  test.each([
    ['an environment without scripts of ours', 'plain'],
    ['one that an archive left', 'packed'],
  ])('into %s and back, by the function and by the command', (_, which) => {
    const prefix = which === 'plain' ? plain : packed
    for (const back of ['deactivate', leave]) {
      const ran = run(['SNAPSHOT before', enter(prefix), 'SNAPSHOT active', back, 'SNAPSHOT after'])
      expect(ran.status, ran.stderr).toBe(0)
      const [before, active, after] = ['before', 'active', 'after'].map((name) => ran.seen.get(name) ?? {})
      expect(active).toMatchObject({
        CONDA_PREFIX: prefix,
        CONDA_SHLVL: '1',
        PATH: `${prefix}/bin:${base.PATH}`,
        PKG_VAR: hostile,
        OVER: 'state',
        ORDER: '+B+a',
      })
      expect(after, `by ${back}`).toEqual({ ...before, ORDER: '+B+a-a-B' })
    }
  })

  test.each([
    ['plain', 'packed'],
    ['packed', 'plain'],
    ['single', 'plain'],
  ])('environments nest: %s, upon it %s', (low, high) => {
    const prefixes = { plain, packed, single } as Record<string, string>
    const [below, above] = [prefixes[low] ?? '', prefixes[high] ?? '']
    const steps = ['SNAPSHOT before', enter(below), 'SNAPSHOT first', enter(above), 'SNAPSHOT second']
    steps.push(enter(above), 'SNAPSHOT again', 'deactivate', 'SNAPSHOT back', 'deactivate', 'SNAPSHOT after')
    const ran = run(steps, { CC: 'old', REMOVED: 'was here' })
    expect(ran.status, ran.stderr).toBe(0)
    const at = (name: string): Record<string, string> => {
      const { ORDER: _, ...rest } = ran.seen.get(name) ?? {}
      return rest
    }
    expect(at('second')).toMatchObject({
      CONDA_PREFIX: above,
      CONDA_PREFIX_1: below,
      CONDA_SHLVL: '2',
      CONDA_STACKED_2: 'true',
      PATH: `${above}/bin:${below}/bin:${base.PATH}`,
    })
    expect(at('again')).toEqual(at('second'))
    expect(at('back')).toEqual(at('first'))
    const { REMOVED, ...after } = at('after')
    const { REMOVED: there, ...before } = at('before')
    expect(after).toEqual(before)
    // A POSIX shell sources the scripts, and what they remove for good stays removed, as with conda.
    expect(REMOVED).toBe(shell.family === 'sh' && low === 'single' ? undefined : there)
  })

  test('scripts that are for POSIX shells only have their effect', () => {
    const ran = run(['SNAPSHOT before', enter(single), 'SNAPSHOT active', 'deactivate', 'SNAPSHOT after'], {
      CC: 'old',
      REMOVED: 'was here',
    })
    expect(ran.status, ran.stderr).toBe(0)
    const active = ran.seen.get('active') ?? {}
    expect(active).toMatchObject({ CC: '/new/cc', CONDA_BACKUP_CC: 'old', ADDED: "it's /dev/null" })
    expect(active).not.toHaveProperty('REMOVED')
    if (shell.family === 'csh') expect(ran.stderr).toContain('LINES2 has a line break')
    else expect(active).toMatchObject({ LINES2: 'a\nb' })
    const { REMOVED: _, ...before } = ran.seen.get('before') ?? {}
    expect(ran.seen.get('after')).toMatchObject(before)
    expect(ran.seen.get('after')).not.toHaveProperty('ADDED')
  })

  test('where nothing is active, or conda activated it, nothing happens and it is said', () => {
    const ran = run(['SNAPSHOT before', leave, 'SNAPSHOT after'], { CONDA_PREFIX: '/opt/conda', CONDA_SHLVL: '1' })
    expect(ran.stderr).toContain('/opt/conda was not activated by conda-deploy')
    if (shell.family !== 'sh') expect(ran.seen.get('after')).toEqual(ran.seen.get('before'))
  })
})

describe('recorded', () => {
  const now = { PATH: '/usr/bin:/bin', CC: 'old', REMOVED: 'was here', HOME: '/dev/null' }

  test('for Slurm: lines of its task prolog, and nothing else', async () => {
    const { text, warnings } = await tellActivating(await readActivation(single), 'slurm', { now })
    expect(warnings).toEqual(['welcome'])
    const lines = text.trimEnd().split('\n')
    expect(lines.filter((line) => !/^(export \w+=.*|unset \w+|print .*)$/.test(line))).toEqual([])
    expect(lines).toEqual(
      expect.arrayContaining([
        'print conda-deploy: welcome',
        'print conda-deploy: LINES2 has a line break, which Slurm cannot set: it stays as it was',
        `export PATH=${single}/bin:/usr/bin:/bin`,
        'export CC=/new/cc',
        "export ADDED=it's /dev/null",
        'unset REMOVED',
        'export CONDA_DEFAULT_ENV=single',
        'export CONDA_SHLVL=1',
        'export __CONDA_SHLVL_0_REMOVED=was here',
      ]),
    )
    expect(lines.filter((line) => line.includes('HOME=') || line.includes('not_exported'))).toEqual([])
  })

  test('as JSON, there and back', async () => {
    const into = JSON.parse((await tellActivating(await readActivation(single), 'json', { now })).text)
    expect(into.unset).toEqual(['REMOVED'])
    expect(into.variables).toMatchObject({ CC: '/new/cc', LINES2: 'a\nb' })
    const { REMOVED: _, ...rest } = now
    const active = { ...rest, ...into.variables }
    const back = JSON.parse((await tellDeactivating('json', { now: active })).text)
    const after = Object.fromEntries(
      Object.entries({ ...active, ...back.variables }).filter(([name]) => !back.unset.includes(name)),
    )
    expect(after).toEqual(now)
    expect(back.prefix).toBe(single)
  })

  test('what the shell does by itself is no change', async () => {
    const foreign = { PATH: '/usr/bin:/bin', 'BASH_FUNC_ml%%': '() { echo   hi; }', SHLVL: '7', _: 'x', 'a-b': '1' }
    const activation = await readActivation(single)
    const { variables } = await record([{ is: 'source', scripts: activation.scripts }], foreign)
    expect(changesOf(foreign, variables).map(({ name }) => name)).toEqual(['ADDED', 'CC', 'CONDA_BACKUP_CC', 'LINES2'])
  })

  test('scripts that take PATH away, print much or set hostile values', async () => {
    const odd = join(work, 'odd')
    write(join(odd, 'etc/conda/activate.d/1.sh'), `yes | head -c 300000; unset PATH\nexport ODD=${inSh(hostile)}\n`)
    writeFileSync(join(odd, 'etc/conda/activate.d/2.sh'), 'export LAST=1\nset -e\nfalse\nexport NEVER=1\n')
    const { text, warnings } = await tellActivating(await readActivation(odd), 'json', { now })
    const told = JSON.parse(text)
    expect(told.unset).toEqual(['PATH'])
    expect(told.variables).toMatchObject({ ODD: hostile, LAST: '1' })
    expect(told.variables).not.toHaveProperty('NEVER')
    expect(warnings).toHaveLength(22)
    expect(warnings.at(-1)).toMatch(/2\.sh ended the shell \(status 1\)/)
  })

  test('nothing is active', async () => {
    await expect(deactivating({})).rejects.toMatchObject({ code: 'ENV_NOT_FOUND' })
    await expect(deactivating({ CONDA_PREFIX: '/x', CONDA_SHLVL: '1' })).rejects.toMatchObject({
      code: 'ENV_NOT_FOUND',
    })
  })
})
