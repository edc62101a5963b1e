import { expect, test } from 'vitest'
import { bring } from '../../src/install/bring.js'
import { draftOf, prefixRecord, recordDocument } from '../../src/install/conda-meta.js'
import type { Wanted } from '../../src/install/link.js'
import { repoRecord } from '../../src/install/repodata.js'
import type { Unpacked } from '../../src/install/unpacked.js'

const sha256 = 'a'.repeat(64)
const rewritten = 'b'.repeat(64)

function wanted(paths: Unpacked['paths'], noarch?: 'python'): Wanted {
  const index = {
    name: 'tool',
    version: '1.0',
    build: '0',
    build_number: 0,
    depends: ['zlib'],
    ...(noarch && { noarch }),
  }
  const unpacked = { folder: '/pkgs/tool-1.0-0', index, paths, entryPoints: [{ name: 'tool', module: 'a', func: 'b' }] }
  const record = repoRecord('https://a.invalid/b', 'noarch', 'tool-1.0-0.conda', { ...index, files: ['of the index'] })
  return { record, unpacked, archive: '/pkgs/tool-1.0-0.conda', spec: 'tool' }
}

const file = (path: string) => ({ path, type: 'hardlink', sha256, size: 3 })
const python = { version: '3.11', sitePackages: 'lib/python3.11/site-packages' }
const none = new Map<string, string>()

test.each([
  ['no file', wanted([]), null],
  [
    'files',
    wanted([file('share/a'), { path: 'share/l', type: 'softlink' }, { ...file('share/z'), noLink: true }]),
    null,
  ],
  ['names that JSON escapes', wanted([file('share/"a"\n  "files": ""'), file('share/é\\\u2028')]), null],
  ['a Python package', wanted([file('site-packages/a.py'), file('python-scripts/x')], 'python'), python],
  ['a prefix first', wanted([{ ...file('bin/a'), placeholder: '/p', mode: 'text' }, file('bin/b')]), null],
  ['prefixes alone', wanted([{ ...file('lib/a'), placeholder: '/p', mode: 'binary' }]), null],
] as const)('a drafted record is the record: %s', (_, one, python) => {
  const { placed } = bring(one.unpacked, python, false)
  const plan = { placed: [placed] }
  draftOf(placed)
  const { name, text } = prefixRecord(one, 0, plan, none, false)
  const whole = recordDocument(one, 0, plan)
  expect(name).toBe(whole.name)
  expect(text).toBe(JSON.stringify(whole.document, null, 2))
})

test('the hash of a file with a prefix in it is the one that was made', () => {
  const one = wanted([{ ...file('bin/a'), placeholder: '/p', mode: 'text' }])
  const { placed } = bring(one.unpacked, null, false)
  const { text } = prefixRecord(one, 0, { placed: [placed] }, new Map([['bin/a', rewritten]]), true)
  expect(JSON.parse(text)).toMatchObject({
    link: { type: 3 },
    paths_data: { paths: [{ _path: 'bin/a', file_mode: 'text', sha256, sha256_in_prefix: rewritten }] },
  })
})
