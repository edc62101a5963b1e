/** The border: what crosses it unchanged, what is refused, how jobs are admitted, cancelled and reported, and what a missing addon says. */
import { createHash } from 'node:crypto'
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EnvError, fromNative } from '../src/errors.js'
import { type Counters, native, runJob } from '../src/native.js'
import { plainNodes } from '../src/plain-nodes.js'
import type { Entry } from '../src/tree/entry.js'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'conda-deploy-native-'))
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

const hash = (digit: string): string => digit.repeat(64)
const plain = { mode: 0o644, mtime: 1_700_000_000 }

const entries: readonly Entry[] = [
  { path: 'lib', kind: 'directory', mode: 0o755, mtime: -5, size: 0 },
  {
    path: 'lib/grüße 😀 \udcff\udc80',
    kind: 'file',
    ...plain,
    size: 3_000_000_000_000,
    sha256: hash('a'),
    spots: [
      { encoding: 'text', offset: 3, refers: '/opt/a', slot: 0 },
      { encoding: 'c8', offset: 4_000_000_000, refers: '/opt/büild', slot: 255 },
      { encoding: 'c32be', offset: 5_000_000_000, refers: '/opt/a', slot: 80 },
    ],
    deployed: { size: 3_000_000_000_005, sha256: hash('b') },
  },
  { path: 'lib/link', kind: 'symlink', mode: 0o777, mtime: 0, size: 0, target: '../\udcfe' },
  {
    path: 'meta.json',
    kind: 'file',
    ...plain,
    size: 64,
    sha256: hash('c'),
    spots: [{ encoding: 'digest', offset: 0, refers: 'lib/grüße 😀 \udcff\udc80', slot: 0 }],
    deployed: { size: 64, sha256: hash('d') },
  },
  { path: 'lib/twin', kind: 'hardlink', ...plain, size: 0, target: 'lib/grüße 😀 \udcff\udc80' },
]

const codeOf = async (work: () => unknown): Promise<unknown> => {
  try {
    return await work()
  } catch (error) {
    return error instanceof EnvError ? error.code : (error as Error).name
  }
}

