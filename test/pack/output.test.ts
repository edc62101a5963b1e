/** The file of an archive: what a killed or failed pack leaves, who may remove it, and what --force replaces. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { partOf, sweep } from '../../src/pack/output.js'
import { pack } from '../../src/pack/pack.js'
import { makeEnvironment, python } from '../support/make-env.js'
import { cliFile } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'

const root = temporaryFolder('output')
const prefix = join(root, 'env')
makeEnvironment(prefix, {
  packages: [python],
  files: Array.from({ length: 40 }, (_, i) => ({ path: `share/${i}`, text: `${i} `.repeat(200_000) })),
})
const litter = (folder: string): string[] => readdirSync(folder).filter((name) => name.includes('.part-'))
const folder = (name: string): string => {
  mkdirSync(join(root, name))
  return join(root, name)
}

describe('case 20: litter', () => {
  test('a pack that is killed leaves a part, which the next one to the same output removes', async () => {
    const at = folder('killed')
    const output = join(at, 'x.tar.zst')
    const child = spawn(process.execPath, [
      cliFile,
      'pack',
      '-p',
      prefix,
      '-o',
      output,
      '-j',
      '1',
      '--compress-level',
      '15',
    ])
    const closed = new Promise((done) => child.on('close', done))
    for (let i = 0; i < 400 && litter(at).length === 0; i++) await new Promise((done) => setTimeout(done, 10))
    child.kill('SIGKILL')
    await closed
    expect(litter(at)).toHaveLength(1)
    expect(existsSync(output)).toBe(false)
    await pack({ prefix, output: join(at, 'other.tar.zst') })
    expect(litter(at)).toHaveLength(1)
    await pack({ prefix, output })
    expect(litter(at)).toEqual([])
  })

  test('parts of living processes, of other hosts, and what only looks alike stay', () => {
    const at = folder('swept')
    const output = join(at, 'x.tar')
    const mine = partOf(output)
    const ended = spawnSync('true').pid
    const of = (host: string, pid: number, start: string | number): string =>
      `x.tar.part-${host}-${pid}-${start}-0a1b2c`
    const [, host = '', , start = ''] = basename(mine).replace('x.tar.part', '').split('-')
    const stay = [
      basename(mine),
      of('0123456789ab', ended, 1),
      of(host, process.ppid, 0),
      'x.tar.part-backup',
      `x.tar.part-${host}-mine`,
      of(host, ended, 1).replace('x.tar', 'y.tar'),
    ]
    const go = [of(host, ended, 1), `${of(host, ended, 2)}.tar.zst`, of(host, process.pid, Number(start) + 1)]
    for (const name of [...stay, ...go]) writeFileSync(join(at, name), '')
    mkdirSync(join(at, of(host, ended, 3)))
    sweep(output)
    expect(readdirSync(at).sort()).toEqual(stay.sort())
  })

  test('folders that --force made go when it fails, and those that were there stay', async () => {
    const at = folder('made')
    const late = new AbortController()
    const reporter = { phase: (name: string) => name === 'pack' && late.abort(), progress() {}, warn() {} }
    const failing = { prefix, force: true, signal: late.signal, reporter: reporter as never }
    await expect(pack({ ...failing, output: join(at, 'new/deep/x.tar.gz') })).rejects.toMatchObject({
      code: 'CANCELLED',
    })
    expect(readdirSync(at)).toEqual([])
  })

  test.each(['tar.zst', 'tar.gz', 'tar.xz', 'zip', 'no-archive'])(
    '%s: cancelled halfway, nothing is left',
    async (format) => {
      const at = folder(`cancelled-${format}`)
      const late = new AbortController()
      const reporter = { phase() {}, progress: (bytes: number) => bytes > 0 && late.abort(), warn() {} }
      const output = join(at, `x.${format}`)
      const call = pack({
        prefix,
        output,
        signal: late.signal,
        reporter: reporter as never,
        nThreads: 1,
        compressLevel: 9,
      })
      await expect(call).rejects.toMatchObject({ code: 'CANCELLED' })
      expect(readdirSync(at)).toEqual([])
    },
  )
})

test('a tool that fails, or is not there, is named, and nothing is left', async () => {
  const at = folder('tools')
  const bin = folder('bin')
  const before = process.env['PATH']
  const failed = async (output: string): Promise<unknown> =>
    pack({ prefix, output: join(at, output) }).then(
      () => null,
      (error: unknown) => error,
    )
  try {
    process.env['PATH'] = bin
    expect(await failed('x.tar.bz2')).toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('bzip2') })
    expect(await failed('x.squashfs')).toMatchObject({
      code: 'UNSUPPORTED',
      hint: expect.stringContaining('squashfs-tools'),
    })
    writeFileSync(join(bin, 'xz'), '#!/bin/sh\necho no luck >&2\nexit 7\n', { mode: 0o755 })
    writeFileSync(join(bin, 'mksquashfs'), '#!/bin/sh\necho full >&2\nexit 8\n', { mode: 0o755 })
    expect(await failed('x.tar.xz')).toMatchObject({ code: 'IO', message: 'xz failed (exit status 7): no luck' })
    expect(await failed('x.squashfs')).toMatchObject({ code: 'IO', message: 'mksquashfs failed (exit status 8): full' })
  } finally {
    process.env['PATH'] = before
  }
  expect(readdirSync(at)).toEqual([])
})

test('--force replaces files by files, and directories only by environments', async () => {
  const at = folder('forced')
  writeFileSync(join(at, 'x.tar'), 'old')
  await pack({ prefix, output: join(at, 'x.tar'), force: true })
  expect(readFileSync(join(at, 'x.tar')).length).toBeGreaterThan(100_000)
  mkdirSync(join(at, 'y.tar'))
  await expect(pack({ prefix, output: join(at, 'y.tar'), force: true })).rejects.toMatchObject({
    code: 'OUTPUT_EXISTS',
  })
  const directory = join(at, 'z')
  await pack({ prefix, output: directory, format: 'no-archive' })
  writeFileSync(join(directory, 'added'), '')
  await expect(pack({ prefix, output: directory, format: 'no-archive' })).rejects.toThrow(
    `File '${directory}' already exists`,
  )
  await pack({ prefix, output: directory, format: 'no-archive', force: true })
  expect(existsSync(join(directory, 'added'))).toBe(false)
  const precious = folder('precious')
  writeFileSync(join(precious, 'data'), '')
  const call = pack({ prefix, output: precious, format: 'no-archive', force: true })
  await expect(call).rejects.toThrow('is a directory, which --force does not replace')
  expect(readdirSync(precious)).toEqual(['data'])
  expect(litter(at)).toEqual([])
})

test('a folder or a dangling link in conda-meta that is called like a record is none', async () => {
  const odd = join(root, 'odd')
  makeEnvironment(odd, { packages: [python] })
  mkdirSync(join(odd, 'conda-meta/folder-1.0-0.json'))
  symlinkSync('gone', join(odd, 'conda-meta/link-1.0-0.json'))
  expect(await pack({ prefix: odd, output: join(root, 'odd.tar.zst') })).toMatchObject({ packages: 1 })
})
