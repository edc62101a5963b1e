import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { readSpecFile, type SpecFile } from '../../src/install/spec-file.js'
import { temporaryFolder } from '../support/temp.js'

const folder = temporaryFolder('spec-file')
const config = { alias: 'https://conda.example.org', defaults: [], multichannels: new Map(), customs: new Map() }
const read = (name: string, content: string): Promise<SpecFile> => {
  writeFileSync(join(folder, name), content)
  return readSpecFile(join(folder, name), config, 'linux-64')
}
const md5 = 'a'.repeat(32)
const sha256 = 'b'.repeat(64)

describe('environment.yml', () => {
  test('gives name, channels, packages, what is for pip, and variables', async () => {
    vi.stubEnv('LAB_TOKEN', 'tk-1')
    const file = await read(
      'environment.yml',
      `name: lab
channels: ['https://host/t/\${LAB_TOKEN}/lab', conda-forge, nodefaults, '$UNSET_NAME/x']
dependencies:
  - python=3.11
  - pip
  - pip:
    - flask==2
    - -r more.txt
  - zlib
variables: {ALICE: 1, BOB: yes}
prefix: /somewhere/else
`,
    )
    vi.unstubAllEnvs()
    expect(file).toMatchObject({
      ...{ name: 'lab', specs: ['python=3.11', 'pip', 'zlib'], explicit: null, nodefaults: true, notes: [] },
      channels: ['https://host/t/tk-1/lab', 'conda-forge', '$UNSET_NAME/x'],
      pip: { lines: ['flask==2', '-r more.txt'], folder, noDeps: false },
      variables: { ALICE: '1', BOB: 'yes' },
    })
  })

  test('names pip where only its section does, and what it does not know', async () => {
    const { specs, notes } = await read('short.yml', 'dependencies: [python, {pip: [flask]}]\nextra: 1\n')
    expect(specs).toEqual(['python', 'pip'])
    expect(notes).toEqual([expect.stringContaining("'extra'"), expect.stringContaining('it is added')])
  })

  test('may be nearly empty', async () => {
    expect(await read('empty.yml', 'name: a\n')).toMatchObject({ name: 'a', specs: [], channels: [], pip: null })
  })

  test.each([
    ['no-map.yml', '- a\n'],
    ['dependencies.yml', 'dependencies: tool'],
    ['item.yml', 'dependencies: [{conda: [a]}]'],
    ['pip.yml', 'dependencies: [{pip: flask}]'],
    ['tabs.yml', 'dependencies:\n\t- tool\n'],
    ['variables.yml', 'variables: [a]'],
    ['broken.yml', 'channels: [https://ann:hidden-word@host/lab\n  - x: [\n'],
  ])('%s is refused, and shows nothing that may be secret', async (name, content) => {
    await expect(read(name, content)).rejects.toMatchObject({
      ...{ code: 'INVALID_SPEC', message: expect.stringContaining(name), path: join(folder, name) },
      hint: expect.stringContaining('conda-deploy export'),
    })
    await expect(read(name, content)).rejects.not.toThrow('hidden-word')
  })
})

