/** `conda-unpack` on trees made by hand: what FORMAT.md says of spots and shebangs, and what happens when things go wrong. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type UnpackFile, unpackScript } from '../../src/pack/scripts/index.js'
import type { Spot } from '../../src/tree/entry.js'
import { isInstalled, write } from '../support/shells.js'
import { describeTree, differences } from '../support/tree.js'

const placeholder = `/opt/build/${'placehold_'.repeat(24)}`.slice(0, 250)
const python = isInstalled('python3')
if (!python) console.warn('skipped: test/pack/unpack: there is no python3')

const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex')
const encodings = { text: 'utf8', c8: 'utf8', c16le: 'utf16le' } as const
type Simple = keyof typeof encodings

let work: string
beforeAll(() => {
  work = mkdtempSync(join(tmpdir(), 'conda-deploy-unpack-'))
})
afterAll(() => {
  execFileSync('chmod', ['-R', 'u+w', work])
  rmSync(work, { recursive: true, force: true })
})

/** Every place of `needle` in `data`, as spots. */
function spotsOf(data: Buffer, encoding: Simple, refers = placeholder, slot = refers.length): Spot[] {
  const needle = Buffer.from(refers, encodings[encoding])
  const spots: Spot[] = []
  for (let at = data.indexOf(needle); at >= 0; at = data.indexOf(needle, at + needle.length))
    spots.push({ encoding, offset: at, refers, slot: encoding === 'text' ? 0 : slot })
  return spots
}

interface Made {
  readonly prefix: string
  readonly files: UnpackFile[]
  add(path: string, content: Buffer | string, spots: readonly Spot[], links?: readonly string[]): void
  seal(): void
}

const time = 1_600_000_000

/** A tree as plain tar leaves it. */
function makeTree(name: string): Made {
  const prefix = join(work, name)
  const files: UnpackFile[] = []
  const made: Made = {
    prefix,
    files,
    add(path, content, spots, links = []) {
      const data = Buffer.from(content as string)
      write(join(prefix, path), data)
      chmodSync(join(prefix, path), 0o755)
      utimesSync(join(prefix, path), time, time)
      for (const link of links) linkSync(join(prefix, path), join(prefix, link))
      files.push({ path, size: data.length, sha256: sha256(data), spots, links })
    },
    seal() {
      write(join(prefix, 'bin/conda-unpack'), unpackScript({ producer: '1.2.3', files }))
      chmodSync(join(prefix, 'bin/conda-unpack'), 0o755)
      execFileSync('find', [prefix, '-type', 'd', '-exec', 'touch', '-d', `@${time - 5}`, '{}', '+'])
    },
  }
  return made
}

const unpack = (prefix: string, ...args: string[]) =>
  spawnSync(join(prefix, 'bin/conda-unpack'), args, { encoding: 'utf8', env: process.env })
const text = (path: string): string => readFileSync(path, 'latin1')

function plain(name: string): Made {
  const tree = makeTree(name)
  const config = Buffer.from(`prefix=${placeholder}\nlib=${placeholder}/lib:${placeholder}/lib64`)
  tree.add('lib/a.pc', config, spotsOf(config, 'text'))
  const binary = Buffer.from(`\x7fELF${placeholder}/share:${placeholder}/etc\0\0after\0${placeholder}/end`)
  tree.add('bin/tool', binary, spotsOf(binary, 'c8'))
  const wide = Buffer.concat([Buffer.from('x\0'), Buffer.from(`${placeholder}/é\0\0rest`, 'utf16le')])
  tree.add('lib/wide.so', wide, spotsOf(wide, 'c16le'))
  return tree
}

