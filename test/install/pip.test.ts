import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { create } from '../../src/install/create.js'
import { list } from '../../src/install/list.js'
import { checkOffline } from '../../src/install/pip.js'
import type { RepoRecord } from '../../src/install/repodata.js'
import { cliFile, runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { type Built, build, text, writeIndex } from './built.js'
import { sandbox } from './sandbox.js'

const folder = temporaryFolder('pip')
const channel = join(folder, 'channel')
const { home, env } = sandbox(folder)

/**
 * Stands for python and pip: installs each `name==version` of the requirements as pip does, with its own path in a script; fails for
 * `fails`, waits for `waits`.
 */
const fakePython = `#!/bin/sh
prefix="\${0%/bin/python}"; site="$prefix/lib/python3.11/site-packages"
[ "$1 $2 $3" = "-m pip install" ] || exit 0
echo "$PWD|$*|$PYTHONNOUSERSITE|$PIP_NO_INDEX|$CONDA_PREFIX|$PYTHONPATH" > "$prefix/asked"
ls -A "$prefix/conda-meta" > "$prefix/seen"
while [ "$1" != -r ]; do shift; done
cp "$2" "$prefix/requirements"
while IFS= read -r line; do
  case "$line" in
    fails) echo "ERROR: no such thing at https://ann:hidden-word@host/simple" >&2; exit 1 ;;
    waits) : > "$prefix/waiting"; sleep 60 ;;
    *==*) name="\${line%%==*}"; version="\${line##*==}"; info="$site/$name-$version.dist-info"
      mkdir -p "$info"; printf 'Name: %s\\nVersion: %s\\n' "$name" "$version" > "$info/METADATA"; : > "$info/RECORD"
      printf '#!%s/bin/python\\n' "$prefix" > "$prefix/bin/$name"; done="$done $name-$version" ;;
  esac
done < "$2"
echo "Successfully installed$done"
`
const offered: Built[] = [
  {
    name: 'python',
    version: '3.11.4',
    files: [
      { path: 'bin/python', content: fakePython, mode: 0o755 },
      { path: 'lib/python3.11/site-packages/README', content: '' },
    ],
  },
  { name: 'pip', files: [{ path: 'share/pip', content: '' }] },
]

let records: RepoRecord[]
beforeAll(async () => {
  records = []
  for (const one of offered) records.push(await build(channel, one))
  writeIndex(channel, records)
})

let made = 0
/** An environment.yml in a folder of its own. */
function environment(pip: readonly string[], more = ''): { readonly file: string; readonly prefix: string } {
  const at = join(folder, `project-${made++}`)
  mkdirSync(at)
  const section = pip.map((line) => `    - '${line}'\n`).join('')
  const content = `channels: ['${channel}', nodefaults]\ndependencies:\n  - python\n  - pip\n  - pip:\n${section}${more}`
  writeFileSync(join(at, 'environment.yml'), content)
  return { file: join(at, 'environment.yml'), prefix: join(folder, 'envs', `env-${made}`) }
}
const nothingAt = (prefix: string): void => {
  expect(existsSync(prefix)).toBe(false)
  expect(readdirSync(join(folder, 'envs')).filter((name) => name.startsWith('.'))).toEqual([])
}

describe('a pip section', () => {
  test("is for the environment's own pip, at its final place, by conda's command", async () => {
    const { file, prefix } = environment(
      ['flask==2.2', '# note', '-r more.txt', '--find-links wheels'],
      'variables: {ALICE: 1}\n',
    )
    process.env['PYTHONPATH'] = '/foreign'
    const result = await create({ prefix, files: [file] }).finally(() => delete process.env['PYTHONPATH'])
    expect(result.pip).toEqual([{ command: expect.any(Array), packages: ['flask-2.2'] }])
    const [python, ...args] = result.pip[0]?.command ?? []
    expect(python).toBe(join(prefix, 'bin/python'))
    const requirements = args[5] ?? ''
    expect(args).toEqual(['-m', 'pip', 'install', '-U', '-r', requirements, '--exists-action=b'])
    expect(existsSync(requirements)).toBe(false)
    const project = join(file, '..')
    expect(text(join(prefix, 'asked'))).toBe(`${project}|${args.join(' ')}|1||${prefix}|\n`)
    const lines = ['flask==2.2', '# note', `-r ${project}/more.txt`, `--find-links ${project}/wheels`, '']
    expect(text(join(prefix, 'requirements'))).toBe(lines.join('\n'))
    // Scripts have the place where the environment stands.
    expect(text(join(prefix, 'bin/flask'))).toBe(`#!${prefix}/bin/python\n`)
    expect((await list({ prefix })).packages.map(({ name, channel: from }) => [name, from])).toContainEqual([
      'flask',
      'pypi',
    ])
    expect(JSON.parse(text(join(prefix, 'conda-meta/state')))).toEqual({ version: 1, env_vars: { ALICE: '1' } })
  })

  test('is at work while the environment is none yet, neither for conda nor for us', async () => {
    const { file, prefix } = environment(['flask==2.2'])
    await create({ prefix, files: [file] })
    const seen = text(join(prefix, 'seen')).trim().split('\n')
    expect(seen).toContain('.conda-deploy-unfinished')
    expect(seen).not.toContain('history')
    expect(readdirSync(join(prefix, 'conda-meta')).sort()).toEqual([
      'history',
      'pip-1.0-0.json',
      'python-3.11.4-0.json',
    ])
  })

  test('that fails leaves nothing, and says what pip said, without credentials', async () => {
    const { file, prefix } = environment(['flask==2.2', 'fails'])
    await expect(create({ prefix, files: [file] })).rejects.toMatchObject({
      ...{ code: 'PIP_FAILED', message: expect.stringContaining('ERROR: no such thing at https://host/simple') },
    })
    nothingAt(prefix)
    expect(
      existsSync(join(home, '.conda/environments.txt')) && text(join(home, '.conda/environments.txt')),
    ).not.toContain(prefix)
  })

  test('that is cancelled leaves nothing', async () => {
    const { file, prefix } = environment(['waits'])
    const stop = new AbortController()
    const failure = create({ prefix, files: [file], signal: stop.signal })
    const waiting = (async () => {
      while (!existsSync(join(prefix, 'waiting'))) await pause(20)
      stop.abort()
    })()
    await expect(failure).rejects.toMatchObject({ code: 'CANCELLED' })
    await waiting
    nothingAt(prefix)
  })

  test('whose run is killed leaves what the next one takes away, once its pip has ended too', async () => {
    const { file, prefix } = environment(['waits'])
    const child = spawn(process.execPath, [cliFile, 'create', '-p', prefix, '--file', file], {
      stdio: 'ignore',
      env: { ...process.env, ...env },
    })
    while (!existsSync(join(prefix, 'waiting'))) await pause(20)
    child.kill('SIGKILL')
    await new Promise((ended) => child.once('close', ended))
    await expect(list({ prefix })).rejects.toMatchObject({ code: 'ENV_DAMAGED' })
    await expect(create({ prefix, files: [file] })).rejects.toMatchObject({ code: 'LOCK_HELD' })
    // The orphan and its sleep hold the lock: end those that have the marker open.
    const pids = readdirSync('/proc').filter(
      (pid) => /^\d+$/.test(pid) && pid !== String(process.pid) && holds(pid, prefix),
    )
    expect(pids.length).toBeGreaterThan(0)
    for (const pid of pids) process.kill(Number(pid), 'SIGKILL')
    writeFileSync(file, text(file).replace('waits', 'flask==3'))
    for (let tries = 0; tries < 50 && pids.some((pid) => existsSync(`/proc/${pid}/fd/0`)); tries++) await pause(20)
    await create({ prefix, files: [file] })
    expect((await list({ prefix })).packages.map(({ name }) => name)).toEqual(['flask', 'pip', 'python'])
    expect(readdirSync(join(folder, 'envs')).filter((name) => name.startsWith(`.${prefix.split('/').pop()}`))).toEqual(
      [],
    )
  })

  test('without a network is refused at once, unless all of it is here', async () => {
    const { file, prefix } = environment(['flask==2.2', 'other'])
    await expect(create({ prefix, files: [file], offline: true })).rejects.toMatchObject({
      ...{ code: 'DOWNLOAD_FAILED', message: expect.stringContaining('flask==2.2, other') },
    })
    const here = { folder, noDeps: false }
    writeFileSync(join(folder, 'own.whl'), '')
    mkdirSync(join(folder, 'source'))
    const local = ['./own.whl', 'source/', '-e ./source', 'own @ file:///x/own.whl', 'file:///x/own.whl', '# note', '']
    expect(() => checkOffline([{ ...here, lines: local }])).not.toThrow()
    expect(() => checkOffline([{ ...here, lines: ['flask', '--find-links=./wheels'] }])).not.toThrow()
    expect(() => checkOffline([{ ...here, lines: ['flask', '--find-links https://host/'] }])).toThrow('flask')
    expect(() => checkOffline([{ ...here, lines: ['own @ https://ann:hidden@host/own.whl'] }])).toThrow(
      '@ https://host/own.whl',
    )
    const found = environment(['flask==2.2', '-f wheels'])
    await create({ prefix: found.prefix, files: [found.file], offline: true })
    expect(text(join(found.prefix, 'asked'))).toContain('|1|1|')
  })

  test('of a lock file takes nothing else along', async () => {
    const { prefix } = environment([])
    const packages = records.map(({ name, version, url, sha256, md5 }) => ({
      ...{ name, version, manager: 'conda', platform: 'linux-64', url, hash: { sha256, md5 } },
    }))
    const wheel = { name: 'flask', version: '2', manager: 'pip', platform: 'linux-64', url: 'https://host/flask.whl' }
    const lock = { version: 1, package: [...packages, { ...wheel, hash: { sha256: 'c'.repeat(64) } }] }
    const file = join(folder, 'conda-lock.yml')
    writeFileSync(file, JSON.stringify(lock))
    const { packages: installed } = await create({ prefix, files: [file] })
    expect(installed.map(({ name }) => name)).toEqual(['pip', 'python'])
    expect(text(join(prefix, 'asked'))).toContain('--no-deps')
    expect(text(join(prefix, 'requirements'))).toBe(`flask @ https://host/flask.whl#sha256=${'c'.repeat(64)}\n`)
    await expect(create({ prefix: `${prefix}-2`, files: [file], offline: true })).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
    })
  })

  test('is told on the command line', async () => {
    const { file, prefix } = environment(['flask==2.2'])
    const { stdout, stderr } = await runCli(['create', '-p', prefix, '--file', file], { env })
    expect(stdout).toBe(`${prefix}\n`)
    expect(stderr).toContain('flask-2.2')
  })
})

const holds = (pid: string, prefix: string): boolean => {
  try {
    const open = execFileSync('ls', ['-l', `/proc/${pid}/fd`], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    return open.includes(join(prefix, 'conda-meta/.conda-deploy-unfinished'))
  } catch {
    return false
  }
}
