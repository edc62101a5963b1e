/** What conda-pack 0.9 was seen to do wrong, one test each: the same input, and what must come out. */
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type PackOptions, type PackResult, pack } from '../../src/pack/pack.js'
import { type FakeEnvironment, here, makeEnvironment, placeholder, python } from '../support/make-env.js'
import { temporaryFolder } from '../support/temp.js'
import { describeTree, filesWith } from '../support/tree.js'
import { has, possible, unpack } from './unpackers.js'

const root = temporaryFolder('defects')
let made = 0
/** Long enough for every place that these tests move to. */
function make(what: Partial<FakeEnvironment> = {}): string {
  const prefix = join(root, `envs-of-a-user-with-a-rather-long-name-${'x'.repeat(40)}`, `env-${made++}`)
  mkdirSync(prefix, { recursive: true })
  makeEnvironment(prefix, { packages: [python], ...what })
  return prefix
}
const packed = (prefix: string, name: string, more: PackOptions = {}): Promise<PackResult> =>
  pack({ prefix, output: join(root, name), ...more })

/** Packed as a plain tar, unpacked by GNU tar, completed by its conda-unpack. */
async function unpacked(prefix: string, name: string): Promise<string> {
  await packed(prefix, `${name}.tar`)
  const tree = unpack('tar', join(root, `${name}.tar`), join(root, name))
  execFileSync(join(tree, 'bin/conda-unpack'), { stdio: 'pipe' })
  return tree
}

const elf = '\u007fELF\0'
const executable = true

describe('the archive', () => {
  test('has the mode that the umask says, not 0600', async () => {
    const before = process.umask(0o022)
    await packed(make(), 'mode.tar.gz').finally(() => process.umask(before))
    expect(statSync(join(root, 'mode.tar.gz')).mode & 0o777).toBe(0o644)
  })

  test('has whole seconds, so that no reader needs pax headers for them', async () => {
    const prefix = make({ files: [{ path: 'share/fraction', text: 'x' }] })
    utimesSync(join(prefix, 'share/fraction'), 1_600_000_000.75, 1_600_000_000.75)
    await packed(prefix, 'fraction.tar')
    const listed = execFileSync('tar', ['--utc', '--full-time', '-tvf', join(root, 'fraction.tar')], {
      encoding: 'utf8',
    })
    expect(listed).toMatch(/2020-09-13 12:26:40 share\/fraction$/m)
    expect(readFileSync(join(root, 'fraction.tar')).includes('mtime=')).toBe(false)
  })

  test('holds absolute links into the environment as relative ones', async () => {
    const tree = await unpacked(make({ files: [{ path: 'share/own', link: `${here}/bin/python` }] }), 'absolute')
    expect(readlinkSync(join(tree, 'share/own'))).toBe('../bin/python')
  })

  test.skipIf(!has('bzip2'))('can be tar.bz2 of level 0', async () => {
    expect(await packed(make(), 'zero.tar.bz2', { compressLevel: 0 })).toMatchObject({ format: 'tar.bz2' })
    unpack('tar.bz2', join(root, 'zero.tar.bz2'), join(root, 'zero'))
  })

  test('as tar.zst heeds the level, and says by how many threads it was made', async () => {
    const prefix = make({ files: [{ path: 'share/text', text: Array.from({ length: 1e5 }, (_, i) => i * i).join() }] })
    const low = await packed(prefix, 'low.tar.zst', { compressLevel: 1, nThreads: 1 })
    const high = await packed(prefix, 'high.tar.zst', { compressLevel: 19, nThreads: 2 })
    expect([low.threads, high.threads]).toEqual([1, 2])
    expect(high.packedBytes).toBeLessThan((low.packedBytes ?? 0) * 0.95)
  })

  test('is the same each time', async () => {
    const prefix = make()
    for (const name of ['one', 'two']) {
      await packed(prefix, `${name}.tar.gz`)
      await new Promise((done) => setTimeout(done, 1100))
    }
    expect(readFileSync(join(root, 'two.tar.gz')).equals(readFileSync(join(root, 'one.tar.gz')))).toBe(true)
  })

  test('names no owner, and everybody can read and run what is generated', async () => {
    await packed(make(), 'modes.tar')
    const listed = execFileSync('tar', ['--numeric-owner', '-tvf', join(root, 'modes.tar')], { encoding: 'utf8' })
    for (const line of listed.trimEnd().split('\n'))
      expect(line).toMatch(/^(?:[dh-]rw[x-]r-[x-]r-[x-]|lrwxrwxrwx) 0\/0 /)
    expect(listed).toMatch(/^-rwxr-xr-x .* bin\/conda-unpack$/m)
  })
})

