/**
 * A real python's own pip in a new environment: its scripts start, and nothing names the place where the environment was made ready.
 * Needs the folder of conda packages (`CONDA_DEPLOY_CHANNEL`, or ../shared/channel beside the checkout).
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rawZip } from '../support/raw-zip.js'
import { runCli } from '../support/run-cli.js'

const root = resolve(import.meta.dirname, '../..')
const channel = resolve(process.env['CONDA_DEPLOY_CHANNEL'] ?? join(root, '../shared/channel'))
const present = existsSync(join(channel, 'make_env.py'))
if (!present) console.warn(`skipped: test/e2e/pip: no conda packages at ${channel} (set CONDA_DEPLOY_CHANNEL)`)

const wheel = (): Buffer =>
  rawZip(
    Object.entries({
      'hello_pip/__init__.py': 'import sys\n\ndef main():\n    print(sys.prefix)\n',
      'hello_pip-1.2.dist-info/METADATA': 'Metadata-Version: 2.1\nName: hello-pip\nVersion: 1.2\n',
      'hello_pip-1.2.dist-info/WHEEL':
        'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
      'hello_pip-1.2.dist-info/entry_points.txt': '[console_scripts]\nhello-pip = hello_pip:main\n',
      'hello_pip-1.2.dist-info/RECORD': '',
    }).map(([name, data]) => ({ name, data })),
  )

describe.skipIf(!present)('an environment.yml with a pip section', () => {
  let home: string
  let prefix: string

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'conda-deploy-pip-e2e-'))
    prefix = join(home, '.conda/envs/with-pip')
    mkdirSync(join(home, 'wheels'))
    writeFileSync(join(home, 'wheels/hello_pip-1.2-py3-none-any.whl'), wheel())
    const yml = `name: with-pip\nchannels: ['${channel}', nodefaults]\ndependencies: [python=3.11, pip, {pip: ['--find-links wheels', hello-pip]}]\n`
    writeFileSync(join(home, 'environment.yml'), yml)
    const env = { HOME: home }
    const { status, stderr } = await runCli(['create', '--offline', '--file', join(home, 'environment.yml')], { env })
    expect([status, stderr]).toEqual([0, expect.stringContaining('hello-pip-1.2')])
  })
  afterAll(() => rmSync(home, { recursive: true, force: true }))

  test('has scripts that start by the place where it stands', () => {
    expect(readFileSync(join(prefix, 'bin/hello-pip'), 'utf8')).toMatch(`#!${prefix}/bin/python`)
    expect(execFileSync(join(prefix, 'bin/hello-pip'), { encoding: 'utf8' }).trim()).toBe(prefix)
    const listed = execFileSync(join(prefix, 'bin/python'), ['-m', 'pip', 'list', '--format=freeze'], {
      encoding: 'utf8',
    })
    expect(listed).toContain('hello-pip==1.2')
  })

  test('has no file that names the stage', () => {
    const files = readdirSync(prefix, { recursive: true, withFileTypes: true, encoding: 'utf8' })
    const naming = files
      .filter((file) => file.isFile())
      .map((file) => join(file.parentPath, file.name))
      .filter((file) => readFileSync(file, 'latin1').includes('.with-pip.conda-deploy-'))
    expect(naming).toEqual([])
  })

  test('lists what pip brought', async () => {
    const { stdout } = await runCli(['list', '-n', 'with-pip', 'hello'], { env: { HOME: home } })
    expect(stdout).toMatch(/\nhello-pip +1\.2 +pypi_0 +pypi\n/)
  })
})
