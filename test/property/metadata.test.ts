/**
 * What is read from conda-meta, activation files, other packers' scripts and summaries, fed with anything: it is understood or refused with
 * an EnvError, never with another error, and never takes longer than its length explains.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readUnpacker } from '../../src/archive/conda-pack.js'
import { memberPath, nameOfBytes } from '../../src/archive/names.js'
import { assignments, readActivation } from '../../src/conda/activation.js'
import { legacyPaths } from '../../src/conda/paths.js'
import { parseRecord } from '../../src/conda/record.js'
import { historyText, recordText } from '../../src/conda/record-text.js'
import { tellActivating } from '../../src/conda/taker.js'
import { takers } from '../../src/conda/takers.js'
import { isRecord, Knowledge } from '../../src/deploy/foreign/knowledge.js'
import { EnvError } from '../../src/errors.js'
import { parseIdentity } from '../../src/tree/manifest.js'
import { checkPath, isSafePath, linkInside } from '../../src/tree/safe-path.js'

/** Runs it; only an EnvError may come out. */
function tolerates(read: () => unknown): void {
  try {
    read()
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
  }
}

const path = fc.oneof(
  fc.constantFrom(
    '../../etc/passwd',
    '/etc/passwd',
    '',
    '.',
    'lib/../..',
    'a/b',
    '__proto__',
    'conda-meta/x.json',
    '\0',
  ),
  fc.string({ maxLength: 20 }),
)
const word = fc.oneof(path, fc.jsonValue(), fc.constantFrom(null, true, -1, 2 ** 60, 'constructor', 'text', 'binary'))
const item = fc.dictionary(
  fc.constantFrom(
    '_path',
    'path_type',
    'sha256',
    'sha256_in_prefix',
    'prefix_placeholder',
    'file_mode',
    'size_in_bytes',
    '__proto__',
  ),
  word,
)
const key = fc.constantFrom(
  ...['name', 'version', 'build', 'subdir', 'noarch', 'link', 'extracted_package_dir', 'url', 'requested_specs'],
  ...['python_site_packages_path', '__proto__', 'constructor', 'toString', 'channel'],
)
const record = fc
  .record({
    base: fc.dictionary(key, word),
    files: fc.oneof(word, fc.array(word)),
    paths: fc.oneof(word, fc.array(fc.oneof(item, word))),
    named: fc.boolean(),
  })
  .map(({ base, files, paths, named }) => {
    const raw = {
      ...base,
      files,
      paths_data: { paths, paths_version: 1 },
      ...(named ? { name: 'x', version: '1' } : {}),
    }
    return JSON.stringify(raw)
  })
const damaged = fc
  .tuple(record, fc.nat(), fc.string({ maxLength: 5 }))
  .map(([text, at, what]) => text.slice(0, at % (text.length + 1)) + what + text.slice(at % (text.length + 1)))
const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.json(), record, damaged)

describe('records of conda-meta', () => {
  const contents = { has: () => true, hash: () => ({ of: 'a' }), link: () => null }

  test('are read, and written for another prefix', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        tolerates(() => {
          const parsed = parseRecord('conda-meta/x.json', text)
          recordText(parsed, contents, 'lib/python3.11/site-packages')
          expect(Object.getPrototypeOf(parsed.raw)).toBe(Object.prototype)
        })
        tolerates(() => {
          const known = new Knowledge()
          known.add('conda-meta/x.json', text)
          known.finish()
          known.of('lib/x')
          known.checkLength('/a/prefix')
        })
      }),
      { numRuns: 1500 },
    )
    expect(Object.keys(Object.prototype)).toEqual([])
  })

  test('in older forms too', () => {
    fc.assert(fc.property(anyText, anyText, (files, prefixes) => tolerates(() => legacyPaths(files, prefixes, 'info'))))
    fc.assert(fc.property(anyText, (text) => tolerates(() => historyText(text))))
  })
})

test('scripts of other packers', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      '_prefix_records = [',
      '(',
      ')',
      ',',
      ']',
      "'",
      '"',
      "'''",
      '\\',
      '\n',
      '# ',
      'r',
      "'text'",
      '\\x4',
      '\\U00110000',
    ),
    fc.constantFrom(
      '#: ',
      '{"version":1,"producer":"x","prefixes":["/a"]}',
      '["a",1,"x",[["text",1,0,0]]]',
      '#: null\n',
      '#: [1]\n',
      'print("conda-unpack 1")',
    ),
    fc.string({ maxLength: 10 }),
  )
  const script = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(''))
  fc.assert(
    fc.property(script, (text) => {
      tolerates(() => readUnpacker(text))
      tolerates(() => readUnpacker(`_prefix_records = [\n${text}`))
      tolerates(() => readUnpacker(`#: {"version":1,"producer":"x","prefixes":["/a"]}\n#: ${text}`))
    }),
    { numRuns: 1500 },
  )
})

test('identities of archives', () => {
  const names = [
    'name',
    'packages',
    'python',
    'counts',
    'modified',
    'kept',
    'outsideLinks',
    'editable',
    'leftOut',
    '__proto__',
  ]
  const identity = fc.dictionary(fc.constantFrom(...names), fc.jsonValue()).map((value) => JSON.stringify(value))
  fc.assert(
    fc.property(fc.oneof(anyText, identity), (text) =>
      tolerates(() => {
        const parsed = parseIdentity(text, 'a')
        for (const list of [parsed?.modified, parsed?.kept, parsed?.outsideLinks, parsed?.leftOut])
          if (list !== undefined) expect(list.list.length).toBeGreaterThanOrEqual(0)
        expect(typeof (parsed?.name ?? '')).toBe('string')
      }),
    ),
    { numRuns: 1000 },
  )
})

