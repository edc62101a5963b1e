/** One row a behaviour of conda's that a user relies on: what is offered, what is asked, what is installed, or what is said. */
import { describe, expect, test } from 'vitest'
import { parseMatchSpec } from '../../src/conda/match-spec.js'
import { cutoff } from '../../src/install/exclude-newer.js'
import { type Question, solve } from '../../src/install/solve.js'
import { virtualPackages } from '../../src/install/virtual-packages.js'
import { temporaryFolder } from '../support/temp.js'
import { channelOf, type Offered } from './channel-of.js'

const folder = temporaryFolder('solve-table')
const day = (text: string): number => Date.parse(text)

interface Case {
  readonly offered: readonly (readonly Offered[])[]
  readonly specs: readonly string[]
  readonly more?: Partial<Question>
  /** `name version build channel` each, or the beginning of what is said. */
  readonly answer: readonly string[] | RegExp
}

const a = (version: string, more: Partial<Offered> = {}): Offered => ({ name: 'a', version, ...more })
const needs = (name: string, ...depends: string[]): Offered => ({ name, version: '1', depends })
const two = [[a('1'), a('2')]]
const dated = [
  [
    a('1', { timestamp: day('2024-01-01') }),
    a('2', { timestamp: day('2024-06-01T12:00:00Z') }),
    // Channels once wrote seconds.
    a('3', { timestamp: day('2025-01-01') / 1000 }),
    a('0.1'),
  ],
]
const system = (variables: Record<string, string>, platform = 'linux-64'): Partial<Question> => ({
  virtual: virtualPackages(platform, variables),
})
const variants: Offered = a('1', { build: 'h123_0' })

const cases: Readonly<Record<string, Case>> = {
  'a pin holds for what is only needed by others': {
    ...{ offered: [[...(two[0] ?? []), needs('b', 'a')]], specs: ['b'], more: { pins: ['a 1.*'] } },
    answer: ['a 1 0 c0', 'b 1 0 c0'],
  },
  'a pin asks for nothing by itself': {
    offered: [[...(two[0] ?? []), needs('b')]],
    specs: ['b'],
    more: { pins: ['a 1.*'] },
    answer: ['b 1 0 c0'],
  },
  'a pin against what is asked is named': {
    ...{ offered: two, specs: ['a>=2'], more: { pins: ['a 1.*'] }, answer: /^UNSATISFIABLE .*pin.*a 1\.\*/s },
  },
  'exclude-newer leaves what is as old, and what has no date': {
    ...{ offered: dated, specs: ['a'], more: { excludeNewer: cutoff('2024-06-01') }, answer: ['a 2 0 c0'] },
  },
  'exclude-newer by the moment': {
    ...{ offered: dated, specs: ['a'], more: { excludeNewer: cutoff('2024-06-01T12:00:00Z') }, answer: ['a 1 0 c0'] },
  },
  'exclude-newer without an answer is named': {
    ...{
      offered: [[a('2', { timestamp: day('2025-01-01') })]],
      specs: ['a'],
      more: { excludeNewer: cutoff('2024-01-01') },
    },
    answer: /^UNSATISFIABLE .*newer than 2024-01-02/s,
  },
  'exclude-newer by the date at which the channel took it in': {
    ...{
      offered: [[a('1', { timestamp: 1 }), a('2', { timestamp: 1, more: { indexed_timestamp: day('2025-01-01') } })]],
      specs: ['a'],
    },
    ...{ more: { excludeNewer: cutoff('2024-01-01') }, answer: ['a 1 0 c0'] },
  },
  'CONDA_OVERRIDE_CUDA lets packages for it in': {
    ...{
      offered: [[a('1'), a('2', { depends: ['__cuda >=12'] })]],
      specs: ['a'],
      more: system({ CONDA_OVERRIDE_CUDA: '12.2' }),
    },
    answer: ['a 2 0 c0'],
  },
  'no CUDA keeps them out': {
    offered: [[a('1'), a('2', { depends: ['__cuda >=12'] })]],
    specs: ['a'],
    more: system({ CONDA_OVERRIDE_CUDA: '' }),
    answer: ['a 1 0 c0'],
  },
  'CONDA_OVERRIDE_GLIBC is an old system': {
    ...{
      offered: [[a('1', { depends: ['__glibc >=2.12'] }), a('2', { depends: ['__glibc >=2.28,<3.0.a0'] })]],
      specs: ['a'],
    },
    ...{ more: system({ CONDA_OVERRIDE_GLIBC: '2.17' }), answer: ['a 1 0 c0'] },
  },
  'a system that is too old is told': {
    ...{
      offered: [[a('2', { depends: ['__glibc >=2.28'] })]],
      specs: ['a'],
      more: system({ CONDA_OVERRIDE_GLIBC: '2.17' }),
    },
    answer: /^UNSATISFIABLE .*__glibc >=2\.28/s,
  },
  '__unix, __linux and __archspec are there': {
    ...{ offered: [[a('1', { depends: ['__unix', '__linux', '__archspec * x86_64'] })]], specs: ['a'] },
    ...{ more: system({ CONDA_OVERRIDE_ARCHSPEC: 'x86_64' }), answer: ['a 1 0 c0'] },
  },
  'channel::name takes it from there, by strict priority too': {
    ...{ offered: [[a('1')], [a('2')]], specs: ['c1::a'], more: { priority: 'strict' }, answer: ['a 2 0 c1'] },
  },
  'channel::name that the channel lacks is told': {
    offered: [[a('1')], [needs('b')]],
    specs: ['c1::a'],
    answer: /^UNSATISFIABLE /s,
  },
  'strict: a later channel is not asked for a name that an earlier one has': {
    ...{
      offered: [[a('1')], [a('2'), needs('b', 'a >=2')]],
      specs: ['b'],
      more: { priority: 'strict' },
      answer: /^UNSATISFIABLE .*a >=2/s,
    },
  },
  'flexible: it is, where there is no other answer': {
    offered: [[a('1')], [a('2'), needs('b', 'a >=2')]],
    specs: ['b'],
    answer: ['a 2 0 c1', 'b 1 0 c1'],
  },
  'disabled: the highest version of all': {
    offered: [[a('1')], [a('2')]],
    specs: ['a'],
    more: { priority: 'disabled' },
    answer: ['a 2 0 c1'],
  },
  'the same file of two channels is the first one’s': {
    offered: [[a('1')], [a('1')]],
    specs: ['a'],
    more: { priority: 'disabled' },
    answer: ['a 1 0 c0'],
  },
  'constrains of a package that is there hold': {
    ...{
      offered: [[a('1'), a('2'), { name: 'b', version: '1', constrains: ['a <2'] }]],
      specs: ['a', 'b'],
      answer: ['a 1 0 c0', 'b 1 0 c0'],
    },
  },
  'constrains ask for nothing': {
    offered: [[a('1'), { name: 'b', version: '1', constrains: ['a <2'] }]],
    specs: ['b'],
    answer: ['b 1 0 c0'],
  },
  'two specs of one name both hold': { offered: two, specs: ['a>=1', 'a<2'], answer: ['a 1 0 c0'] },
  'a build by its pattern': {
    offered: [[variants, a('1', { build: 'cuda_1', number: 1 })]],
    specs: ['a=1=h*_0'],
    answer: ['a 1 h123_0 c0'],
  },
  'a spec by md5': {
    offered: [[a('1', { more: { md5: 'b'.repeat(32) } }), a('2')]],
    specs: [`a[md5=${'b'.repeat(32)}]`],
    answer: ['a 1 0 c0'],
  },
  'a spec by sha256': {
    offered: [[a('1', { more: { sha256: 'b'.repeat(64) } }), a('2')]],
    specs: [`a[sha256=${'b'.repeat(64)}]`],
    answer: ['a 1 0 c0'],
  },
  'a noarch package beside one of the platform: the higher build number': {
    ...{
      offered: [[a('1', { noarch: 'generic', build: 'n_1', number: 1 }), a('1', { build: 'p_0' })]],
      specs: ['a'],
      answer: ['a 1 n_1 c0'],
    },
  },
  'a circle of needs': {
    offered: [[needs('a', 'b'), needs('b', 'a')]],
    specs: ['a'],
    answer: ['b 1 0 c0', 'a 1 0 c0'],
  },
  'what nobody needs is not installed': { offered: [[a('1'), needs('b')]], specs: ['a'], answer: ['a 1 0 c0'] },
  'nothing offered of a dependency is told with the name': {
    offered: [[needs('b', 'missing >=3')]],
    specs: ['b'],
    answer: /^UNSATISFIABLE .*missing >=3/s,
  },
  'a conflict names both sides': {
    ...{
      offered: [[...(two[0] ?? []), needs('b', 'a <2'), needs('c', 'a >=2')]],
      specs: ['b', 'c'],
      answer: /^UNSATISFIABLE (?=.*a >=2)(?=.*a <2).*c 1 would require/s,
    },
  },
}

