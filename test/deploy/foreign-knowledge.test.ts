import { expect, test } from 'vitest'
import { originByScripts } from '../../src/conda/origin.js'
import { Knowledge } from '../../src/deploy/foreign/knowledge.js'
import { originsByNotes } from '../../src/deploy/foreign/origin.js'

const hash = (letter: string): string => letter.repeat(64)
const record = (name: string, paths: readonly object[], more: object = {}): string =>
  JSON.stringify({ name, version: '3.12.1', files: [], paths_data: { paths }, ...more })

test('records say what stands in files, two packages of one path together', () => {
  const known = new Knowledge()
  known.add(
    'conda-meta/a.json',
    record('a', [{ _path: 'x', sha256: hash('a'), prefix_placeholder: '/p', file_mode: 'text' }]),
  )
  known.add('conda-meta/b.json', record('b', [{ _path: 'x', sha256: hash('b') }]))
  expect(known.of('x')).toEqual({
    sha256: [hash('a'), hash('b')],
    rewrites: [{ prefix: '/p', mode: 'text' }],
    installed: true,
  })
  expect(known.of('y')).toBeUndefined()
  expect(known.records).toBe(2)
  expect([...known.placeholders()]).toEqual(['/p'])
})

test('noarch paths find their place when python comes, before or after', () => {
  const known = new Knowledge()
  known.add(
    'conda-meta/a.json',
    record('a', [{ _path: 'site-packages/a.py', sha256: hash('a') }], { noarch: 'python' }),
  )
  expect(known.finish()).toEqual(['a'])
  known.add('conda-meta/python.json', record('python', []))
  known.add('conda-meta/z.json', record('z', [{ _path: 'python-scripts/z', sha256: hash('f') }], { noarch: 'python' }))
  expect(known.finish()).toEqual([])
  expect(known.of('lib/python3.12/site-packages/a.py')?.sha256).toEqual([hash('a')])
  expect(known.of('bin/z')?.sha256).toEqual([hash('f')])
})

test('what an installer made is of no package, whatever hash is recorded', () => {
  const known = new Knowledge()
  known.add(
    'conda-meta/a.json',
    record('a', [{ _path: 'bin/a', path_type: 'unix_python_entry_point', sha256: hash('a') }], {
      files: ['bin/a', 'bin/b'],
    }),
  )
  expect(known.of('bin/a')).toEqual({ sha256: [], rewrites: [], installed: true })
  expect(known.of('bin/b')).toEqual({ sha256: [], rewrites: [], installed: true })
})

test('two hashes that differ tell of a placeholder that nobody names', () => {
  const known = new Knowledge()
  known.add('conda-meta/a.json', record('a', [{ _path: 'x', sha256: hash('a'), sha256_in_prefix: hash('b') }]))
  expect(known.of('x')).toEqual({ sha256: [hash('a')], rewrites: [], installed: true })
})

test('only C strings limit a prefix', () => {
  const known = new Knowledge()
  const file = (path: string, mode: string, length: number) => ({
    _path: path,
    prefix_placeholder: '/'.padEnd(length, 'p'),
    file_mode: mode,
  })
  known.add(
    'conda-meta/a.json',
    record('a', [file('text', 'text', 5), file('wide', 'binary', 40), file('narrow', 'binary', 30)]),
  )
  known.checkLength('/'.padEnd(30, 'n'))
  expect(() => known.checkLength('/'.padEnd(31, 'n'))).toThrowError(
    expect.objectContaining({ code: 'PREFIX_TOO_LONG', paths: ['narrow'] }),
  )
  expect(() => known.checkLength('/'.padEnd(41, 'n'))).toThrowError(/at most 30 fit into narrow \(30\), wide \(40\)/)
})

test('what notes name is a prefix of the source, unless a package proves it a placeholder', () => {
  const known = new Knowledge()
  known.add('conda-meta/a.json', record('a', [{ _path: 'x', prefix_placeholder: '/recorded' }]))
  const note = (path: string, placeholder: string) => ({ path, placeholder, mode: 'text' as const })
  const notes = [
    note('own', '/home/env'),
    note('x', '/recorded'),
    note('y', '/proven'),
    note('z', '/proven'),
    note('own2', '/home/env/long'),
    note('w', '/usr'),
  ]
  expect(originsByNotes(notes, known, (path) => path === 'z')).toEqual(['/home/env/long', '/home/env'])
})

test.each([
  ['#!/a/env/bin/python\n', '/a/env'],
  ['#! /a/env/bin/python3.11 -s\n', '/a/env'],
  ["#!/bin/sh\n'''exec' /a/env/bin/python \"$0\" \"$@\" #'''\n", '/a/env'],
  ["#!/bin/sh\n'''exec' \"/a b/env/bin/python3\" \"$0\" \"$@\" #'''\n", '/a b/env'],
  ['#!/a/env/bin/python3.11-config\n', undefined],
  ['#!/usr/bin/python3\n', undefined],
  ['#!/usr/bin/env python\n', undefined],
  ['#!/a/env/bin/perl\n', undefined],
  ['print("/a/env/bin/python")\n', undefined],
])('the head %j says %j', (head, prefix) => {
  expect(originByScripts([head])).toEqual(prefix === undefined ? [] : [prefix])
})

test('of several prefixes that scripts name, the one of most counts', () => {
  const heads = ['/one', '/two', '/two'].map((prefix, i) => [`bin/${i}`, `#!${prefix}/bin/python\n`] as const)
  expect(originByScripts(new Map(heads).values())).toEqual(['/two'])
})
