/** Every format, against the programs that everybody reads it with: the same tree, the same bytes each time, levels that count. */
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { beforeAll, describe, expect, test } from 'vitest'
import { deploy } from '../../src/deploy/deploy.js'
import type { PackEntry } from '../../src/native.js'
import { checkZip } from '../../src/pack/dereference.js'
import { type PackOptions, type PackResult, pack } from '../../src/pack/pack.js'
import { here, makeEnvironment, placeholder, python } from '../support/make-env.js'
import { cliFile } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { describeTree, differences, filesWith } from '../support/tree.js'
import { type Format, has, possible, unpack } from './unpackers.js'

const root = temporaryFolder('formats')
const prefix = join(root, 'envs/sample')
const at = (name: string): string => join(root, name)
const site = 'lib/python3.11/site-packages'

/** Text that compresses, differently at each level. */
function prose(bytes: number): string {
  let seed = 7
  let text = ''
  const words = Array.from({ length: 3000 }, (_, i) => (i * 2654435761).toString(36).slice(1, 4 + (i % 7)))
  while (text.length < bytes) {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff
    text += `${words[(seed >> 8) % ((seed >> 4) % 3000 || 1)]} `
  }
  return text.slice(0, bytes)
}

const app = {
  name: 'app',
  files: [
    { path: 'lib/libapp.so', binary: `\u007fELF\0share=${here}/share:${here}/x\0after\0`, executable: true },
    { path: 'lib/libapp.so.1', link: 'libapp.so' },
    { path: 'bin/app', text: `#!${here}/bin/python\nimport app\n`, executable: true },
    { path: `${site}/app.py`, text: `home = "${here}"\nagain = "${here}/x"\n` },
    { path: `${site}/__pycache__/app.cpython-311.pyc`, text: 'compiled' },
    { path: 'share/app/prose.txt', text: prose(700_000) },
    { path: 'share/app/large.txt', text: `${here}/first\n${prose(4_500_000)}\n${here}/last\n` },
  ],
}

beforeAll(() => {
  mkdirSync(join(root, 'envs'))
  makeEnvironment(prefix, {
    packages: [python, app],
    files: [
      { path: 'share/one', text: `shared, at ${here}\n` },
      { path: 'share/folder-link', link: 'app' },
    ],
  })
  linkSync(join(prefix, 'share/one'), join(prefix, 'share/two'))
  linkSync(join(prefix, 'share/one'), join(prefix, 'bin/three'))
  mkdirSync(join(prefix, 'var/empty'), { recursive: true })
})

const made = new Map<string, Promise<PackResult>>()
/** The archive of the sample in a format, made once. */
function archived(format: Format): Promise<PackResult> {
  const there = made.get(format) ?? pack({ prefix, output: at(`sample.${format}`) })
  made.set(format, there)
  return there
}

/** What a tree holds, links followed: what zip makes of it. */
function followed(tree: string): Map<string, string> {
  execFileSync('cp', ['-rLp', tree, `${tree}-followed`])
  return describeTree(`${tree}-followed`)
}

/** Times of zip are even, and unzip does not set those of folders that it writes into later. */
const inZip = (tree: Map<string, string>): Map<string, string> =>
  new Map(
    [...tree].map(([path, line]) => [
      path,
      line
        .replace(/^(directory \d+) \d+$/, '$1')
        .replace(/^(file \d+) (\d+)/, (_, mode, time) => `${mode} ${Math.floor(Number(time) / 2)}`),
    ]),
  )

