/** case 42, case 46: file systems that are really full, out of inodes, read-only or noexec. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { cliFile } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'
import { type Fixture, makeFixture, namesIn } from './fixture.js'
import { Injector, noInjection } from './inject.js'
import { type Ended, noMounts, Space } from './space.js'

const work = temporaryFolder('faults')

const missing = noMounts ?? noInjection
if (missing !== null) console.log(`skipped: full and unsuitable file systems: ${missing}`)

const plain = /^ {4}at |unexpected|bug of conda-deploy/m

describe.skipIf(missing !== null)('a file system', () => {
  let fixture: Fixture
  let injector: Injector
  let at: string
  let prefix: string
  /** A deployment to `prefix`, for comparison. */
  let whole: Map<string, string>
  let bytes: number
  let space: Space | undefined

  beforeAll(async () => {
    fixture = await makeFixture(work, 200, 6000)
    injector = new Injector(fixture.folder)
    at = join(fixture.folder, 'mount')
    prefix = join(at, 'env')
    mkdirSync(at)
    bytes = (await deploy({ archive: fixture.archive, to: prefix })).bytes
    whole = describeTree(prefix, ['.conda-deploy'])
    removeTree(prefix)
  })
  afterEach(async () => {
    await space?.close()
    space = undefined
  })

  async function mounted(options: string): Promise<Space> {
    space = await Space.open(`mount -t tmpfs -o ${options} tmpfs '${at}'`)
    return space
  }

  /** Status 75 or the given one, one plain message, and nothing on the file system but what was there. */
  function expectRefusal(ended: Ended, message: RegExp, status = 75, there: readonly string[] = []): void {
    expect(ended.stderr).toMatch(message)
    expect(ended.stderr).not.toMatch(plain)
    expect(ended).toMatchObject({ status, stdout: '' })
    expect(namesIn(space?.seen(at) ?? '')).toEqual(there)
  }

  function expectWhole(ended: Ended): void {
    expect(ended).toMatchObject({ status: 0 })
    const seen = space?.seen(prefix) ?? ''
    expect(differences(describeTree(seen, ['.conda-deploy']), whole)).toEqual([])
    expect(space?.cli(['verify', prefix])).toMatchObject({ status: 0 })
    expect(namesIn(space?.seen(at) ?? '')).toEqual(['env'])
  }

  test('case 42: too small for the environment is refused before the first byte', async () => {
    const { cli } = bound(await mounted(`size=${Math.floor(bytes / 2)}`))
    expectRefusal(cli([fixture.archive, '--to', prefix]), /^conda-deploy: .* free on tmpfs; .* are needed/)
    expectRefusal(cli([fixture.archive, '--root', at]), /^conda-deploy: .* free on tmpfs; .* are needed/)
  })

  test('case 42: with too few inodes is refused before the first byte', async () => {
    const { cli } = bound(await mounted('nr_inodes=120'))
    expectRefusal(cli([fixture.archive, '--to', prefix]), /free inodes on tmpfs; \d+ are needed/)
  })

  test('case 42: just large enough takes it', async () => {
    // Each entry takes at most one page more than its bytes; 256 bytes of table.
    const room = bytes + whole.size * (4096 + 256) + (1 << 16)
    const { cli } = bound(await mounted(`size=${room}`))
    expectWhole(cli([fixture.archive, '--to', prefix]))
  })

  test.each([
    ['archive', 'fill'],
    ['archive', 'crowd'],
    ['foreign', 'fill'],
    ['foreign', 'crowd'],
  ] as const)('case 42: of which another process takes all room while an %s is deployed (%s)', async (which, how) => {
    const { cli, run } = bound(await mounted('size=64m,nr_inodes=4000'))
    const fault = {
      beneath: [at],
      calls: ['open', 'write', 'pwrite', 'mkdir', 'symlink', 'link'],
      how,
      fill: join(at, 'other'),
    }
    const args = [fixture[which], '--to', prefix, '--threads', '2']
    const others = (): string[] => namesIn(space?.seen(at) ?? '').filter((name) => name.startsWith('other.'))
    let failed = 0
    const moments = [2, 3, 5, 20, 100, 200, 400, 500]
    for (const moment of moments) {
      const ended = cli(args, injector.env({ ...fault, at: moment }))
      if (ended.status !== 0) {
        failed++
        expectRefusal(ended, /No space left on device|no space left|are needed/, 75, others())
      }
      run(['sh', '-c', `rm -rf '${at}'/other.* '${at}'/env`])
    }
    console.log(`full midway, ${which}, ${how}: ${moments.length} moments, ${failed} told, 0 left behind`)
    expect(failed).toBeGreaterThanOrEqual(3)
    expectWhole(cli([fixture.archive, '--to', prefix]))
  })

  test.each([
    ['relocate', 'fill'],
    ['relocate', 'crowd'],
    ['relocate --copy', 'fill'],
    ['--base', 'fill'],
    ['--base', 'crowd'],
  ] as const)('case 42: of which another process takes all room during %s (%s)', async (what, how) => {
    const { cli, run } = bound(await mounted('size=64m,nr_inodes=4000'))
    const next = join(at, 'next')
    const args =
      what === '--base' ? [fixture.archive, '--to', next, '--base', prefix] : [...what.split(' '), prefix, next]
    const calls = ['open', 'write', 'pwrite', 'mkdir', 'symlink', 'link']
    const fault = { beneath: [at], calls, how, fill: join(at, 'other') }
    let failed = 0
    const moments = [2, 4, 20, 60, 150, 300]
    for (const moment of moments) {
      expect(cli([fixture.archive, '--to', prefix, '-q'])).toMatchObject({ status: 0 })
      const ended = cli([...args, '--threads', '2'], injector.env({ ...fault, at: moment }))
      const others = namesIn(space?.seen(at) ?? '').filter((name) => name.startsWith('other.'))
      if (ended.status !== 0) {
        failed++
        expectRefusal(ended, /No space left on device|no space left|are needed/, 75, ['env', ...others])
        expect(cli(['verify', prefix])).toMatchObject({ status: 0 })
      } else {
        expect(cli(['verify', next])).toMatchObject({ status: 0 })
      }
      run(['sh', '-c', `rm -rf '${at}'/other.* '${prefix}' '${next}'`])
    }
    console.log(`full midway, ${what}, ${how}: ${moments.length} moments, ${failed} told, 0 left behind`)
    expect(failed).toBeGreaterThanOrEqual(2)
  })

  test.each(['archive', 'foreign'] as const)(
    'case 42: filled up before an %s comes whose size it cannot know',
    async (which) => {
      const { cli, run } = bound(await mounted(`size=${1 << 20}`))
      run(['dd', 'if=/dev/zero', `of=${at}/full`, 'bs=4k'])
      expectRefusal(cli([fixture[which], '--to', prefix]), /are needed|No space left/, 75, ['full'])
      expectRefusal(cli([fixture[which], '--to', join(at, 'deep/er/env')]), /are needed|No space left/, 75, ['full'])
    },
  )

  test('case 42: full under the archive that is packed leaves no part of it', async () => {
    const { cli, run } = bound(await mounted('size=256k'))
    const output = join(at, 'out.tar.zst')
    expectRefusal(cli(['pack', '-p', fixture.prefix, '-o', output]), /No space left on device/)
    run(['mount', '-o', 'remount,size=64m', at])
    expect(cli(['pack', '-p', fixture.prefix, '-o', output])).toMatchObject({ status: 0 })
    expect(namesIn(space?.seen(at) ?? '')).toEqual(['out.tar.zst'])
    expect(cli(['verify', output])).toMatchObject({ status: 0 })
    expect(differences(describeTree(fixture.prefix), fixture.before)).toEqual([])
  })

  test('case 42: that a killed deployment has filled is cleared by the next one', async () => {
    const room = bytes + whole.size * (4096 + 256) + (1 << 16)
    const { cli } = bound(await mounted(`size=${room}`))
    const env = injector.env({ beneath: [at], at: 700 })
    expect(cli([fixture.archive, '--to', prefix, '--threads', '1'], env).status).not.toBe(0)
    expect(namesIn(space?.seen(at) ?? '').some((name) => name.endsWith('.stage'))).toBe(true)
    expectWhole(cli([fixture.archive, '--to', prefix]))
  })

  test('case 42: full under the stdout of a deployment does not undo it, and is not hidden', async () => {
    const { cli, run } = bound(await mounted('size=64m'))
    const node = [process.execPath, ...cliOf([fixture.archive, '--to', prefix])].map((word) => `'${word}'`).join(' ')
    const ended = run(['sh', '-c', `exec ${node} > /dev/full`])
    expect(ended.status).toBe(75)
    expect(ended.stderr).toMatch(/cannot write the result to stdout/)
    expectWhole(cli([fixture.archive, '--to', prefix]))
  })

  test('case 42: mounted read-only or noexec is refused, and so it is passed over among the places to try', async () => {
    for (const [option, message] of [
      ['ro', /read-only|EROFS/i],
      ['noexec', /noexec/],
    ] as const) {
      const { cli } = bound(await mounted(`size=64m,${option}`))
      for (const which of ['archive', 'foreign'] as const)
        expectRefusal(cli([fixture[which], '--to', prefix]), message, 1)
      expectRefusal(cli([fixture.archive, '--root', at]), message, 1)
      if (option === 'ro') expectRefusal(cli(['pack', '-p', fixture.prefix, '-o', join(at, 'x.tar.zst')]), message, 1)
      const elsewhere = cli([fixture.archive, '--dry-run', '--json'], { CONDA_DEPLOY_ROOT: at })
      expect(elsewhere).toMatchObject({ status: 0 })
      expect(JSON.parse(elsewhere.stdout).target.rejected[0].path).toBe(at)
      await space?.close()
    }
    space = undefined
  })

  test('case 46: every local file system that can be mounted here gets the same tree', async () => {
    const image = join(fixture.folder, 'image')
    const kinds = [
      ['tmpfs', `mount -t tmpfs tmpfs '${at}'`],
      [
        'overlay',
        `mkdir -p '${image}.o'; mount -t tmpfs tmpfs '${image}.o'; cd '${image}.o'; mkdir l u w; mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w '${at}'`,
      ],
      ...['ext4', 'xfs', 'btrfs'].map((kind) => [
        kind,
        `truncate -s 400M '${image}.${kind}'; mkfs.${kind} -q '${image}.${kind}' >/dev/null; mount -o loop '${image}.${kind}' '${at}'`,
      ]),
    ] as const
    const done: string[] = []
    const not: string[] = []
    for (const [kind = '', mounts = ''] of kinds) {
      const opened = await Space.open(`{ ${mounts}; } >/dev/null 2>&1`).catch(() => null)
      if (opened === null) {
        not.push(kind)
        continue
      }
      space = opened
      for (const which of ['archive', 'foreign'] as const) {
        expect(opened.cli([fixture[which], '--to', prefix, '--verify', '--allow-shared']), kind).toMatchObject({
          status: 0,
        })
        if (which === 'archive')
          expect(differences(describeTree(opened.seen(prefix), ['.conda-deploy']), whole), kind).toEqual([])
        expect(opened.cli(['verify', prefix])).toMatchObject({ status: 0 })
        opened.run(['rm', '-rf', prefix])
      }
      done.push(kind)
      await opened.close()
    }
    space = undefined
    console.log(
      `file systems: ${done.join(', ')}${not.length > 0 ? `; skipped, cannot be mounted here: ${not.join(', ')}` : ''}`,
    )
    expect(done).toContain('tmpfs')
  })
})

const cliOf = (args: readonly string[]): string[] => [cliFile, ...args]

const bound = (space: Space): Pick<Space, 'cli' | 'run'> => ({ cli: space.cli.bind(space), run: space.run.bind(space) })
