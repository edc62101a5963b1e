/** Foreign archives that try to write, link or read outside of their target. Each must be refused or disarmed, and leave nothing. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { type DeployResult, deploy } from '../../src/deploy/deploy.js'
import { verify } from '../../src/deploy/verify.js'
import { type RawMember, rawTar } from '../support/raw-tar.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('foreign-attack')
const record: RawMember = { name: 'conda-meta/a-1-0.json', data: '{"name": "a", "version": "1", "files": []}' }

let count = 0
async function attempt(
  members: readonly RawMember[],
  cut = 0,
): Promise<{ at: string; result: DeployResult | null; error: string }> {
  const at = join(work, String(++count))
  mkdirSync(at)
  const archive = join(work, `${count}.tar.gz`)
  const bytes = gzipSync(rawTar([record, ...members]))
  writeFileSync(archive, bytes.subarray(0, bytes.length - cut))
  try {
    const result = await deploy({ archive, to: join(at, 'env'), readOnly: false, threads: 2 })
    expect((await verify(result.prefix)).faults).toEqual([])
    return { at, result, error: '' }
  } catch (error) {
    const { code, message } = error as Error & { code: string }
    return { at, result: null, error: `${code}: ${message}` }
  }
}

const canary = join(work, 'canary')
writeFileSync(canary, 'untouched', { mode: 0o600 })

const refused: readonly [what: string, code: string, members: readonly RawMember[]][] = [
  ['an absolute name', 'UNSAFE_PATH', [{ name: canary, data: 'x' }]],
  ['a name that climbs', 'UNSAFE_PATH', [{ name: 'lib/../../../canary', data: 'x' }]],
  ['a hard link to a file outside', 'UNSAFE_PATH', [{ name: 'a', type: '1', link: canary }]],
  ['a hard link that climbs', 'UNSAFE_PATH', [{ name: 'a', type: '1', link: '../../canary' }]],
  ['a hard link to nothing', 'ARCHIVE_CORRUPT', [{ name: 'a', type: '1', link: 'b' }]],
  ['a hard link to itself', 'ARCHIVE_CORRUPT', [{ name: 'a', type: '1', link: 'a' }]],
  [
    'a hard link to a directory',
    'ARCHIVE_CORRUPT',
    [
      { name: 'd/', type: '5' },
      { name: 'a', type: '1', link: 'd' },
    ],
  ],
  ['a device', 'UNSUPPORTED', [{ name: 'null', type: '3' }]],
  [
    'a file beneath a link to outside',
    'UNSAFE_PATH',
    [
      { name: 'd', type: '2', link: work },
      { name: 'd/canary', data: 'x' },
    ],
  ],
  [
    'a file beneath a link to inside',
    'UNSAFE_PATH',
    [{ name: 'lib/x' }, { name: 'lib64', type: '2', link: 'lib' }, { name: 'lib64/y' }],
  ],
  [
    'a file beneath a file',
    'UNSAFE_PATH',
    [
      { name: 'a', data: 'x' },
      { name: 'a/b', data: 'x' },
    ],
  ],
  [
    'a link in place of a directory',
    'UNSAFE_PATH',
    [{ name: 'd/x' }, { name: 'd', type: '2', link: work }, { name: 'd/canary' }],
  ],
  [
    'a file replaced after it was linked',
    'ARCHIVE_CORRUPT',
    [{ name: 'a' }, { name: 'b', type: '1', link: 'a' }, { name: 'a', data: 'x' }],
  ],
  ['a directory in place of a file', 'ARCHIVE_CORRUPT', [{ name: 'a' }, { name: 'a/', type: '5' }]],
  ['a symbolic link without a target', 'ARCHIVE_CORRUPT', [{ name: 'a', type: '2' }]],
]

describe('refused, with nothing left and nothing touched', () => {
  test.each(refused)('%s', async (_, code, members) => {
    const { at, error } = await attempt(members)
    expect(error.split(':')[0]).toBe(code)
    expect(readdirSync(at)).toEqual([])
    expect(readFileSync(canary, 'utf8')).toBe('untouched')
    expect(statSync(canary)).toMatchObject({ nlink: 1, size: 9 })
  })

  test('an archive that is cut off', async () => {
    const { at, error } = await attempt([{ name: 'lib/a', data: 'x'.repeat(5000) }], 20)
    expect(error).toMatch(/^ARCHIVE_CORRUPT: /)
    expect(readdirSync(at)).toEqual([])
  })
})

describe('disarmed, and said', () => {
  test('a link that becomes a file again is not written through', async () => {
    const { result } = await attempt([
      { name: 'a', type: '2', link: canary },
      { name: 'a', data: 'file' },
    ])
    expect(readFileSync(join(result?.prefix ?? '', 'a'), 'utf8')).toBe('file')
    expect(readFileSync(canary, 'utf8')).toBe('untouched')
    expect(result?.warnings).toContainEqual('named more than once in the archive, the last one counts: a')
  })

  test('a file that becomes a link is a link', async () => {
    const { result } = await attempt([
      { name: 'a', data: 'file' },
      { name: 'a', type: '2', link: canary },
    ])
    expect(lstatSync(join(result?.prefix ?? '', 'a')).isSymbolicLink()).toBe(true)
    expect(readFileSync(canary, 'utf8')).toBe('untouched')
    expect(statSync(canary).mode & 0o777).toBe(0o600)
  })

  test('setuid, setgid and sticky bits are dropped, and nobody may write', async () => {
    const { result } = await attempt([
      { name: 'bin/su', mode: 0o7777, data: 'x' },
      { name: 'd/', type: '5', mode: 0o1777 },
    ])
    expect(statSync(join(result?.prefix ?? '', 'bin/su')).mode & 0o7777).toBe(0o755)
    expect(statSync(join(result?.prefix ?? '', 'd')).mode & 0o7777).toBe(0o755)
    expect(result?.warnings).toContainEqual('setuid, setgid and sticky bits are not given: bin/su')
  })

  test('a marker and an index brought along do not count', async () => {
    const { result } = await attempt([
      { name: '.conda-deploy/ready', data: '{}' },
      { name: '.conda-deploy/index', data: 'x' },
      { name: '.conda-deploy', type: '2', link: '/' },
    ])
    expect(result?.foreign?.leftOut).toEqual(['.conda-deploy/ready', '.conda-deploy/index', '.conda-deploy'])
    expect(JSON.parse(readFileSync(join(result?.prefix ?? '', '.conda-deploy/ready'), 'utf8')).digest).toBe(
      result?.digest,
    )
  })

  test('hard links share one file, through each other and through links', async () => {
    const { result } = await attempt([
      { name: 'a', data: 'content' },
      { name: 'b', type: '1', link: 'a' },
      { name: 'c', type: '1', link: 'b' },
      { name: 'l', type: '2', link: 'a' },
      { name: 'm', type: '1', link: 'l' },
    ])
    const at = (name: string): string => join(result?.prefix ?? '', name)
    expect(statSync(at('c')).ino).toBe(statSync(at('a')).ino)
    expect(statSync(at('a')).nlink).toBe(3)
    expect(lstatSync(at('m')).isSymbolicLink()).toBe(true)
  })

  test('a hard link with content of its own is a file of its own', async () => {
    const { result } = await attempt([
      { name: 'a', data: 'one' },
      { name: 'b', type: '1', link: 'a', data: 'two' },
    ])
    expect(readFileSync(join(result?.prefix ?? '', 'b'), 'utf8')).toBe('two')
    expect(result?.foreign?.detached).toEqual(['b'])
  })

  test('a record cannot name files outside', async () => {
    const evil = {
      name: 'e',
      version: '1',
      files: ['../../canary'],
      paths_data: { paths: [{ _path: '../../canary', prefix_placeholder: 'untouched', file_mode: 'text' }] },
    }
    const { result } = await attempt([{ name: 'conda-meta/e-1-0.json', data: JSON.stringify(evil) }])
    expect(existsSync(result?.prefix ?? '')).toBe(true)
    expect(readFileSync(canary, 'utf8')).toBe('untouched')
  })

  test('a list of prefixes cannot name files outside', async () => {
    const script = "_prefix_records = [\n('../../canary', 'untouched', 'text'),\n('/etc/passwd', 'root', 'text')\n]\n"
    const { result } = await attempt([{ name: 'bin/conda-unpack', data: script }])
    expect(result?.foreign?.producer).toBe('conda-pack')
    expect(readFileSync(canary, 'utf8')).toBe('untouched')
  })
})
