/** From counts to a report, without running anything: classification, tables, limits, explanations, comparison, chart. */
import { describe, expect, test } from 'vitest'
import { chart } from '../../src/trace/chart.js'
import { classifierOf } from '../../src/trace/classify.js'
import { compareReports } from '../../src/trace/compare.js'
import { explain } from '../../src/trace/explain.js'
import { kindOf } from '../../src/trace/kinds.js'
import { breaches, parseLimit } from '../../src/trace/limits.js'
import { directoriesOf, makeReport, type TraceReport } from '../../src/trace/report.js'
import type { Traced, TracedPath } from '../../src/traced.js'
import type { Mount } from '../../src/tree/file-system.js'

const mount = (point: string, type: string): Mount => ({ point, type, options: [] })
const mounts = [
  mount('/', 'ext4'),
  mount('/proc', 'proc'),
  mount('/dev', 'tmpfs'),
  mount('/dev/shm', 'tmpfs'),
  mount('/home', 'nfs4'),
  mount('/shared', 'lustre'),
  mount('/shared/image', 'squashfs'),
  mount('/bucket', 'fuse.s3fs'),
  mount('/weird', 'newfs'),
]
const magic: Readonly<Record<string, number>> = {
  '/': 0xef53,
  '/home': 0x6969,
  '/dev/shm': 0x01021994,
  '/bucket': 0x65735546,
}
const places = {
  target: '/scratch/env',
  source: '/home/alice/.conda/envs/myproject',
  shared: ['/declared'],
  home: '/home/alice',
}
const serve = classifierOf(places, mounts, ({ point }) => magic[point] ?? 0)

describe('what serves a path', () => {
  test.each([
    ['/scratch/env/bin/python', 'local', 'target', '/'],
    ['/scratch/env', 'local', 'target', '/'],
    ['/scratch/environment', 'local', 'other', '/'],
    ['/home/alice/.conda/envs/myproject/bin', 'shared', 'source', '/home'],
    ['/home/alice/.jupyter', 'shared', 'home', '/home'],
    ['/home', 'shared', 'other', '/home'],
    ['/home/bob/x', 'shared', 'other', '/home'],
    ['/usr/lib/libc.so.6', 'local', 'system', '/'],
    ['/proc/self/maps', 'kernel', 'kernel', '/proc'],
    ['/dev/null', 'kernel', 'kernel', '/dev'],
    ['/dev/shm/x', 'local', 'other', '/dev/shm'],
    ['/shared/data', 'shared', 'other', '/shared'],
    ['/shared/image/lib/x', 'local', 'other', '/shared/image'],
    ['/bucket/x', 'shared', 'other', '/bucket'],
    ['/weird/x', 'unknown', 'other', '/weird'],
    ['/declared/x', 'shared', 'declared', '/declared'],
    ['/', 'local', 'other', '/'],
  ])('%s: %s, %s, %s', (path, server, role, point) => {
    // Twice: the second answer comes from what was remembered of the folder.
    for (let i = 0; i < 2; i++) expect(serve(path)).toMatchObject({ server, role, mount: point })
  })
})

const calls = ['openat', 'newfstatat', 'readlink', 'getdents64', 'mkdir', 'read']
const traced = (paths: readonly TracedPath[], more: Partial<Traced> = {}): Traced => ({
  ...{ status: 0, signal: null, seconds: 1.5, processes: 1, threads: 0, executions: 1 },
  ...{ foreignCalls: 0, rings: 0, namespaces: 0, unreadable: 0, folded: 0 },
  ...{ calls, programs: ['/scratch/env/bin/python3.11'], paths },
  ...more,
})
const path = (name: string, counts: readonly number[], more: Partial<TracedPath> = {}): TracedPath => ({
  ...{ path: name, at: name, counts, programs: [0], bytesRead: 0, bytesMapped: 0 },
  ...more,
})
const report = (paths: readonly TracedPath[], more: Partial<Traced> = {}): TraceReport =>
  makeReport(
    traced(paths, more),
    { command: ['python', 'train.py'], cwd: '/home/alice/project', signal: null, bytes: true },
    serve,
  )

