import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openTarZst } from '../../src/archive/tar-zst.js'
import { EnvError } from '../../src/errors.js'
import { pack } from '../../src/pack/pack.js'
import { parseIdentity } from '../../src/tree/manifest.js'
import {
  type FakeEnvironment,
  here,
  makeEnvironment,
  placeholder,
  python,
  temporaryFolder,
} from '../support/make-env.js'

const root = temporaryFolder()
let made = 0
const make = (what: Partial<FakeEnvironment> = {}): { prefix: string; output: string } => {
  const prefix = join(root, `env-${made++}`)
  makeEnvironment(prefix, { packages: [python], ...what })
  return { prefix, output: `${prefix}.tar.zst` }
}
const site = 'lib/python3.11/site-packages'
const failure = async (call: Promise<unknown>): Promise<EnvError> => {
  const error = await call.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (error instanceof EnvError) return error
  throw error ?? new Error('expected an EnvError')
}
const members = (archive: string): string[] =>
  execFileSync('tar', ['-I', 'zstd', '-tf', archive], { encoding: 'utf8' }).trimEnd().split('\n')
const member = (archive: string, path: string): string =>
  execFileSync('tar', ['-I', 'zstd', '-xOf', archive, path], { encoding: 'latin1' })
const hasZstd = spawnSync('zstd', ['--version']).status === 0
const app = {
  name: 'app',
  files: [
    { path: 'lib/libapp.so', binary: `\u007fELF\0share=${here}/share:${here}/x\0after\0`, executable: true },
    { path: 'bin/app', text: `#!${here}/bin/python\nimport app\n`, executable: true },
    { path: `${site}/app.py`, text: `home = "${here}"\n` },
    { path: `${site}/plain.py`, text: 'x = 1\n' },
    { path: `${site}/__pycache__/app.cpython-311.pyc`, text: 'compiled' },
    { path: `${site}/__pycache__/plain.cpython-311.pyc`, text: 'compiled' },
  ],
}

