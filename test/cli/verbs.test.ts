/** Each command, end to end through the bundle: what stands on stdout, what on stderr, and the exit status. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { cliFile, runCli } from '../support/run-cli.js'
import { makeSample, must, packed } from './sample.js'

const sample = makeSample()
const at = (name: string): string => join(sample.folder, name)
const deployed = at('deployed')
/** Can a user without rights start the command where this checkout stands? */
const readableByAll = spawnSync(process.execPath, [cliFile, '--version'], { uid: 65534, gid: 65534 }).status === 0

beforeAll(async () => {
  await packed(sample)
  await must(['deploy', sample.archive, '--to', deployed, '-q'])
})

describe('pack', () => {
  test('prints the path; the summary is on stderr', async () => {
    const output = at('again.tar.zst')
    const { stdout, stderr } = await must(['pack', '--prefix', sample.prefix, '--output', output])
    expect(stdout).toBe(`${output}\n`)
    expect(stderr).toMatch(/^environment {2}sample \(linux-64\), 2 packages$/m)
    expect(stderr).toMatch(/^relocated .* files will be, to prefixes of at most 255 bytes$/m)
    expect(readFileSync(output)).toEqual(readFileSync(sample.archive))
  })

  test('--json is the result and nothing else', async () => {
    const output = at('json.tar.zst')
    const { stdout } = await must(['pack', '-p', sample.prefix, '-o', output, '--json', '-j', '1'])
    expect(stdout.trimEnd()).not.toContain('\n')
    expect(JSON.parse(stdout)).toMatchObject({
      output,
      name: 'sample',
      packages: 2,
      counts: { unmanaged: 1 },
      warnings: [],
    })
  })

  test('case 13: --exclude and --include apply in their order', async () => {
    const entriesOf = async (name: string, ...filters: string[]): Promise<number> => {
      const args = ['pack', '-p', sample.prefix, '-o', at(name), '--json', ...filters]
      return JSON.parse((await must(args)).stdout).files
    }
    const all = await entriesOf('f0.tar.zst')
    expect(await entriesOf('f1.tar.zst', '--exclude', 'notes.txt')).toBe(all - 1)
    expect(await entriesOf('f2.tar.zst', '--exclude', 'notes.txt', '--include', 'notes*')).toBe(all)
    expect(await entriesOf('f3.tar.zst', '--include', 'notes*', '--exclude', 'notes.txt')).toBe(all - 1)
  })

  test('--dry-run writes nothing and prints the plan', async () => {
    const { stdout, stderr } = await must(['pack', '-p', sample.prefix, '-o', at('dry.tar.zst'), '--dry-run'])
    expect(stdout).toMatch(/^nothing written\nenvironment /)
    expect(stderr).toBe('')
    expect(existsSync(at('dry.tar.zst'))).toBe(false)
  })

  test('an existing output is kept, unless --force', async () => {
    const output = at('there.tar.zst')
    writeFileSync(output, 'mine')
    const refused = await runCli(['pack', '-p', sample.prefix, '-o', output])
    expect(refused).toMatchObject({ status: 1, stdout: '' })
    expect(refused.stderr).toMatch(/already exists\n\nhint: pass --force/)
    expect(readFileSync(output, 'utf8')).toBe('mine')
    await must(['pack', '-p', sample.prefix, '-o', output, '-f', '-q'])
    expect(readFileSync(output)).toEqual(readFileSync(sample.archive))
  })

  test('case 20: -o - streams the archive to stdout, and says the rest on stderr', async () => {
    const shell = '"$0" "$1" pack -p "$2" -o - --json 2>said | cat > streamed.tar.zst && cmp streamed.tar.zst "$3"'
    const args = ['-c', shell, process.execPath, cliFile, sample.prefix, sample.archive]
    execFileSync('sh', args, { cwd: sample.folder })
    const last = readFileSync(join(sample.folder, 'said'), 'utf8').trimEnd().split('\n').at(-1) ?? ''
    expect(JSON.parse(last)).toMatchObject({
      output: null,
      format: 'tar.zst',
      packedBytes: statSync(sample.archive).size,
    })
  })

  test('what cannot be streamed is refused', async () => {
    const done = await runCli(['pack', '--json', '-p', sample.prefix, '-o', '-', '--format', 'squashfs'])
    expect(JSON.parse(done.stderr)).toMatchObject({ error: { code: 'INVALID_OPTION' } })
    expect(done).toMatchObject({ status: 2, stdout: '' })
  })
})

