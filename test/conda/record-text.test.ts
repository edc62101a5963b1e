import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { parseRecord } from '../../src/conda/record.js'
import {
  type Contents,
  type Hash,
  historyText,
  newHashes,
  ownPaths,
  recordText,
  withHashes,
} from '../../src/conda/record-text.js'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const [a, b, c] = ['a', 'b', 'c'].map((letter) => letter.repeat(64)) as [string, string, string]
const zeros = '0'.repeat(64)

/** An archive in which these files have these hashes, and these links these texts. */
function archive(
  files: Record<string, Hash | null>,
  links: Record<string, { text: string; was: string }> = {},
): Contents {
  return {
    has: (path) => path in files || path in links,
    hash: (path) => files[path] ?? null,
    link: (path) => links[path] ?? null,
  }
}
const path = (_path: string, more: object = {}) => ({ _path, path_type: 'hardlink', ...more })
const record = (paths: object[], more: object = {}) =>
  parseRecord(
    'conda-meta/x-1-0.json',
    JSON.stringify({
      name: 'x',
      version: '1',
      files: (paths as { _path: string }[]).map((one) => one._path),
      ...more,
      paths_data: { paths, paths_version: 1 },
    }),
  )
const written = (text: string) =>
  JSON.parse(text) as { files: string[]; paths_data: { paths: Record<string, unknown>[] } } & Record<string, unknown>

