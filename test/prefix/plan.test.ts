import { expect, test } from 'vitest'
import { EnvError } from '../../src/errors.js'
import { checkFits, longestPrefix, tooLong } from '../../src/prefix/plan.js'
import type { Encoding, Spot } from '../../src/tree/entry.js'

const spot = (encoding: Encoding, slot: number): Spot => ({ encoding, offset: 0, refers: '/p', slot })
const files = [
  { path: 'plain' },
  { path: 'text', spots: [spot('text', 0), spot('digest', 0)] },
  { path: 'wide', spots: [spot('c8', 255), spot('c16le', 12)] },
  { path: 'narrow', spots: [spot('c8', 20), spot('c8', 10)] },
]

test('texts set no limit, strings do', () => {
  expect(longestPrefix(files.slice(0, 2))).toBeNull()
  expect(tooLong(files.slice(0, 2), `/${'x'.repeat(5000)}`)).toEqual([])
  expect(longestPrefix(files)).toBe(10)
})

test('a prefix is measured in the encoding of each place', () => {
  expect(tooLong(files, '/123456789')).toEqual([])
  expect(tooLong(files, '/1234567890')).toEqual([{ path: 'narrow', slot: 10, needed: 11 }])
  expect(tooLong(files, '/éééééé')).toEqual([{ path: 'narrow', slot: 10, needed: 13 }])
  expect(tooLong([{ path: 'x', spots: [spot('c32be', 3)] }], '/😀a')).toEqual([])
  expect(tooLong([{ path: 'x', spots: [spot('c16be', 3)] }], '/😀a')).toEqual([{ path: 'x', slot: 3, needed: 4 }])
})

test('what does not fit is refused, and every file is named', () => {
  checkFits(files, '/short')
  const call = () => checkFits(files, '/a/prefix/that/is/long')
  expect(call).toThrowError(EnvError)
  expect(call).toThrowError(
    'the prefix /a/prefix/that/is/long has 22 bytes, expected at most 10: it does not fit into wide, narrow',
  )
})