const sample = report([
  path('/scratch/env/lib/a.py', [0, 30, 1, 1, 10, 0, 5, 99, 0], { bytesRead: 1000 }),
  path('/scratch/env/lib', [3, 2, 0]),
  path('/scratch/env/bin/python', [0, 1, 0], { at: '/home/alice/.conda/envs/myproject/bin/python' }),
  path('/home/alice/.local/lib/python3.11/site-packages', [1, 2, 2]),
  path('/home/alice/.jupyter/x.json', [0, 1, 1]),
  path('/home/alice/project/__pycache__', [4, 1, 0]),
  path('/home/alice/project/train.py', [0, 1, 0]),
  path('/home/alice/project/data.csv', [0, 3, 0]),
  path('/shared/other', [1, 1, 0]),
  path('/proc/self/maps', [0, 7, 0]),
])

describe('the report', () => {
  test('counts by server, leaves out what the kernel answers and reads of open files', () => {
    expect(sample.accesses).toBe(30 + 10 + 2 + 1 + 2 + 1 + 1 + 1 + 3 + 1)
    expect(sample.servers).toEqual({
      local: { calls: 42, misses: 1, files: 2 },
      shared: { calls: 10, misses: 3, files: 7 },
      unknown: { calls: 0, misses: 0, files: 0 },
      kernel: { calls: 7, misses: 0, files: 1 },
    })
    expect(sample.bytes?.local).toEqual({ read: 1000, mapped: 0 })
    expect(sample.calls['read']).toEqual({ calls: 99, misses: 0 })
  })

  test('has a table of roles and kinds', () => {
    const target = sample.roles.find(({ role }) => role === 'target')
    expect(target).toMatchObject({ calls: 42, files: 2, misses: 1 })
    expect(target?.kinds.open).toEqual({ calls: 30, misses: 1, files: 1 })
    expect(target?.kinds.list).toEqual({ calls: 2, misses: 0, files: 1 })
    expect(sample.roles.map(({ role }) => role)).toEqual(['target', 'source', 'home', 'kernel', 'other'])
  })

  test('every access is in one role and on one file system', () => {
    const sum = (rows: readonly { calls: number }[]): number => rows.reduce((all, { calls: one }) => all + one, 0)
    expect(sum(sample.roles)).toBe(sample.accesses + sample.servers.kernel.calls)
    expect(sum(sample.fileSystems)).toBe(sum(sample.roles))
    expect(sum(sample.files)).toBe(sum(sample.roles))
    expect(sample.fileSystems.find(({ mount: point }) => point === '/home')).toMatchObject({ type: 'nfs4', calls: 9 })
  })

  test('lists shared folders first', () => {
    expect(directoriesOf(sample)[0]).toMatchObject({ server: 'shared', directory: '/home/alice/project', calls: 5 })
    expect(directoriesOf(sample).at(-1)?.server).toBe('local')
  })

  test('says what could not be seen', () => {
    expect(sample.warnings).toEqual([])
    const { warnings } = report([], { foreignCalls: 3, rings: 1, namespaces: 2, unreadable: 4, folded: 5 })
    expect(warnings).toHaveLength(5)
    expect(warnings[0]).toContain('3 system calls of 32-bit programs were refused')
    expect(warnings[1]).toContain('io_uring')
  })

  test('a call without a kind is a mistake of ours', () => {
    expect(() => kindOf('frobnicate')).toThrow('frobnicate')
  })
})

