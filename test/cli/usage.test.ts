/** Help, the version, and wrong command lines. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { version } from '../../src/version.js'
import { cliFile, runCli } from '../support/run-cli.js'

const commands = (
  'deploy run pack create list envs export clean install update remove repair inspect verify relocate activate deactivate trace ' +
  'prolog task-prolog epilog slurm cache broadcast'
).split(' ')

describe('help', () => {
  test('--version prints the version alone', async () => {
    expect(await runCli(['--version'])).toEqual({ status: 0, signal: null, stdout: `${version}\n`, stderr: '' })
  })

  test.each(['', ...commands])('%s --help fits into 80 columns and has an example', async (name) => {
    const { status, stdout, stderr } = await runCli([name, '--help'].filter((word) => word !== ''))
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/Examples?:\n {2}\$ /)
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([])
    // A flag whose line ends with its name has no help.
    expect(stdout).not.toMatch(/^ {2}(?:-\w, )?--[\w-]+(?: [<[]\S*)?$/m)
  })

  test('help names every command', async () => {
    const { stdout } = await runCli(['help'])
    for (const name of commands) expect(stdout).toMatch(new RegExp(`^ {2}${name} `, 'm'))
  })
})

test.each(['slurm', 'cache'])('%s alone prints its help, and says what is missing', async (name) => {
  const { status, stdout, stderr } = await runCli([name])
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
  expect(stderr).toMatch(new RegExp(`^Usage: conda-deploy ${name}`))
  expect(stderr).toMatch(/^conda-deploy: no command is named\n\nhint: /m)
})

describe('wrong usage ends with 2, says what is wrong and what to do', () => {
  test.each([
    [['deploy', 'x.tar.zst', '--tu', '/x'], /unknown option '--tu'/, /Did you mean --to\?/],
    [['--nothing'], /unknown option '--nothing'/, /--help/],
    [[], /missing required argument 'archive'/, /--help/],
    [['verify'], /missing required argument 'path'/, /--help/],
    [['verify', 'one', 'two'], /too many arguments/, /--help/],
    [['deploy', 'x', '--shell=powershell'], /'powershell' is invalid/, /--help/],
    [['deploy', 'x', '--threads', '0'], /must be >= 1/, /--help/],
    [['pack', '-j', 'many'], /whole number/, /--help/],
    [['pack', '--compress-level', '99', '-p', '.'], /compress-level/, undefined],
    [['deploy', 'x', '--shell', '--json'], /exclude each other/, /--shell json/],
    [['deploy', 'x', '--to', '/a', '--root', '/b'], /exclude each other/, undefined],
    [['depoly', 'x.tar.zst'], /too many arguments/, /'depoly' may be a misspelt command/],
    [['deploy', 'x.tar.zst', '--shell', 'powershell'], /too many arguments/, /'powershell' is no shell .* bash/],
    [['run', 'x', 'python', '-c', '1'], /unknown option '-c'/, /after --/],
  ] as const)('%j', async (args, message, hint) => {
    const done = await runCli(args, { cwd: tmpdir() })
    if (args.includes('--json' as never)) expect(JSON.parse(done.stderr).error.message).toMatch(message)
    else expect(done.stderr).toMatch(new RegExp(`^conda-deploy: .*${message.source}`))
    if (hint !== undefined) expect(done.stderr).toMatch(hint)
    expect(done).toMatchObject({ status: 2, stdout: '' })
  })
})

describe('requests that fail end with 1', () => {
  test('an archive that is not there', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'conda-deploy-usage-'))
    const done = await runCli(['x.tar.zst'], { cwd: folder })
    rmSync(folder, { recursive: true })
    expect(done).toMatchObject({ status: 1, stdout: '' })
    expect(done.stderr).toContain(join(folder, 'x.tar.zst'))
  })

  test('a misspelt command', async () => {
    const done = await runCli(['inspekt'])
    expect(done).toMatchObject({ status: 1, stdout: '' })
    expect(done.stderr).toMatch(/hint: 'inspekt' is no command either/)
  })
})

/** The command line of conda-pack 0.9, as its --help has it. */
const condaPack = [
  ...['--name -n', '--prefix -p', '--output -o', '--arcroot', '--dest-prefix -d', '--parcel-root', '--parcel-name'],
  ...['--parcel-version', '--parcel-distro', '--format', '--compress-level', '--n-threads -j', '--zip-symlinks'],
  ...['--no-zip-64', '--ignore-editable-packages', '--ignore-missing-files', '--exclude', '--include', '--force -f'],
  ...['--quiet -q', '--help -h'],
]

test('case 51: pack has every option of conda-pack by its names, and every format', async () => {
  const { stdout: own } = await runCli(['pack', '--help'])
  const { stdout: all } = await runCli(['--help'])
  for (const [long = '', short] of condaPack.map((names) => names.split(' '))) {
    const flag = short === undefined ? `${long}\\b` : `${short}, ${long}\\b`
    expect(`${own}\n${all}`).toMatch(new RegExp(`^ +${flag}`, 'm'))
  }
  const formats = 'infer zip tar.gz tgz tar.bz2 tbz2 tar.xz txz tar tar.zst tzst parcel squashfs no-archive'.split(' ')
  for (const format of formats) {
    const { stderr } = await runCli(['pack', '--json', '-p', '/', '--format', format])
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'NOT_AN_ENV' } })
  }
})

/** What conda-pack 0.9 says after `CondaPackError: `, by the arguments that it says it of. */
const words: readonly (readonly [args: string, words: string])[] = [
  ['-p /no/such/place', "Environment path '/no/such/place' doesn't exist"],
  ['-p /', "Path '/' is not a conda environment"],
  ['-p / -n foo', "Cannot specify both 'name' and 'prefix'"],
  ['-p / -o x.foo', "Unknown file extension 'x.foo'"],
  ['-p / -o x.parcel --format zip', "Invalid format for parcel 'zip'"],
  ['-p / -o x.parcel --arcroot foo', "Cannot specify 'dest_prefix'/'arcroot' for parcels"],
  ['-p / -o x.parcel -d /foo', "Cannot specify 'dest_prefix'/'arcroot' for parcels"],
  ['-p / -j 0', 'n-threads must be >= 1, or -1 for all cores'],
]

test.each(words)('case 51: %s: in the words of conda-pack', async (args, said) => {
  const { status, stderr } = await runCli(['pack', ...args.split(' ')])
  expect([1, 2]).toContain(status)
  expect(stderr).toContain(said)
})

test('in a folder that was removed, relative paths are refused and whole ones work', () => {
  const gone = mkdtempSync(join(tmpdir(), 'conda-deploy-gone-'))
  const shell = 'cd "$3" && rmdir "$3" && exec "$0" "$1" inspect "$2"'
  const inspect = (archive: string, folder: string) =>
    spawnSync('/bin/sh', ['-c', shell, process.execPath, cliFile, archive, folder], { encoding: 'utf8' })
  const relative = inspect('x.tar.zst', gone)
  expect(relative.status).toBe(1)
  expect(relative.stderr).toContain('conda-deploy: the working folder is not there any more')
  const whole = inspect('/nonexistent/x.tar.zst', mkdtempSync(join(tmpdir(), 'conda-deploy-gone-')))
  expect(whole.stderr).toContain('there is no file at /nonexistent/x.tar.zst')
})
