/** case 21: squashfs images that are mounted instead of extracted. Images with a fixed prefix alone: nothing can be written into them. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { mount } from '../../src/deploy/mount.js'
import { pack } from '../../src/pack/pack.js'
import { here, makeEnvironment, python } from '../support/make-env.js'
import { runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'

const work = realpathSync(temporaryFolder('mount'))
const prefix = join(work, 'made/here/env')
const image = join(work, 'fixed.squashfs')
const movable = join(work, 'movable.squashfs')
const environment = {
  packages: [python, { name: 'x', files: [{ path: 'lib/x.txt', text: `at ${here}\n` }] }],
  files: [{ path: 'bin/tool', text: `#!${here}/bin/python\n`, executable: true }],
}

const has = (tool: string): boolean => spawnSync('sh', ['-c', `command -v ${tool}`], { stdio: 'ignore' }).status === 0
const tools = has('mksquashfs')
const unmount = (): void => {
  if (readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${prefix} `)) execFileSync('umount', [prefix])
}

/** Why an image cannot be mounted here; null: it can. */
let unable: string | null = tools ? null : 'mksquashfs is not installed'
beforeAll(async () => {
  if (!tools) return
  makeEnvironment(join(work, 'source'), environment)
  await pack({ prefix: join(work, 'source'), output: image, destPrefix: prefix })
  await pack({ prefix: join(work, 'source'), output: movable })
  unable = await mount({ archive: image, to: prefix }).then(
    () => null,
    (error: Error) => error.message,
  )
  unmount()
})
afterEach(unmount)

const able = (name: string, body: () => Promise<void>): void =>
  test(name, async () => (unable === null ? await body() : console.warn(`skipped: ${name}: ${unable}`)))

describe('case 21: an image that is packed for a prefix', () => {
  able('stands there, read-only, until it is unmounted by the command that is named', async () => {
    const result = await mount({ archive: image, to: prefix })
    expect(result).toMatchObject({ prefix, archive: image, method: 'mounted', dryRun: false })
    expect(readFileSync(join(prefix, 'lib/x.txt'), 'utf8')).toBe(`at ${prefix}\n`)
    expect(() => writeFileSync(join(prefix, 'new'), '')).toThrow(/EROFS/)
    await expect(mount({ archive: image, to: prefix })).rejects.toMatchObject({ code: 'TARGET_EXISTS' })
    const [program = '', ...words] = result.unmount
    execFileSync(program, words)
    expect(readdirSync(prefix)).toEqual([])
  })

  able('is refused elsewhere, and nothing is left', async () => {
    const to = join(work, 'else/where')
    await expect(mount({ archive: image, to })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: `${image} is packed for ${prefix}, not for ${to}`,
    })
    expect(existsSync(join(work, 'else'))).toBe(false)
  })

  able('is mounted by the command line, with --json and --dry-run', async () => {
    const words = [image, '--mount', '--to', prefix]
    const planned = await runCli([...words, '--dry-run', '--json'])
    expect(JSON.parse(planned.stdout)).toMatchObject({ method: 'mounted', dryRun: true, by: null })
    expect(readdirSync(join(work, 'made/here'))).toEqual(existsSync(prefix) ? ['env'] : [])
    const done = await runCli(words)
    expect([done.status, done.stdout]).toEqual([0, `${prefix}\n`])
    expect(done.stderr).toMatch(/^unmount {2,}(?:umount|fusermount -u) \//m)
  })

  able('is mounted by squashfuse where the kernel does not', async () => {
    if (!has('squashfuse')) return console.warn('skipped: squashfuse is not installed')
    const bin = join(work, 'bin')
    mkdirSync(bin)
    writeFileSync(join(bin, 'mount'), '#!/bin/sh\necho no loop devices >&2\nexit 1\n')
    chmodSync(join(bin, 'mount'), 0o755)
    const env = { PATH: `${bin}:${process.env['PATH']}` }
    const done = await runCli([image, '--mount', '--to', prefix, '--json'], { env })
    if (/\/dev\/fuse|fuse:|fusermount/.test(done.stderr)) return console.warn(`skipped: no FUSE here: ${done.stderr}`)
    expect(JSON.parse(done.stdout), done.stderr).toMatchObject({ by: 'squashfuse' })
    expect(readFileSync(join(prefix, 'lib/x.txt'), 'utf8')).toBe(`at ${prefix}\n`)
  })
})

able('an image for any prefix is refused: it would have to be relocated', async () => {
  await expect(mount({ archive: movable, to: prefix })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('packed for any prefix'),
  })
})

test('what is no image, has no place or no name is refused', async () => {
  const text = join(work, 'text')
  writeFileSync(text, 'x')
  await expect(mount({ archive: text, to: prefix })).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' })
  await expect(mount({ archive: '', to: prefix })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  const { status, stderr } = await runCli([text, '--mount'])
  expect([status, stderr]).toEqual([2, expect.stringContaining('--mount needs --to')])
  const both = await runCli([text, '--mount', '--to', prefix, '--max-bytes', '5'])
  expect([both.status, both.stderr]).toEqual([2, expect.stringContaining('--mount and --max-bytes exclude each other')])
})

test.runIf(tools)('without a program that mounts, it is said which are missing', async () => {
  const bin = join(work, 'nothing')
  mkdirSync(bin)
  const { status, stderr } = await runCli([image, '--mount', '--to', prefix], { env: { PATH: bin } })
  expect([status, stderr]).toEqual([1, expect.stringMatching(/cannot be mounted here: .*squashfuse is not installed/)])
})
