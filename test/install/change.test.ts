import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { openEnvironment, whileWhole } from '../../src/conda/environment.js'
import { create } from '../../src/install/create.js'
import { exportEnvironment } from '../../src/install/export.js'
import { type InstallOptions, install } from '../../src/install/install.js'
import { list } from '../../src/install/list.js'
import { type RemoveOptions, remove } from '../../src/install/remove.js'
import { removeEnvironment } from '../../src/install/remove-environment.js'
import { repair } from '../../src/install/repair.js'
import type { ChangeResult } from '../../src/install/transaction.js'
import { type UpdateOptions, update } from '../../src/install/update.js'
import { runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { differences } from '../support/tree.js'
import { text } from './built.js'
import { folderAt, lockTree, makeChannel, stateOf } from './changes.js'
import { sandbox } from './sandbox.js'

const folder = temporaryFolder('change')
const { home } = sandbox(folder)
let channel: string
let old: string

beforeAll(async () => {
  const made = await makeChannel(folder)
  channel = made.all
  old = made.old
})
beforeEach(() => removeTree(prefix))

/** Always the same: it stands in files. */
const prefix = join(folder, 'envs/env')
const from = (where: string) => ({ channels: [where], overrideChannels: true, prefix })
const make = (specs: readonly string[], where = channel) => create({ ...from(where), specs })
const add = (specs: readonly string[], more: Partial<InstallOptions> = {}): Promise<ChangeResult> =>
  install({ ...from(channel), specs, ...more })
const renew = (specs: readonly string[], more: Partial<UpdateOptions> = {}): Promise<ChangeResult> =>
  update({ ...from(channel), specs, ...more })
const drop = (specs: readonly string[], more: Partial<RemoveOptions> = {}): Promise<ChangeResult> =>
  remove({ prefix, specs, ...more })

const namesOf = (packages: ChangeResult['added']): string[] =>
  packages.map(({ name, version }) => `${name} ${version}`).sort()
const written = (path: string, content = ''): string => {
  folderAt(prefix, path, '..')
  writeFileSync(join(prefix, path), content)
  return path
}
const nothingLeft = (): void => {
  expect(readdirSync(join(prefix, 'conda-meta')).filter((name) => name.startsWith('.'))).toEqual([])
  expect(readdirSync(join(prefix, '..')).filter((name) => name.startsWith('.'))).toEqual([])
}
/** That a change fails, with this code, and leaves everything as it was. */
async function refused(change: () => Promise<unknown>, code: string): Promise<string> {
  const before = stateOf(prefix, [])
  let message = ''
  await expect(
    change().catch((error: Error) => {
      message = error.message
      throw error
    }),
  ).rejects.toMatchObject({ code })
  expect(differences(stateOf(prefix, []), before)).toEqual([])
  nothingLeft()
  return message
}

describe('an environment that is changed is the one that would have been made', () => {
  test('install A, then B', async () => {
    await make(['python=3.11.4', 'tool', 'pure', 'alone'])
    const wanted = stateOf(prefix)
    removeTree(prefix)
    await make(['python=3.11.4', 'alone'])
    const { added, removed, installed, warnings } = await add(['tool', 'pure'])
    expect(namesOf(added)).toEqual(['data 2.0', 'pure 1.0', 'tool 2.0'])
    expect([removed, warnings]).toEqual([[], []])
    // What is compiled already is shared.
    expect(installed).toMatchObject({ compiled: 0, moments: 0 })
    expect(differences(stateOf(prefix), wanted)).toEqual([])
    nothingLeft()
  })

  test('remove B, with what only it needed', async () => {
    await make(['python=3.11.4', 'alone'])
    const before = stateOf(prefix)
    await add(['tool', 'pure'])
    const { removed } = await drop(['tool', 'pure'])
    expect(namesOf(removed)).toEqual(['data 2.0', 'pure 1.0', 'tool 2.0'])
    expect(differences(stateOf(prefix), before)).toEqual([])
    nothingLeft()
  })

  test('update, with folders that become files and files that become folders', async () => {
    await make(['tool', 'alone'])
    const wanted = stateOf(prefix)
    removeTree(prefix)
    await make(['tool', 'alone'], old)
    expect(text(join(prefix, 'share/turns/into/a-file'))).toBe('1')
    const { added, removed, installed } = await renew(['tool'])
    expect([namesOf(added), namesOf(removed)]).toEqual([
      ['data 2.0', 'tool 2.0'],
      ['data 1.0', 'tool 1.0'],
    ])
    expect(installed?.steps).toBeGreaterThan(20)
    expect(differences(stateOf(prefix), wanted)).toEqual([])
    await add(['tool=1'])
    expect(readlinkSync(join(prefix, 'share/leads'))).toBe('tool')
    await renew([], { all: true })
    expect(text(join(prefix, 'bin/tool'))).toContain('1.0')
    await add(['tool'])
    await renew([], { all: true })
    expect(differences(stateOf(prefix), wanted)).toEqual([])
    nothingLeft()
  })

  test('another python moves Python packages', async () => {
    await make(['python=3.12', 'pure'])
    const wanted = stateOf(prefix)
    removeTree(prefix)
    await make(['python=3.11.4', 'pure'])
    const { added, relinked } = await add(['python=3.12'])
    expect([namesOf(added), namesOf(relinked)]).toEqual([['python 3.12.1'], ['pure 1.0']])
    expect(differences(stateOf(prefix), wanted)).toEqual([])
    expect(existsSync(join(prefix, 'lib/python3.11'))).toBe(false)
  })

  test('files that two packages have are those of the one that is linked last, whichever comes or goes', async () => {
    await make(['first', 'second'])
    const both = stateOf(prefix)
    removeTree(prefix)
    await make(['first'])
    const first = stateOf(prefix)
    const { clobbered } = await add(['second'])
    expect(clobbered).toMatchObject([{ path: 'share/common' }])
    expect(differences(stateOf(prefix), both)).toEqual([])
    await drop(['second'])
    expect(differences(stateOf(prefix), first)).toEqual([])
    removeTree(prefix)
    await make(['second'])
    await add(['first'])
    expect(differences(stateOf(prefix), both)).toEqual([])
    rmSync(join(home, '.conda/pkgs/first-1.0-0'), { recursive: true })
    const { warnings } = await drop(['second'])
    expect(warnings).toEqual([expect.stringContaining('share/common: not as first-1.0-0.conda has it')])
    expect(text(join(prefix, 'share/common'))).toBe('of second')
  })
})

describe('which packages change', () => {
  test('what is there stays, also where newer versions are', async () => {
    await make(['python', 'data'], old)
    const { added, removed } = await add(['alone'])
    expect([namesOf(added), removed]).toEqual([['alone 1.0'], []])
    expect(await add(['data'])).toMatchObject({ added: [], installed: null })
    expect(namesOf((await add(['newer'])).removed)).toEqual(['data 1.0'])
  })

  test('update changes what it names, and what goes with it', async () => {
    await make(['python=3.11', 'tool', 'data'], old)
    expect(namesOf((await renew(['data'])).added)).toEqual(['data 2.0'])
    expect(namesOf((await renew(['python'])).added)).toEqual(['python 3.11.9'])
    expect(namesOf((await renew([], { all: true })).added)).toEqual(['tool 2.0'])
    expect(await renew([], { all: true })).toMatchObject({ added: [], removed: [], installed: null })
  })

  test('python keeps its minor version, pins hold, and what was asked for gives way to what is asked for now', async () => {
    await make(['python=3.11', 'tool=1'])
    expect(namesOf((await renew([], { all: true })).added)).toEqual([])
    const { added, warnings } = await add(['newer'])
    expect(namesOf(added)).toEqual(['newer 1.0', 'tool 2.0'])
    expect(warnings).toEqual([expect.stringContaining('no longer held to: tool=1 (now 2.0)')])
    expect(text(join(prefix, 'conda-meta/history'))).toMatch(
      /# update specs: \["newer"\]\n# neutered specs: \["tool"\]\n$/,
    )
    removeTree(prefix)
    await make(['tool'], old)
    written('conda-meta/pinned', '# because\ntool <2\n')
    expect(namesOf((await renew([], { all: true })).added)).toEqual(['data 2.0'])
    expect(await refused(() => add(['newer']), 'UNSATISFIABLE')).toContain('pinned: tool <2')
    expect(await refused(() => add(['newer'], { freezeInstalled: true }), 'UNSATISFIABLE')).toContain('tool')
  })

  test('--no-deps and explicit lists take only what is named', async () => {
    await make(['alone'])
    expect(namesOf((await add(['newer'], { noDeps: true })).added)).toEqual(['newer 1.0'])
    const list = join(folder, 'explicit.txt')
    writeFileSync(list, `@EXPLICIT\nfile://${channel}/linux-64/data-1.0-0.tar.bz2\n`)
    const { added } = await install({ prefix, files: [list] })
    expect(namesOf(added)).toEqual(['data 1.0'])
    expect(existsSync(join(prefix, 'share/alone/deep/er/file'))).toBe(true)
  })

  test('remove takes what needs it, or with --force nothing else', async () => {
    await make(['newer', 'alone'])
    expect(namesOf((await drop(['data'], { dryRun: true })).removed)).toEqual(['data 2.0', 'newer 1.0', 'tool 2.0'])
    expect(namesOf((await drop(['data'], { force: true })).removed)).toEqual(['data 2.0'])
    expect(await refused(() => drop(['data']), 'UNSATISFIABLE')).toBe('not installed: data')
    await refused(() => drop(['tool=1']), 'INVALID_SPEC')
    await refused(() => renew(['tool=1']), 'INVALID_SPEC')
    await refused(() => renew(['pure']), 'UNSATISFIABLE')
    await refused(() => renew([]), 'INVALID_OPTION')
    await refused(() => drop([]), 'INVALID_OPTION')
    await refused(() => add([]), 'INVALID_OPTION')
  })

  test('what is installed from elsewhere can stay without its channel', async () => {
    await make(['tool', 'alone'])
    const empty = join(folder, 'empty')
    for (const subdir of ['linux-64', 'noarch']) {
      mkdirSync(join(empty, subdir), { recursive: true })
      writeFileSync(join(empty, subdir, 'repodata.json'), '{"packages": {}, "packages.conda": {}}')
    }
    expect(await install({ ...from(empty), specs: ['tool'] })).toMatchObject({ added: [], removed: [] })
    expect(await update({ ...from(empty), all: true })).toMatchObject({ added: [], removed: [] })
    const removed = await remove({ prefix, specs: ['alone'] })
    expect(namesOf(removed.removed)).toEqual(['alone 1.0'])
  })
})

describe('records and history', () => {
  test('tell revisions as conda does', async () => {
    await make(['tool'], old)
    await add(['alone'], { command: 'conda-deploy install -c https://u:hidden@host/c alone' })
    await renew(['tool'])
    await drop(['alone'])
    const lines = text(join(prefix, 'conda-meta/history')).split('\n')
    const [base, before] = [`file://${channel}/linux-64`, `file://${old}/linux-64`]
    expect(lines.map((line) => line.replace(/^==> .* <==$/, '==>'))).toEqual([
      ...['==>', `# cmd: conda-deploy create -p ${prefix} tool`, `+${before}::data-1.0-0`, `+${before}::tool-1.0-0`],
      ...['# update specs: ["tool"]', '==>', '# cmd: conda-deploy install -c https://host/c alone'],
      ...[`+${base}::alone-1.0-0`, '# update specs: ["alone"]', '==>', `# cmd: conda-deploy update -p ${prefix} tool`],
      ...[`-${before}::data-1.0-0`, `-${before}::tool-1.0-0`, `+${base}::data-2.0-0`, `+${base}::tool-2.0-0`],
      ...['# update specs: ["tool"]', '==>', `# cmd: conda-deploy remove -p ${prefix} alone`, `-${base}::alone-1.0-0`],
      ...['# remove specs: ["alone"]', ''],
    ])
  })

  test('what was needed and is asked for now is noted, and stays when what needed it goes', async () => {
    await make(['tool'])
    expect(await add(['data'])).toMatchObject({ added: [], removed: [] })
    const record = JSON.parse(text(join(prefix, 'conda-meta/data-2.0-0.json'))) as Record<string, unknown>
    expect(record['requested_spec']).toBe('data')
    expect(namesOf((await drop(['tool'])).removed)).toEqual(['tool 2.0'])
  })

  test('an environment that conda made keeps what conda wrote', async () => {
    await make(['tool', 'alone'])
    writeFileSync(
      join(prefix, 'conda-meta/history'),
      '==> 2024-01-01 00:00:00 <==\n# cmd: /opt/conda/bin/conda create -n env tool alone\n# conda version: 24.1.0\n' +
        "+elsewhere/linux-64::tool-2.0-0\n+elsewhere/linux-64::data-2.0-0\n+elsewhere/linux-64::alone-1.0-0\n# update specs: ['tool', \"alone[version='>=1']\"]",
    )
    const file = join(prefix, 'conda-meta/alone-1.0-0.json')
    const { url: _url, fn: _fn, ...older } = JSON.parse(text(file)) as Record<string, unknown>
    writeFileSync(file, JSON.stringify({ ...older, channel: '<unknown>' }))
    await drop(['tool'])
    expect(text(join(prefix, 'conda-meta/history'))).toMatch(
      /\['tool', "alone\[version='>=1'\]"\]\n==> .*\n.*\n-elsewhere\/linux-64::data-2\.0-0\n-elsewhere\/linux-64::tool-2\.0-0\n/,
    )
    expect(existsSync(join(prefix, 'conda-meta/alone-1.0-0.json'))).toBe(true)
  })
})

describe('files of nobody', () => {
  test('stand in the way, all of them named, or are replaced if asked for', async () => {
    await make(['alone'])
    written('share/tool/both/f3', 'mine')
    written('bin/tool', 'mine')
    expect(await refused(() => add(['tool']), 'TARGET_EXISTS')).toContain('bin/tool, share/tool/both/f3')
    const { replaced, warnings } = await add(['tool'], { clobber: true })
    expect([...replaced].sort()).toEqual(['bin/tool', 'share/tool/both/f3'])
    expect(warnings).toHaveLength(2)
    expect(text(join(prefix, 'share/tool/both/f3'))).toBe('2.0 3')
  })

  test('stay where packages go, with the folders they are in', async () => {
    await make(['alone', 'tool'])
    const mine = [written('share/tool/both/mine', 'x'), written('share/alone/deep/mine', 'x')]
    await drop(['alone', 'tool'])
    for (const path of mine) expect(text(join(prefix, path))).toBe('x')
    expect(readdirSync(join(prefix, 'share/alone/deep'))).toEqual(['mine'])
    expect(readdirSync(join(prefix, 'share/tool'))).toEqual(['both'])
    expect(existsSync(join(prefix, 'lib'))).toBe(false)
  })

  test('in a folder that is to become a file undo the change', async () => {
    await make(['tool'], old)
    written('share/turns/into/mine', 'x')
    await refused(() => renew(['tool']), 'TARGET_EXISTS')
  })

  test('links in the way are not followed', async () => {
    await make(['alone'])
    mkdirSync(join(folder, 'elsewhere'), { recursive: true })
    symlinkSync(join(folder, 'elsewhere'), join(prefix, 'share/elsewhere'))
    expect(await refused(() => add(['through']), 'UNSAFE_PATH')).toContain('share/elsewhere')
    expect(readdirSync(join(folder, 'elsewhere'))).toEqual([])
    rmSync(join(prefix, 'share/elsewhere'))
    await add(['through'])
    rmSync(join(prefix, 'share/elsewhere'), { recursive: true })
    writeFileSync(join(folder, 'elsewhere/file'), 'not of the package')
    symlinkSync(join(folder, 'elsewhere'), join(prefix, 'share/elsewhere'))
    const { warnings } = await drop(['through'])
    expect(warnings).toEqual([expect.stringContaining('share/elsewhere/file is not removed: a symbolic link')])
    expect(text(join(folder, 'elsewhere/file'))).toBe('not of the package')
  })

  test('compiled by python of files that go, go; that stand where compiled files come, are replaced', async () => {
    await make(['python=3.11.4', 'native', 'alone'])
    const cache = 'lib/python3.11/site-packages/__pycache__'
    written(`${cache}/native.cpython-311.pyc`)
    written(`${cache}/native.cpython-311.opt-1.pyc`)
    written(`${cache}/other.cpython-311.pyc`)
    written('lib/python3.11/site-packages/pure/__pycache__/main.cpython-311.pyc', 'stale')
    await drop(['native'])
    expect(readdirSync(join(prefix, cache))).toEqual(['other.cpython-311.pyc'])
    await add(['pure'])
    const compiled = 'lib/python3.11/site-packages/pure/__pycache__'
    expect(text(join(prefix, compiled, 'main.cpython-311.pyc'))).toBe('311\nrun = None\n')
    expect(existsSync(join(prefix, compiled, 'broken.cpython-311.pyc'))).toBe(false)
  })

  test('that packages lost are not missed', async () => {
    await make(['tool', 'alone'])
    rmSync(join(prefix, 'share/tool/both'), { recursive: true })
    rmSync(join(prefix, 'conda-meta/history'))
    await drop(['tool'])
    expect(existsSync(join(prefix, 'share/tool'))).toBe(false)
    expect(text(join(prefix, 'conda-meta/history'))).toMatch(/^==>/)
  })
})

describe('what keeps an environment from being changed', () => {
  test('a prefix that is read-only, for all but root', async () => {
    await make(['alone'])
    lockTree(prefix, 0o555)
    chmodSync(folder, 0o755)
    if (process.getuid?.() === 0) execFileSync('chown', ['-R', '65534', home, prefix])
    const env = { HOME: home, PATH: process.env['PATH'] }
    const line = ['install', '-p', prefix, '-c', channel, '--override-channels', 'tool']
    const done = await asNobody(line, env)
    expect(done.stderr).toMatch(/cannot be changed: .*Permission denied/)
    expect(done.status).toBe(1)
    const plan = await asNobody([...line, '--dry-run'], env)
    expect(plan.stdout).toMatch(/^\+ data 2\.0 .*\n\+ tool 2\.0 /)
    lockTree(prefix, 0o755)
    if (process.getuid?.() === 0) execFileSync('chown', ['-R', '0', home, prefix])
    expect(existsSync(join(prefix, 'share/tool'))).toBe(false)
    nothingLeft()
  })

  test('that it was deployed read-only, for root too', async () => {
    await make(['alone'])
    mkdirSync(join(prefix, '.conda-deploy'))
    writeFileSync(join(prefix, '.conda-deploy/ready'), '{}')
    lockTree(prefix, 0o555)
    const before = stateOf(prefix)
    for (const change of [() => add(['tool']), () => drop(['alone']), () => removeEnvironment({ prefix })])
      expect(await refused(change, 'PERMISSION')).toMatch(/was deployed read-only/)
    expect(differences(stateOf(prefix), before)).toEqual([])
    lockTree(prefix, 0o755)
    expect((await add(['tool'])).warnings).toContainEqual(expect.stringContaining('was deployed from an archive'))
  })

  test('another change of it at the same time comes first', async () => {
    await make(['python=3.11.4'])
    const results = await Promise.all([add(['tool']), add(['pure']), add(['alone'])])
    const all = results.flatMap(({ added }) => namesOf(added)).sort()
    expect(all).toEqual(['alone 1.0', 'data 2.0', 'pure 1.0', 'tool 2.0'])
    expect(results.flatMap(({ warnings }) => warnings).length).toBeGreaterThan(0)
    expect((await openEnvironment(prefix)).packages).toHaveLength(5)
    nothingLeft()
  })

  test('list and plans read while another is only prepared; of one that is half done they say so', async () => {
    await make(['alone'])
    folderAt(prefix, 'conda-meta/.conda-deploy/new')
    expect((await list({ prefix })).packages).toMatchObject([{ name: 'alone' }])
    expect((await exportEnvironment({ prefix })).text).toContain('alone')
    expect((await add(['tool'], { dryRun: true })).added).toHaveLength(2)
    writeFileSync(join(prefix, 'conda-meta/.conda-deploy/journal.json'), '{}')
    const half = { code: 'ENV_DAMAGED', message: expect.stringContaining('in the midst of a change') }
    await expect(list({ prefix })).rejects.toMatchObject(half)
    await expect(add(['tool'], { dryRun: true })).rejects.toMatchObject(half)
    renameSync(
      join(prefix, 'conda-meta/.conda-deploy/journal.json'),
      join(prefix, 'conda-meta/.conda-deploy/done.json'),
    )
    expect((await list({ prefix })).packages).toHaveLength(1)
  })

  test('what is read while names change places is read again', async () => {
    await make(['alone'])
    const record = join(prefix, 'conda-meta/alone-1.0-0.json')
    let times = 0
    const read = async (): Promise<number> => {
      if (++times === 1) renameSync(record, `${record.slice(0, -5)}x.json`)
      return times
    }
    expect(await whileWhole(prefix, read)).toBe(2)
  })

  test('what a killed change left is put right by the next one, and pack waits for that', async () => {
    await make(['alone'])
    const before = stateOf(prefix)
    folderAt(prefix, 'conda-meta/.conda-deploy/new/share')
    writeFileSync(join(prefix, 'conda-meta/.conda-deploy/new/share/part'), '')
    await expect(openEnvironment(prefix)).rejects.toMatchObject({
      code: 'ENV_DAMAGED',
      hint: expect.stringContaining('repair'),
    })
    expect((await runCli(['pack', '-p', prefix, '-o', join(folder, 'x.tar.zst')])).status).toBe(1)
    expect(await repair({ prefix })).toMatchObject({ recovered: 'cleared' })
    expect(await repair({ prefix })).toMatchObject({ recovered: 'nothing', warnings: [] })
    expect(differences(stateOf(prefix), before)).toEqual([])
    folderAt(prefix, 'conda-meta/.conda-deploy/new')
    writeFileSync(join(prefix, 'conda-meta/.conda-deploy/journal.json'), '{"version": 2}')
    await expect(add(['tool'])).rejects.toMatchObject({ code: 'ENV_DAMAGED' })
    rmSync(join(prefix, 'conda-meta/.conda-deploy'), { recursive: true })
    expect((await add(['tool'])).added).toHaveLength(2)
  })

  test('hostile records', async () => {
    await make(['alone'])
    const file = join(prefix, 'conda-meta/alone-1.0-0.json')
    const record = JSON.parse(text(file)) as { files: string[] }
    writeFileSync(join(folder, 'precious'), 'x')
    writeFileSync(file, JSON.stringify({ ...record, files: ['../../precious'] }))
    await refused(() => drop(['alone']), 'UNSAFE_PATH')
    expect(text(join(folder, 'precious'))).toBe('x')
  })
})

describe('whole environments', () => {
  test('go at once, with everything in them', async () => {
    await make(['alone'])
    written('mine')
    expect(await removeEnvironment({ prefix, dryRun: true })).toMatchObject({ removed: false })
    vi.stubEnv('CONDA_PREFIX', prefix)
    await expect(removeEnvironment({ prefix })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    vi.stubEnv('CONDA_PREFIX', undefined)
    await expect(removeEnvironment({})).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    for (const name of ['condabin', 'envs']) {
      mkdirSync(join(prefix, name))
      await expect(removeEnvironment({ prefix })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
      rmSync(join(prefix, name), { recursive: true })
    }
    expect(await removeEnvironment({ prefix })).toMatchObject({ removed: true })
    expect(lstatSync(prefix, { throwIfNoEntry: false })).toBeUndefined()
    expect(readdirSync(join(prefix, '..'))).toEqual([])
    expect(text(join(home, '.conda/environments.txt')).split('\n')).not.toContain(prefix)
  })

  test('that were half made are cleared away by the next one of the name, others are not', async () => {
    const envs = join(prefix, '..')
    const litter = ['.env.conda-deploy-0123456789ab', '.env.conda-deploy-0123456789ab.compile']
    const others = ['.env2.conda-deploy-0123456789ab', '.env.conda-deploy-mine']
    for (const name of [litter[0] ?? '', ...others]) mkdirSync(join(envs, name, 'lib'), { recursive: true })
    writeFileSync(join(envs, litter[1] ?? ''), '')
    await make(['alone'])
    expect(readdirSync(envs).sort()).toEqual([...others, 'env'].sort())
    for (const name of others) rmSync(join(envs, name), { recursive: true })
  })

  test('of one name, made at the same time, are one', async () => {
    const ends = await Promise.allSettled([make(['alone']), make(['tool']), make(['data'])])
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const end of ends) if (end.status === 'rejected') expect(end.reason).toMatchObject({ code: 'TARGET_EXISTS' })
    nothingLeft()
  })
})

describe('on the command line', () => {
  test('changes are printed as lines or as JSON', async () => {
    const env = { HOME: home, CONDA_PREFIX: prefix }
    const channels = ['-c', channel, '--override-channels']
    await make(['tool'], old)
    const plan = await runCli(['update', ...channels, '--all', '-d'], { env })
    expect(plan.stdout).toMatch(/^- data 1\.0 .*\n- tool 1\.0 .*\n\+ data 2\.0 .*\n\+ tool 2\.0 .*\n$/)
    const done = await runCli(['update', ...channels, 'tool', '-y'], { env })
    expect([done.status, done.stdout]).toEqual([0, plan.stdout])
    expect(done.stderr).toContain('names changed')
    const json = await runCli(['install', ...channels, 'alone', '--json'], { env })
    expect(JSON.parse(json.stdout)).toMatchObject({ prefix, added: [{ name: 'alone' }], removed: [] })
    const again = await runCli(['install', ...channels, 'alone'], { env })
    expect([again.status, again.stdout]).toEqual([0, ''])
    expect(again.stderr).toContain('nothing to do')
    const gone = await runCli(['remove', 'alone'], { env })
    expect(gone.stdout).toMatch(/^- alone 1\.0 0 file:\S+\/linux-64\n$/)
    expect((await runCli(['repair'], { env })).stdout).toBe('nothing\n')
    expect((await runCli(['remove', '--all', 'tool'], { env })).status).toBe(2)
    const unasked = await runCli(['remove', '--all', '-p', prefix], { env: { HOME: home } })
    expect([unasked.status, unasked.stderr]).toEqual([2, expect.stringContaining('say --yes, or --dry-run')])
    expect(existsSync(prefix)).toBe(true)
    const all = await runCli(['remove', '--all', '-p', prefix, '-y'], { env: { HOME: home } })
    expect([all.status, all.stdout]).toEqual([0, `${prefix}\n`])
  })
})

/** Runs the command as a user who is not root. */
async function asNobody(args: readonly string[], env: Readonly<Record<string, string | undefined>>) {
  if (process.getuid?.() !== 0) return await runCli(args, { env })
  const { cliFile } = await import('../support/run-cli.js')
  const { spawnSync } = await import('node:child_process')
  const { status, stdout, stderr } = spawnSync(process.execPath, [cliFile, ...args], {
    ...{ encoding: 'utf8', env: env as NodeJS.ProcessEnv, uid: 65534, gid: 65534 },
  })
  return { status, stdout, stderr }
}
