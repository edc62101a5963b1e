import { describe, expect, test } from 'vitest'
import type { There } from '../../src/install-jobs.js'
import { pathsOf, stepsOf } from '../../src/tree/steps.js'

const none: ReadonlySet<string> = new Set()
interface Given {
  readonly incoming?: readonly string[]
  readonly outgoing?: readonly string[]
  readonly derived?: readonly string[]
  readonly documents?: readonly string[]
  readonly clobber?: boolean
}

/** Steps in their order, as `how path`, for a prefix in which these names stand. */
function steps(given: Given, standing: Readonly<Record<string, There>>) {
  const { incoming = [], outgoing = [], derived = [], documents = [], clobber = false } = given
  const change = {
    ...{ incoming: new Set(incoming), outgoing: new Set(outgoing), derived: new Set(derived) },
    ...{ shared: none, documents: new Set(documents), clobber, hint: 'move them' },
  }
  const there = new Map<string, There>(pathsOf(change).map((path) => [path, standing[path] ?? 'nothing']))
  const { groups, tidy, ...rest } = stepsOf(change, there, '/prefix')
  const words = (list: (typeof groups)[number]): string[] => list.map(({ how, path }) => `${how} ${path}`)
  return { steps: groups.flatMap(words), tidy: words(tidy), ...rest }
}

describe('steps', () => {
  test('a new folder is one name', () => {
    const incoming = ['lib/p/a', 'lib/p/b/c', 'lib/own', 'bin/x']
    expect(steps({ incoming }, { lib: 'directory' }).steps).toEqual(['add bin', 'add lib/own', 'add lib/p'])
  })

  test('new names before replaced ones, those before names that go, documents last', () => {
    const given = {
      incoming: ['lib/new', 'lib/both', 'conda-meta/a-2.json'],
      outgoing: ['lib/both', 'lib/old', 'conda-meta/a-1.json', 'lib/lost'],
      documents: ['conda-meta/a-1.json', 'conda-meta/a-2.json'],
    }
    const standing: Record<string, There> = {
      ...{ lib: 'directory', 'lib/both': 'symlink', 'lib/old': 'file' },
      ...{ 'conda-meta': 'directory', 'conda-meta/a-1.json': 'file' },
    }
    const planned = steps(given, standing)
    expect(planned.steps).toEqual([
      ...['add lib/new', 'replace lib/both', 'remove lib/old'],
      ...['remove conda-meta/a-1.json', 'add conda-meta/a-2.json'],
    ])
    expect(planned.tidy).toEqual(['tidy lib'])
  })

  test('a name goes once, whoever names it', () => {
    const path = 'lib/__pycache__/m.cpython-311.pyc'
    const standing: Record<string, There> = { lib: 'directory', 'lib/__pycache__': 'directory', [path]: 'file' }
    const planned = steps({ outgoing: [path], derived: [path] }, standing)
    expect(planned.steps).toEqual([`remove ${path}`])
    expect(planned.tidy).toEqual(['tidy lib/__pycache__', 'tidy lib'])
  })

  test('what is no file of a package is left, or in the way', () => {
    expect(steps({ outgoing: ['a', 'b/c'] }, { a: 'directory', b: 'symlink', 'b/c': 'beyond' })).toMatchObject({
      steps: [],
      left: [
        expect.stringContaining('a is not removed: a directory'),
        expect.stringContaining('b/c is not removed: a sym'),
      ],
    })
    expect(() => steps({ incoming: ['a/b'] }, { a: 'file' })).toThrow(/belong to no package.*: a$/)
    expect(() => steps({ incoming: ['a/b'] }, { a: 'symlink', 'a/b': 'beyond' })).toThrow(/symbolic links.*: a$/)
    expect(() => steps({ incoming: ['a'] }, { a: 'other' })).toThrow(/: a$/)
    expect(steps({ incoming: ['a'], clobber: true }, { a: 'file' })).toMatchObject({
      steps: ['replace a'],
      replaced: ['a'],
    })
  })
})
