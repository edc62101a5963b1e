/** Links of every kind in archives of ours: what leads out stays a name, and nothing goes through it. Those of others: foreign-archive.test.ts. */
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { Range } from '../support/attack.js'
import { draftOf, type ForgedEntry, forge, leastMembers } from '../support/forge.js'
import { type RawMember, rawTar } from '../support/raw-tar.js'

const range = new Range('links')
const ours = (...members: readonly RawMember[]): Buffer => forge(draftOf([...leastMembers, ...members]))
const record: RawMember = { name: 'conda-meta/a-1-0.json', data: '{"name": "a", "version": "1", "files": []}' }
const theirs = (...members: readonly RawMember[]): Buffer => gzipSync(rawTar([record, ...members]))
const link = (name: string, to: string): RawMember => ({ name, type: '2', link: to, mode: 0o777 })
const hard = (name: string, to: string): RawMember => ({ name, type: '1', link: to })

describe('link, then write', () => {
  const beneath: readonly [what: string, members: readonly RawMember[]][] = [
    ['a file beneath a link to outside', [link('lib/out', range.work), { name: 'lib/out/canary', data: 'x' }]],
    ['a file beneath a link that climbs', [link('lib/up', '../..'), { name: 'lib/up/canary', data: 'x' }]],
    ['a file beneath a link to inside', [link('lib64', 'lib'), { name: 'lib64/x', data: 'x' }]],
    ['a directory beneath a link', [link('lib/out', range.work), { name: 'lib/out/d/', type: '5' }]],
    ['a link beneath a link', [link('lib/out', range.work), link('lib/out/l', 'x')]],
    ['a link beneath a link to itself', [link('lib/loop', 'loop'), { name: 'lib/loop/x', data: 'x' }]],
    ['a file named like the link', [link('lib/l', range.canary), { name: 'lib/l', data: 'x' }]],
    ['a directory named like the link', [link('lib/l', range.work), { name: 'lib/l/', type: '5' }]],
    ['a link named like a directory', [link('lib', range.work)]],
  ]
  test.each(beneath)('case 43: %s', async (_, members) => {
    await range.refused(ours(...members), 'ARCHIVE_CORRUPT')
  })
})

describe('hard links', () => {
  const bad: readonly [what: string, to: string][] = [
    ['to an absolute path', range.canary],
    ['that climb', '../../canary'],
    ['to nothing', 'lib/nothing'],
    ['to a directory', 'lib'],
    ['to themselves', 'lib/x'],
    ['without a target', ''],
    ['with a NUL', 'lib/data\0'],
  ]
  test.each(bad)('%s', async (_, to) => {
    const draft = draftOf([...leastMembers, hard('lib/x', 'lib/data')])
    ;(draft.entries[4] as ForgedEntry).target = to
    await range.refused(forge(draft), 'ARCHIVE_CORRUPT')
  })

  test('to what comes later', async () => {
    await range.refused(ours(hard('lib/x', 'lib/y'), { name: 'lib/y', data: 'y' }), 'ARCHIVE_CORRUPT')
    await range.refused(theirs(hard('lib/x', 'lib/y'), { name: 'lib/y', data: 'y' }), 'ARCHIVE_CORRUPT')
  })

  test('through a symbolic link, to a file outside or inside', async () => {
    await range.refused(ours(link('lib/l', range.canary), hard('lib/x', 'lib/l')), 'ARCHIVE_CORRUPT')
    await range.refused(ours(link('lib64', 'lib'), hard('lib/x', 'lib64/data')), 'ARCHIVE_CORRUPT')
    await range.refused(theirs(link('out', range.work), hard('x', 'out/canary')), 'ARCHIVE_CORRUPT')
    // To the link itself: one more link, not a name of the file behind it.
    const { at } = await range.deploy(theirs(link('l', range.canary), hard('x', 'l')))
    expect(lstatSync(join(at, 'env/x')).isSymbolicLink()).toBe(true)
  })
})

describe('symbolic links that lead out', () => {
  test('are kept as they are, and never followed', async () => {
    const targets = [
      '/etc/passwd',
      '../../canary',
      range.work,
      '/proc/self/fd/0',
      '-',
      '/dev/stdin',
      `/${'x'.repeat(3000)}`,
    ]
    const draft = draftOf([...leastMembers, ...targets.map((_, i) => link(`lib/l${i}`, 'short'))])
    targets.forEach((to, i) => {
      const entry = draft.entries[4 + i]
      if (entry) entry.target = to
    })
    const { at, code } = await range.deploy(forge(draft))
    expect(code).toBe('')
    expect(targets.map((_, i) => readlinkSync(join(at, `env/lib/l${i}`)))).toEqual(targets)
  })

  test.each([
    ['', 'empty'],
    ['a\0b', 'with a NUL'],
    ['x'.repeat(4096), 'too long'],
  ])('%.3j: %s, refused', async (to) => {
    const draft = draftOf([...leastMembers, link('lib/l', 'x')])
    ;(draft.entries[4] as ForgedEntry).target = to
    await range.refused(forge(draft), 'ARCHIVE_CORRUPT')
  })
})

describe('modes and owners', () => {
  test('setuid, setgid and sticky bits are never given, whatever the table says', async () => {
    const members = [
      { name: 'lib/su', mode: 0o6755, data: 'x' },
      { name: 'lib/d/', type: '5', mode: 0o3777 },
    ]
    for (const readOnly of [true, false]) {
      const { at } = await range.deploy(ours(...members), { readOnly })
      expect(statSync(join(at, 'env/lib/su')).mode & 0o7000).toBe(0)
      expect(statSync(join(at, 'env/lib/d')).mode & 0o7000).toBe(0)
      expect(statSync(join(at, 'env/lib/su')).uid).toBe(process.getuid?.())
    }
  })

  test('a directory that nobody may enter can be entered, and removed', async () => {
    const { at } = await range.deploy(
      ours({ name: 'lib/shut/', type: '5', mode: 0 }, { name: 'lib/shut/x', mode: 0, data: 'x' }),
    )
    expect(statSync(join(at, 'env/lib/shut')).mode & 0o700).toBe(0o700)
    expect(existsSync(join(at, 'env/lib/shut/x'))).toBe(true)
  })
})

describe('what is no file, directory or link', () => {
  const types = [
    ['3', 'a character device'],
    ['4', 'a block device'],
    ['6', 'a fifo'],
    ['7', 'a contiguous file'],
    ['S', 'a sparse file'],
    ['M', 'a continuation'],
    ['V', 'a label'],
    ['Z', 'nothing known'],
  ]
  test.each(types)('type %s, %s, is never made', async (type) => {
    const { at, code } = await range.deploy(theirs({ name: 'lib/odd', type, data: '' }))
    if (code === '') {
      const odd = join(at, 'env/lib/odd')
      expect(!existsSync(odd) || lstatSync(odd).isFile()).toBe(true)
    } else expect(['UNSUPPORTED', 'ARCHIVE_CORRUPT']).toContain(code)
  })

  test('a kind that the table does not know', async () => {
    for (const kind of [4, 7, 15, 0x40, 0x80]) {
      const draft = draftOf(leastMembers)
      ;(draft.entries[3] as ForgedEntry).kind = kind
      await range.refused(forge(draft), 'ARCHIVE_CORRUPT')
    }
  })
})

test('a target inside the archive’s own names is what stands there, not what is beside it', async () => {
  const { at } = await range.deploy(ours({ name: 'lib/text', data: 'x' }))
  expect(readdirSync(at)).toEqual(['env'])
  expect(readFileSync(join(at, 'env/lib/text'), 'utf8')).toBe('x')
})