describe('what crosses', () => {
  test('entries go through the index of a tree unchanged, names that are not UTF-8 too', async () => {
    const path = join(folder, 'index')
    writeFileSync(path, await native().encode(entries, '/new/präfix'))
    const index = await native().index(path, true)
    expect(index?.list).toEqual(entries)
    expect(index).toMatchObject({ digest: '', entries: 5, files: 2, rewritten: 2, longestPrefix: 80, packedBytes: 0 })
    expect(index?.prefixes).toEqual(['/opt/a', '/opt/büild', '/new/präfix'])
    expect(await native().index(path, false)).not.toHaveProperty('list')
  })

  test('files in columns become entries like others, in their order', async () => {
    const path = join(folder, 'columns')
    const names = ['lib/b', 'lib/ünï', 'lib/a']
    const files = {
      paths: names.map((name) => `${name}//`).join(''),
      digests: [...names, ''].map((_, place) => hash('dcba'[place] as string)).join(''),
      sizes: Float64Array.from([0, 2 ** 40 + 2, 2 ** 40 + 1, 2 ** 40]),
      numbers: Float64Array.from(names.flatMap((_, i) => [3 - i, 0o644, -i - 1])),
    }
    const library: Entry = { path: 'lib', kind: 'directory', mode: 0o755, mtime: 0, size: 0 }
    writeFileSync(path, await native().encode([library], '/p', files))
    const columns = names.map((name, i): Entry => {
      return {
        path: name,
        kind: 'file',
        mode: 0o644,
        mtime: -i - 1,
        size: 2 ** 40 + i,
        sha256: hash('abc'[i] as string),
      }
    })
    const sorted = [library, columns[2], columns[0], columns[1]].map((entry) => expect.objectContaining(entry as Entry))
    expect((await native().index(path, true))?.list).toEqual(sorted)
    for (const wrong of [
      { ...files, paths: 'lib/b//' },
      { ...files, digests: files.digests.slice(1) },
      { ...files, sizes: files.sizes.slice(1) },
      { ...files, sizes: files.sizes.map((size) => -size) },
      { ...files, numbers: files.numbers.map((number) => number + 0.5) },
      { ...files, numbers: [1, 2, 3] as never },
    ])
      expect(await codeOf(() => native().encode([library], '/p', wrong))).toBe('TypeError')
    expect(await codeOf(() => native().encode([library], '/p', { ...files, paths: 'a//../x//b//' }))).toBe(
      'UNSAFE_PATH',
    )
  })

  test('links and directories in columns are made, and become entries, like others', async () => {
    const [root, path] = [join(folder, 'nodes'), join(folder, 'nodes-index')]
    const nodes = [
      { path: 'ünï', kind: 'directory', mode: 0o750, mtime: -3 },
      { path: 'ünï/a-b', kind: 'symlink', mode: 0o777, mtime: 7, target: '../x//\udc80' },
      { path: 'same', kind: 'hardlink', mode: 0o644, mtime: 5, target: 'file' },
    ] as const
    mkdirSync(root)
    writeFileSync(join(root, 'file'), 'one')
    const job = { root, prefix: '/p', readOnly: false, threads: 1, entries: [], nodes: plainNodes(nodes) }
    await native().materialize(job, new BigUint64Array(4))
    expect(statSync(join(root, 'same')).ino).toBe(statSync(join(root, 'file')).ino)
    expect(readlinkSync(join(root, 'ünï/a-b'), 'latin1')).toBe('../x//\x80')
    expect(statSync(join(root, 'ünï'))).toMatchObject({ mode: 0o40750, mtimeMs: -3000 })

    const file: Entry = { path: 'file', kind: 'file', mode: 0o644, mtime: 0, size: 3, sha256: hash('a') }
    writeFileSync(path, await native().encode([file], '/p', undefined, plainNodes(nodes)))
    const list = (await native().index(path, true))?.list
    expect(list).toEqual([file, ...nodes.map((node) => ({ ...node, size: 0 }))])
    const { texts, numbers } = plainNodes(nodes)
    for (const wrong of [
      { texts: texts.slice(0, texts.lastIndexOf('\0')), numbers },
      { texts: `${texts}\0more`, numbers },
      { texts, numbers: numbers.map((number, i) => (i === 0 ? 1 : number)) },
      { texts, numbers: numbers.map((number) => number + 0.5) },
      { texts, numbers: [2, 0, 0] as never },
    ])
      expect(await codeOf(() => native().encode([file], '/p', undefined, wrong))).toBe('TypeError')
  })

  test('what is in memory is written, however many nodes come after it', async () => {
    const root = join(folder, 'nodes-and-data')
    mkdirSync(root)
    const nodes = Array.from({ length: 50 }, (_, i) => ({
      ...({ path: `d${i}`, kind: 'directory', mode: 0o755, mtime: 0 } as const),
    }))
    const entries = ['one', 'two'].map((path) => ({
      ...({ path, kind: 'file', mode: 0o644, mtime: 0, data: Buffer.from(path) } as const),
    }))
    const job = { root, prefix: '/p', readOnly: false, threads: 1, entries, nodes: plainNodes(nodes) }
    await native().materialize(job, new BigUint64Array(4))
    for (const { path } of entries) expect(readFileSync(join(root, path), 'utf8')).toBe(path)
    expect(readdirSync(root)).toHaveLength(52)
  })

  test('hashes of what is in memory', () => {
    for (const data of [Buffer.alloc(0), Buffer.from('abc'), Buffer.alloc(3 << 20, 7).subarray(5)])
      expect(native().sha256(data)).toBe(createHash('sha256').update(data).digest('hex'))
  })

  test('every single byte of a name', async () => {
    const names = Array.from({ length: 255 }, (_, byte) => byte + 1).filter((byte) => byte !== 0x2f && byte !== 0x2e)
    const list = names.map((byte): Entry => {
      const path = byte < 0x80 ? String.fromCharCode(byte) : String.fromCharCode(0xdc00 + byte)
      return { path, kind: 'directory', mode: 0o755, mtime: 0, size: 0 }
    })
    const bytes = await native().encode(list, '/p')
    expect(names.every((byte) => bytes.includes(byte))).toBe(true)
    const path = join(folder, 'bytes')
    writeFileSync(path, bytes)
    expect((await native().index(path, true))?.list).toEqual(list)
  })

  test.each(['plain', 'grüße \udcff'])('what a scan finds, with a name like %s', async (name) => {
    const root = mkdtempSync(join(folder, 'scan-'))
    mkdirSync(join(root, 'd'))
    // Bytes that are not UTF-8 stand as surrogates in what comes back, and as themselves in the name of the file.
    const bytes = Buffer.concat([Buffer.from(`${root}/d/`), Buffer.from(name.replace('\udcff', ''))])
    const path = name.endsWith('\udcff') ? Buffer.concat([bytes, Buffer.from([0xff])]) : bytes
    writeFileSync(path, 'four')
    linkSync(path, join(root, 'd/z'))
    linkSync(path, join(folder, `${name.length}.outside`))
    symlinkSync(path, join(root, 'link'))
    const job = { root, skip: [], threads: 2, outside: true }
    const found = [...(await native().scan(job, new BigUint64Array(4)))]
    const { mtime, inode } = found[1] ?? {}
    const file = { kind: 'file', mode: 0o644, size: 4, mtime, inode, outside: 1 }
    expect(inode).toMatch(/^\d+:\d+$/)
    expect(found).toEqual([
      { path: 'd', kind: 'directory', mode: 0o755, size: 0, mtime: expect.any(Number) },
      { path: `d/${name}`, ...file },
      { path: 'd/z', ...file },
      { path: 'link', kind: 'symlink', mode: 0o777, size: 0, mtime: expect.any(Number), target: `${root}/d/${name}` },
    ])
  })

  test('a file that is not ours is null', async () => {
    const path = join(folder, 'text')
    writeFileSync(path, 'hello\n')
    expect(await native().index(path, false)).toBeNull()
  })

  test('features name the versions', () => {
    expect(native().features()).toEqual({
      zstd: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      sha256: expect.stringMatching(/^(hardware|portable)$/),
      glibc: expect.toSatisfy((version: unknown) => version === null || /^\d+\.\d+/.test(String(version))),
    })
  })

  test('columns in which a path is twice', () => {
    const column = (...paths: readonly string[]) => Buffer.from(paths.map((path) => `${path}\0`).join(''))
    const many = Array.from({ length: 5000 }, (_, i) => `lib/${i}`)
    expect(native().repeats([])).toBe(false)
    expect(native().repeats([column('a', 'b'), column(), column('ab', 'c')])).toBe(false)
    expect(native().repeats([column('a', 'b'), column('c', 'a')])).toBe(true)
    expect(native().repeats([column('a', 'b', 'a')])).toBe(true)
    expect(native().repeats([column(...many)])).toBe(false)
    expect(native().repeats([column(...many), column('lib/4711')])).toBe(true)
    expect(() => native().repeats([Buffer.from('no end')])).toThrow('each ended by a NUL')
  })
})