describe('what goes in', () => {
  test('case 9: a directory of a package that is no longer empty is not missing', async () => {
    const listed = [{ path: 'var/spool', type: 'directory' }]
    const prefix = make({
      packages: [python, { name: 'spool', listed }],
      files: [{ path: 'var/spool/job', text: 'x' }],
    })
    expect((await packed(prefix, 'directory.tar')).missing).toEqual([])
  })

  test.each(possible.filter((format) => ['tar', 'zip', 'no-archive'].includes(format)))(
    'case 11: %s: a path that two packages own is there once, as it is in the environment',
    async (format) => {
      const shared = { path: 'share/shared', text: 'of the second\n' }
      const packages = [python, { name: 'first', files: [shared] }, { name: 'second', files: [shared] }]
      const prefix = make({ packages })
      await packed(prefix, `twice.${format}`)
      if (format === 'zip') {
        const names = execFileSync('unzip', ['-Z1', join(root, 'twice.zip')], { encoding: 'utf8' }).split('\n')
        expect(names.filter((name) => name === 'share/shared')).toHaveLength(1)
      }
      const tree = unpack(format, join(root, `twice.${format}`), join(root, `twice-${format}`))
      expect(readFileSync(join(tree, 'share/shared'), 'utf8')).toBe('of the second\n')
      expect(readdirSync(join(tree, 'bin'))).toContain('conda-unpack')
    },
  )

  test('case 4: an environment without conda-meta/history', async () => {
    const prefix = make({ style: 'pixi' })
    for (const format of ['tar', 'tar.gz', 'tar.zst']) await packed(prefix, `history.${format}`)
    expect(statSync(join(root, 'history.tar')).size).toBeGreaterThan(10_000)
  })

  test('case 16: hard links of which one is rewritten: three readers find every member', async () => {
    const prefix = make({ files: [{ path: 'bin/one', text: `#!${here}/bin/python\n`, executable }] })
    linkSync(join(prefix, 'bin/one'), join(prefix, 'bin/two'))
    linkSync(join(prefix, 'bin/one'), join(prefix, 'lib-three'))
    const { entries } = await packed(prefix, 'links.tar.gz')
    const archive = join(root, 'links.tar.gz')
    const list = (command: string, args: string[]): string[] =>
      execFileSync(command, args, { encoding: 'utf8' }).trimEnd().split('\n')
    const code = 'import sys, tarfile\nfor m in tarfile.open(sys.argv[1]): print(m.name)'
    expect(list('tar', ['-tzf', archive])).toHaveLength(entries)
    if (has('bsdtar')) expect(list('bsdtar', ['-tf', archive])).toHaveLength(entries)
    expect(list('python3', ['-c', code, archive])).toHaveLength(entries)
    const tree = unpack('tar.gz', archive, join(root, 'links'))
    execFileSync(join(tree, 'bin/conda-unpack'), { stdio: 'pipe' })
    for (const name of ['bin/one', 'bin/two', 'lib-three'])
      expect(readFileSync(join(tree, name), 'utf8')).toBe(`#!${tree}/bin/python\n`)
    expect(statSync(join(tree, 'bin/one')).nlink).toBe(3)
  })
})

