/** `conda-deploy activate` and `deactivate` as commands; what they print is run by every shell in test/conda/deactivation.test.ts. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { runCli } from '../support/run-cli.js'
import { write } from '../support/shells.js'
import { temporaryFolder } from '../support/temp.js'

const home = temporaryFolder('activate')
const prefix = join(home, '.conda/envs/one')
const env = { HOME: home, PATH: '/usr/local/bin:/usr/bin:/bin' }

beforeAll(() => {
  mkdirSync(join(prefix, 'conda-meta'), { recursive: true })
  write(join(prefix, 'conda-meta/history'), '')
  write(join(prefix, 'etc/conda/activate.d/a.sh'), 'export FROM_SCRIPT=1\n')
})

describe('activate', () => {
  test.each([
    ['by its name', 'one'],
    ['by its path', './.conda/envs/one'],
  ])('%s', async (_, wanted) => {
    const { status, stdout, stderr } = await runCli(['activate', wanted, '--shell', 'bash'], { env, cwd: home })
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`export CONDA_PREFIX='${prefix}'\n`)
    expect(stdout).toContain(`. '${prefix}/etc/conda/activate.d/a.sh'\n`)
  })

  test('without a shell: the one that calls, here that of the user', async () => {
    const { stdout } = await runCli(['activate', 'one'], { env: { ...env, SHELL: '/usr/bin/fish' } })
    expect(stdout).toContain(`set -gx CONDA_PREFIX '${prefix}'\n`)
    // It has no script for fish: what the other one does is told instead.
    expect(stdout).toContain("set -gx FROM_SCRIPT '1'\n")
  })

  test('--json is --shell json', async () => {
    const [json, shell] = [
      await runCli(['activate', 'one', '--json'], { env }),
      await runCli(['activate', 'one', '--shell', 'json'], { env }),
    ]
    expect(json).toEqual(shell)
    expect(JSON.parse(json.stdout)).toMatchObject({
      prefix,
      variables: { FROM_SCRIPT: '1', CONDA_SHLVL: '1' },
      unset: [],
    })
  })

  test('what the scripts of a fish user say goes to stderr', async () => {
    const loud = join(home, '.conda/envs/loud')
    write(join(loud, 'conda-meta/history'), '')
    write(join(loud, 'etc/conda/activate.d/a.sh'), 'echo hello\n')
    const { stdout, stderr } = await runCli(['activate', 'loud', '--shell', 'fish'], { env })
    expect(stderr).toBe('warning: hello\n')
    expect(stdout).not.toContain('hello')
  })

  test.each([
    [['activate', 'two', '--shell', 'bash'], 1, /'two' doesn't exist/],
    [['activate', '/nonexistent/prefix', '--shell', 'bash'], 1, /doesn't exist/],
    [['activate'], 2, /missing required argument/],
    [['activate', 'one', '--shell=powershell'], 2, /'powershell' is invalid/],
    [['deactivate', '--shell', 'bash'], 1, /no environment is active/],
  ] as const)('%j', async (args, expected, message) => {
    const { status, stdout, stderr } = await runCli([...args], { env })
    expect(stderr).toMatch(message)
    expect([status, stdout]).toEqual([expected, ''])
  })
})