describe('what is refused', () => {
  const directory = (path: string): Entry => ({ path, kind: 'directory', mode: 0o755, mtime: 0, size: 0 })
  const cases: readonly (readonly [string, string, () => unknown])[] = [
    ['a path that leads out', 'UNSAFE_PATH', () => native().encode([directory('../x')], '/p')],
    ['a path that occurs twice', 'ARCHIVE_CORRUPT', () => native().encode([directory('x'), directory('x')], '/p')],
    ['an absent file', 'ARCHIVE_NOT_FOUND', () => native().index(join(folder, 'absent'), false)],
    ['a folder as archive', 'ARCHIVE_UNKNOWN', () => native().index(folder, false)],
    ['a lock in an absent folder', 'IO', () => native().lock(join(folder, 'absent', 'lock'), 'shared')],
    ['a lone surrogate', 'TypeError', () => native().encode([directory('a\ud800')], '/p')],
    ['a NUL', 'TypeError', () => native().rename('a\0b', 'c', 'exchange')],
    ['an unknown kind', 'TypeError', () => native().encode([{ ...directory('a'), kind: 'fifo' as never }], '/p')],
    ['a fraction', 'TypeError', () => native().encode([{ ...directory('a'), mode: 1.5 }], '/p')],
    [
      'a hash that is none',
      'TypeError',
      () => native().encode([{ path: 'f', kind: 'file', ...plain, size: 0, sha256: 'zz' }], '/p'),
    ],
    ['a spot that refers to nothing', 'TypeError', () => native().encode([{ ...(entries[3] as Entry) }], '/p')],
    ['no job', 'TypeError', () => native().scan(undefined as never, new BigUint64Array(4))],
    [
      'counters too short',
      'TypeError',
      () => native().scan({ root: folder, skip: [], threads: 1 }, new BigUint64Array(3)),
    ],
    ['an array for bytes', 'TypeError', () => native().rewrite([1, 2] as never, [], '/p')],
  ]
  test.each(cases)('%s: %s', async (_, code, work) => {
    expect(await codeOf(work)).toBe(code)
  })

  test('an error thrown by a getter of the caller comes back as it is', () => {
    const own = new Error('mine')
    const job = {
      get root(): string {
        throw own
      },
      skip: [],
      threads: 1,
    }
    expect(() => native().scan(job, new BigUint64Array(4))).toThrow(own)
  })

  test('system errors keep their path, call and number; full and forbidden have codes of their own', async () => {
    const error = await native()
      .scan({ root: join(folder, 'absent'), skip: [], threads: 1 }, new BigUint64Array(4))
      .catch((e: unknown) => e)
    expect(error).toBeInstanceOf(EnvError)
    expect(error).toMatchObject({ code: 'IO', path: join(folder, 'absent'), errno: -2, syscall: expect.any(String) })
    const native28 = Object.assign(new Error('write x'), {
      code: 'IO',
      errno: -28,
      path: 'x',
      syscall: 'write',
      paths: ['x', 'y'],
    })
    expect(fromNative(native28)).toMatchObject({
      code: 'NO_SPACE',
      errno: -28,
      path: 'x',
      paths: ['x', 'y'],
      cause: native28,
    })
    expect(fromNative(Object.assign(new Error('open'), { code: 'IO', errno: -13 }))).toMatchObject({
      code: 'PERMISSION',
    })
    expect(fromNative(Object.assign(new Error('odd'), { code: 'WHATEVER' }))).toMatchObject({ code: 'IO' })
    const bug = new Error('of ours')
    expect(fromNative(bug)).toBe(bug)
  })
})

