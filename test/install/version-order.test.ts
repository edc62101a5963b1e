import { createRequire } from 'node:module'
import { describe, expect, test } from 'vitest'
import { parseMatchSpec } from '../../src/conda/match-spec.js'
import { repoRecord } from '../../src/install/repodata.js'
import { Solver } from '../../src/install/solver.js'
import vectors from '../vectors/version-order.json' with { type: 'json' }

const rattler = createRequire(import.meta.url)('@conda-org/rattler') as typeof import('@conda-org/rattler')
const solver = new Solver(rattler)
const compare = (a: string, b: string): number => Math.sign(new rattler.Version(a).compare(new rattler.Version(b)))
const matches = (spec: string, version: string): boolean =>
  solver.matches(
    parseMatchSpec(spec),
    repoRecord('https://host/c', 'noarch', `a-${version}-0.conda`, { name: 'a', version, build: '0' }),
  )

describe('the order of versions', () => {
  test('is the one that conda documents', () => {
    const ranked = vectors.ascending.flatMap((equal, rank) => equal.map((version) => ({ version, rank })))
    for (const one of ranked)
      for (const other of ranked)
        expect(compare(one.version, other.version), `${one.version} and ${other.version}`).toBe(
          Math.sign(one.rank - other.rank),
        )
  })

  test.each(['openssl', 'local'] as const)('takes %s versions as conda does', (key) => {
    const list = vectors[key]
    for (let i = 1; i < list.length; i++) expect(compare(list[i - 1] ?? '', list[i] ?? ''), list[i]).toBe(-1)
  })
})

describe('a constraint', () => {
  test.each([
    ['a ==1.7', '1.7.0', true],
    ['a 1.7', '1.7.0', true],
    ['a 1.7', '1.7.1', false],
    ['a =1.7', '1.7.1', true],
    ['a =1.7', '1.70', false],
    ['a 1.7.*', '1.7.1', true],
    ['a 1.7*', '1.7.1', true],
    ['a <=1.7', '1.7.0', true],
    ['a <1.7', '1.7.0', false],
    ['a <1.7', '1.7.0rc1', true],
    ['a >1.7', '1.7.0post1', true],
    ['a >2013b', '2013a', false],
    ['a >2013b', '2013k', true],
    ['a !=1.5', '1.5.0', false],
    ['a !=1.5.*', '1.5.2', false],
    ['a ~=1.4.2', '1.4.9', true],
    ['a ~=1.4.2', '1.5', false],
    ['a >=1.2,<1.4|==2.0', '2.0', true],
    ['a >=1.2,<1.4|==2.0', '1.4', false],
    ['a (>=1,<2)|>=3', '2.5', false],
    ['a (>=1,<2)|>=3', '3.1', true],
    ['a *', '0', true],
    ['a 1.2.3*', '1.2.3+4.5.6', true],
    ['a 1!0.4', '1!0.4.0', true],
    ['a[version=">=1,<2", build=0]', '1.5', true],
    ['a[build=1]', '1.5', false],
  ])('%s and %s: %s', (spec, version, expected) => expect(matches(spec, version)).toBe(expected))

  test.each(['a ><1', 'a >=', 'a ==1||2', 'a 1..2&3'])('%s is refused, not misread', (spec) => {
    expect(() => matches(spec, '1.0')).toThrow()
  })
})
