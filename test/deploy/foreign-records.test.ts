/** When records are read, and by what numbers paths go. */
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Knowledge } from '../../src/deploy/foreign/knowledge.js'
import { Paths } from '../../src/deploy/foreign/paths.js'
import { Records } from '../../src/deploy/foreign/records.js'

const hash = (letter: string): string => letter.repeat(64)
const record = (...paths: readonly object[]): string =>
  JSON.stringify({ name: 'x', version: '1', files: [], paths_data: { paths } })

test('records that name placeholders are read at once, the others when nothing else is to be done', async () => {
  const known = new Knowledge()
  const records = new Records(known)
  records.add('conda-meta/a.json', record({ _path: 'a', sha256: hash('a') }))
  records.add('conda-meta/b.json', record({ _path: 'b', sha256: hash('b'), prefix_placeholder: '/p' }))
  expect([known.of('a'), known.of('b')?.rewrites]).toEqual([undefined, [{ prefix: '/p', mode: 'text' }]])
  await turn()
  await turn()
  expect(known.of('a')?.sha256).toEqual([hash('a')])
  records.add('conda-meta/c.json', record({ _path: 'c', sha256: hash('c') }))
  records.finish()
  expect(known.of('c')?.sha256).toEqual([hash('c')])
  expect(known.records).toBe(3)
})

test('of a record that is named again the last one counts', () => {
  const known = new Knowledge()
  const records = new Records(known)
  const path = 'conda-meta/a.json'
  records.add(path, record({ _path: 'a', sha256: hash('a') }))
  records.add(path, JSON.stringify({ name: 'x', version: '1', link: { source: '/cache' }, paths_data: { paths: [] } }))
  records.finish()
  expect(known.isPortable(path)).toBe(false)
  records.add(path, JSON.stringify({ name: 'x', version: '1', link: { source: '/cache' }, paths_data: { paths: [] } }))
  records.add(path, record({ _path: 'a', prefix_placeholder: '/p' }))
  records.finish()
  expect(known.isPortable(path)).toBe(true)
})

test('what is no record is said when all are asked for, and by nobody else', async () => {
  const records = new Records(new Knowledge())
  records.add('conda-meta/a.json', '[]')
  await turn()
  await turn()
  expect(() => records.finish()).toThrow('conda-meta/a.json is not a package record: expected a JSON object')
  records.drop()
  records.finish()
})

test('a path has one number, in whatever order paths are named', () => {
  const paths = new Paths()
  const numbers = new Map<string, number>()
  // Runs in order, runs from their middle, jumps: by a fixed sequence of remainders.
  for (let i = 0, seed = 1; i < 3000; i++) {
    seed = (seed * 48271) % 2147483647
    const path = `p${seed % 3 === 0 ? seed % 200 : i % 200}`
    const known = numbers.get(path) ?? numbers.size
    expect(paths.find(path)).toBe(numbers.get(path))
    expect(paths.number(path)).toBe(known)
    expect(paths.text(known)).toBe(path)
    numbers.set(path, known)
  }
  expect(numbers.size).toBe(200)
})