describe('jobs', () => {
  /** A job that ends when told to, or with CANCELLED soon after its counters say so. */
  const held = (): {
    readonly start: (c: Counters) => Promise<string>
    readonly end: () => void
    readonly began: () => boolean
  } => {
    let counters: Counters | undefined
    let finish = (): void => {}
    return {
      began: () => counters !== undefined,
      end: () => finish(),
      start: (c) => {
        counters = c
        return new Promise((done, fail) => {
          finish = () => done('done')
          const watch = setInterval(() => {
            if (c[2] === 1n) fail(new EnvError('CANCELLED', 'cancelled'))
            if (c[2] === 1n) clearInterval(watch)
          }, 5)
          watch.unref()
        })
      },
    }
  }
  const settled = (): Promise<void> => new Promise((done) => setTimeout(done, 20))

  test('two at a time; the third begins when one ends', async () => {
    const jobs = [held(), held(), held(), held()]
    const running = jobs.map((job) => runJob(job.start))
    await settled()
    expect(jobs.map((job) => job.began())).toEqual([true, true, false, false])
    jobs[1]?.end()
    await settled()
    expect(jobs.map((job) => job.began())).toEqual([true, true, true, false])
    for (const job of [jobs[0], jobs[2]]) job?.end()
    await settled()
    jobs[3]?.end()
    expect(await Promise.all(running)).toEqual(['done', 'done', 'done', 'done'])
  })

  test('a failed job makes room too', async () => {
    const fail = (): Promise<never> => Promise.reject(new Error('no'))
    const results = await Promise.allSettled([
      runJob(fail),
      runJob(fail),
      runJob(fail),
      runJob(() => Promise.resolve(1)),
    ])
    expect(results.map((r) => r.status)).toEqual(['rejected', 'rejected', 'rejected', 'fulfilled'])
  })

  test('aborting cancels before, while waiting and while running', async () => {
    const before = runJob(() => Promise.resolve(1), { signal: AbortSignal.abort('why') })
    await expect(before).rejects.toMatchObject({ code: 'CANCELLED', cause: 'why' })
    const [first, second, third] = [held(), held(), held()]
    const [abort, abortThird] = [new AbortController(), new AbortController()]
    const running = [runJob(first.start, { signal: abort.signal }), runJob(second.start)]
    const waiting = runJob(third.start, { signal: abortThird.signal })
    await settled()
    abortThird.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(third.began()).toBe(false)
    abort.abort()
    await expect(running[0]).rejects.toMatchObject({ code: 'CANCELLED' })
    second.end()
    expect(await running[1]).toBe('done')
  })

  test('a real job stops and says so', async () => {
    const abort = new AbortController()
    const scanned = runJob(
      (counters) => {
        abort.abort()
        counters[2] = 1n
        return native().scan({ root: folder, skip: [], threads: 1 }, counters)
      },
      { signal: abort.signal },
    )
    await expect(scanned).rejects.toMatchObject({ code: 'CANCELLED' })
  })

  test('progress reports the counters while they change, and at the end', async () => {
    const seen: [number, number][] = []
    const work = async (counters: Counters): Promise<void> => {
      counters[0] = 2n
      counters[1] = 100n
      await new Promise((done) => setTimeout(done, 350))
      counters[1] = 200n
    }
    await runJob(work, { progress: (bytes, count) => seen.push([bytes, count]) })
    expect(seen).toEqual([
      [100, 2],
      [200, 2],
    ])
  })

  test('a worker thread that is terminated in the middle of jobs takes nothing down', async () => {
    const addon = resolve(import.meta.dirname, '..', 'build', 'Release', 'conda_deploy.node')
    const code = `const n = require(${JSON.stringify(addon)})
      const job = { root: ${JSON.stringify(resolve(import.meta.dirname, '..', 'node_modules'))}, skip: [], threads: 2 }
      const again = () => Promise.allSettled([n.scan(job, new BigUint64Array(4)), n.index('/absent', true)]).then(again)
      again()
      require('node:worker_threads').parentPort.postMessage('ready')`
    for (let round = 0; round < 5; round += 1) {
      const worker = new Worker(code, { eval: true })
      await new Promise((done, fail) => worker.once('message', done).once('error', fail))
      await new Promise((done) => setTimeout(done, round * 7))
      expect(await worker.terminate()).toBe(1)
    }
  })
})

test('a missing addon is named with every path tried, a broken one with its cause', async () => {
  const bundle = join(folder, 'package', 'dist', 'bundle.mjs')
  await build({
    entryPoints: [resolve(import.meta.dirname, '..', 'src', 'native.ts')],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    format: 'esm',
  })
  const { native: elsewhere } = (await import(pathToFileURL(bundle).href)) as { readonly native: typeof native }
  const attempt = (): EnvError => {
    try {
      elsewhere()
    } catch (error) {
      return error as EnvError
    }
    throw new Error('it loaded')
  }
  const addon = join(folder, 'package', 'build', 'Release', 'conda_deploy.node')
  const missing = attempt()
  expect(missing.code).toBe('ADDON_MISSING')
  expect(missing.message).toContain(`${addon}: no such file`)
  expect(missing.paths).toContain(addon)
  expect(missing.hint).toContain('npm run build')
  mkdirSync(join(folder, 'package', 'build', 'Release'), { recursive: true })
  writeFileSync(addon, 'not a library')
  const broken = attempt()
  expect(broken.message).toMatch(/conda_deploy\.node: (?!no such file)./)
  expect(broken.hint).toContain('another system')
})