describe('deploy', () => {
  test('is the default command, and prints the prefix', async () => {
    const { stdout, stderr } = await must([sample.archive, '--to', at('default')])
    expect(stdout).toBe(`${at('default')}\n`)
    expect(stderr).toMatch(/^deployed .*\n(?:.*\n)*took .* by \d+ threads?: /)
  })

  test('without --to it goes to scratch, and is adopted the second time', async () => {
    const scratch = at('scratch')
    mkdirSync(scratch)
    const options = { env: { CONDA_DEPLOY_ROOT: scratch } }
    const first = JSON.parse((await must(['--json', sample.archive], options)).stdout)
    expect(first).toMatchObject({ method: 'deployed', target: { reason: '$CONDA_DEPLOY_ROOT', root: scratch } })
    expect(first.prefix.startsWith(scratch)).toBe(true)
    const second = JSON.parse((await must([sample.archive, '--json'], options)).stdout)
    expect(second).toMatchObject({ method: 'adopted', prefix: first.prefix, readBytes: 0 })
  })

  test('--dry-run makes nothing and prints the plan', async () => {
    const { stdout, stderr } = await must([sample.archive, '--to', at('never/env'), '--dry-run'])
    expect(stdout).toMatch(/^would deploy to {2}/)
    expect(stderr).toBe('')
    expect(existsSync(at('never'))).toBe(false)
  })

  test('--quiet is quiet', async () => {
    const done = await must([sample.archive, '--to', at('quiet'), '--quiet'])
    expect(done).toMatchObject({ stdout: `${at('quiet')}\n`, stderr: '' })
  })

  test('files are read-only, unless --writable', async () => {
    expect(statSync(join(deployed, 'notes.txt')).mode & 0o222).toBe(0)
    await must([sample.archive, '--to', at('writable'), '--writable', '-q'])
    expect(statSync(join(at('writable'), 'notes.txt')).mode & 0o200).toBe(0o200)
  })

  // Root may do what modes forbid: as any other user these tests run as that user anyway.
  test.skipIf(process.getuid?.() !== 0 || !readableByAll)('case 44: a user without rights deploys read-only', () => {
    const nobody = { uid: 65534, gid: 65534, encoding: 'utf8' } as const
    const home = at('nobody')
    mkdirSync(home)
    for (const folder of [sample.folder, home]) chmodSync(folder, 0o777)
    const deploying = spawnSync(process.execPath, [cliFile, sample.archive, '--to', join(home, 'env'), '-q'], nobody)
    expect(deploying).toMatchObject({ status: 0, stderr: '' })
    expect(spawnSync(process.execPath, [cliFile, 'verify', join(home, 'env')], nobody)).toMatchObject({ status: 0 })
    expect(readdirSync(home)).toEqual(['env'])
  })

  test('a target that is something else is refused and kept', async () => {
    mkdirSync(at('mine'))
    writeFileSync(join(at('mine'), 'file'), 'kept')
    const done = await runCli([sample.archive, '--to', at('mine')])
    expect(done).toMatchObject({ status: 1, stdout: '' })
    expect(done.stderr).toMatch(/^conda-deploy: .* exists: .*\n\nhint: /)
    expect(readdirSync(at('mine'))).toEqual(['file'])
  })

  test.each([
    ['bash', /^export CONDA_PREFIX='/m],
    ['fish', /^set -gx CONDA_PREFIX '/m],
    ['tcsh', /^setenv CONDA_PREFIX '/m],
  ])('--shell %s prints its code', async (shell, line) => {
    const { stdout } = await must([sample.archive, '--to', deployed, '--shell', shell, '-q'])
    expect(stdout).toMatch(line)
  })

  test('--shell without a name asks the system, and takes no archive for a name', async () => {
    const { stdout } = await must(['--shell', sample.archive, '--to', deployed, '-q'], {
      env: { SHELL: '/usr/bin/fish' },
    })
    expect(stdout).toMatch(/^set -gx CONDA_PREFIX '/m)
  })
})

describe('run', () => {
  const variables = { TOOL_STATUS: '7' }

  test('ends as its program ends, and gives it stdout and the words after --', async () => {
    const done = await runCli(['run', sample.archive, '--to', deployed, '--', 'tool', '--json', '-q'], {
      env: variables,
    })
    expect(done).toMatchObject({ status: 7, stdout: `prefix=${deployed}\nargs=--json -q\n`, stderr: '' })
  })

  test('--json says what happened on the last line of stderr', async () => {
    const done = await must(['run', '--json', sample.archive, '--to', deployed, '--', 'tool', 'x'])
    expect(done.stdout).toBe(`prefix=${deployed}\nargs=x\n`)
    expect(JSON.parse(done.stderr)).toMatchObject({ status: 0, signal: null, deployment: { prefix: deployed } })
  })

  test('a program that a signal ends is told as the shell does', async () => {
    const done = await runCli(['run', sample.archive, '--to', deployed, '--', 'sh', '-c', 'kill -9 $$'])
    expect(done.status).toBe(137)
  })

  test('a program that is not there ends with 127', async () => {
    const done = await runCli(['run', sample.archive, '--to', deployed, '--', 'no-such-program'])
    expect(done).toMatchObject({ status: 127, stdout: '' })
    expect(done.stderr).toContain('no-such-program')
  })

  test('--dry-run starts nothing', async () => {
    const { stdout } = await must(['run', '--dry-run', sample.archive, '--to', at('never/env'), '--', 'tool'])
    expect(stdout).toMatch(/^would deploy to .*\n(?:.*\n)*would run tool\n$/)
    expect(existsSync(at('never'))).toBe(false)
  })
})

describe('inspect', () => {
  test('says what is inside and how far it can go', async () => {
    const { stdout, stderr } = await must(['inspect', sample.archive])
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^environment {2}sample \(linux-64\), 2 packages, python 3\.11\.4$/m)
    expect(stdout).toMatch(/^to {11}prefixes of at most 255 bytes$/m)
  })

  test('--json has it all', async () => {
    const said = JSON.parse((await must(['inspect', '--json', sample.archive, '--to', `/${'x'.repeat(300)}`])).stdout)
    expect(said).toMatchObject({ archive: sample.archive, longestPrefix: 255, fit: { fits: false } })
    expect(said.fit.tooLong).toEqual([{ path: 'bin/python3.11', slot: 255 }])
  })
})

describe('verify', () => {
  test('passes for what was deployed, and for the archive', async () => {
    for (const path of [deployed, sample.archive]) {
      const done = await must(['verify', path])
      expect(done).toMatchObject({ stdout: '', stderr: expect.stringMatching(/ is as it should be: /) })
    }
  })

  test('ends with 3 and prints the faults, one a line', async () => {
    const target = at('broken')
    await must([sample.archive, '--to', target, '--writable', '-q'])
    writeFileSync(join(target, 'notes.txt'), 'unmanagee\n')
    chmodSync(join(target, 'notes.txt'), 0o644)
    const done = await runCli(['verify', target])
    expect(done.status).toBe(3)
    expect(done.stdout).toMatch(/^notes\.txt: content: expected \w+, found \w+\n$/)
    expect(done.stderr).toMatch(/ has 1 fault: /)
    const json = await runCli(['verify', target, '--json'])
    expect(json.status).toBe(3)
    expect(JSON.parse(json.stdout)).toMatchObject({ path: target, faults: [{ path: 'notes.txt', kind: 'content' }] })
  })

  test('a directory that nobody deployed is no deployment', async () => {
    const done = await runCli(['verify', sample.prefix])
    expect(done).toMatchObject({ status: 1, stdout: '' })
  })
})