describe('limits', () => {
  test.each([
    ['shared>0', 10],
    ['shared.misses >= 3', 3],
    ['home.files==6', undefined],
    ['local<43', 42],
    ['accesses != 51', 52],
    ['unknown>0', undefined],
    ['declared<=0', 0],
  ])('%s', (text, found) => {
    expect(breaches(sample, [parseLimit(text)])).toEqual(found === undefined ? [] : [{ limit: text, found }])
  })

  test.each(['', 'shared', 'shared>', 'shared>-1', 'shard>0', 'shared=>1', 'accesses.files>1', 'shared.bytes>1'])(
    'refuses %j',
    (text) => {
      expect(() => parseLimit(text)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
    },
  )
})

test('the home folder itself is explained as such, also beneath the working folder', () => {
  const [found] = explain({ ...report([path('/home/alice', [1, 2, 0])]), cwd: '/home' }, '/home/alice')
  expect(found).toMatchObject({ cause: expect.stringContaining('home folder itself'), calls: 2 })
})

test('the home folder is known by all its names', () => {
  const said = (asked: string, at: string, ...homes: string[]): string | undefined =>
    explain(report([path(asked, [1, 1, 0], { at })]), ...homes)[0]?.cause
  expect(said('/home/u7/.jupyter', '/home/u7/.jupyter', '/h', '/home/u7')).toContain('Jupyter')
  expect(said('/h/.jupyter', '/home/u7/.jupyter', '/home/u7')).toContain('Jupyter')
  expect(said('/home/u7x/.jupyter', '/home/u7x/.jupyter', '/home/u7')).not.toContain('Jupyter')
})

test('explains every shared access once', () => {
  const explained = explain(sample, '/home/alice')
  expect(explained.reduce((sum, { calls: one }) => sum + one, 0)).toBe(sample.servers.shared.calls)
  const by = (word: RegExp): unknown => explained.find(({ cause }) => word.test(cause))
  expect(by(/packages of the user/)).toMatchObject({
    calls: 2,
    misses: 2,
    remedy: expect.stringContaining('PYTHONNOUSERSITE'),
  })
  expect(by(/Jupyter/)).toMatchObject({ calls: 1, remedy: expect.stringContaining('JUPYTER_CONFIG_DIR') })
  expect(by(/compiled modules/)).toMatchObject({ remedy: expect.stringContaining('--spare bytecode') })
  expect(by(/where it came from/)).toMatchObject({ calls: 1, example: '/scratch/env/bin/python' })
  expect(by(/command line/)).toMatchObject({ example: '/home/alice/project/train.py' })
  expect(by(/working folder/)).toMatchObject({ example: '/home/alice/project/data.csv', calls: 3 })
  expect(by(/python3.11 asks for it/)).toMatchObject({ example: '/shared/other' })
})

test('compares two reports', () => {
  const after = report([path('/scratch/env/lib/a.py', [0, 30, 1]), path('/shared/new', [0, 1, 0])])
  const { rows, onlyA, onlyB } = compareReports(sample, after)
  expect(rows.find(({ name }) => name === 'on shared')).toEqual({ name: 'on shared', a: 10, b: 1 })
  expect(rows.find(({ name }) => name === 'of target')).toEqual({ name: 'of target', a: 42, b: 30 })
  expect(rows.some(({ name }) => name === 'on unknown')).toBe(false)
  expect(onlyB).toEqual(['/shared/new'])
  expect(onlyA).toContain('/home/alice/.jupyter/x.json')
})

test('draws bars whose lengths are in proportion', () => {
  const svg = chart('a < b', [
    { label: 'before & after', shared: 300, local: 100, unknown: 0 },
    { label: 'x'.repeat(80), shared: 0, local: 400, unknown: 0 },
  ])
  expect(svg).toContain('a &lt; b')
  expect(svg).toContain('before &amp; after')
  expect(svg).toContain('300 shared')
  const widths = [...svg.matchAll(/width="([\d.]+)" height="18"/g)].map((match) => Number(match[1]))
  expect(widths[0]).toBeCloseTo(3 * (widths[1] ?? 0), 0)
  expect(widths[2]).toBeCloseTo(4 * (widths[1] ?? 0), 0)
})