describe('a record for another prefix', () => {
  test('names no place of the source machine', () => {
    const more = {
      extracted_package_dir: '/home/alice/pkgs/x',
      package_tarball_full_path: '/home/alice/pkgs/x.conda',
      link: { source: '/home/alice/pkgs/x', type: 1 },
      url: 'file:///home/alice/conda-bld/linux-64/x-1-0.conda',
      channel: 'file:///home/alice/conda-bld/linux-64',
      requested_spec: 'file:///home/alice/conda-bld::x',
      requested_specs: ['x', 'file:///home/alice/x-1-0.conda'],
      license: 'MIT',
    }
    const { text } = recordText(record([], more), archive({}), '')
    expect(text).not.toMatch(/alice/)
    expect(written(text)).toMatchObject({
      extracted_package_dir: '',
      package_tarball_full_path: '',
      link: { source: '', type: 1 },
      url: 'file:///conda-bld/linux-64/x-1-0.conda',
      channel: 'file:///conda-bld/linux-64',
      requested_spec: 'file:///conda-bld::x',
      requested_specs: ['x', 'file:///x-1-0.conda'],
      license: 'MIT',
    })
    expect(Object.keys(written(text))).not.toContain('extracted')
    expect(written(recordText(record([], { link: null }), archive({}), '').text)['link']).toBeNull()
  })

  test('has the true hash of every file, or a place for it', () => {
    const paths = [
      path('lib/relocated', { sha256: a, sha256_in_prefix: b }),
      path('lib/modified', { sha256: a, sha256_in_prefix: b }),
      path('lib/plain', { sha256: a, sha256_in_prefix: a }),
      path('lib/grüße', { sha256: a, sha256_in_prefix: b }),
      path('lib/dropped.pyc', { sha256: a, sha256_in_prefix: a }),
      path('lib/x.pyc', { path_type: 'pyc_file' }),
    ]
    const contents = archive({
      'lib/relocated': { of: 'lib/relocated' },
      'lib/modified': { sha256: c },
      'lib/plain': { sha256: a },
      'lib/grüße': { of: 'lib/shared' },
      'lib/x.pyc': { sha256: c },
    })
    const { text, digests } = recordText(record(paths, { license: 'ünïcode' }), contents, '')
    const out = written(text)
    expect(out.files).toEqual(['lib/relocated', 'lib/modified', 'lib/plain', 'lib/grüße', 'lib/x.pyc'])
    expect(out.paths_data.paths.map((one) => one['sha256_in_prefix'])).toEqual([zeros, c, a, zeros, undefined])
    expect(out.paths_data.paths.map((one) => one['sha256'])).toEqual([a, a, a, a, undefined])
    expect(digests.map((digest) => digest.path)).toEqual(['lib/relocated', 'lib/shared'])
    const bytes = Buffer.from(text)
    for (const { offset } of digests)
      expect(bytes.toString('latin1', offset - 21, offset + 65)).toBe(`"sha256_in_prefix": "${zeros}"`)
    expect(digests[0]?.offset).toBeLessThan(digests[1]?.offset ?? 0)
  })

  test('of rattler gets a hash where the file differs from the package, and only there', () => {
    const paths = [
      path('lib/relocated', { sha256: a }),
      path('lib/modified', { sha256: a }),
      path('lib/plain', { sha256: a }),
    ]
    const contents = archive({
      'lib/relocated': { of: 'lib/relocated' },
      'lib/modified': { sha256: c },
      'lib/plain': { sha256: a },
    })
    const { text, digests } = recordText(record(paths), contents, '')
    expect(written(text).paths_data.paths.map((one) => one['sha256_in_prefix'])).toEqual([zeros, c, undefined])
    expect(digests).toHaveLength(1)
  })

  test('of conda keeps the short paths of noarch python', () => {
    const x = parseRecord(
      'conda-meta/x-1-0.json',
      JSON.stringify({
        ...{ name: 'x', version: '1', noarch: 'python', files: ['lib/site/x.py', 'bin/x', 'lib/site/gone.py'] },
        paths_data: {
          paths: [
            path('site-packages/x.py', { sha256: a, sha256_in_prefix: a }),
            path('python-scripts/x'),
            path('site-packages/gone.py'),
          ],
        },
      }),
    )
    const { text } = recordText(x, archive({ 'lib/site/x.py': { sha256: b }, 'bin/x': { sha256: b } }), 'lib/site')
    expect(written(text).files).toEqual(['lib/site/x.py', 'bin/x'])
    expect(written(text).paths_data.paths).toEqual([
      path('site-packages/x.py', { sha256: a, sha256_in_prefix: b }),
      path('python-scripts/x'),
    ])
  })

  test('links: conda hashes what they lead to, rattler their text', () => {
    const was = '/old/prefix/lib/a'
    const paths = [
      path('lib/conda', { sha256: a, sha256_in_prefix: a }),
      path('lib/rattler', { sha256: sha256('a') }),
      path('lib/rattler-absolute', { sha256: sha256(was) }),
      path('lib/dangling', { sha256: b, sha256_in_prefix: b }),
    ]
    const links = {
      'lib/conda': { text: 'a', was: 'a' },
      'lib/rattler': { text: 'a', was: 'a' },
      'lib/rattler-absolute': { text: 'a', was },
      'lib/dangling': { text: 'none', was: 'none' },
    }
    const contents: Contents = {
      ...archive({}, links),
      hash: (one) => (one === 'lib/dangling' ? null : { of: 'lib/a' }),
    }
    const { text, digests } = recordText(record(paths), contents, '')
    expect(written(text).paths_data.paths.map((one) => one['sha256_in_prefix'])).toEqual([
      zeros,
      undefined,
      sha256('a'),
      b,
    ])
    expect(digests.map((digest) => digest.path)).toEqual(['lib/a'])
  })

  test('a hash that nobody can know is left out', () => {
    const { text } = recordText(
      record([path('bin/conda-unpack', { sha256: a, sha256_in_prefix: a })]),
      archive({ 'bin/conda-unpack': null }),
      '',
    )
    expect(written(text).paths_data.paths).toEqual([path('bin/conda-unpack', { sha256: a })])
  })

  test('a place for a hash elsewhere in the record is refused', () => {
    const odd = record([], { more: { sha256_in_prefix: zeros } })
    expect(() => recordText(odd, archive({}), '')).toThrowError(/conda-meta\/x-1-0\.json: a hash outside of paths_data/)
  })
})

