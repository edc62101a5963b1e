import { spawn } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import { type RelocateOptions, relocate } from '../../src/deploy/relocate.js'
import { verify } from '../../src/deploy/verify.js'
import { native } from '../../src/native.js'
import { condaPackTar } from '../support/conda-pack-archive.js'
import { makeEnvironment, python } from '../support/make-env.js'
import { runCli } from '../support/run-cli.js'
import { removeTree, temporaryFolder } from '../support/temp.js'
import { describeTree, differences, filesWith } from '../support/tree.js'
import { start } from './child.js'
import { slot, writeSample } from './sample.js'

const work = temporaryFolder('relocate')
const archive = join(work, 'sample.tar.zst')
let round = 0

beforeAll(async () => {
  await writeSample(archive, { ballast: [60, 40_000] })
})

const place = (): string => {
  const path = join(work, `${++round}`)
  mkdirSync(path)
  return path
}
async function deployed(readOnly = true): Promise<{ at: string; prefix: string }> {
  const at = place()
  const { prefix } = await deploy({ archive, to: join(at, 'env'), readOnly })
  return { at, prefix }
}
const own = ['.conda-deploy']
const refusal = async (options: RelocateOptions): Promise<unknown> => await relocate(options).catch((error) => error)

describe('moving', () => {
  test.each([true, false])('case 34: there and back gives the same tree (read-only: %s)', async (readOnly) => {
    const { at, prefix } = await deployed(readOnly)
    const before = describeTree(prefix)
    const to = join(at, 'deep/er/elsewhere')
    const there = await relocate({ directory: prefix, to })
    expect(there).toMatchObject({ method: 'moved', prefix: to, from: prefix, readOnly, dropped: [], warnings: [] })
    expect(there.reused).toMatchObject({ copied: 0, refused: 0 })
    expect(readdirSync(at)).toEqual(['deep'])
    expect(readdirSync(join(at, 'deep/er'))).toEqual(['elsewhere'])
    expect((await verify(to)).faults).toEqual([])
    expect(readFileSync(join(to, 'etc/prefix'), 'utf8')).toBe(`${to}\n`)
    expect(filesWith(to, prefix)).toEqual([])
    await relocate({ directory: to, to: prefix })
    const marks = ['.conda-deploy', '.conda-deploy/index', '.conda-deploy/ready']
    const timeless = (tree: Map<string, string>) =>
      new Map([...tree].map(([path, line]) => [path, marks.includes(path) ? line.replace(/ \d{10}/, '') : line]))
    expect(differences(timeless(before), timeless(describeTree(prefix)))).toEqual([])
  })

  test('equals a deployment to the new place', async () => {
    const { at, prefix } = await deployed()
    await relocate({ directory: prefix, to: join(at, 'new') })
    const moved = describeTree(join(at, 'new'), own)
    removeTree(join(at, 'new'))
    await deploy({ archive, to: join(at, 'new') })
    expect(differences(moved, describeTree(join(at, 'new'), own))).toEqual([])
  })

  test('with --copy keeps the old one; read-only files share their inodes, writable ones do not', async () => {
    for (const readOnly of [true, false]) {
      const { at, prefix } = await deployed(readOnly)
      const { method } = await relocate({ directory: prefix, to: join(at, 'copy'), copy: true })
      expect(method).toBe('copied')
      for (const tree of [prefix, join(at, 'copy')]) expect((await verify(tree)).faults).toEqual([])
      const inode = (tree: string) => statSync(join(tree, 'lib/plain')).ino
      expect(inode(prefix) === inode(join(at, 'copy'))).toBe(readOnly)
    }
  })

  test.skipIf(!existsSync('/dev/shm') || statfsSync('/dev/shm').type === statfsSync(work).type)(
    'case 46: to another file system copies (skipped where /dev/shm is none)',
    async () => {
      const { at, prefix } = await deployed()
      const to = `/dev/shm/conda-deploy-relocate-${process.pid}`
      try {
        const { reused } = await relocate({ directory: prefix, to })
        expect(reused).toMatchObject({ linked: 0, refused: 0 })
        expect(reused.copied).toBeGreaterThan(60)
        expect(readdirSync(at)).toEqual([])
        expect((await verify(to)).faults).toEqual([])
      } finally {
        removeTree(to)
      }
    },
  )

  test('of a deployed archive of conda-pack finds every place again', async () => {
    const origin = join(place(), 'envs/app')
    const environment = {
      packages: [
        python,
        {
          name: 'libx',
          files: [
            { path: 'bin/x', text: '#!{prefix}/bin/python -s\n"{prefix}"\n', executable: true },
            { path: 'lib/libx.so', binary: '\x7fELF\0{prefix}/lib:{prefix}\0other', executable: true },
          ],
        },
      ],
      files: [{ path: 'share/own.txt', text: 'at {prefix}\n' }],
    }
    makeEnvironment(origin, environment)
    const at = place()
    writeFileSync(join(at, 'env.tar'), await condaPackTar(origin, environment))
    const { prefix } = await deploy({ archive: join(at, 'env.tar'), to: join(at, 'env') })
    const before = describeTree(prefix, own)
    const to = join(at, `${'long/'.repeat(25)}env with blanks`)
    await relocate({ directory: prefix, to })
    expect((await verify(to)).faults).toEqual([])
    // The index names it as one of the prefixes that were stored.
    expect(filesWith(to, prefix)).toEqual(['.conda-deploy/index'])
    expect(readFileSync(join(to, 'bin/x'), 'utf8')).toContain("'''exec' ")
    await relocate({ directory: to, to: prefix })
    expect(differences(before, describeTree(prefix, own))).toEqual([])
  })
})