describe.skipIf(!python)('conda-unpack', () => {
  test('case 21: rewrites texts and C strings, keeps modes and times, and needs no second run', () => {
    const tree = plain('plain')
    tree.seal()
    const before = describeTree(tree.prefix)
    const done = unpack(tree.prefix)
    expect(done, done.stderr).toMatchObject({ status: 0, stdout: '' })
    expect(done.stderr).toContain('3 files written')
    const p = tree.prefix
    expect(text(join(p, 'lib/a.pc'))).toBe(`prefix=${p}\nlib=${p}/lib:${p}/lib64`)
    const gap = (n: number): string => '\0'.repeat(n * (placeholder.length - p.length))
    expect(text(join(p, 'bin/tool'))).toBe(`\x7fELF${p}/share:${p}/etc${gap(2)}\0\0after\0${p}/end${gap(1)}`)
    expect(readFileSync(join(p, 'lib/wide.so')).subarray(2).toString('utf16le')).toBe(`${p}/é${gap(1)}\0\0rest`)
    const changed = differences(before, describeTree(p, ['.conda-deploy'])).map((line) => line.split(':')[0])
    expect(changed.sort()).toEqual(['bin/tool', 'lib/a.pc', 'lib/wide.so'])
    expect([lstatSync(join(p, 'bin/tool')).mode & 0o777, statSync(join(p, 'bin/tool')).mtimeMs]).toEqual([
      0o755,
      time * 1000,
    ])
    expect(statSync(join(p, 'lib')).mtimeMs).toBe((time - 5) * 1000)

    const after = describeTree(p)
    const again = unpack(p)
    expect(again).toMatchObject({ status: 0, stdout: '' })
    expect(again.stderr).toContain('nothing to do')
    expect(differences(after, describeTree(p))).toEqual([])
  })

  test('a tree that was moved afterwards is recognized', () => {
    const tree = plain('moved')
    tree.seal()
    expect(unpack(tree.prefix).status).toBe(0)
    const elsewhere = join(work, 'elsewhere')
    renameSync(tree.prefix, elsewhere)
    const after = describeTree(elsewhere)
    const done = unpack(elsewhere)
    expect(done.status).toBe(1)
    expect(done.stderr).toMatch(/was completed for .*moved, but now .*elsewhere.*\n.*unpack the archive again/s)
    expect(differences(after, describeTree(elsewhere))).toEqual([])
  })

  test('a tree that conda-deploy deployed is left alone, unless it was moved', () => {
    const tree = plain('deployed')
    tree.seal()
    write(join(tree.prefix, '.conda-deploy/ready'), JSON.stringify({ version: 1, prefix: tree.prefix }))
    const before = describeTree(tree.prefix)
    expect(unpack(tree.prefix)).toMatchObject({ status: 0 })
    writeFileSync(join(tree.prefix, '.conda-deploy/ready'), JSON.stringify({ version: 1, prefix: '/other' }))
    expect(unpack(tree.prefix)).toMatchObject({ status: 1 })
    writeFileSync(join(tree.prefix, '.conda-deploy/ready'), JSON.stringify({ version: 1, prefix: tree.prefix }))
    expect(differences(before, describeTree(tree.prefix)).filter((line) => !line.startsWith('.conda-deploy'))).toEqual(
      [],
    )
  })

  test('case 24: a prefix that does not fit is refused before anything is written', () => {
    const tree = plain('long')
    const own = Buffer.from('RPATH=/home/me/env/lib\0')
    tree.add('lib/own.so', own, spotsOf(own, 'c8', '/home/me/env', 13))
    tree.seal()
    const before = describeTree(tree.prefix)
    const done = unpack(tree.prefix)
    expect(done.status).toBe(1)
    expect(done.stderr).toMatch(/too long; the longest that fits has 13\. Nothing was written\. Files: lib\/own\.so/)
    expect(differences(before, describeTree(tree.prefix))).toEqual([])
    expect(unpack(tree.prefix, '--prefix', '/thirteen/chr')).toMatchObject({ status: 0 })
    expect(text(join(tree.prefix, 'lib/own.so'))).toBe('RPATH=/thirteen/chr/lib'.padEnd(own.length, '\0'))
  })

  test('a file that changed since, or is absent, is named before anything is written', () => {
    const tree = plain('changed')
    tree.seal()
    writeFileSync(join(tree.prefix, 'lib/a.pc'), 'mine')
    rmSync(join(tree.prefix, 'bin/tool'))
    const before = describeTree(tree.prefix)
    const done = unpack(tree.prefix)
    expect(done.status).toBe(1)
    expect(done.stderr).toMatch(/lib\/a\.pc, bin\/tool.*Nothing was written/)
    expect(differences(before, describeTree(tree.prefix))).toEqual([])
  })

  test('a run that was killed is continued', () => {
    const whole = plain('whole')
    whole.seal()
    const half = join(work, 'half')
    cpSync(whole.prefix, half, { recursive: true, preserveTimestamps: true })
    expect(unpack(whole.prefix, '--prefix', half).status).toBe(0)
    // What is left when it dies between the second and the third file: the journal knows two, one of them is not in place yet.
    const journal = text(join(whole.prefix, '.conda-deploy/unpacked')).split('\n')
    write(join(half, '.conda-deploy/unpacked'), `${journal.slice(0, 3).join('\n')}\n["lib/wi`)
    copyFileSync(join(whole.prefix, 'lib/a.pc'), join(half, 'lib/a.pc'))
    utimesSync(join(half, 'lib/a.pc'), time, time)
    write(join(half, 'lib/.conda-unpack.tmp'), 'of the dead run')
    const done = unpack(half)
    expect(done, done.stderr).toMatchObject({ status: 0 })
    const files = (root: string) => new Map([...describeTree(root)].filter(([, line]) => !line.startsWith('directory')))
    expect(differences(files(whole.prefix), files(half)).filter((line) => !line.startsWith('.conda-deploy'))).toEqual(
      [],
    )
  })

  test('digests are those of the files as they are now, hard links stay links', () => {
    const tree = plain('digests')
    const linked = Buffer.from(`#${placeholder}\n`)
    tree.add('share/one', linked, spotsOf(linked, 'text'), ['share/two', 'share/three'])
    const record = Buffer.from(`{"a": "${'0'.repeat(64)}", "b": "${'1'.repeat(64)}", "p": "${placeholder}"}`)
    const digest = (offset: number, path: string): Spot => ({ encoding: 'digest', offset, refers: path, slot: 0 })
    tree.add('conda-meta/x.json', record, [digest(7, 'lib/a.pc'), digest(80, 'share/one'), ...spotsOf(record, 'text')])
    expect(record.subarray(80, 144).toString()).toBe('1'.repeat(64))
    tree.files.reverse()
    tree.seal()
    expect(unpack(tree.prefix)).toMatchObject({ status: 0 })
    const found = JSON.parse(text(join(tree.prefix, 'conda-meta/x.json'))) as Record<string, string>
    const hash = (path: string): string => sha256(readFileSync(join(tree.prefix, path)))
    expect(found).toEqual({ a: hash('lib/a.pc'), b: hash('share/one'), p: tree.prefix })
    const inodes = new Set(['one', 'two', 'three'].map((name) => statSync(join(tree.prefix, 'share', name)).ino))
    expect([inodes.size, statSync(join(tree.prefix, 'share/one')).nlink]).toEqual([1, 3])
    expect(text(join(tree.prefix, 'share/three'))).toBe(`#${tree.prefix}\n`)
  })

  test('a program that is running is replaced, not edited', async () => {
    const tree = makeTree('running')
    const sleep = readFileSync(
      execFileSync('sh', ['-c', 'readlink -f "$(command -v sleep)"'], { encoding: 'utf8' }).trim(),
    )
    const binary = Buffer.concat([sleep, Buffer.from(`\0${placeholder}\0`)])
    tree.add('bin/sleeper', binary, spotsOf(binary, 'c8'))
    tree.seal()
    symlinkSync('sleeper', join(tree.prefix, 'bin/sleep'))
    const child = spawn(join(tree.prefix, 'bin/sleep'), ['30'], { stdio: 'ignore' })
    try {
      await new Promise((resolve) => child.on('spawn', resolve))
      expect(unpack(tree.prefix)).toMatchObject({ status: 0 })
      expect(child.exitCode).toBeNull()
    } finally {
      child.kill()
    }
  })

  test('names that are not UTF-8 or not ASCII, whatever the locale', () => {
    const tree = makeTree('näme')
    const content = Buffer.from(`${placeholder}\n`)
    tree.add('share/ünïcode 😀', content, spotsOf(content, 'text'))
    tree.files.push({
      path: 'share/\udcff',
      size: content.length,
      sha256: sha256(content),
      spots: spotsOf(content, 'text'),
    })
    const odd = Buffer.concat([Buffer.from(`${tree.prefix}/share/`), Buffer.from([0xff])])
    writeFileSync(odd, content)
    tree.seal()
    const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', PYTHONUTF8: '0', PYTHONCOERCECLOCALE: '0' }
    const done = spawnSync(join(tree.prefix, 'bin/conda-unpack'), ['-v'], { encoding: 'utf8', env })
    expect(done, done.stderr).toMatchObject({ status: 0 })
    expect(readFileSync(odd, 'utf8')).toBe(`${tree.prefix}\n`)
    expect(readFileSync(join(tree.prefix, 'share/ünïcode 😀'), 'utf8')).toBe(`${tree.prefix}\n`)
  })

  test('--help, --version, and a clear word when there is no Python', () => {
    const tree = plain('options')
    tree.seal()
    expect(unpack(tree.prefix, '--version').stdout).toBe('conda-unpack 1.2.3\n')
    expect(unpack(tree.prefix, '--help').stdout).toContain('--prefix P')
    expect(unpack(tree.prefix, '--nonsense').status).toBe(2)
    const bare = join(work, 'bare-path')
    mkdirSync(bare)
    const script = join(tree.prefix, 'bin/conda-unpack')
    const done = spawnSync('/bin/sh', [script], { encoding: 'utf8', env: { PATH: bare } })
    expect(done.status).toBe(1)
    expect(done.stderr).toContain('no Python 3.6 or newer')
    // A `python` that is not one is passed over.
    for (const name of ['python', 'python3']) write(join(tree.prefix, 'bin', name), '#!/bin/sh\nexit 0\n', 0o755)
    expect(unpack(tree.prefix, '--version').stdout).toBe('conda-unpack 1.2.3\n')
  })

  test('it works from its own folder, by a shell, and from PATH', () => {
    for (const [name, command] of [
      ['by-sh', 'cd bin && sh conda-unpack'],
      ['by-path', 'PATH="$PWD/bin:$PATH" && cd / && conda-unpack'],
    ] as const) {
      const tree = plain(name)
      tree.seal()
      execFileSync('sh', ['-ec', command], { cwd: tree.prefix, stdio: 'pipe' })
      expect(text(join(tree.prefix, 'lib/a.pc'))).toContain(`prefix=${tree.prefix}\n`)
    }
  })

  test('runs that start together do the work once', async () => {
    const tree = plain('together')
    tree.seal()
    const start = () =>
      new Promise<[number | null, string]>((resolve) => {
        const child = spawn(join(tree.prefix, 'bin/conda-unpack'), { stdio: ['ignore', 'ignore', 'pipe'] })
        let said = ''
        child.stderr.on('data', (chunk: Buffer) => {
          said += chunk.toString()
        })
        child.on('close', (status) => resolve([status, said]))
      })
    const ended = await Promise.all([start(), start(), start()])
    expect(ended.map(([status]) => status)).toEqual([0, 0, 0])
    expect(ended.filter(([, said]) => said.includes('3 files written'))).toHaveLength(1)
  })

  test('a damaged table is refused', () => {
    const tree = plain('damaged')
    tree.seal()
    const script = join(tree.prefix, 'bin/conda-unpack')
    const lines = readFileSync(script, 'utf8').trimEnd().split('\n')
    writeFileSync(script, `${lines.slice(0, -1).join('\n')}\n`)
    expect(unpack(tree.prefix)).toMatchObject({ status: 1 })
    expect(existsSync(join(tree.prefix, '.conda-deploy'))).toBe(false)
  })

  test('it is ASCII, and both sh and Python read it', () => {
    const tree = plain('checked')
    tree.seal()
    const script = join(tree.prefix, 'bin/conda-unpack')
    expect(readFileSync(script).every((byte) => byte < 128)).toBe(true)
    execFileSync('python3', ['-m', 'py_compile', script], { env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } })
  })
})

