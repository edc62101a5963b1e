import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { readUnpacker } from '../../src/archive/conda-pack.js'
import { unpackScript } from '../../src/pack/scripts/index.js'

const script = (list: string): string =>
  `#!/usr/bin/env python\n_other = ['x']\n\n_prefix_records = [\n${list}\n]\n\nif True:\n    print('conda-unpack 1.2.3')\n`
const notes = (list: string) => readUnpacker(script(list))?.notes

describe('the list of conda-pack', () => {
  test('is read with who made it', () => {
    expect(readUnpacker(script("('bin/a', '/p', 'text'),\n('lib/b.so', '/q', 'binary')"))).toEqual({
      producer: 'conda-pack 1.2.3',
      notes: [
        { path: 'bin/a', placeholder: '/p', mode: 'text' },
        { path: 'lib/b.so', placeholder: '/q', mode: 'binary' },
      ],
    })
  })

  test('may be empty, on one line, with commas and comments anywhere', () => {
    expect(readUnpacker("_prefix_records = []\nprint('conda-unpack 1')")?.notes).toEqual([])
    expect(notes("('a','b','text',),  # one\n # two\n ( 'c' , 'd' , 'binary' ) ,")).toHaveLength(2)
  })

  test('without a version is of conda-pack all the same', () => {
    expect(readUnpacker("_prefix_records = [\n('a', 'b', 'text')\n]")?.producer).toBe('conda-pack')
  })

  test.each([
    [String.raw`'it\'s'`, "it's"],
    [`"it's"`, "it's"],
    [String.raw`'a\\b'`, 'a\\b'],
    [String.raw`'\x41\u00e9\U0001F600\101'`, 'Aé😀A'],
    [String.raw`'\udc80'`, '\udc80'],
    [String.raw`'\n\t\q'`, '\n\t\\q'],
    [String.raw`r'a\nb'`, 'a\\nb'],
    [`u'é'`, 'é'],
    [`'''two\nlines'''`, 'two\nlines'],
    [String.raw`"""quo"te\""""`, 'quo"te"'],
    [`"]),('"`, "]),('"],
    [`'# no comment'`, '# no comment'],
  ])('takes %s', (literal, value) => {
    expect(notes(`(${literal}, '/p', 'text')`)).toEqual([{ path: value, placeholder: '/p', mode: 'text' }])
  })

  test.each([
    ["('a', 'b', 'text'", "expected ')'"],
    ["('a', 'b')", "expected ','"],
    ["('a', 'b', 'other')", "expected 'text' or 'binary'"],
    ["('a, 'b', 'text')", 'expected'],
    ["('a\n', 'b', 'text')", 'no end'],
    ["('a', b'b', 'text')", 'expected a string'],
    ["('a', 'b', 'text') ('c', 'd', 'text')", "',' or ']'"],
    ["('a', 'b', 'text'), 7", "expected '('"],
    [String.raw`('\U00110000', 'b', 'text')`, 'no character'],
  ])('that is %s is refused', (list, why) => {
    expect(() => notes(list)).toThrowError(
      expect.objectContaining({ code: 'ARCHIVE_CORRUPT', message: expect.stringContaining(why) }),
    )
  })

  test('is what Python itself would read', (context) => {
    const values = [
      'plain',
      "it's",
      'quo"te',
      `both'"`,
      'tab\tnew\nline',
      'back\\slash',
      'é漢😀',
      '\x00\x7f\x85',
      '\u2028',
    ]
    let literals: string
    try {
      literals = execFileSync('python3', ['-c', 'import sys,json\nfor v in json.load(sys.stdin): print(repr(v))'], {
        input: JSON.stringify(values),
        encoding: 'utf8',
        env: { ...process.env, PYTHONIOENCODING: 'utf-8' },
        stdio: ['pipe', 'pipe', 'ignore'],
      })
    } catch {
      return context.skip('python3 is not installed')
    }
    const list = literals
      .trimEnd()
      .split('\n')
      .map((literal) => `(${literal}, '/p', 'text')`)
    expect(notes(list.join(',\n'))?.map(({ path }) => path)).toEqual(values)
  })
})

test('our own table is read, each prefix of a file once', () => {
  const spot = (encoding: 'text' | 'c8' | 'digest', refers: string, offset: number) => ({
    encoding,
    refers,
    offset,
    slot: encoding === 'c8' ? 90 : 0,
  })
  const file = { size: 9, sha256: '0'.repeat(64) }
  const text = unpackScript({
    producer: '0.1.0',
    files: [
      { path: 'bin/a', ...file, spots: [spot('text', '/p', 2), spot('text', '/p', 9)] },
      { path: 'lib/b', ...file, spots: [spot('c8', '/p', 2), spot('c8', '/q', 9)] },
      { path: 'conda-meta/c.json', ...file, spots: [spot('digest', 'bin/a', 2)] },
    ],
  })
  expect(readUnpacker(text)).toEqual({
    producer: 'conda-deploy 0.1.0',
    notes: [
      { path: 'bin/a', placeholder: '/p', mode: 'text' },
      { path: 'lib/b', placeholder: '/p', mode: 'binary' },
      { path: 'lib/b', placeholder: '/q', mode: 'binary' },
    ],
  })
})

test('any other script says nothing', () => {
  expect(readUnpacker('#!/bin/sh\necho conda-unpack\n')).toBeNull()
})