describe('activation', () => {
  const work = mkdtempSync(join(tmpdir(), 'conda-deploy-metadata-'))
  const put = (file: string, text: string): void => {
    mkdirSync(dirname(join(work, file)), { recursive: true })
    writeFileSync(join(work, file), text)
  }

  test('reads any variables, and no value in its code is more than a value', async () => {
    try {
      const variables = fc
        .dictionary(fc.oneof(fc.stringMatching(/^[A-Z_]{1,4}$/), fc.constantFrom('__proto__', 'PATH', 'a b')), word)
        .map((value) => JSON.stringify(value))
      await fc.assert(
        fc.asyncProperty(fc.oneof(variables, anyText), anyText, async (one, two) => {
          put('etc/conda/env_vars.d/a.json', one)
          put('conda-meta/state', two)
          const activation = await readActivation(work)
          expect(Object.keys(activation.variables).every((name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name))).toBe(true)
          assignments(activation, { CONDA_SHLVL: '1', CONDA_PREFIX: '/x' })
          for (const taker of takers) expect((await tellActivating(activation, taker, { now: {} })).text).not.toBe('')
        }),
        { numRuns: 150 },
      )
    } finally {
      rmSync(work, { recursive: true })
    }
  })
})

test('names: what is safe stays beneath the root', () => {
  const part = fc.oneof(fc.constantFrom('..', '.', '', 'a', '...', ' ', '\\', '\n'), fc.string({ maxLength: 4 }))
  const name = fc
    .tuple(fc.boolean(), fc.array(part, { maxLength: 6 }))
    .map(([root, all]) => (root ? '/' : '') + all.join('/'))
  fc.assert(
    fc.property(name, name, (one, two) => {
      tolerates(() => checkPath(one, 'test'))
      if (isSafePath(one)) expect(join('/root', one).startsWith('/root/')).toBe(true)
      tolerates(() => expect(memberPath(one, 'a') === '' || isSafePath(memberPath(one, 'a'))).toBe(true))
      const inside = isSafePath(one) ? linkInside(one, two) : null
      if (inside !== null) expect(inside === '' || isSafePath(inside)).toBe(true)
      expect(typeof isRecord(one)).toBe('boolean')
    }),
    { numRuns: 2000 },
  )
  const mixed = fc.oneof(
    fc.uint8Array({ maxLength: 12 }),
    fc.string({ unit: 'binary', maxLength: 4 }).map((s) => Buffer.from(s)),
  )
  fc.assert(
    fc.property(fc.array(mixed, { maxLength: 5 }), (parts) => {
      const bytes = Buffer.concat(parts)
      const back = [...nameOfBytes(bytes)].map((c) =>
        /^[\udc80-\udcff]$/.test(c) ? Buffer.from([c.charCodeAt(0) - 0xdc00]) : Buffer.from(c),
      )
      expect(Buffer.concat(back)).toEqual(bytes)
    }),
    { numRuns: 2000 },
  )
})

describe('long and deep inputs take no longer than they are', () => {
  const deep = (n: number): string => `${'{"a":'.repeat(n)}1${'}'.repeat(n)}`
  const long = 200_000
  const cases: readonly (readonly [string, () => unknown])[] = [
    ['a record of 100,000 levels', () => parseRecord('r', `{"name":"a","version":"1","x":${deep(100_000)}}`)],
    [
      'such a record, written',
      () =>
        recordText(
          parseRecord('r', `{"name":"a","version":"1","x":${deep(100_000)}}`),
          { has: () => true, hash: () => null, link: () => null },
          'lib',
        ),
    ],
    ['an identity of 100,000 levels', () => parseIdentity(`{"x":${deep(100_000)}}`, 'a')],
    ['lists that do not end', () => parseRecord('r', '['.repeat(long))],
    ['a script of brackets', () => readUnpacker(`_prefix_records = [${'('.repeat(long)}`)],
    ['a script of backslashes', () => readUnpacker(`_prefix_records = [('${'\\\\'.repeat(long)}`)],
    ['a script of comments', () => readUnpacker(`_prefix_records = [${'#\n'.repeat(long)}`)],
    ['a script of blanks', () => readUnpacker(`${' '.repeat(long)}_prefix_records${' '.repeat(long)}=`)],
    ['many tuples', () => readUnpacker(`_prefix_records = [${"('a','b','text'),".repeat(long / 10)}]`)],
    ['a history of URLs', () => historyText(`+${'file://'.repeat(long / 7)}`)],
    ['a history of slashes', () => historyText(`# cmd: ${'/'.repeat(long)}`)],
    ['a history of words', () => historyText(`# cmd: ${'a/'.repeat(long)} `)],
    ['quotes in has_prefix', () => legacyPaths('a', `"${'\'"'.repeat(long)}`, 'info')],
    ['blanks in has_prefix', () => legacyPaths('a', ' '.repeat(long), 'info')],
    ['a name of slashes', () => memberPath('/'.repeat(long).slice(1), 'a')],
    ['a name of bytes that are not UTF-8', () => nameOfBytes(Buffer.alloc(long, 0xff))],
    ['a record’s name', () => isRecord(`conda-meta/${'a'.repeat(long)}`)],
    ['a link up and down', () => linkInside('a', 'b/../'.repeat(long / 5))],
  ]
  test.each(cases)('%s', (_, read) => {
    const start = process.cpuUsage()
    tolerates(read)
    const { user, system } = process.cpuUsage(start)
    expect((user + system) / 1e6).toBeLessThan(3)
  })
})