describe.skipIf(!hasZstd)('an archive (read by tar and zstd, which must be installed)', () => {
  test.each(['conda', 'mamba', 'pixi'] as const)('of an environment made by %s', async (style) => {
    const { prefix, output } = make({ style, packages: [python, app] })
    const result = await pack({ prefix, output })
    const proven = style === 'mamba' ? 2 : 6
    expect(result.counts).toMatchObject({
      proven,
      installed: style === 'mamba' ? 4 : 0,
      modified: 0,
      unmanaged: 0,
    })
    expect(result.droppedPyc).toEqual([`${site}/__pycache__/app.cpython-311.pyc`])
    expect(result).toMatchObject({
      output,
      name: prefix.split('/').at(-1),
      python: '3.11.4',
      longestPrefix: 255,
      // The history names the prefix, and conda-unpack has to know what to replace; pixi keeps no history.
      kept: style === 'pixi' ? [] : [{ path: 'bin/conda-unpack', count: 1 }],
      warnings: [],
    })
    const names = members(output)
    expect(names).toHaveLength(result.entries)
    expect(names).toContain('bin/conda-unpack')
    expect(names).not.toContain(`${site}/__pycache__/app.cpython-311.pyc`)
    if (style !== 'mamba')
      expect(member(output, 'lib/libapp.so')).toBe(`\u007fELF\0share=${placeholder}/share:${placeholder}/x\0after\0`)
    const index = await openTarZst(output, true)
    const identity = parseIdentity(index?.json ?? '', output)
    expect(identity).toMatchObject({ name: result.name, packages: 2, counts: result.counts, droppedPyc: { total: 1 } })
    expect(index).toMatchObject({
      digest: result.digest,
      entries: result.entries,
      rewritten: result.rewritten,
      longestPrefix: 255,
    })
  })

  test('case 34: of an environment that was moved, or copied from one that is still there', async () => {
    const { prefix, output } = make({
      packages: [python, { ...app, files: [...app.files, { path: 'share/link', link: '{prefix}/bin' }] }],
    })
    const before = await pack({ prefix, output })
    execFileSync('cp', ['-a', prefix, `${prefix}-copy`])
    const copied = await pack({ prefix: `${prefix}-copy`, output, force: true })
    execFileSync('mv', [prefix, `${prefix}-moved`])
    const moved = await pack({ prefix: `${prefix}-moved`, output: join(root, 'moved.tar.zst') })
    for (const [result, place] of [
      [copied, `${prefix}-copy`],
      [moved, `${prefix}-moved`],
    ] as const) {
      const { counts, rewritten, longestPrefix } = before
      expect(result).toMatchObject({ counts, rewritten, longestPrefix, modified: [], outsideLinks: [] })
      expect(result.warnings).toEqual([expect.stringContaining(`moved or copied from there to ${place}`)])
    }
    expect(before.warnings).toEqual([])
  })

  test('case 33: records say nothing of the source, and their hashes wait for the target', async () => {
    const { prefix, output } = make({ packages: [python, app] })
    writeFileSync(join(prefix, `${site}/plain.py`), 'x = 2\n')
    const result = await pack({ prefix, output })
    expect(result.modified).toEqual([`${site}/plain.py`])
    const text = member(output, 'conda-meta/app-1.0-0.json')
    expect(text).not.toMatch(/source-machine/)
    const record = JSON.parse(text) as {
      files: string[]
      paths_data: { paths: { _path: string; sha256_in_prefix: string }[] }
    }
    expect(record.files).not.toContain(`${site}/__pycache__/app.cpython-311.pyc`)
    const hashes = Object.fromEntries(record.paths_data.paths.map((one) => [one._path, one.sha256_in_prefix]))
    const plain = execFileSync('sha256sum', [join(prefix, site, 'plain.py')], { encoding: 'utf8' }).slice(0, 64)
    expect(hashes).toMatchObject({ 'bin/app': '0'.repeat(64), [`${site}/plain.py`]: plain })
    const entry = (await openTarZst(output, true))?.list?.find((one) => one.path === 'conda-meta/app-1.0-0.json')
    expect(entry?.spots?.map((spot) => [spot.encoding, spot.refers])).toEqual([
      ['digest', 'lib/libapp.so'],
      ['digest', 'bin/app'],
      ['digest', `${site}/app.py`],
    ])
    expect(member(output, 'conda-meta/history')).toBe(`# cmd: conda create -p ${prefix}\n`)
  })

  test('case 14: unmanaged files, links, modes, empty directories and hard links', async () => {
    const { prefix, output } = make({
      files: [
        { path: 'bin/piped', text: '#!{prefix}/bin/python\n', executable: true },
        { path: 'share/blob', binary: `\0\0data ${here}/x\0` },
        { path: 'share/host', link: '/usr/share' },
        { path: 'share/own', link: '{prefix}/bin' },
        { path: 'share/one', text: 'shared' },
      ],
    })
    mkdirSync(join(prefix, 'var/empty'), { recursive: true })
    linkSync(join(prefix, 'share/one'), join(prefix, 'share/two'))
    chmodSync(join(prefix, 'share/one'), 0o600)
    const result = await pack({ prefix, output })
    expect(result.counts.unmanaged).toBe(3)
    expect(result.kept.map((one) => one.path)).toEqual(['share/blob', 'bin/conda-unpack'])
    expect(result.outsideLinks).toEqual([{ path: 'share/host', target: '/usr/share' }])
    expect(result.warnings).toHaveLength(2)
    const listing = execFileSync('tar', ['-I', 'zstd', '-tvf', output], { encoding: 'utf8' })
    expect(listing).toMatch(/^drwxr-xr-x 0\/0 .* var\/empty\/$/m)
    expect(listing).toMatch(/^-rwxr-xr-x 0\/0 .* bin\/piped$/m)
    expect(listing).toMatch(/^-rw-r--r-- 0\/0 .* share\/one$/m)
    expect(listing).toMatch(/^h.* share\/two link to share\/one$/m)
    expect(listing).toMatch(/^l.* share\/own -> \.\.\/bin$/m)
  })

  test('case 19: has the same bytes whatever the threads, the level of detail asked for, the output and the time', async () => {
    const { prefix, output } = make({
      packages: [python, app],
      files: [{ path: 'share/large', text: 'x'.repeat(9 << 20) }],
    })
    const one = await pack({ prefix, output, nThreads: 1 })
    const before = process.umask(0o077)
    const other = await pack({ prefix, output: join(root, 'other.tzst'), nThreads: 3 }).finally(() =>
      process.umask(before),
    )
    expect(other.digest).toBe(one.digest)
    expect(readFileSync(join(root, 'other.tzst')).equals(readFileSync(output))).toBe(true)
    expect(statSync(join(root, 'other.tzst')).mode & 0o777).toBe(0o600)
    const study = await pack({ prefix, dryRun: true })
    const { output: _, digest: __, packedBytes: ___, ratio: ____, seconds: _____, threads: ______, ...same } = one
    expect(study).toMatchObject({ ...same, output: null, digest: null, packedBytes: null, ratio: null })
  })

  test('GNU tar gives directories their times, too', async () => {
    const { prefix, output } = make({ packages: [python, app] })
    for (const path of ['lib', site, 'bin', 'conda-meta'])
      execFileSync('touch', ['-d', '@1600000000', join(prefix, path)])
    await pack({ prefix, output })
    const target = `${prefix}-by-tar`
    mkdirSync(target)
    execFileSync('tar', ['-I', 'zstd', '-xf', output, '-C', target])
    for (const path of ['lib', site, 'bin', 'conda-meta'])
      expect([path, statSync(join(target, path)).mtimeMs / 1000]).toEqual([path, 1_600_000_000])
  })

  test('case 2: the environment may be named by a link to it', async () => {
    const { prefix, output } = make({ packages: [python, app] })
    const spelled = join(root, 'spelled')
    symlinkSync(prefix, spelled)
    expect((await pack({ prefix: spelled, output })).counts.proven).toBe(6)
  })
})