describe.skipIf(!python)('shebangs', () => {
  const long = 'p'.repeat(130)
  const line = (interpreter: string): string => `#!${placeholder}/bin/${interpreter}\necho "$0" "$@"\n`
  const deployed = (name: string, content: string, to?: string): { out: string; stderr: string; prefix: string } => {
    const tree = makeTree(name)
    const data = Buffer.from(content)
    tree.add('bin/script', data, spotsOf(data, 'text'))
    tree.seal()
    const done = unpack(tree.prefix, ...(to === undefined ? [] : ['--prefix', to]))
    expect(done.status, done.stderr).toBe(0)
    return { out: text(join(tree.prefix, 'bin/script')), stderr: done.stderr, prefix: tree.prefix }
  }

  test('one that Linux can execute stays', () => {
    const prefix = `/${'x'.repeat(127 - '#!/'.length - '/bin/python'.length)}`
    expect(deployed('stays', line('python'), prefix).out.split('\n')[0]).toBe(`#!${prefix}/bin/python`)
    expect(deployed('too-long', line('python'), `${prefix}x`).out.split('\n')[0]).toBe('#!/bin/sh')
  })

  test.each([
    ['python3.11 -E', `#!/bin/sh\n'''exec' "/${long}/bin/python3.11" -E "$0" "$@" #'''`],
    ['perl -w', `#!/bin/sh\nexec "/${long}/bin/perl" -x "$0" "$@"\n#!perl -w`],
    ['tclsh8.6', `#!/bin/sh\n# \\\nexec "/${long}/bin/tclsh8.6" "$0" "$@"`],
    ['node --no-warnings', `#!/bin/sh\n':' //; exec "/${long}/bin/node" --no-warnings "$0" "$@"`],
    ['Rscript', '#!/usr/bin/env Rscript'],
    ['julia -O3', '#!/usr/bin/env -S julia -O3'],
  ])('%s', (interpreter, expected) => {
    const { out, stderr } = deployed(`of-${interpreter.replaceAll(/\W/g, '')}`, line(interpreter), `/${long}`)
    expect(out).toBe(`${expected}\necho "$0" "$@"\n`)
    expect(stderr.includes('finds its interpreter by PATH')).toBe(expected.includes('/usr/bin/env'))
  })

  test('a shell script beneath a path with blanks and quotes runs, with its options and arguments', () => {
    const tree = makeTree('blank "$x` \\path')
    const data = Buffer.from(`#!${placeholder}/bin/sh -u\necho "$0|$1|$2"\n`)
    tree.add('bin/script', data, spotsOf(data, 'text'))
    tree.seal()
    symlinkSync('/bin/sh', join(tree.prefix, 'bin/sh'))
    expect(unpack(tree.prefix).status).toBe(0)
    const script = join(tree.prefix, 'bin/script')
    expect(execFileSync(script, ['a b', 'c'], { encoding: 'utf8' })).toBe(`${script}|a b|c\n`)
  })

  test('case 25: no line end, no first spot in the first line, carriage returns', () => {
    expect(deployed('no-end', `#!${placeholder}/bin/python`, `/${long}`).out).toBe(
      `#!/bin/sh\n'''exec' "/${long}/bin/python" "$0" "$@" #'''`,
    )
    const env = `#!/usr/bin/env ${placeholder}/bin/python\n`
    expect(deployed('env', env, `/${long}`).out).toBe(`#!/usr/bin/env /${long}/bin/python\n`)
    expect(deployed('cr', `#!${placeholder}/bin/python\r\nx\r\n`, '/short').out).toBe('#!/short/bin/python\r\nx\r\n')
  })
})