describe('a record of which only hashes change', () => {
  const hashed = (name: string, hash: string) => path(name, { sha256: a, sha256_in_prefix: hash })
  const nothingStands = () => false
  const ownedBy = (one: ReturnType<typeof record>) => (i: number) => ownPaths(one, '')[i] as string
  const portable = record([hashed('x', a), hashed('y', b), hashed('z', b), hashed('w', c)], { license: 'µ' })
  const contents = archive({ x: { sha256: a }, y: { of: 'y' }, z: { sha256: c }, w: { of: 'y' } })

  test.each([0, 2])('says, patched where it stands, what it would say written anew (indented by %d)', (indent) => {
    const changed = newHashes(portable, ownedBy(portable), contents, nothingStands)
    expect(changed).toEqual([
      { old: b, now: { of: 'y' } },
      { old: b, now: { sha256: c } },
      { old: c, now: { of: 'y' } },
    ])
    const document = Buffer.from(JSON.stringify(portable.raw, null, indent))
    const patched = withHashes(document, changed ?? [])
    expect(patched?.data.length).toBe(document.length)
    const anew = recordText(portable, contents, '')
    expect(written(patched?.data.toString('utf8') ?? '')).toEqual(written(anew.text))
    expect(patched?.digests.map((one) => one.path)).toEqual(anew.digests.map((one) => one.path))
    for (const { offset } of patched?.digests ?? [])
      expect(patched?.data.toString('latin1', offset - 1, offset + 65)).toBe(`"${zeros}"`)
  })

  test('is written anew where more than that changes', () => {
    const ofArchive = (one: ReturnType<typeof record>, files: Record<string, Hash | null>) =>
      newHashes(one, ownedBy(one), archive(files), nothingStands)
    const isKept = (files: Record<string, Hash | null>, more: object[] = []) =>
      ofArchive(record([hashed('x', a), ...more]), files)
    expect(isKept({ x: { sha256: a } })).toEqual([])
    expect(isKept({})).toBeNull()
    expect(isKept({ x: null })).toBeNull()
    expect(isKept({ x: { sha256: a }, y: { of: 'y' } }, [path('y', { sha256: b })])).toBeNull()
    const listed = record([hashed('x', a)], { files: ['x', 'gone'] })
    expect(ofArchive(listed, { x: { sha256: a } })).toBeNull()
  })

  test('is not patched where it cannot be told which hash is meant', () => {
    const changed = [{ old: b, now: { sha256: c } }]
    const key = (hash: string) => `"sha256_in_prefix": "${hash}"`
    const patch = (text: string) => withHashes(Buffer.from(text), changed)?.data.toString()
    expect(patch(`{${key(a)}, ${key(b)}}`)).toBe(`{${key(a)}, ${key(c)}}`)
    expect(patch(`{${key(a)}}`)).toBeUndefined()
    expect(patch(`{${key(b)}, "elsewhere": {${key(b)}}}`)).toBeUndefined()
    expect(patch(JSON.stringify({ note: key(b) }))).toBeUndefined()
  })
})

test('the history calls programs by their names and keeps everything else', () => {
  const text = [
    '==> 2026-01-01 00:00:00 <==',
    '# cmd: /home/alice/miniconda3/bin/conda create -p /env/one --file /x/y',
    '# cmd: conda install /tmp/a',
    '+https://conda.example.org/f/linux-64::x-1-0',
    '-file:///home/alice/bld/noarch::y-1-0',
    "# update specs: ['x']",
    '',
  ].join('\n')
  expect(historyText(text).split('\n')).toEqual([
    '==> 2026-01-01 00:00:00 <==',
    '# cmd: conda create -p /env/one --file /x/y',
    '# cmd: conda install /tmp/a',
    '+https://conda.example.org/f/linux-64::x-1-0',
    '-file:///bld/noarch::y-1-0',
    "# update specs: ['x']",
    '',
  ])
})
