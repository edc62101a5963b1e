import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { envs } from '../../src/install/envs.js'
import { type ExportOptions, exportEnvironment } from '../../src/install/export.js'
import { list, revisions } from '../../src/install/list.js'
import { readSpecFile } from '../../src/install/spec-file.js'
import { runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'
import { sandbox } from './sandbox.js'

const folder = temporaryFolder('list')
const { home, env } = sandbox(folder)
const prefix = join(home, '.conda/envs/sample')
const site = 'lib/python3.11/site-packages'

interface Made {
  readonly name: string
  readonly version?: string
  readonly build?: string
  readonly channel?: string
  readonly subdir?: string
  readonly url?: string | null
  readonly files?: readonly string[]
  readonly depends?: readonly string[]
}

const put = (path: string, content: string, root = prefix): void => {
  mkdirSync(join(root, path, '..'), { recursive: true })
  writeFileSync(join(root, path), content)
}

function install({
  name,
  version = '1.0',
  build = 'h_0',
  subdir = 'linux-64',
  files = [],
  depends = [],
  ...more
}: Made): void {
  const { channel = 'https://conda.anaconda.org/conda-forge' } = more
  const dist = `${name}-${version}-${build}`
  const { url = `${channel}/${subdir}/${dist}.conda` } = more
  const record = {
    ...{
      name,
      version,
      build,
      build_number: 7,
      subdir,
      channel: `${channel}/${subdir}`,
      fn: `${dist}.conda`,
      files,
      depends,
    },
    ...(url === null ? {} : { url, md5: 'a'.repeat(32), sha256: 'b'.repeat(64) }),
  }
  put(`conda-meta/${dist}.json`, JSON.stringify(record))
  for (const file of files) put(file, '')
}

/** As pip leaves a package. */
function installByPip(name: string, version: string, source?: object): void {
  const info = `${site}/${name}-${version}.dist-info`
  put(`${info}/METADATA`, `Metadata-Version: 2.1\nName: ${name}\nVersion: ${version}\n\nName: not-this\n`)
  put(`${info}/RECORD`, `${name}.py,,\n`)
  if (source !== undefined) put(`${info}/direct_url.json`, JSON.stringify(source))
}

const history = `==> 2024-01-31 12:00:00 <==
# cmd: conda create -n sample python zlib
+conda-forge/linux-64::python-3.11.4-h_0
+conda-forge/linux-64::zlib-1.2-h_0
+defaults::old-1.0-0
# update specs: ['python=3.11', "zlib"]
==> 2024-02-01 08:30:00 <==
# cmd: conda install zlib=1.3
-conda-forge/linux-64::zlib-1.2-h_0
+conda-forge/linux-64::zlib-1.3-h_0
-defaults::old-1.0-0
# update specs: ["zlib>=1.3"]
# remove specs: ["old"]
`

beforeAll(() => {
  install({ name: 'python', version: '3.11.4', depends: ['zlib >=1.2', '__glibc >=2.17'] })
  install({ name: 'zlib', version: '1.3' })
  install({ name: 'mkl', channel: 'https://repo.anaconda.com/pkgs/main' })
  install({ name: 'local', channel: 'file:///srv/chan', url: null })
  install({ name: 'secret', channel: 'https://host.example/t/tk-hidden/lab' })
  install({ name: 'basic', channel: 'https://ann:hidden@host.example/lab' })
  install({
    name: 'click',
    version: '8.0',
    build: 'pyhd_0',
    subdir: 'noarch',
    files: [`${site}/click-8.0.dist-info/RECORD`],
  })
  put(`${site}/click-8.0.dist-info/METADATA`, 'Name: click\nVersion: 8.0\n')
  install({ name: 'flask', version: '2.0', subdir: 'noarch', files: [`${site}/Flask-2.0.dist-info/RECORD`] })
  rmSync(join(prefix, `${site}/Flask-2.0.dist-info`), { recursive: true })
  installByPip('Flask', '2.2.2')
  installByPip('my.Pkg_x', '0.1', {
    url: 'https://ann:hidden@host.example/my_pkg.whl',
    archive_info: { hash: `sha256=${'c'.repeat(64)}`, hashes: { sha256: 'c'.repeat(64) } },
  })
  installByPip('editable', '0.2', { url: 'file:///home/ann/src', dir_info: { editable: true } })
  put(`${site}/no_record-1.0.dist-info/METADATA`, 'Name: no-record\nVersion: 1.0\n')
  put(`${site}/old_style-3.0-py3.11.egg-info`, 'Metadata-Version: 1.0\nName: old_style\nVersion: 3.0\n')
  put(`${site}/eggs.egg-info/PKG-INFO`, 'Name: eggs\nVersion: 4\n')
  put(`${site}/broken-1.dist-info/RECORD`, '')
  put('conda-meta/history', history)
  put('conda-meta/state', JSON.stringify({ version: 1, env_vars: { ALICE: '1', GONE: '***unset***' } }))
})

describe('list', () => {
  test('has the packages of conda and those of pip, which stand for what they replaced', async () => {
    const { packages } = await list({ name: 'sample' })
    expect(packages.map(({ name, version, channel }) => `${name} ${version} ${channel}`)).toEqual([
      'basic 1.0 https://host.example/lab',
      'click 8.0 conda-forge',
      'editable 0.2 pypi',
      'eggs 4 pypi',
      'flask 2.2.2 pypi',
      'local 1.0 file:///srv/chan',
      'mkl 1.0 defaults',
      'my-pkg-x 0.1 pypi',
      'old-style 3.0 pypi',
      'python 3.11.4 conda-forge',
      'secret 1.0 https://host.example/lab',
      'zlib 1.3 conda-forge',
    ])
    const plain = await list({ name: 'sample', pip: false })
    expect(plain.packages.map(({ name }) => name)).toContain('flask')
    expect(plain.packages).toHaveLength(8)
  })

  test('finds by regular expression or whole name', async () => {
    const names = async (regex: string, fullName = false): Promise<string[]> =>
      (await list({ prefix, regex, fullName })).packages.map(({ name }) => name)
    expect(await names('^P')).toEqual(['python'])
    expect(await names('li')).toEqual(['click', 'zlib'].sort())
    expect(await names('zlib', true)).toEqual(['zlib'])
    await expect(names('zli', true)).rejects.toMatchObject({ code: 'PACKAGE_NOT_FOUND' })
    await expect(names('(')).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  test('names the record that is damaged', async () => {
    const file = join(prefix, 'conda-meta/zlib-1.3-h_0.json')
    for (const content of ['{', '[]', '{"name": 3}', '']) {
      put('conda-meta/zlib-1.3-h_0.json', content)
      await expect(list({ prefix })).rejects.toMatchObject({
        ...{ code: 'ENV_DAMAGED', message: expect.stringContaining('conda-meta/zlib-1.3-h_0.json') },
      })
    }
    rmSync(file)
    install({ name: 'zlib', version: '1.3' })
  })

  test('shows what names no channel that can be', async () => {
    const odd = join(folder, 'odd')
    for (const [name, channel] of Object.entries({
      a: 'x y',
      b: 's3://bucket/c',
      c: '<unknown>',
      d: '',
      e: 'defaults',
    }))
      put(`conda-meta/${name}-1-0.json`, JSON.stringify({ name, version: '1', build: '0', channel, files: [] }), odd)
    const { packages } = await list({ prefix: odd })
    expect(packages.map((one) => one.channel)).toEqual([...Array(4).fill('<unknown>'), 'defaults'])
  })

  test('finds packages where conda sees site-packages through a link', async () => {
    const linked = join(folder, 'linked')
    put('conda-meta/python-3.1-0.json', '{"name":"python","version":"3.1.2","build":"0"}', linked)
    const record =
      '{"name":"own","version":"1","build":"0","files":["lib/python3.1/site-packages/own-1.dist-info/RECORD"]}'
    put('conda-meta/own-1-0.json', record, linked)
    put('lib/python3.13/site-packages/own-1.dist-info/RECORD', '', linked)
    put('lib/python3.13/site-packages/own-1.dist-info/METADATA', 'Name: own\nVersion: 1\n', linked)
    symlinkSync('python3.13', join(linked, 'lib/python3.1'))
    const { packages } = await list({ prefix: linked })
    expect(packages.map(({ name, channel }) => `${name} ${channel}`)).toEqual(['own <unknown>', 'python <unknown>'])
  })
})

describe('revisions', () => {
  test('are told as conda tells them', async () => {
    const { text, revisions: all } = await revisions({ prefix })
    expect(text).toBe(`2024-01-31 12:00:00  (rev 0)
    +old-1.0
    +python-3.11.4 (conda-forge/linux-64)
    +zlib-1.2 (conda-forge/linux-64)

2024-02-01 08:30:00  (rev 1)
     zlib  {1.2 (conda-forge/linux-64) -> 1.3 (conda-forge/linux-64)}
    -old-1.0
`)
    expect(all[1]).toEqual({
      ...{ date: '2024-02-01 08:30:00', rev: 1, install: [], remove: ['old-1.0-0-defaults'], downgrade: [] },
      upgrade: [{ old: 'zlib-1.2-h_0-conda-forge/linux-64', new: 'zlib-1.3-h_0-conda-forge/linux-64' }],
    })
    rmSync(join(prefix, 'conda-meta/history'))
    await expect(revisions({ prefix })).rejects.toMatchObject({ code: 'ENV_DAMAGED' })
    put('conda-meta/history', history)
  })
})

describe('export', () => {
  const exported = async (more: Partial<ExportOptions> = {}): Promise<string> =>
    (await exportEnvironment({ prefix, ...more })).text

  test('is an environment.yml of what is installed', async () => {
    expect(await exported()).toBe(`name: sample
channels:
  - https://host.example/lab
  - conda-forge
  - file:///srv/chan
  - defaults
dependencies:
  - basic=1.0=h_0
  - click=8.0=pyhd_0
  - local=1.0=h_0
  - mkl=1.0=h_0
  - python=3.11.4=h_0
  - secret=1.0=h_0
  - zlib=1.3=h_0
  - pip:
      - editable==0.2
      - eggs==4
      - flask==2.2.2
      - my-pkg-x==0.1
      - old-style==3.0
variables:
  ALICE: '1'
prefix: ${prefix}
`)
    expect(await exported({ noBuilds: true })).toContain('\n  - python=3.11.4\n')
    expect(await exported({ ignoreChannels: true, channels: ['lab'] })).toContain('\nchannels:\n  - lab\ndependencies:')
    expect(JSON.parse(await exported({ format: 'environment-json' }))).toMatchObject({ name: 'sample' })
  })

  test('or of what was asked for', async () => {
    expect(await exported({ fromHistory: true })).toBe(
      `name: sample\ndependencies:\n  - python=3.11\n  - zlib>=1.3\nvariables:\n  ALICE: '1'\nprefix: ${prefix}\n`,
    )
  })

  test('is refused where a form cannot say what is there', async () => {
    await expect(exported({ format: 'explicit' })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    await expect(exported({ format: 'xml' })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  })

  test('is a lock that create takes, and says what is not in it', async () => {
    const { text, warnings } = await exportEnvironment({ prefix, format: 'conda-lock-v1' })
    expect(warnings.map((warning) => warning.split(' ')[0])).toEqual([
      'local-1.0-h_0',
      'editable',
      'eggs',
      'flask',
      'old-style',
    ])
    const file = join(folder, 'conda-lock.yml')
    writeFileSync(file, text)
    const config = { alias: 'https://conda.anaconda.org', defaults: [], multichannels: new Map(), customs: new Map() }
    const { explicit, pip } = await readSpecFile(file, config, 'linux-64')
    expect(explicit?.map(({ url, md5, sha256 }) => [url, md5, sha256])).toContainEqual([
      'https://conda.anaconda.org/conda-forge/noarch/click-8.0-pyhd_0.conda',
      'a'.repeat(32),
      'b'.repeat(64),
    ])
    expect(pip?.lines).toEqual([`my-pkg-x @ https://host.example/my_pkg.whl#sha256=${'c'.repeat(64)}`])
    await expect(readSpecFile(file, config, 'osx-arm64')).rejects.toMatchObject({ code: 'INVALID_SPEC' })
  })

  test('tells no credentials', async () => {
    const forms = ['environment-yaml', 'environment-json', 'conda-lock-v1']
    for (const format of forms) expect(await exported({ format })).not.toContain('hidden')
    const outputs = [[], ['--json'], ['--explicit'], ['-e'], ['-c'], ['-r']]
    for (const flags of outputs) {
      const { stdout, stderr, status } = await runCli(['list', '-p', prefix, ...flags], { env })
      expect([status, stdout + stderr]).toEqual([0, expect.not.stringContaining('hidden')])
    }
  })
})

describe('envs', () => {
  test('has what environments.txt and the folders name, with a history', async () => {
    const other = join(folder, 'elsewhere')
    put('conda-meta/history', history, other)
    put('conda-meta/frozen', '', other)
    put('conda-meta/x.json', '{}', join(home, '.conda/envs/no-history'))
    put('.conda/environments.txt', `${other}\n/nowhere\n\n`, home)
    const base = join(folder, 'conda')
    put('conda-meta/history', history, base)
    put('conda-meta/history', history, join(folder, 'mine/named'))
    vi.stubEnv('CONDA_ROOT', base)
    vi.stubEnv('CONDA_ENVS_DIRS', join(folder, 'mine'))
    vi.stubEnv('CONDA_PREFIX', other)
    const { environments } = await envs({ size: true })
    expect(
      environments.map(({ prefix: at, name, active, base: isBase, frozen }) => [at, name, active, isBase, frozen]),
    ).toEqual([
      [base, 'base', false, true, false],
      [other, '', true, false, true],
      [prefix, 'sample', false, false, false],
      [join(folder, 'mine/named'), 'named', false, false, false],
    ])
    expect(environments[0]).toMatchObject({ size: history.length, created: '2024-01-31 12:00:00', writable: true })
    expect((await envs()).environments[0]?.size).toBeNull()
  })
})

describe('on the command line', () => {
  const run = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await runCli(args, { env })
    return status === 0 ? stdout : `${status} ${stderr}`
  }

  test('list has the columns of conda, which widen', async () => {
    expect(await run('list', '-n', 'sample', '^(mkl|zlib|flask)$')).toBe(`# packages in environment at ${prefix}:
#
# Name                     Version          Build            Channel
flask                      2.2.2            pypi_0           pypi
mkl                        1.0              h_0
zlib                       1.3              h_0              conda-forge
`)
    const lines = (await run('list', '-n', 'sample', '--reverse', '-c')).trim().split('\n')
    expect(lines.slice(0, 2)).toEqual([
      'conda-forge/linux-64::zlib-1.3-h_0',
      'https://host.example/lab/linux-64::secret-1.0-h_0',
    ])
  })

  test('list --json, --export and --explicit are as of conda', async () => {
    expect(JSON.parse(await run('list', '-p', prefix, 'python', '--json'))).toEqual([
      {
        ...{ base_url: 'https://conda.anaconda.org/conda-forge', build_number: 7, build_string: 'h_0' },
        ...{
          channel: 'conda-forge',
          dist_name: 'python-3.11.4-h_0',
          name: 'python',
          platform: 'linux-64',
          version: '3.11.4',
        },
      },
    ])
    expect(await run('list', '-p', prefix, '-e', 'zlib')).toMatch(
      /^# This file.*\n.*\n# platform: .*\n.*\nzlib=1\.3=h_0\n$/,
    )
    const explicit = (await run('list', '-p', prefix, '--explicit', '--md5')).split('\n')
    expect(explicit).toContain('@EXPLICIT')
    expect(explicit).toContain('# no URL for: local-1.0-h_0.conda')
    expect(explicit).toContain(`https://host.example/lab/linux-64/secret-1.0-h_0.conda#${'a'.repeat(32)}`)
    const place = (name: string): number => explicit.findIndex((line) => line.includes(`/${name}-`))
    expect(place('zlib')).toBeLessThan(place('python'))
    expect(await run('list', '-p', prefix, '--md5', '--sha256')).toMatch(/^2 .*only one/s)
    expect(await run('list', '-p', prefix, 'nothing-like-it')).toMatch(/^1 .*No packages match/s)
    expect(await run('list', '-n', 'nowhere')).toMatch(/^1 .*doesn't exist/s)
  })

  test('export writes to a file by the form of its name, and envs shows which is active', async () => {
    const file = join(folder, 'conda-lock.yml')
    expect(await run('export', '-n', 'sample', '-f', file)).toBe('')
    expect(await run('export', '-n', 'sample', '--from-history')).toMatch(/^name: sample\ndependencies:/)
    const shown = await runCli(['envs'], { env: { ...env, CONDA_PREFIX: prefix } })
    expect(shown.stdout).toContain(`\nsample               *   ${prefix}\n`)
    const json = JSON.parse(await run('envs', '--json')) as { envs: string[]; envs_details: Record<string, object> }
    expect(json.envs).toContain(prefix)
    expect(json.envs_details[prefix]).toMatchObject({ name: 'sample', active: false, writable: true })
  })
})