describe.each(possible)('%s', (format) => {
  test('case 14: the same files, modes, times, links and empty folders as tar.zst', async () => {
    const result = await archived(format)
    expect(result).toMatchObject({ format, output: at(`sample.${format}`), counts: { modified: 0 } })
    expect(result.digest === null).toBe(format !== 'tar.zst')
    const tree = unpack(format, at(`sample.${format}`), at(`tree-${format}`))
    const reference = at(`reference-${format}`)
    await archived('tar')
    unpack('tar', at('sample.tar'), reference)
    if (format === 'zip') {
      // conda-unpack names the copies, which links are elsewhere; records say what the links lead to.
      const apart = differences(inZip(followed(reference)), inZip(describeTree(tree)))
      expect(apart.filter((line) => !/^(?:bin\/conda-unpack|conda-meta\/.*\.json): /.test(line))).toEqual([])
    } else expect(differences(describeTree(reference), describeTree(tree))).toEqual([])
    expect(statSync(join(tree, 'bin/conda-unpack')).mode & 0o777).toBe(0o755)
    if (format !== 'zip') expect(statSync(join(tree, 'share/one')).ino).toBe(statSync(join(tree, 'bin/three')).ino)
  })

  test('case 21: its own bin/conda-unpack completes what others unpacked', () => {
    const tree = at(`tree-${format}`)
    execFileSync(join(tree, 'bin/conda-unpack'), { stdio: 'pipe' })
    expect(readFileSync(join(tree, `${site}/app.py`), 'utf8')).toBe(`home = "${tree}"\nagain = "${tree}/x"\n`)
    for (const name of ['share/one', 'share/two', 'bin/three'])
      expect(readFileSync(join(tree, name), 'utf8')).toBe(`shared, at ${tree}\n`)
    const left = filesWith(tree, prefix).concat(filesWith(tree, placeholder))
    expect(left.filter((path) => !/^(?:bin\/conda-unpack|\.conda-deploy\/|conda-meta\/)/.test(path))).toEqual([])
  })

  test('case 15: levels change what is written, and every one can be read', async () => {
    const most = format === 'tar.zst' ? 19 : 9
    const small = at('small-env')
    if (!existsSync(small))
      makeEnvironment(small, { packages: [python], files: [{ path: 'prose', text: prose(400_000) }] })
    const sizes = new Map<number, number>()
    for (const compressLevel of new Set([0, 1, 4, 9, most])) {
      const output = at(`level-${compressLevel}.${format}`)
      const result = await pack({ prefix: small, output, compressLevel, nThreads: 3 })
      expect(result.threads).toBe(3)
      sizes.set(compressLevel, result.packedBytes ?? 0)
      const tree = unpack(format, output, at(`level-${format}-${compressLevel}`))
      expect(readFileSync(join(tree, 'prose'), 'utf8')).toBe(prose(400_000))
    }
    const [none = 0, one = 0, , nine = 0] = [...sizes.values()]
    if (format === 'tar' || format === 'no-archive') expect(new Set(sizes.values()).size).toBe(1)
    else {
      expect(nine).toBeLessThan(one)
      // bzip2 has no level 0, zstd means its default, xz its fastest.
      if (['tar.gz', 'zip', 'squashfs'].includes(format)) expect(none).toBeGreaterThan(one * 1.5)
    }
    await expect(pack({ prefix: small, output: at(`x.${format}`), compressLevel: most + 1 })).rejects.toThrow(
      `compress-level must be a whole number from 0 to ${most} for ${format}, got ${most + 1}`,
    )
  })

  test('case 19: the same bytes whatever the threads, the umask, the time zone and the temporary folder', async () => {
    const one = at(`sample.${format}`)
    await archived(format)
    const other = at(`other.${format}`)
    const env = { ...process.env, TMPDIR: at('envs'), TZ: 'Asia/Tokyo' }
    const shell = 'umask 077; exec "$0" "$@"'
    const args = [cliFile, 'pack', '-q', '-p', prefix, '-o', other, '-j', '1', '--json']
    const said = execFileSync('sh', ['-c', shell, process.execPath, ...args], { env, encoding: 'utf8' })
    expect(JSON.parse(said)).toMatchObject({ threads: 1 })
    if (format === 'no-archive') expect(differences(describeTree(one), describeTree(other))).toEqual([])
    else {
      expect(readFileSync(other).equals(readFileSync(one))).toBe(true)
      expect(statSync(other).mode & 0o777).toBe(0o600)
    }
    expect(readdirSync(at('envs'))).toEqual(['sample'])
  })

  test.skipIf(format === 'squashfs' || format === 'no-archive')('case 20: it can be streamed', async () => {
    await archived(format)
    const stream = new PassThrough()
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    const result = await pack({ prefix, stream, format })
    expect(result).toMatchObject({ output: null, format })
    const bytes = Buffer.concat(chunks)
    expect(result.packedBytes).toBe(bytes.length)
    expect(bytes.equals(readFileSync(at(`sample.${format}`)))).toBe(true)
    expect(stream.writableEnded).toBe(false)
  })

  test('case 37: arcroot', async () => {
    const output = at(`rooted.${format}`)
    await pack({ prefix, output, arcroot: '/some/where/' })
    const tree = unpack(format, output, at(`rooted-${format}`))
    expect(readdirSync(tree)).toEqual(['some'])
    const plain = unpack(format, at(`sample.${format}`), at(`plain-${format}`))
    expect(differences(describeTree(plain), describeTree(join(tree, 'some/where')))).toEqual([])
    expect(lstatSync(join(tree, 'some')).mode & 0o777).toBe(0o755)
    if (format !== 'tar.zst') return
    const target = at('rooted-deployed')
    await deploy({ archive: output, to: target, readOnly: false })
    expect(readFileSync(join(target, 'share/one'), 'utf8')).toBe(`shared, at ${target}\n`)
  })
})