describe('what is relocated', () => {
  const wide = (encoding: 'utf16le' | 'utf32', text: string): Buffer =>
    encoding === 'utf16le'
      ? Buffer.from(text, 'utf16le')
      : Buffer.concat([...text].map((c) => Buffer.from([c.charCodeAt(0), 0, 0, 0])))

  /** Binaries that no package owns, with the prefix in every way. */
  function binaries(prefix: string): void {
    mkdirSync(join(prefix, 'lib'), { recursive: true })
    const write = (name: string, ...parts: (string | Buffer)[]): void =>
      writeFileSync(join(prefix, 'lib', name), Buffer.concat(parts.map((part) => Buffer.from(part as string))))
    write('own.so', elf, `rpath=${prefix}/lib\0after`)
    write('wide.so', elf, '\0\0\0', wide('utf16le', `${prefix}/x\0`), '\0\0', wide('utf32', `${prefix}/y\0`))
    write('end.so', elf, `at=${prefix}`)
  }

  test('case 29: binaries that no package owns, or that no cache has; UTF-16 and UTF-32; strings without an end', async () => {
    const prefix = make()
    binaries(prefix)
    const tree = await unpacked(prefix, 'binaries')
    const content = (name: string): string => readFileSync(join(tree, 'lib', name), 'latin1')
    expect(content('own.so')).toContain(`rpath=${tree}/lib\0`)
    expect(content('end.so')).toContain(`at=${tree}`)
    expect(readFileSync(join(tree, 'lib/wide.so')).includes(wide('utf16le', `${tree}/x\0`))).toBe(true)
    expect(readFileSync(join(tree, 'lib/wide.so')).includes(wide('utf32', `${tree}/y\0`))).toBe(true)
    expect(filesWith(tree, prefix).filter((path) => path.startsWith('lib/'))).toEqual([])
  })

  test('case 37: the same with --dest-prefix, and what stays is said', async () => {
    const prefix = make({ files: [{ path: 'share/blob', binary: `\0\u0001data ${here}/x` }] })
    binaries(prefix)
    const result = await packed(prefix, 'dest.tar', { destPrefix: '/opt/there' })
    expect(result.kept.map(({ path }) => path)).toEqual(['share/blob'])
    expect(result.warnings).toHaveLength(1)
    const tree = unpack('tar', join(root, 'dest.tar'), join(root, 'dest'))
    expect(filesWith(tree, prefix)).toEqual(['share/blob'])
    expect(readFileSync(join(tree, 'lib/own.so'), 'latin1')).toContain('rpath=/opt/there/lib\0')
    expect(readFileSync(join(tree, 'conda-meta/history'), 'utf8')).toBe('# cmd: conda create -p /opt/there\n')
  })

  test('only texts that hold the prefix are named to conda-unpack', async () => {
    const files = Array.from({ length: 20 }, (_, i) => ({ path: `share/text-${i}`, text: 'nothing here\n' }))
    await packed(make({ files }), 'few.tar')
    const script = execFileSync('tar', ['-xOf', join(root, 'few.tar'), 'bin/conda-unpack'], { encoding: 'utf8' })
    expect(script).not.toContain('share/text-')
  })

  test('case 27: bin/python3.11-config, too', async () => {
    const config = { path: 'bin/python3.11-config', text: `#!/bin/sh\nprefix="${here}"\n`, executable }
    const tree = await unpacked(make({ packages: [{ ...python, files: [...(python.files ?? []), config] }] }), 'config')
    expect(readFileSync(join(tree, 'bin/python3.11-config'), 'utf8')).toBe(`#!/bin/sh\nprefix="${tree}"\n`)
    expect(filesWith(tree, placeholder).filter((path) => !/conda-(?:unpack|meta)/.test(path))).toEqual([])
  })

  test('case 24: a prefix that is too long changes nothing', async () => {
    const files = [
      { path: 'bin/first', text: `#!${here}/bin/python\n`, executable },
      { path: 'lib/x.so', binary: `${elf}${here}/lib\0end`, executable },
    ]
    const prefix = make({ packages: [python, { name: 'x', files }] })
    await packed(prefix, 'long.tar')
    const deep = join(root, 'd'.repeat(200), 'e'.repeat(100))
    mkdirSync(join(deep, '..'))
    const tree = unpack('tar', join(root, 'long.tar'), deep)
    const before = [...describeTree(tree)]
    const done = spawnSync(join(tree, 'bin/conda-unpack'), { encoding: 'utf8' })
    expect(done.status).not.toBe(0)
    expect(done.stderr).toContain('lib/x.so')
    expect([...describeTree(tree, ['.conda-deploy'])]).toEqual(before)
  })

  test('case 26: a first line that Linux cannot execute becomes one that it can', async () => {
    const text = `#!${here}/bin/run\necho ran\n`
    const run = { path: 'bin/run', text: '#!/bin/sh\nexec /bin/sh "$@"\n', executable }
    const prefix = make({ packages: [python, { name: 'app', files: [run, { path: 'bin/app', text, executable }] }] })
    await packed(prefix, 'shebang.tar')
    const tree = unpack('tar', join(root, 'shebang.tar'), join(root, 's'.repeat(150)))
    execFileSync(join(tree, 'bin/conda-unpack'), { stdio: 'pipe' })
    const [first = ''] = readFileSync(join(tree, 'bin/app'), 'utf8').split('\n')
    expect(first.length).toBeLessThan(128)
    expect(first).not.toContain(tree)
  })

  test('case 34: an environment that was moved after conda-unpack is relocated, or refused: never silently left', async () => {
    const tree = await unpacked(make({ files: [{ path: 'share/home', text: here }] }), 'first')
    const moved = join(root, 'moved')
    renameSync(tree, moved)
    const done = spawnSync(join(moved, 'bin/conda-unpack'), { encoding: 'utf8' })
    const home = readFileSync(join(moved, 'share/home'), 'utf8')
    expect(done.status === 0 ? home : done.stderr).toContain(done.status === 0 ? moved : tree)
  })
})

