import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { installedPath, pycSource } from '../../src/conda/noarch.js'
import { readPackagePaths } from '../../src/conda/package-cache.js'
import { legacyPaths } from '../../src/conda/paths.js'
import { parseRecord } from '../../src/conda/record.js'
import { temporaryFolder } from '../support/make-env.js'

const folder = temporaryFolder()
const sha = 'A'.repeat(64)

describe('a record', () => {
  test('of conda', () => {
    const raw = {
      name: 'x',
      version: '1',
      build: 'py_0',
      subdir: 'noarch',
      noarch: 'python',
      files: ['bin/x'],
      link: { source: '/pkgs/x-1-py_0', type: 1 },
      paths_data: {
        paths: [
          {
            _path: 'python-scripts/x',
            path_type: 'hardlink',
            sha256: sha,
            file_mode: 'text',
            prefix_placeholder: '/p',
          },
          {},
          3,
        ],
      },
    }
    const record = parseRecord('conda-meta/x.json', JSON.stringify(raw))
    expect(record).toMatchObject({ name: 'x', noarch: 'python', source: '/pkgs/x-1-py_0', sitePackages: null })
    expect(record.paths).toEqual([
      { path: 'python-scripts/x', type: 'hardlink', sha256: sha.toLowerCase(), mode: 'text', placeholder: '/p' },
    ])
  })

  test('of rattler, without a link; and one so old that it has no paths', () => {
    expect(parseRecord('r', '{"name":"x","version":"1","link":null,"paths_data":{"paths":[]}}')).toMatchObject({
      source: '',
      paths: [],
      files: [],
    })
    expect(parseRecord('r', '{"name":"x","version":"1","noarch":true}')).toMatchObject({
      paths: null,
      noarch: 'generic',
    })
  })

  test.each([
    ['{', /JSON/],
    ['[]', /expected a JSON object/],
    ['{"name":"x"}', /expected a text 'version', got nothing/],
    ['{"name":3,"version":"1"}', /expected a text 'name', got 3/],
  ])('%s is damage, and the file is named', (text, message) => {
    expect(() => parseRecord('conda-meta/x.json', text)).toThrowError(message)
    expect(() => parseRecord('conda-meta/x.json', text)).toThrowError(/^conda-meta\/x\.json is not a package record/)
  })
})

test('case 4: the old files of a package say the same as paths.json', () => {
  const files = 'bin/a\nlib/b c\nlib/d\n\n'
  const hasPrefix = 'bin/a\n"/old/place holder" binary "lib/b c"\n'
  expect(legacyPaths(files, hasPrefix, 'info')).toEqual([
    { path: 'bin/a', type: 'hardlink', placeholder: `/opt/anaconda1anaconda2${'anaconda3'}`, mode: 'text' },
    { path: 'lib/b c', type: 'hardlink', placeholder: '/old/place holder', mode: 'binary' },
    { path: 'lib/d', type: 'hardlink' },
  ])
  expect(() => legacyPaths('a', 'one two', 'info')).toThrowError(
    /expected 'PATH' or 'PLACEHOLDER MODE PATH', got 'one two'/,
  )
})

test('a package in the cache is read by paths.json, by the old files, or not at all', async () => {
  mkdirSync(join(folder, 'new/info'), { recursive: true })
  mkdirSync(join(folder, 'old/info'), { recursive: true })
  writeFileSync(join(folder, 'new/info/paths.json'), '{"paths":[{"_path":"a"}]}')
  writeFileSync(join(folder, 'new/info/files'), 'not asked')
  writeFileSync(join(folder, 'old/info/files'), 'b')
  expect(readPackagePaths(join(folder, 'new'))).toEqual([{ path: 'a', type: 'hardlink' }])
  expect(readPackagePaths(join(folder, 'old'))).toEqual([{ path: 'b', type: 'hardlink' }])
  expect(readPackagePaths(join(folder, 'none'))).toBeNull()
})

test('case 5: short paths of noarch python', () => {
  const site = 'lib/python3.13t/site-packages'
  expect(installedPath('site-packages/a.py', site)).toBe(`${site}/a.py`)
  expect(installedPath('python-scripts/a', site)).toBe('bin/a')
  expect(installedPath('share/site-packages/a', site)).toBe('share/site-packages/a')
})

test.each([
  ['a/__pycache__/b.cpython-311.pyc', 'a/b.py'],
  ['a/__pycache__/b.cpython-311.opt-1.pyc', 'a/b.py'],
  ['a/__pycache__/b.c.cpython-313t.pyc', 'a/b.c.py'],
  ['a/__pycache__/b.cpython-311-pytest-7.2.1.pyc', 'a/b.py'],
  ['__pycache__/b.pypy39.pyc', 'b.py'],
  ['a/b.pyc', 'a/b.py'],
  ['a/b.py', null],
])('%s is compiled from %s', (path, source) => {
  expect(pycSource(path)).toBe(source)
})
