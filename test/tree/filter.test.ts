import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { excludes, fnmatch } from '../../src/tree/filter.js'

const cases: readonly (readonly [pattern: string, path: string, matches: boolean])[] = [
  ['*.pyc', 'lib/a/b.pyc', true],
  ['*.pyc', 'lib/a/b.pyc\n', false],
  ['lib/*', 'lib/a/b', true],
  ['lib/?', 'lib//', true],
  ['lib/?', 'lib/é', true],
  ['lib/?', 'lib/😀', true],
  ['LIB/*', 'lib/a', false],
  ['[ab]/x', 'a/x', true],
  ['[!ab]/x', 'a/x', false],
  ['[!ab]/x', 'c/x', true],
  ['[^a]', '^', true],
  ['[^a]', 'b', false],
  ['[]x]', ']', true],
  ['[!]x]', ']', false],
  ['[a-c]', 'b', true],
  ['[a-c-]', '-', true],
  ['[a-c-e]', 'd', false],
  ['[c-a]', 'b', false],
  ['[!c-a]', 'b', true],
  ['[--0]', '.', true],
  ['[a', '[a', true],
  ['a[', 'a[', true],
  ['[]', '[]', true],
  ['[!]', '[!]', true],
  ['a.b', 'axb', false],
  ['(a|b)+$', '(a|b)+$', true],
  ['a\\b', 'a\\b', true],
  ['[\\]', '\\', true],
  ['**/x', 'a/b/x', true],
  ['', '', true],
  ['', 'a', false],
]

describe('fnmatch', () => {
  test.each(cases)('%j and %j: %s', (pattern, path, matches) => {
    expect(fnmatch(pattern).test(path)).toBe(matches)
  })

  const script =
    'import fnmatch,json,sys;print(json.dumps([fnmatch.fnmatchcase(p,q) for q,p,_ in json.load(sys.stdin)]))'
  const python = spawnSync('python3', ['-c', script], { input: JSON.stringify(cases), encoding: 'utf8' })
  test.skipIf(python.status !== 0)('Python says the same (needs python3)', () => {
    expect(JSON.parse(python.stdout)).toEqual(cases.map(([, , matches]) => matches))
  })

  test('a pattern of many stars takes no time', () => {
    const started = performance.now()
    expect(fnmatch(`${'*'.repeat(60)}b`).test('a'.repeat(2000))).toBe(false)
    expect(performance.now() - started).toBeLessThan(500)
  })
})

describe('filters', () => {
  test('case 13: apply in their order, and include only takes back', () => {
    const out = excludes([
      { kind: 'include', pattern: '*.py' },
      { kind: 'exclude', pattern: 'lib/*' },
      { kind: 'include', pattern: 'lib/keep/*' },
      { kind: 'exclude', pattern: '*.pyx' },
    ])
    expect(['lib/a.py', 'lib/keep/a.py', 'lib/keep/a.pyx', 'bin/a'].map(out)).toEqual([true, false, true, false])
  })

  test('none leaves nothing out', () => {
    expect(excludes([])('x')).toBe(false)
  })
})