describe('repairing', () => {
  test('case 34: a tree that was moved works where it stands; the next time nothing is to be done', async () => {
    const { at, prefix } = await deployed()
    const moved = join(at, 'moved')
    renameSync(prefix, moved)
    const there = await relocate({ directory: moved })
    expect(there).toMatchObject({ method: 'repaired', prefix: moved, from: prefix })
    expect(readdirSync(at)).toEqual(['moved'])
    expect((await verify(moved)).faults).toEqual([])
    expect(readFileSync(join(moved, 'etc/prefix'), 'utf8')).toBe(`${moved}\n`)
    const inode = statSync(moved).ino
    expect((await relocate({ directory: moved })).method).toBe('unchanged')
    expect(statSync(moved).ino).toBe(inode)
  })

  test('goes to the tree that a link leads to', async () => {
    const { at, prefix } = await deployed()
    renameSync(prefix, join(at, 'moved'))
    symlinkSync('moved', join(at, 'link'))
    expect((await relocate({ directory: join(at, 'link') })).prefix).toBe(join(at, 'moved'))
  })

  test('case 35: what runs from the tree goes on, with the files that it has open', async () => {
    const program = join(work, 'waits.tar.zst')
    await writeSample(program, { program: 'read line; cat "$(dirname "$0")/../etc/prefix"' })
    const at = place()
    await deploy({ archive: program, to: join(at, 'env') })
    const moved = join(at, 'moved')
    renameSync(join(at, 'env'), moved)
    const child = spawn(join(moved, 'bin/hello'), { stdio: ['pipe', 'pipe', 'inherit'] })
    await new Promise((resolve) => child.once('spawn', resolve))
    const open = openSync(join(moved, 'etc/prefix'), 'r')
    await relocate({ directory: moved })
    const bytes = Buffer.alloc(200)
    expect(bytes.toString('utf8', 0, readSync(open, bytes))).toBe(`${join(at, 'env')}\n`)
    closeSync(open)
    let said = ''
    child.stdout.on('data', (chunk) => {
      said += chunk
    })
    child.stdin.end('go\n')
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0)
    expect(said).toBe(`${moved}\n`)
  })
})