describe('refusals leave nothing', () => {
  const left = (): string[] => readdirSync(root).filter((name) => name.includes('.part-'))

  test('missing files and editable packages, unless they are ignored', async () => {
    const missing = make({ packages: [python, { name: 'gone', listed: [{ path: 'lib/gone', type: 'hardlink' }] }] })
    expect(await failure(pack(missing))).toMatchObject({ code: 'MISSING_FILES', paths: ['lib/gone'] })
    const packed = await pack({ ...missing, ignoreMissingFiles: true })
    expect(packed.missing).toEqual(['lib/gone'])
    expect(packed.warnings).toHaveLength(1)
    const editable = make({ files: [{ path: `${site}/x.egg-link`, text: '/home' }] })
    expect(await failure(pack(editable))).toMatchObject({ code: 'EDITABLE_PACKAGES', paths: ['x'] })
    expect((await pack({ ...editable, ignoreEditablePackages: true })).editable).toEqual(['x'])
    expect(left()).toEqual([])
  })

  test('an output that is there, and a directory that is not', async () => {
    const { prefix, output } = make()
    writeFileSync(output, 'precious')
    expect(await failure(pack({ prefix, output }))).toMatchObject({
      code: 'OUTPUT_EXISTS',
      message: `File '${output}' already exists`,
    })
    expect(readFileSync(output, 'utf8')).toBe('precious')
    const deep = join(root, 'not/there/x.tar.zst')
    expect((await failure(pack({ prefix, output: deep }))).message).toBe(
      `The target output directory ${join(root, 'not/there')} does not exist`,
    )
    expect(existsSync(join(root, 'not'))).toBe(false)
    await pack({ prefix, output, force: true })
    await pack({ prefix, output: deep, force: true })
    expect(readFileSync(output).equals(readFileSync(deep))).toBe(true)
    expect(left()).toEqual([])
  })

  test('formats and numbers', async () => {
    const { prefix } = make()
    const message = async (options: object): Promise<string> => (await failure(pack({ prefix, ...options }))).message
    expect(await message({ output: join(root, 'x.parcel'), format: 'zip' })).toBe("Invalid format for parcel 'zip'")
    expect(await message({ output: join(root, 'x.rar') })).toBe(`Unknown file extension '${join(root, 'x.rar')}'`)
    expect(await message({ format: 'rar' })).toBe("Unknown format 'rar'")
    expect(await message({ compressLevel: 20 })).toMatch(/0 to 19 for tar.zst, got 20/)
    expect(await message({ nThreads: 0 })).toMatch(/n-threads must be >= 1, or -1 for all cores/)
    expect(await message({ filters: [{ kind: 'only', pattern: '*' }] })).toBe("Unknown filter of kind 'only'")
    expect(await message({ prefixx: 'x' })).toMatch(/unknown option 'prefixx'/)
  })

  test('being cancelled', async () => {
    const { prefix, output } = make()
    const controller = new AbortController()
    controller.abort()
    expect((await failure(pack({ prefix, output, signal: controller.signal }))).code).toBe('CANCELLED')
    const late = new AbortController()
    const reporter = { phase: (name: string) => name === 'pack' && late.abort(), progress() {}, warn() {} }
    expect((await failure(pack({ prefix, output, signal: late.signal, reporter: reporter as never }))).code).toBe(
      'CANCELLED',
    )
    expect(existsSync(output)).toBe(false)
    expect(left()).toEqual([])
  })

  test.skipIf(process.getuid?.() === 0)(
    'a file that cannot be read is named (not as root, who reads everything)',
    async () => {
      const { prefix, output } = make({ files: [{ path: 'share/secret', text: 'x' }] })
      chmodSync(join(prefix, 'share/secret'), 0)
      expect(await failure(pack({ prefix, output }))).toMatchObject({
        code: 'PERMISSION',
        path: join(prefix, 'share/secret'),
      })
      expect(left()).toEqual([])
    },
  )
})
