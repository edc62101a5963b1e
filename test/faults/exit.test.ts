/** case 50: every exit status, and who is told what where. */
import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { cliFile, runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { type Fixture, makeFixture } from './fixture.js'

const work = temporaryFolder('faults')

let fixture: Fixture
let deployed: string
beforeAll(async () => {
  fixture = await makeFixture(work, 12, 500)
  deployed = join(fixture.folder, 'deployed')
  expect(await runCli([fixture.archive, '--to', deployed, '-q'])).toMatchObject({ status: 0 })
})

const shell = (...command: string[]): string[] => [
  'run',
  fixture.archive,
  '--to',
  deployed,
  '-q',
  '--',
  'sh',
  '-c',
  ...command,
]

test.each<[number, string, () => string[]]>([
  [0, 'done', () => [fixture.archive, '--to', deployed]],
  [0, 'a program that ends with 0', () => shell('exit 0')],
  [1, 'an archive that is not there', () => [join(fixture.folder, 'none.tar.zst'), '--to', deployed]],
  [1, 'a target that is taken', () => [fixture.archive, '--to', fixture.prefix]],
  [1, 'no environment', () => ['pack', '-p', fixture.folder, '-o', join(fixture.folder, 'x.tar.zst')]],
  [2, 'an unknown option', () => [fixture.archive, '--nonsense']],
  [2, 'a wrong number', () => [fixture.archive, '--threads', '0']],
  [2, 'two options that exclude each other', () => [fixture.archive, '--to', deployed, '--root', '/tmp']],
  [5, "a program's own status", () => shell('exit 5')],
  [
    127,
    'a program that is not there',
    () => ['run', fixture.archive, '--to', deployed, '--', 'no-such-program-of-ours'],
  ],
  [143, 'a program that a signal ended', () => shell('kill -TERM $$')],
])('case 50: exit status %d: %s', async (status, _, args) => {
  const done = await runCli(args())
  expect(done.status, done.stderr).toBe(status)
  expect(done.stderr).not.toMatch(/^ {4}at /m)
  if (status !== 0 && args()[0] !== 'run') expect(done.stdout).toBe('')
})

test('case 50: exit status 3: verification found faults', async () => {
  const damaged = join(fixture.folder, 'damaged')
  expect(await runCli([fixture.archive, '--to', damaged, '-q', '--writable'])).toMatchObject({ status: 0 })
  writeFileSync(join(damaged, 'notes.txt'), 'other')
  const done = await runCli(['verify', damaged, '--json'])
  expect(done.status).toBe(3)
  expect(JSON.parse(done.stdout).faults.map(({ path }: { path: string }) => path)).toContain('notes.txt')
})

test('case 50: exit status 70: our bug, told as one', async () => {
  const breaking = join(fixture.folder, 'break.cjs')
  const code = "require('os').availableParallelism = () => { throw new TypeError('not ours') }"
  writeFileSync(breaking, `${code}\nrequire('module').syncBuiltinESMExports()\n`)
  const target = join(fixture.folder, 'bug')
  const done = await runCli([fixture.archive, '--to', target], { env: { NODE_OPTIONS: `--require ${breaking}` } })
  expect(done).toMatchObject({ status: 70, stdout: '' })
  expect(done.stderr).toMatch(/unexpected TypeError: not ours/)
  expect(done.stderr).toMatch(/bug of conda-deploy/)
})

test('case 50: with --json errors are JSON on stderr, and stdout is empty', async () => {
  const { status, stdout, stderr } = await runCli([join(fixture.folder, 'none'), '--to', deployed, '--json'])
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
  expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'ARCHIVE_NOT_FOUND', message: expect.any(String) } })
})

test('case 50: --quiet is silent but for the result, and progress is written only on a terminal', async () => {
  mkdirSync(join(fixture.folder, 'quiet'))
  const archive = join(fixture.folder, 'quiet/copy.tar.zst')
  copyFileSync(fixture.archive, archive)
  const runs = [
    ['pack', '-p', fixture.prefix, '-o', join(fixture.folder, 'quiet/q.tar.zst')],
    [archive, '--to', join(fixture.folder, 'quiet/env')],
    [archive, '--to', join(fixture.folder, 'quiet/env')],
    [fixture.foreign, '--to', join(fixture.folder, 'quiet/foreign')],
    ['verify', archive],
    ['verify', join(fixture.folder, 'quiet/env')],
  ]
  for (const args of runs) {
    const { status, stderr } = await runCli([...args, '--quiet'])
    expect({ args, status, stderr }).toEqual({ args, status: 0, stderr: '' })
  }
  for (const args of [
    ['verify', archive],
    [archive, '--to', join(fixture.folder, 'quiet/more')],
  ]) {
    const { stderr, stdout } = await runCli(args)
    expect([...'\r\u001b%'].filter((sign) => (stderr + stdout).includes(sign))).toEqual([])
  }
  const both = spawnSync(process.execPath, [cliFile, archive, '--dry-run', '--json'], { encoding: 'utf8' })
  expect(both.stdout.trim().split('\n')).toHaveLength(1)
})