describe('a tree that is not what was deployed', () => {
  test('is refused by name, and stays', async () => {
    const { at, prefix } = await deployed(false)
    appendFileSync(join(prefix, 'etc/kept'), 'more')
    const before = describeTree(prefix)
    expect(await refusal({ directory: prefix, to: join(at, 'new') })).toMatchObject({
      code: 'VERIFY_FAILED',
      paths: ['etc/kept'],
      hint: expect.stringContaining('archive'),
    })
    expect(await refusal({ directory: prefix, to: join(at, 'new'), force: true })).toMatchObject({
      code: 'VERIFY_FAILED',
    })
    expect(differences(before, describeTree(prefix))).toEqual([])
    expect(readdirSync(at)).toEqual(['env'])
  })

  test('with something added needs --force, which leaves it behind; compiled Python does not count', async () => {
    const { at, prefix } = await deployed(false)
    mkdirSync(join(prefix, 'lib/__pycache__'))
    writeFileSync(join(prefix, 'lib/__pycache__/x.cpython-311.pyc'), '')
    writeFileSync(join(prefix, 'etc/mine'), 'mine')
    expect(await refusal({ directory: prefix, to: join(at, 'new') })).toMatchObject({
      code: 'VERIFY_FAILED',
      paths: ['etc/mine'],
      hint: expect.stringContaining('--force'),
    })
    const done = await relocate({ directory: prefix, to: join(at, 'new'), force: true })
    expect([...done.dropped].sort()).toEqual(['etc/mine', 'lib/__pycache__'])
    expect(done.warnings).toEqual([expect.stringContaining('etc/mine')])
    expect((await verify(join(at, 'new'))).faults).toEqual([])
  })

  test('but for its modes is put right', async () => {
    const { at, prefix } = await deployed(false)
    chmodSync(join(prefix, 'bin/hello'), 0o600)
    const { warnings } = await relocate({ directory: prefix, to: join(at, 'new') })
    expect(warnings).toEqual([expect.stringContaining('modes')])
    expect((await verify(join(at, 'new'))).faults).toEqual([])
  })
})

describe('refused', () => {
  test.each<[string, (prefix: string) => Partial<RelocateOptions>, string]>([
    ['a target that exists', (prefix) => ({ to: join(prefix, '..') }), 'INVALID_OPTION'],
    ['a target inside the tree', (prefix) => ({ to: join(prefix, 'lib/env') }), 'INVALID_OPTION'],
    ['a copy onto itself', (prefix) => ({ to: prefix, copy: true }), 'INVALID_OPTION'],
    ['a copy to nowhere', () => ({ to: undefined, copy: true }), 'INVALID_OPTION'],
    ['a prefix that is too long', (prefix) => ({ to: join(prefix, `../${'x'.repeat(slot)}`) }), 'PREFIX_TOO_LONG'],
    ['a name that is too long', (prefix) => ({ to: join(prefix, `../${'x'.repeat(300)}`) }), 'INVALID_OPTION'],
    ['what is not there', (prefix) => ({ directory: `${prefix}-none`, to: `${prefix}-new` }), 'NOT_A_DEPLOYMENT'],
    [
      'what was not deployed',
      (prefix) => ({ directory: join(prefix, 'lib'), to: `${prefix}-new` }),
      'NOT_A_DEPLOYMENT',
    ],
  ])('%s, before anything is written', async (_, options, code) => {
    const { at, prefix } = await deployed()
    expect(await refusal({ directory: prefix, to: `${prefix}-new`, ...options(prefix) })).toMatchObject({ code })
    expect(readdirSync(at)).toEqual(['env'])
    expect((await verify(prefix)).faults).toEqual([])
  })

  test('a target where another tree stands, also another deployment of the same archive', async () => {
    const { at, prefix } = await deployed()
    await deploy({ archive, to: join(at, 'other') })
    expect(await refusal({ directory: prefix, to: join(at, 'other') })).toMatchObject({ code: 'TARGET_EXISTS' })
    expect(readdirSync(at).sort()).toEqual(['env', 'other'])
  })

  test('after --wait seconds, while another process works there', async () => {
    const { at, prefix } = await deployed()
    const held = native().lock(join(at, '.env.lock'), 'exclusive') as number
    expect(await refusal({ directory: prefix, to: join(at, 'new'), wait: 0.1 })).toMatchObject({
      code: 'LOCK_HELD',
      exitStatus: 75,
    })
    native().unlock(held)
  })
})

