import { expect, test } from 'vitest'
import type { Environment } from '../../src/conda/environment.js'
import { type Findings, identityJson, warningsOf } from '../../src/pack/identity.js'
import { parseIdentity } from '../../src/tree/manifest.js'

const environment: Environment = {
  prefix: '/home/alice/env',
  spellings: [],
  movedFrom: null,
  name: 'env',
  platform: 'linux-64',
  python: null,
  packages: [],
}
const nothing: Findings = {
  counts: { proven: 1, installed: 0, modified: 0, unhashed: 0, unmanaged: 0, generated: 0 },
  modified: [],
  kept: [],
  placeholders: [],
  outsideLinks: [],
  leftOut: [],
  droppedPyc: [],
  missing: [],
  editable: [],
}

test('says what is known, nothing of the machine, and can be read again', () => {
  const json = identityJson(environment, { ...nothing, modified: ['a'] })
  expect(json).not.toMatch(/alice/)
  expect(parseIdentity(json, 'x')).toMatchObject({
    name: 'env',
    platform: 'linux-64',
    python: null,
    modified: { total: 1, list: ['a'] },
  })
  expect(parseIdentity('', 'x')).toBeNull()
  expect(() => parseIdentity('{', 'x.tar.zst')).toThrowError(/the identity in x\.tar\.zst is not JSON/)
})

test('lists are cut before they outgrow a summary, and their totals stay', () => {
  const leftOut = Array.from({ length: 100_000 }, (_, i) => ({ path: `${'long/'.repeat(20)}${i}`, why: 'excluded' }))
  const json = identityJson(environment, { ...nothing, leftOut, modified: ['a'] })
  expect(Buffer.byteLength(json)).toBeLessThan(1 << 20)
  const identity = parseIdentity(json, 'x')
  expect(identity?.leftOut.total).toBe(100_000)
  expect(identity?.leftOut.list.length).toBeGreaterThan(1000)
  expect(identity?.modified).toEqual({ total: 1, list: ['a'] })
})

test('warnings name what the user should look at, and compiled Python is not worth one', () => {
  expect(warningsOf(nothing, new Set())).toEqual([])
  const kept = ['a.pyc', 'b.so', 'conda-meta/x.json', 'd.so', 'e.so', 'f.so', 'g.so'].map((path) => ({
    path,
    count: 1,
  }))
  const placeholders = ['a.pyc', 'c.pyc'].map((path) => ({ path, count: 1 }))
  const leftOut = [
    { path: 's', why: 'socket, fifo or device' },
    { path: 'pkgs', why: 'ignored' },
  ]
  expect(warningsOf({ ...nothing, kept, placeholders, leftOut }, new Set(['conda-meta/x.json']))).toEqual([
    'files that keep the prefix of this environment: 5 (b.so, d.so, e.so and 2 more)',
    'sockets, fifos and devices, left out: 1 (s)',
  ])
})
