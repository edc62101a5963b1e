import { expect, test } from 'vitest'
import { EnvError } from '../../src/errors.js'
import { follow, type Node } from '../../src/tree/follow.js'
import { checkPath, isSafePath, linkInside, linkText } from '../../src/tree/safe-path.js'

test.each(['a', 'a/b', '..a/b..', 'a/...', 'é/ü', 'a b'])('%j is a safe path', (path) => {
  expect(isSafePath(path)).toBe(true)
  checkPath(path, 'the test')
})

test.each(['', '/', '/a', 'a/', 'a//b', '.', '..', 'a/..', './a', 'a/../b', 'a\0b'])('%j is not', (path) => {
  expect(isSafePath(path)).toBe(false)
  expect(() => checkPath(path, 'x.tar')).toThrowError(EnvError)
  expect(() => checkPath(path, 'x.tar')).toThrowError(/x\.tar names/)
})

test.each([
  ['lib/a', 'b', 'lib/b'],
  ['lib/a', '../bin/b', 'bin/b'],
  ['lib/a', './b/', 'lib/b'],
  ['a', '.', ''],
  ['lib/a', '..', ''],
  ['lib/a', '../..', null],
  ['a', '../x', null],
  ['lib/a', '../../env/lib/b', null],
  ['a', '/usr/lib', null],
  ['a', '', null],
] as const)('a link at %s to %j leads to %j', (path, target, inside) => {
  expect(linkInside(path, target)).toBe(inside)
})

test.each([
  ['lib/a', 'lib/b', 'b'],
  ['lib/a', 'bin/b', '../bin/b'],
  ['a', '', '.'],
  ['lib/deep/a', '', '../..'],
] as const)('the text of a link at %s to %s is %s', (path, inside, text) => {
  expect(linkText(path, inside)).toBe(text)
  expect(linkInside(path, text)).toBe(inside)
})

test('follow goes over links to directories, chains and dots, and gives up on loops', () => {
  const link = (target: string): Node => ({ kind: 'symlink', target })
  const nodes = new Map<string, Node>([
    ['lib', { kind: 'directory' }],
    ['lib/python3.11', { kind: 'directory' }],
    ['lib/python3.11/os.py', { kind: 'file' }],
    ['lib/python3.1', link('python3.11')],
    ['lib64', link('lib')],
    ['os', link('lib64/python3.1/../python3.1/./os.py')],
    ['loop', link('loop')],
    ['out', link('../x')],
    ['absolute', link('/lib')],
  ])
  expect(follow(nodes, 'lib64/python3.1/os.py', false)).toBe('lib/python3.11/os.py')
  expect(follow(nodes, 'os', false)).toBe('os')
  expect(follow(nodes, 'os', true)).toBe('lib/python3.11/os.py')
  expect(follow(nodes, 'lib64', true)).toBe('lib')
  for (const path of ['loop', 'out', 'absolute', 'nothing', 'lib/nothing']) expect(follow(nodes, path, true)).toBeNull()
  expect(follow(nodes, 'absolute/python3.11', false)).toBeNull()
})