describe('an explicit list', () => {
  test('has hashes of both kinds, comments, credentials apart, and what conda-lock writes for pip', async () => {
    const { explicit, secrets, pip } = await read(
      'explicit.txt',
      `# This file may be used
# platform: linux-64
@EXPLICIT
https://ann:word@host/lab/linux-64/zlib-1.3-h_0.conda#${md5}
https://other/t/tk-1/lab/noarch/a-b-c-2-py_0.tar.bz2#sha256:${sha256}
https://plain/lab/noarch/d-1-0.conda
file:///srv/lab/noarch/e-1-0.conda#${sha256}
# pip flask @ https://pypi.example/flask.whl --hash=sha256:${sha256}
`,
    )
    expect(explicit?.map((one) => [one.name, one.version, one.build, one.url, one.md5, one.sha256])).toEqual([
      ['zlib', '1.3', 'h_0', 'https://host/lab/linux-64/zlib-1.3-h_0.conda', md5, null],
      ['a-b-c', '2', 'py_0', 'https://other/lab/noarch/a-b-c-2-py_0.tar.bz2', null, sha256],
      ['d', '1', '0', 'https://plain/lab/noarch/d-1-0.conda', null, null],
      ['e', '1', '0', 'file:///srv/lab/noarch/e-1-0.conda', null, sha256],
    ])
    expect([...secrets]).toEqual([
      ['https://host/lab', { kind: 'basic', user: 'ann', password: 'word' }],
      ['https://other/lab', { kind: 'token', token: 'tk-1' }],
    ])
    expect(pip).toMatchObject({ noDeps: true, lines: [expect.stringMatching(/^flask @ /)] })
  })

  test.each([
    ['https://ann:hidden-word@host/linux-64/tool.zip', 'address'],
    ['https://ann:hidden-word@host/lab/linux-64/zlib-1.3-h_0.conda#123', 'md5 or a sha256'],
    ['zlib=1.3', 'address'],
    ['ftp://host/lab/linux-64/zlib-1.3-h_0.conda', 'address'],
  ])('with %s is refused', async (line, said) => {
    const failure = read('wrong.txt', `@EXPLICIT\n${line}\n`)
    await expect(failure).rejects.toMatchObject({ code: 'INVALID_SPEC', message: expect.stringContaining(said) })
    await expect(failure).rejects.not.toThrow('hidden-word')
  })
})

describe('a lock file of conda-lock', () => {
  const entry = (name: string, more: Readonly<Record<string, unknown>> = {}): object => ({
    ...{ name, version: '1.0', manager: 'conda', platform: 'linux-64', dependencies: { python: '>=3.8' } },
    ...{
      url: `https://host/lab/linux-64/${name}-1.0-h_0.conda`,
      hash: { md5, sha256 },
      category: 'main',
      optional: false,
    },
    ...more,
  })
  const lock = (...packages: readonly object[]): string =>
    JSON.stringify({ version: 1, metadata: { platforms: ['linux-64', 'osx-64'] }, package: packages })

  test('of several platforms gives what is for this one: conda packages with hashes, and lines for pip', async () => {
    const url = 'https://pypi.example/flask-2-py3-none-any.whl'
    const { explicit, pip, notes } = await read(
      'conda-lock.yml',
      lock(
        entry('zlib'),
        entry('zlib', { platform: 'osx-64', url: 'https://host/lab/osx-64/zlib-1.0-h_9.conda' }),
        entry('test', { category: 'dev', hash: { md5 } }),
        entry('docs', { category: 'docs' }),
        entry('flask', { manager: 'pip', url, hash: { sha256 } }),
        entry('own', { manager: 'pip', url: 'git+https://host/own@abc', hash: { sha256 } }),
      ),
    )
    expect(explicit?.map((one) => [one.fn, one.md5, one.sha256])).toEqual([
      ['zlib-1.0-h_0.conda', md5, sha256],
      ['test-1.0-h_0.conda', md5, null],
    ])
    expect(pip).toEqual({
      lines: [`flask @ ${url}#sha256=${sha256}`, 'own @ git+https://host/own@abc'],
      folder,
      noDeps: true,
    })
    expect(notes).toEqual([expect.stringContaining("'docs'")])
  })

  test.each([
    [
      'another platform',
      lock(entry('zlib', { platform: 'osx-64' })),
      'INVALID_SPEC',
      'locked for osx-64, not for linux-64',
    ],
    ['no hash', lock(entry('zlib', { hash: {} })), 'INVALID_SPEC', 'package 1 (zlib)'],
    ['no address', lock(entry('zlib', { url: 7 })), 'INVALID_SPEC', "'url'"],
    ['an address of two lines', lock(entry('zlib', { url: 'https://a\n-e evil' })), 'INVALID_SPEC', "'url'"],
    ['another manager', lock(entry('zlib', { manager: 'npm' })), 'INVALID_SPEC', 'npm'],
    ['another version', '{"version": 2, "package": []}', 'UNSUPPORTED', 'version 2'],
    ['another tool', '{"version": 6, "environments": {}, "packages": []}', 'UNSUPPORTED', 'another tool'],
  ])('with %s is refused', async (_, content, code, said) => {
    await expect(read('conda-lock.yml', content)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(said),
    })
  })
})