describe.skipIf(!has('zstd'))('case 37: dest-prefix', () => {
  const dest = (length: number): string => `${at('dest')}/${'d'.repeat(length)}`.slice(0, length)
  const packDest = (destPrefix: string, more: PackOptions = {}): Promise<PackResult> =>
    pack({ prefix, output: at(`dest-${destPrefix.length}.tar.zst`), destPrefix, ...more })

  test.each([60, 126, 200])('%s bytes: plain tar gives what deploying there gives, without conda-unpack', async (n) => {
    const prefixed = dest(n)
    const result = await packDest(prefixed, { nThreads: 2 })
    expect(result).toMatchObject({ destPrefix: prefixed, kept: [] })
    const tree = unpack('tar.zst', at(`dest-${n}.tar.zst`), at(`dest-tree-${n}`))
    await archived('tar.zst')
    mkdirSync(at('dest'), { recursive: true })
    await deploy({ archive: at('sample.tar.zst'), to: prefixed, readOnly: false })
    const apart = differences(describeTree(prefixed, ['.conda-deploy']), describeTree(tree))
    expect(apart.filter((line) => !line.startsWith('bin/conda-unpack: file'))).toEqual([])
    expect(existsSync(join(tree, 'bin/conda-unpack'))).toBe(false)
    // And it can be deployed elsewhere all the same: places keep their room.
    const there = at(`moved-${n}`)
    await deploy({ archive: at(`dest-${n}.tar.zst`), to: there, readOnly: false })
    expect(filesWith(there, prefixed).filter((path) => !path.startsWith('.conda-deploy'))).toEqual([])
    expect(readFileSync(join(there, 'lib/libapp.so'), 'latin1')).toContain(`share=${there}/share:${there}/x\0`)
    expect(readFileSync(join(there, `${site}/app.py`), 'utf8')).toBe(`home = "${there}"\nagain = "${there}/x"\n`)
    rmSync(prefixed, { recursive: true })
  })

  test('what is too long is refused before anything is written', async () => {
    let opened = false
    const stream = new PassThrough().on('data', () => {
      opened = true
    })
    await expect(pack({ prefix, stream, destPrefix: dest(256) })).rejects.toMatchObject({
      code: 'PREFIX_TOO_LONG',
      paths: expect.arrayContaining(['lib/libapp.so']),
    })
    expect(opened).toBe(false)
    await expect(packDest('relative')).rejects.toThrow("dest-prefix must be an absolute path, got 'relative'")
  })

  test('a parcel: its layout, its metadata, its prefix, and no scripts of ours', async () => {
    const parcels = at('parcels')
    mkdirSync(parcels)
    const output = join(parcels, 'x.parcel')
    const names = { parcelName: 'tools', parcelVersion: '1.2', parcelDistro: 'el9', parcelRoot: '/srv/parcels/' }
    expect(await pack({ prefix, output, ...names })).toMatchObject({
      format: 'parcel',
      destPrefix: '/srv/parcels/tools-1.2',
    })
    const tree = join(unpack('parcel', output, at('parcel-tree')), 'tools-1.2')
    expect(readFileSync(join(tree, `${site}/app.py`), 'utf8')).toMatch(/^home = "\/srv\/parcels\/tools-1\.2"\n/)
    for (const name of ['activate', 'deactivate', 'conda-unpack'])
      expect(existsSync(join(tree, 'bin', name))).toBe(false)
    expect(JSON.parse(readFileSync(join(tree, 'meta/parcel.json'), 'utf8'))).toEqual({
      components: [{ name: 'tools', pkg_version: '1.2', version: '1.2' }],
      extraVersionInfo: { baseVersion: '1.2', fullVersion: '1.2-el9', patchCount: '0' },
      groups: [],
      name: 'tools',
      packages: [
        { name: 'app', version: '1.0-0' },
        { name: 'python', version: '3.11.4-0' },
      ],
      provides: ['spark-plugin'],
      schema_version: 1,
      scripts: { defines: 'conda_env.sh' },
      setActiveSymlink: true,
      users: {},
      version: '1.2',
    })
    const script = 'f() { . "$1/meta/conda_env.sh"; }; f "$0"; echo "$CDH_PYTHON"'
    const env = { PARCELS_ROOT: '/srv/parcels', PARCEL_DIRNAME: 'tools-1.2', PATH: process.env['PATH'] }
    expect(execFileSync('bash', ['-c', script, tree], { env, encoding: 'utf8' })).toBe(
      '/srv/parcels/tools-1.2/bin/python\n',
    )
    const refused = (options: PackOptions) => pack({ prefix, output, force: true, ...options }).then(String, String)
    expect(await refused({ parcelName: 'a-b' })).toMatch('Parcel names may not have dashes: a-b')
    expect(await refused({ parcelDistro: 'a-b' })).toMatch('Parcel distributions may not have dashes: a-b')
    expect(await refused({ arcroot: 'x' })).toMatch("Cannot specify 'dest_prefix'/'arcroot' for parcels")
    expect(await refused({ destPrefix: '/x' })).toMatch("Cannot specify 'dest_prefix'/'arcroot' for parcels")
  })
})