describe('the solver', () => {
  let number = 0
  test.each(Object.entries(cases))('%s', async (_, { offered, specs, more = {}, answer }) => {
    const home = `case-${number++}`
    const indexes = offered.flatMap((one, i) =>
      channelOf(folder, `${home}/c${i}`, one).map((index) => ({ ...index, name: `c${i}` })),
    )
    const virtual = [{ name: '__glibc', version: '2.36', build: '0' }]
    const got = await solve({ specs, indexes, platform: 'linux-64', virtual, ...more }).then(
      ({ records }) => records.map((one) => `${one.name} ${one.version} ${one.build} ${/c\d$/.exec(one.channel)?.[0]}`),
      (error: { code: string; message: string; hint?: string }) => `${error.code} ${error.message} ${error.hint ?? ''}`,
    )
    if (answer instanceof RegExp) expect(got).toMatch(answer)
    else expect(got).toEqual(answer)
  })
})

describe('exclude-newer is written', () => {
  const now = day('2026-04-10T00:00:00Z')
  test.each([
    ['2026-04-01', '2026-04-02T00:00:00Z'],
    ['2026-04-01T12:00:00Z', '2026-04-01T12:00:00Z'],
    ['2026-04-01 12:00', '2026-04-01T12:00:00Z'],
    ['2026-04-01T12:00:00+02:00', '2026-04-01T10:00:00Z'],
    ['7d', '2026-04-03T00:00:00Z'],
    ['1w', '2026-04-03T00:00:00Z'],
    ['P7D', '2026-04-03T00:00:00Z'],
    ['3d12h', '2026-04-06T12:00:00Z'],
    ['PT36H', '2026-04-08T12:00:00Z'],
    ['3600', '2026-04-09T23:00:00Z'],
    ['0', '2026-04-10T00:00:00Z'],
  ])('as %s', (text, expected) => expect(cutoff(text, now)).toBe(day(expected)))

  test.each(
    ['', 'yesterday', '2026', '2026-13-01', '-7d', '7', 'P', '7x'].filter((text) => text !== '7' && text !== '2026'),
  )('not as %j', (text) => expect(() => cutoff(text, now)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' })))
})

test('the specs of the table are read as they are meant', () => {
  for (const { specs } of Object.values(cases))
    for (const spec of specs) expect(parseMatchSpec(spec).name).toMatch(/^[abc]$/)
})
