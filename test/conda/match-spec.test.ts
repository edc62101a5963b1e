import { describe, expect, test } from 'vitest'
import { parseMatchSpec, printMatchSpec } from '../../src/conda/match-spec.js'

const spec = (text: string) => {
  const { name, channel, subdir, version, build, fields } = parseMatchSpec(text)
  return [name, channel, subdir, version, build, JSON.stringify(fields)].map((part) => part ?? '-').join(' ')
}

describe('a match spec', () => {
  test.each([
    ['numpy', 'numpy - - - - {}'],
    ['Numpy', 'numpy - - - - {}'],
    ['numpy 1.8', 'numpy - - ==1.8 - {}'],
    ['numpy 1.8*', 'numpy - - 1.8* - {}'],
    ['numpy=1.8', 'numpy - - =1.8 - {}'],
    ['numpy=1.8*', 'numpy - - 1.8* - {}'],
    ['numpy==1.8', 'numpy - - ==1.8 - {}'],
    ['numpy==1.8=py27_0', 'numpy - - ==1.8 py27_0 {}'],
    ['numpy=1.8=py27_0', 'numpy - - ==1.8 py27_0 {}'],
    ['numpy=1.8=*mkl*', 'numpy - - ==1.8 *mkl* {}'],
    ['numpy 1.8 py27_0', 'numpy - - ==1.8 py27_0 {}'],
    ['numpy * py27*', 'numpy - - - py27* {}'],
    ['numpy >=1.8,<2', 'numpy - - >=1.8,<2 - {}'],
    ['numpy>=1.8,<2', 'numpy - - >=1.8,<2 - {}'],
    ['numpy >= 1.8, < 2', 'numpy - - >=1.8,<2 - {}'],
    ['numpy >=1.8,<2 py*', 'numpy - - >=1.8,<2 py* {}'],
    ['numpy 1.8|1.9', 'numpy - - 1.8|1.9 - {}'],
    ['numpy!=1.8', 'numpy - - !=1.8 - {}'],
    ['numpy~=1.8', 'numpy - - ~=1.8 - {}'],
    ['conda-forge::numpy', 'numpy conda-forge - - - {}'],
    ['conda-forge/linux-64::numpy=1', 'numpy conda-forge linux-64 =1 - {}'],
    ['https://host/t/x/conda-forge::numpy', 'numpy https://host/t/x/conda-forge - - - {}'],
    ['file:///srv/channel/noarch::numpy', 'numpy file:///srv/channel noarch - - {}'],
    ['numpy[version=">=1,<2", build=py*]', 'numpy - - >=1,<2 py* {}'],
    ["numpy[channel='conda-forge', subdir=noarch, md5=abc]", 'numpy conda-forge noarch - - {"md5":"abc"}'],
    ['numpy 1.8[build_number=3]', 'numpy - - ==1.8 - {"build_number":"3"}'],
    ['numpy # a comment', 'numpy - - - - {}'],
    ['_libgcc_mutex', '_libgcc_mutex - - - - {}'],
  ])('%s', (text, expected) => expect(spec(text)).toBe(expected))

  test.each(['', ' ', '=1', '>=1', 'numpy[', 'numpy]', 'numpy[version]', 'numpy 1 2 3', 'numpy[a=1]x'])(
    '%j is none',
    (text) => {
      expect(() => parseMatchSpec(text)).toThrow(expect.objectContaining({ code: 'INVALID_SPEC' }))
    },
  )

  test('is printed in one form', () => {
    expect(printMatchSpec(parseMatchSpec('conda-forge::numpy=1.8=py27_0'))).toBe(
      'numpy[version="==1.8",build="py27_0"]',
    )
    expect(printMatchSpec(parseMatchSpec('numpy'))).toBe('numpy')
  })
})