test.skipIf(!has('unzip'))('case 18: zip with links, dangling ones, and without ZIP64', async () => {
  const env = at('linked')
  makeEnvironment(env, {
    packages: [python],
    files: [
      { path: 'share/dangling', link: 'gone' },
      { path: 'share/loop', link: '..' },
      { path: 'share/outside', link: at('outside-folder') },
    ],
  })
  mkdirSync(at('outside-folder/deep'), { recursive: true })
  writeFileSync(at('outside-folder/deep/file'), 'from outside')
  utimesSync(at('outside-folder/deep/file'), 1, 1)
  symlinkSync('deep/file', at('outside-folder/link'))
  await expect(pack({ prefix: env, output: at('linked.zip') })).rejects.toThrow(
    /^The following conda package file is a symbolic link that does not match an\nexisting file within the same package:\n\n {4}share\/dangling\n/,
  )
  await pack({ prefix: env, output: at('kept.zip'), zipSymlinks: true })
  const kept = unpack('zip', at('kept.zip'), at('kept-tree'))
  const tar = pack({ prefix: env, output: at('kept.tar') }).then(() => unpack('tar', at('kept.tar'), at('kept-tar')))
  expect(differences(inZip(describeTree(await tar)), inZip(describeTree(kept)))).toEqual([])
  const filters = ['share/dangling', 'share/loop'].map((pattern) => ({ kind: 'exclude' as const, pattern }))
  await pack({ prefix: env, output: at('followed.zip'), filters, zip64: false })
  const tree = unpack('zip', at('followed.zip'), at('followed-tree'))
  expect(readFileSync(join(tree, 'share/outside/link'), 'utf8')).toBe('from outside')
  expect(lstatSync(join(tree, 'bin/python')).isFile()).toBe(true)
  const entries = Array.from({ length: 65_535 }, (_, i): PackEntry => {
    return { path: `many/${i}`, kind: 'file', mode: 0o644, mtime: 0, size: 0 }
  })
  checkZip({ entries, meta: [] }, { zipSymlinks: false, zip64: true })
  expect(() => checkZip({ entries, meta: [] }, { zipSymlinks: false, zip64: false })).toThrow(
    'Large Zip File: ZIP64 extensions required but were disabled',
  )
})
