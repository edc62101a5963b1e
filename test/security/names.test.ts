/** Names that a file system, a terminal or a person could misunderstand, in archives of ours and of others. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { Range } from '../support/attack.js'
import { draftOf, forge, leastMembers } from '../support/forge.js'
import { type RawMember, rawMember, rawPax, rawTar, tarEnd } from '../support/raw-tar.js'
import { runCli } from '../support/run-cli.js'

const range = new Range('names')
const record: RawMember = { name: 'conda-meta/a-1-0.json', data: '{"name": "a", "version": "1", "files": []}' }
const named = (name: string | Buffer): Buffer => forge(draftOf([...leastMembers, { name, data: 'x' }]))
const foreign = (...members: readonly RawMember[]): Buffer => gzipSync(rawTar([record, ...members]))

describe('never written: archives of ours', () => {
  const unsafe: readonly string[] = [
    ...['/etc/evil', '/', '..', '../evil', 'lib/../../evil', 'lib/..', './lib/x', 'lib/./x', 'lib//x', '.', 'lib/x/.'],
    ...['', 'x\0y', 'lib/\0', '.conda-deploy', '.conda-deploy/ready', `lib/${'n'.repeat(4096)}`],
  ]
  test.each(unsafe.map((name) => [name.slice(0, 20), name]))('case 43: %j', async (_, name) => {
    await range.refused(named(name), 'UNSAFE_PATH')
  })

  test.each([['lib'], ['lib/data'], ['conda-meta']])('%j named twice', async (name) => {
    await range.refused(named(name), 'ARCHIVE_CORRUPT')
  })

  test.each([['nothing/x'], ['lib/data/x'], ['lib/a/b/c']])('%j without a directory to stand in', async (name) => {
    await range.refused(named(name), 'ARCHIVE_CORRUPT')
  })

  test('a name of one part that no file system takes', async () => {
    await range.refused(named(`lib/${'n'.repeat(300)}`), 'IO')
  })
})

describe('never written: archives of others', () => {
  const pax = (path: string): Buffer => foreign(rawPax({ path }), { name: 'short', data: 'x' })
  test.each([['/etc/evil'], ['../evil'], ['lib/../../evil'], ['x\0y']])('case 43: %j in a pax header', async (path) => {
    await range.refused(pax(path), 'UNSAFE_PATH')
  })

  test('a path longer than the kernel takes', async () => {
    await range.refused(pax(`lib/${'d/'.repeat(3000)}x`), 'UNSAFE_PATH')
  })

  test('a name of one part that no file system takes', async () => {
    await range.refused(pax(`lib/${'n'.repeat(300)}`), 'IO')
  })

  test('10,000 directories in one another', async () => {
    await range.refused(pax(`${'d/'.repeat(10_000)}x`), 'UNSAFE_PATH')
    const members = Array.from({ length: 10_000 }, (_, i) => [
      rawMember(rawPax({ path: 'd/'.repeat(i + 1) })),
      rawMember({ name: 'd', type: '5' }),
    ]).slice(0, 3000)
    const bytes = gzipSync(Buffer.concat([rawMember(record), ...members.flat(), tarEnd]))
    await range.refused(bytes, 'UNSAFE_PATH')
  })
})

describe('written as what they are', () => {
  const odd: readonly (readonly [what: string, name: string | Buffer])[] = [
    ['a newline', 'lib/a\nb'],
    ['control characters', 'lib/\x1b[31mred\x07'],
    ['a leading dash', 'lib/-rf'],
    ['blanks and quotes', `lib/ '"$(touch evil)\`touch evil\` `],
    ['a backslash', 'lib/..\\..\\evil'],
    ['bytes that are not UTF-8', Buffer.from('lib/\xff\xfe', 'latin1')],
    ['a letter written in two ways', 'lib/e\u0301'],
    ['text that runs from right to left', 'lib/\u202egnp.exe'],
  ]
  test.each(odd)('%s', async (_, name) => {
    const raw = Buffer.from(name as string).subarray(4)
    for (const bytes of [named(name), foreign({ name, data: 'x' })]) {
      const { at, code } = await range.deploy(bytes)
      expect(code).toBe('')
      const names = readdirSync(join(at, 'env/lib'), { encoding: 'buffer' })
      expect(names.some((one) => one.equals(raw))).toBe(true)
      expect(existsSync(join(at, 'evil'))).toBe(false)
    }
  })

  test('twins by case stay two files where the file system tells them apart', async () => {
    const twins = [
      { name: 'lib/Twin', data: 'one' },
      { name: 'lib/twin', data: 'two' },
    ]
    for (const bytes of [forge(draftOf([...leastMembers, ...twins])), foreign(...twins)]) {
      const { at } = await range.deploy(bytes)
      expect(readFileSync(join(at, 'env/lib/Twin'), 'utf8')).toBe('one')
      expect(readFileSync(join(at, 'env/lib/twin'), 'utf8')).toBe('two')
    }
  })
})

describe('never shown raw: a name cannot write on a terminal, or add lines to what is said', () => {
  const evil = 'lib/\x1b]0;owned\x07\x1b[2K\nconda-deploy: all is well'

  test('in errors and warnings', async () => {
    const cases = [
      named(`${evil}/../x`),
      foreign({ name: evil, type: '2', link: '/outside\x1b[2J' }),
      foreign({ name: evil, type: '3' }),
      foreign({ name: `../${evil}`, data: '' }),
    ]
    for (const bytes of cases) {
      const { stdout, stderr } = await runCli([range.archive(bytes), '--to', join(range.work, 'shown', 'env')])
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      expect(stdout + stderr).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/)
      expect(`${stdout}\n${stderr}`).not.toMatch(/^conda-deploy: all is well/m)
    }
  })

  test('in what inspect and verify list', async () => {
    const draft = draftOf([...leastMembers, { name: evil, data: 'x' }])
    draft.json = JSON.stringify({ name: evil, modified: { total: 1, list: [evil] } })
    const wrong = draft.entries[4]
    if (wrong) wrong.sha256 = Buffer.alloc(32)
    const archive = range.archive(forge(draft))
    for (const args of [
      ['inspect', archive],
      ['verify', archive],
    ]) {
      const { stdout, stderr } = await runCli(args)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      expect(stdout + stderr).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/)
      expect(`${stdout}\n${stderr}`).not.toMatch(/^conda-deploy: all is well/m)
    }
  })
})
