import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { type Question, solve } from '../../src/install/solve.js'
import { channelOf, type Offered } from './channel-of.js'

const folder = mkdtempSync(join(tmpdir(), 'conda-deploy-solve-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const virtual = [
  { name: '__glibc', version: '2.36', build: '0' },
  { name: '__unix', version: '0', build: '0' },
]
let channels = 0
const answer = async (specs: string[], offered: Offered[][], more: Partial<Question> = {}): Promise<string[]> => {
  const indexes = offered.flatMap((one, i) =>
    channelOf(folder, `${channels++}c${i}`, one).map((index) => ({ ...index, name: `c${i}` })),
  )
  const { records } = await solve({ specs, indexes, platform: 'linux-64', virtual, ...more })
  return records.map(({ name, version, build, channel }) => `${name} ${version} ${build} ${/c\d$/.exec(channel)?.[0]}`)
}
const failure = async (specs: string[], offered: Offered[][], more: Partial<Question> = {}): Promise<string> =>
  answer(specs, offered, more).then(
    (found) => `solved: ${found.join(', ')}`,
    (error: { code: string; message: string; hint?: string }) => `${error.code} ${error.message} ${error.hint ?? ''}`,
  )
const a = (version: string, more: Partial<Offered> = {}): Offered => ({ name: 'a', version, ...more })

describe('of one channel it takes', () => {
  test.each([
    ['the highest version, as conda orders them', ['a'], ['1.9', '1.10', '1.10.0a1', '1.10rc1'], '1.10'],
    ['the highest below a bound', ['a <1.10'], ['1.9', '1.10', '1.10rc1'], '1.10rc1'],
    ['the exact version', ['a==1.9'], ['1.9', '1.9.1'], '1.9'],
    ['a bare version as exact', ['a 1.9'], ['1.9', '1.9.1'], '1.9'],
    ['a version after one equals sign as a beginning', ['a=1.9'], ['1.9', '1.9.1', '1.10'], '1.9.1'],
    ['a range', ['a>=1.2,<1.4|==2.0'], ['1.1', '1.3', '1.4'], '1.3'],
    ['a compatible release', ['a~=1.4'], ['1.3', '1.4', '1.9', '2.0'], '1.9'],
    ['brackets', ['a[version=">=1,<2"]'], ['1.5', '2.1'], '1.5'],
    ['an upper-case name', ['A'], ['1.0'], '1.0'],
  ])('%s', async (_, specs, versions, expected) => {
    expect(await answer(specs, [versions.map((version) => a(version))])).toEqual([`a ${expected} 0 c0`])
  })

  test('the highest build number, a build by pattern, and one by its number', async () => {
    const offered = [
      [a('1', { build: 'py311_0' }), a('1', { build: 'py311_3', number: 3 }), a('1', { build: 'py310_9', number: 9 })],
    ]
    expect(await answer(['a'], offered)).toEqual(['a 1 py310_9 c0'])
    expect(await answer(['a * py311*'], offered)).toEqual(['a 1 py311_3 c0'])
    expect(await answer(['a[build_number=0]'], offered)).toEqual(['a 1 py311_0 c0'])
  })

  test('the .conda of two archives of one build', async () => {
    const offered = [[a('1', { kind: 'tar.bz2' }), a('1', { kind: 'conda' })]]
    const indexes = channelOf(folder, 'two', offered[0] as Offered[])
    const { records } = await solve({ specs: ['a'], indexes, platform: 'linux-64', virtual })
    expect(records.map(({ fn }) => fn)).toEqual(['a-1-0.conda'])
  })

  test('what others constrain, what is asked of the system, and nothing that weighs features', async () => {
    const b: Offered = { name: 'b', version: '1', constrains: ['a <2'], depends: ['__glibc >=2.17'] }
    expect(await answer(['a', 'b'], [[a('1'), a('2'), b]])).toEqual(['a 1 0 c0', 'b 1 0 c0'])
    const weighed = a('1', { build: 'debug', number: 5, more: { track_features: 'debug' } })
    expect(await answer(['a'], [[weighed, a('1')]])).toEqual(['a 1 0 c0'])
  })

  test('dependencies, each before what needs it, python before what it installs', async () => {
    const offered: Offered[] = [
      { name: 'python', version: '3.11.2', depends: ['pip', 'libz'] },
      { name: 'pip', version: '23', depends: ['python'], noarch: 'python' },
      { name: 'libz', version: '1' },
      { name: 'app', version: '1', depends: ['pip', 'python >=3.11'] },
    ]
    expect(await answer(['app'], [offered])).toEqual(['libz 1 0 c0', 'python 3.11.2 0 c0', 'pip 23 0 c0', 'app 1 0 c0'])
  })
})

describe('of several channels', () => {
  const both = [[a('1')], [a('2'), { name: 'b', version: '1', depends: ['a >=2'] }]]

  test('strictly: the first that has the name', async () => {
    expect(await answer(['a'], both, { priority: 'strict' })).toEqual(['a 1 0 c0'])
    expect(await failure(['a>=2'], both, { priority: 'strict' })).toMatch(/^UNSATISFIABLE .*a >=2/s)
  })

  test('flexibly: a later one where there is no answer otherwise, and it is said', async () => {
    expect(await answer(['a'], both)).toEqual(['a 1 0 c0'])
    expect(await answer(['b'], both)).toEqual(['a 2 0 c1', 'b 1 0 c1'])
  })

  test('without priority: the highest version', async () => {
    expect(await answer(['a'], both, { priority: 'disabled' })).toEqual(['a 2 0 c1'])
  })

  test('the one that a spec names, which the library itself cannot do', async () => {
    expect(await answer(['c1::a'], both, { priority: 'strict' })).toEqual(['a 2 0 c1'])
    expect(await answer(['a[channel=c1]'], both)).toEqual(['a 2 0 c1'])
    expect(await answer(['c1/linux-64::a'], both)).toEqual(['a 2 0 c1'])
  })
})

describe('what narrows the choice', () => {
  test('pins, dates, and what is installed', async () => {
    const offered = [[a('1', { timestamp: 1_000_000_000_000 }), a('2', { timestamp: 1_700_000_000_000 })]]
    expect(await answer(['a'], offered, { pins: ['a <2'] })).toEqual(['a 1 0 c0'])
    expect(await answer(['a'], offered, { excludeNewer: 1_500_000_000_000 })).toEqual(['a 1 0 c0'])
    const indexes = channelOf(folder, 'held', offered[0] as Offered[])
    const { records: installed } = await solve({ specs: ['a==1'], indexes, platform: 'linux-64', virtual })
    const { records } = await solve({ specs: ['a'], indexes, platform: 'linux-64', virtual, installed })
    expect(records.map(({ version }) => version)).toEqual(['1'])
    const { records: raised } = await solve({ specs: ['a>1'], indexes, platform: 'linux-64', virtual, installed })
    expect(raised.map(({ version }) => version)).toEqual(['2'])
  })
})

describe('what cannot be', () => {
  test('conflicts are explained', async () => {
    const b: Offered = { name: 'b', version: '1', depends: ['a <2'] }
    const text = await failure(['a>=2', 'b'], [[a('1'), a('2'), b]])
    expect(text).toMatch(/^UNSATISFIABLE/)
    expect(text).toContain('a <2')
  })

  test('a name that no channel has is said with names that are alike', async () => {
    expect(await failure(['py-zmq'], [[{ name: 'pyzmq', version: '1' }]])).toMatch(
      /no channel has a package 'py-zmq' \(c0\).*pyzmq/,
    )
  })

  test('a spec that is none', async () => {
    expect(await failure(['=1'], [[a('1')]])).toMatch(/^INVALID_SPEC '=1' is no match spec/)
  })

  test('an index that is none', async () => {
    const indexes = channelOf(folder, 'broken', [])
    const { writeFileSync } = await import('node:fs')
    writeFileSync((indexes[0] as { file: string }).file, '{"packages": {"a-1-0.conda": {"name": ')
    await expect(solve({ specs: ['a'], indexes, platform: 'linux-64', virtual })).rejects.toMatchObject({
      code: 'CHANNEL_DAMAGED',
    })
  })

  test('a solve that is cancelled', async () => {
    const indexes = channelOf(folder, 'cancelled', [a('1')])
    const signal = AbortSignal.abort()
    await expect(solve({ specs: ['a'], indexes, platform: 'linux-64', virtual, signal })).rejects.toMatchObject({
      code: 'CANCELLED',
    })
  })
})