describe('no-archive', () => {
  test('shares no file with the environment or a package cache, and leaves nothing beside it', async () => {
    const prefix = make({ files: [{ path: 'share/home', text: here }] })
    const cache = join(root, 'pkgs')
    mkdirSync(cache)
    linkSync(join(prefix, 'share/home'), join(cache, 'home'))
    const folder = join(root, 'plain')
    mkdirSync(folder)
    await packed(prefix, 'plain/x.no-archive')
    const tree = join(folder, 'x.no-archive')
    expect(readdirSync(folder)).toEqual(['x.no-archive'])
    expect(readdirSync(tree)).not.toContain('.conda-deploy')
    expect(statSync(join(tree, 'share/home')).nlink).toBe(1)
    execFileSync(join(tree, 'bin/conda-unpack'), { stdio: 'pipe' })
    expect(readFileSync(join(tree, 'share/home'), 'utf8')).toBe(tree)
    expect(readFileSync(join(cache, 'home'), 'utf8')).toBe(prefix)
  })

  test('fails when it cannot be made, and says so', async () => {
    const prefix = make({ files: [{ path: 'share/x', text: 'x' }] })
    const result = packed(prefix, 'fails.no-archive', {
      reporter: {
        phase(name: string) {
          // Between the scan and the reading.
          if (name === 'pack') rmSync(join(prefix, 'share/x'))
        },
        progress() {},
        warn() {},
      },
    })
    await expect(result).rejects.toMatchObject({ code: 'SOURCE_CHANGED' })
    expect(readdirSync(root).filter((name) => name.startsWith('fails'))).toEqual([])
  })
})

test('case 17: long names, names that are not UTF-8, dangling links, times before 1970', async () => {
  const long = 'n'.repeat(120)
  const deep = Array.from({ length: 5 }, () => 'd'.repeat(80)).join('/')
  const prefix = make({
    files: [
      { path: long, text: 'long' },
      { path: `${deep}/file`, text: 'deep' },
      { path: 'dangling', link: 'nowhere' },
      { path: 'old', text: 'old' },
    ],
  })
  writeFileSync(Buffer.concat([Buffer.from(`${prefix}/byte-`), Buffer.from([0xff, 0xe9])]), 'bytes')
  // Node takes a negative time for the present one.
  execFileSync('touch', ['-d', '@-86400', join(prefix, 'old')])
  chmodSync(join(prefix, 'old'), 0o4755)
  const { entries } = await packed(prefix, 'names.tar')
  const archive = join(root, 'names.tar')
  const code =
    'import sys, tarfile\nfor m in tarfile.open(sys.argv[1], errors="surrogateescape"):' +
    ' print(ascii(m.name), m.mtime, oct(m.mode), m.uid, m.linkname)'
  const listed = execFileSync('python3', ['-c', code, archive], { encoding: 'utf8' }).trimEnd().split('\n')
  expect(listed).toHaveLength(entries)
  expect(listed).toContain("'old' -86400.0 0o755 0 ")
  expect(listed.some((line) => line.startsWith(`'${long}'`))).toBe(true)
  expect(listed.some((line) => line.startsWith(`'${deep}/file'`))).toBe(true)
  expect(listed.some((line) => line.endsWith(' nowhere'))).toBe(true)
  for (const reader of ['tar', 'bsdtar'].filter(has)) {
    const tree = join(root, `names-${reader}`)
    mkdirSync(tree)
    execFileSync(reader, ['-xf', archive, '-C', tree], { stdio: 'pipe' })
    const found = readdirSync(tree, { encoding: 'buffer' }).map((name) => name.toString('latin1'))
    expect(found).toEqual(expect.arrayContaining([long, 'byte-\u00ff\u00e9', 'dangling']))
    expect(readFileSync(join(tree, deep, 'file'), 'utf8')).toBe('deep')
    expect(statSync(join(tree, 'old')).mtimeMs).toBe(-86_400_000)
  }
})
