/** case 43: zip archives that lie, climb, link out, or unpack to more than they should. Refused, with nothing left and nothing touched. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type DeployOptions, type DeployResult, deploy } from '../../src/deploy/deploy.js'
import { type RawZipMember, rawZip } from '../support/raw-zip.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('zip-attack')
const record: RawZipMember = { name: 'conda-meta/a-1-0.json', data: '{"name": "a", "version": "1", "files": []}' }
const canary = join(work, 'canary')
writeFileSync(canary, 'untouched', { mode: 0o600 })
const link = 0o120777

let count = 0
interface Attempt {
  readonly at: string
  readonly result: DeployResult | null
  readonly error: string
}
async function attempt(bytes: Buffer, options: Partial<DeployOptions> = {}): Promise<Attempt> {
  const at = join(work, String(++count))
  mkdirSync(at)
  const archive = join(work, `${count}.zip`)
  writeFileSync(archive, bytes)
  try {
    return {
      at,
      result: await deploy({ archive, to: join(at, 'env'), readOnly: false, threads: 2, ...options }),
      error: '',
    }
  } catch (error) {
    const { code, message } = error as Error & { code: string }
    return { at, result: null, error: `${code}: ${message}` }
  }
}
const zip = (...members: RawZipMember[]): Buffer => rawZip([record, ...members])
const zeros = Buffer.alloc(1 << 20)

const refused: readonly [what: string, code: string, bytes: Buffer][] = [
  ['a name that climbs (zip slip)', 'UNSAFE_PATH', zip({ name: 'lib/../../../canary', data: 'x' })],
  ['an absolute name', 'UNSAFE_PATH', zip({ name: canary, data: 'x' })],
  ['a file beneath a link', 'UNSAFE_PATH', zip({ name: 'd', data: work, mode: link }, { name: 'd/canary', data: 'x' })],
  [
    'a link in place of a directory',
    'UNSAFE_PATH',
    zip({ name: 'd/x' }, { name: 'd', data: work, mode: link }, { name: 'd/canary' }),
  ],
  ['a link without a target', 'ARCHIVE_CORRUPT', zip({ name: 'a', mode: link })],
  ['a link whose target holds a NUL', 'ARCHIVE_CORRUPT', zip({ name: 'a', data: 'b\0c', mode: link })],
  ['a link of megabytes', 'ARCHIVE_CORRUPT', zip({ name: 'a', data: zeros, mode: link })],
  ['a device', 'UNSUPPORTED', zip({ name: 'null', mode: 0o020666 })],
  ['a directory with content', 'ARCHIVE_CORRUPT', zip({ name: 'd/', data: 'x', mode: 0o040755 })],
  ['a size that is too small', 'ARCHIVE_CORRUPT', zip({ name: 'a', data: zeros, claims: { size: 10 } })],
  ['a size that is too large', 'ARCHIVE_CORRUPT', zip({ name: 'a', data: 'x', claims: { size: 1000 } })],
  ['a size beyond all limits', 'LIMIT_EXCEEDED', zip({ name: 'a', data: 'x', claims: { size: 0xfffffffe } })],
  [
    'a packed size that reaches into others',
    'ARCHIVE_CORRUPT',
    zip({ name: 'a', data: 'x', claims: { packed: 5000 } }),
  ],
  ['a packed size that is not true', 'ARCHIVE_CORRUPT', zip({ name: 'a', data: 'x', claims: { packed: 1 } })],
  ['a checksum that is not true', 'ARCHIVE_CORRUPT', zip({ name: 'a', data: 'x', claims: { crc: 7 } })],
  [
    'members that share bytes',
    'ARCHIVE_CORRUPT',
    zip({ name: 'a', data: zeros }, { name: 'a', data: zeros, claims: { header: 200 } }),
  ],
  ['a local header of another name', 'ARCHIVE_CORRUPT', zip({ name: 'a', localName: 'b' })],
  ['an encrypted member', 'UNSUPPORTED', zip({ name: 'a', data: 'x', flags: 1 })],
  ['a method that is not known', 'UNSUPPORTED', zip({ name: 'a', data: 'x', method: 12 })],
  ['a directory of fewer members than it says', 'ARCHIVE_CORRUPT', rawZip([record], 2)],
  ['a directory of more members than it says', 'ARCHIVE_CORRUPT', rawZip([record, { name: 'a' }], 1)],
  ['an archive that is cut off', 'ARCHIVE_CORRUPT', zip({ name: 'a', data: 'x' }).subarray(0, -30)],
]

describe('case 43: refused', () => {
  test.each(refused)('%s', async (_, code, bytes) => {
    const { at, error } = await attempt(bytes)
    expect(error.split(':')[0], error).toBe(code)
    expect(readdirSync(at)).toEqual([])
    expect(readFileSync(canary, 'utf8')).toBe('untouched')
    expect(statSync(canary)).toMatchObject({ nlink: 1, size: 9 })
  })

  test('more than the limit that the caller sets', async () => {
    const members = Array.from({ length: 8 }, (_, i) => ({ name: `lib/${i}`, data: zeros }))
    const bytes = zip(...members)
    expect(bytes.length).toBeLessThan(20_000)
    const { at, error } = await attempt(bytes, { maxBytes: 4 << 20 })
    expect(error).toMatch(/^LIMIT_EXCEEDED: /)
    expect(readdirSync(at)).toEqual([])
    expect((await attempt(bytes, { maxBytes: 9 << 20 })).error).toBe('')
  })
})

describe('case 43: disarmed', () => {
  test('setuid and its like, and a link to outside, which is said', async () => {
    const { result } = await attempt(
      zip({ name: 'bin/su', data: 'x', mode: 0o106777 }, { name: 'out', data: canary, mode: link }),
    )
    const prefix = result?.prefix ?? ''
    expect(statSync(join(prefix, 'bin/su')).mode & 0o7777).toBe(0o755)
    expect(lstatSync(join(prefix, 'out')).isSymbolicLink()).toBe(true)
    expect(result?.warnings.join()).toMatch(/links lead out of the environment: out/)
  })

  test('a name that comes twice: the last one counts', async () => {
    const { result } = await attempt(zip({ name: 'a', data: 'first' }, { name: 'a', data: 'second' }))
    expect(readFileSync(join(result?.prefix ?? '', 'a'), 'utf8')).toBe('second')
    expect(result?.foreign?.duplicates).toEqual(['a'])
  })

  test('names with a backslash are names', async () => {
    const { result } = await attempt(zip({ name: '..\\..\\x', data: 'x' }))
    expect(existsSync(join(result?.prefix ?? '', '..\\..\\x'))).toBe(true)
  })
})
