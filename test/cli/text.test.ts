import { describe, expect, test } from 'vitest'
import { aligned, bytes, count, counted, duration, firstOf } from '../../src/cli/text.js'

describe('what people read', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [154.7, '155 B'],
    [1000, '1.00 kB'],
    [123_456, '123 kB'],
    [999_499, '999 kB'],
    [999_500, '1.00 MB'],
    [2_345_678_901, '2.35 GB'],
  ])('%d bytes are %s', (value, text) => {
    expect(bytes(value)).toBe(text)
  })

  test.each([
    [0, '0.000 s'],
    [0.0123, '0.012 s'],
    [3.44, '3.4 s'],
    [99.96, '1 min 40 s'],
    [3725, '62 min 05 s'],
  ])('%d seconds are %s', (value, text) => {
    expect(duration(value)).toBe(text)
  })

  test('counts have thousands, and a plural where there is one', () => {
    expect(count(1234567)).toBe('1,234,567')
    expect(counted(1, 'file')).toBe('1 file')
    expect(counted(0, 'file')).toBe('0 files')
    expect(counted(2, 'directory', 'directories')).toBe('2 directories')
  })

  test('a table leaves out what has no value', () => {
    const rows = [
      ['name', 'env'],
      ['python', undefined],
      ['platform', 'linux-64'],
    ] as const
    expect(aligned(rows)).toBe('name      env\nplatform  linux-64')
    expect(aligned([])).toBe('')
  })

  test('a long list says how much more there is', () => {
    expect(firstOf(['a', 'b'], 2)).toEqual(['a', 'b'])
    expect(firstOf(['a', 'b', 'c', 'd'], 2)).toEqual(['a', 'b', '… and 2 more'])
  })
})