test('a dry run writes nothing and says what would be done', async () => {
  const { at, prefix } = await deployed()
  const plan = await relocate({ directory: prefix, to: join(at, 'a/new'), dryRun: true })
  expect(plan).toMatchObject({ method: 'moved', dryRun: true, reused: { bytes: 0 } })
  expect(readdirSync(at)).toEqual(['env'])
})

describe('a relocation that is killed', () => {
  const moments = [
    ['check', 0],
    ['write', 0],
    ['write', 4],
    ['verify', 0],
    ['publish', 0],
    ['publish', 1],
    ['remove', 0],
    ['remove', 1],
    ['remove', 3],
  ] as const

  test.each(moments)(
    'case 34: as %s begins, and %d ms later: one tree is complete, and the next run ends it',
    async (phase, ms) => {
      for (const move of [true, false]) {
        const { at, prefix } = await deployed()
        const target = join(at, move ? 'new' : 'moved')
        if (!move) renameSync(prefix, target)
        const options = move ? { directory: prefix, to: target } : { directory: target }
        const child = start('relocate', { ...options, threads: 1 }, (line, process) => {
          const begun = line.phase === phase || (phase === 'check' && line.phase === 'verify')
          if (begun) setTimeout(() => process.kill('SIGKILL'), ms)
        })
        await child.ended
        const standing = [prefix, target].filter((path) => lstatSync(path, { throwIfNoEntry: false }) !== undefined)
        expect(standing.length).toBeGreaterThan(0)
        for (const tree of standing) expect((await verify(tree)).faults.filter(({ path }) => path !== '.')).toEqual([])
        const next = await relocate(options).catch((error) => error)
        // Killed after its last step it has left nothing to end.
        if (next instanceof Error) expect(next.message).toBe(`there is nothing at ${prefix}`)
        expect(readdirSync(at).filter((name) => name !== '.env.lock')).toEqual([move ? 'new' : 'moved'])
        expect((await verify(target)).faults).toEqual([])
      }
    },
  )
})

test('where names cannot be exchanged, what was put aside comes back', async () => {
  const { at, prefix } = await deployed()
  renameSync(prefix, join(at, '.moved.4242.aside'))
  const { method } = await relocate({ directory: join(at, 'moved') })
  expect(method).toBe('repaired')
  expect(readdirSync(at)).toEqual(['moved'])
})

test('an abort leaves the tree, and nothing at the target', async () => {
  const { at, prefix } = await deployed()
  const controller = new AbortController()
  const reporter = {
    phase: (name: string) => void (name === 'publish' && controller.abort()),
    progress() {},
    warn() {},
  }
  const to = join(at, 'deep/new')
  expect(await refusal({ directory: prefix, to, reporter, signal: controller.signal })).toMatchObject({
    code: 'CANCELLED',
  })
  expect(readdirSync(at)).toEqual(['env'])
  expect((await verify(prefix)).faults).toEqual([])
})

test('the command prints the prefix; --json the result', async () => {
  const { at, prefix } = await deployed()
  const plain = await runCli(['relocate', prefix, join(at, 'new')])
  expect(plain).toMatchObject({ status: 0, stdout: `${join(at, 'new')}\n` })
  expect(plain.stderr).toContain('moved')
  const json = await runCli(['relocate', join(at, 'new'), prefix, '--json', '--quiet', '--wait', '5'])
  expect(JSON.parse(json.stdout)).toMatchObject({ method: 'moved', prefix, from: join(at, 'new') })
  const dry = await runCli(['relocate', prefix, join(at, 'new'), '--dry-run'])
  expect(dry.stdout).toContain('would move')
  rmSync(join(at, 'none'), { force: true })
  expect((await runCli(['relocate', join(at, 'none')])).status).toBe(1)
})
