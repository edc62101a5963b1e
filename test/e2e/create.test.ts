/**
 * An environment made from real conda packages, beside the same one made by the channel's own installer, which does it as conda does.
 * Needs the folder of conda packages (`CONDA_DEPLOY_CHANNEL`, or ../shared/channel beside the checkout).
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { removeTree } from '../support/temp.js'
import { describeTree, differences } from '../support/tree.js'

const root = resolve(import.meta.dirname, '../..')
const channel = resolve(process.env['CONDA_DEPLOY_CHANNEL'] ?? join(root, '../shared/channel'))
const present = existsSync(join(channel, 'make_env.py'))
if (!present) console.warn(`skipped: test/e2e/create: no conda packages at ${channel} (set CONDA_DEPLOY_CHANNEL)`)

type Document = Record<string, unknown> & { files: string[]; paths_data: { paths: PathData[] } }
type PathData = Record<string, unknown> & { _path: string; path_type: string; sha256_in_prefix?: string }

const records = (prefix: string): Map<string, Document> =>
  new Map(
    readdirSync(join(prefix, 'conda-meta'))
      .filter((name) => name.endsWith('.json'))
      .map((name) => [name, JSON.parse(readFileSync(join(prefix, 'conda-meta', name), 'utf8')) as Document]),
  )

describe.skipIf(!present)('the Jupyter stack, created', () => {
  let home: string
  let prefix: string
  let oracle: string
  let specs: string[]

  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), 'conda-deploy-create-'))
    prefix = join(home, '.conda/envs/jupyter')
    oracle = join(home, '.conda/envs/oracle')
    specs = readFileSync(join(channel, 'specs-jupyter.txt'), 'utf8')
      .split('\n')
      .map((line) => line.replace(/#.*/, '').trim())
      .filter((line) => line !== '')
    // By the installer first, at the same path, so that the same prefix stands in its files.
    const args = [specs.join(','), '--channel', channel, '--channel-url', pathToFileURL(channel).href]
    const more = ['--prefix', prefix, '--pkgs-dir', join(home, 'oracle/pkgs')]
    execFileSync('python3', [join(channel, 'make_env.py'), ...args, ...more], {
      stdio: 'ignore',
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    })
    renameSync(prefix, oracle)
    const cli = join(root, 'dist/conda-deploy.cjs')
    const ours = [
      'create',
      '-n',
      'jupyter',
      '-c',
      channel,
      '--override-channels',
      '--offline',
      '--json',
      '-q',
      ...specs,
    ]
    const done = spawnSync('node', [cli, ...ours], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], HOME: home },
      maxBuffer: 1 << 28,
    })
    expect(done.status, done.stderr).toBe(0)
    expect(JSON.parse(done.stdout)).toMatchObject({
      ...{ prefix, installed: { unpacked: 127 } },
      warnings: [expect.stringContaining('bin/.widgetsnbextension-post-link.sh')],
    })
  }, 300_000)

  afterAll(() => {
    if (home !== undefined) rmSync(home, { recursive: true, force: true })
  })

  const run = (program: string, ...args: string[]): string =>
    execFileSync(join(prefix, 'bin', program), args, {
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin', HOME: home, PYTHONNOUSERSITE: '1', PYTHONDONTWRITEBYTECODE: '1' },
    })

  test('runs', () => {
    expect(run('jupyter', '--version')).toMatch(/notebook\s*: 6\.4\.12/)
    run('python', '-c', 'import zmq, notebook')
    expect(run('pip', 'list')).toMatch(/notebook/)
    expect(readdirSync(join(home, '.conda/envs')).sort()).toEqual(['jupyter', 'oracle'])
    expect(readFileSync(join(home, '.conda/environments.txt'), 'utf8')).toBe(`${prefix}\n`)
  })

  test('has the records that the installer wrote, field by field', () => {
    const [ours, theirs] = [records(prefix), records(oracle)]
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort())
    // Where its cache is; a channel on disk is used in place.
    const places = ['extracted_package_dir', 'package_tarball_full_path', 'link', 'requested_spec']
    for (const [name, document] of ours) {
      const other = theirs.get(name) as Document
      expect(Object.keys(document).sort(), name).toEqual(Object.keys(other).sort())
      for (const key of Object.keys(document).filter(
        (one) => !places.includes(one) && !/^(files|paths_data)$/.test(one),
      ))
        expect(document[key], `${name}: ${key}`).toEqual(other[key])
      expect([...document.files].sort(), name).toEqual([...other.files].sort())
      const sorted = ({ paths_data: { paths } }: Document): PathData[] =>
        [...paths].sort((a, b) => (a._path < b._path ? -1 : 1))
      expect(sorted(document), name).toEqual(sorted(other))
      const source = (document['link'] as { source: string }).source
      expect(document['extracted_package_dir'], name).toBe(source)
      expect(statSync(join(source, 'info/repodata_record.json')).isFile()).toBe(true)
    }
  })

  test('has the same files, links and modes, and every hash that its records name', () => {
    const wrong: string[] = []
    // conda takes away what the umask does; this installer keeps what the packages have.
    const mask = process.umask()
    for (const [name, { paths_data }] of records(prefix)) {
      for (const { _path: path, path_type: type, sha256_in_prefix: expected } of paths_data.paths) {
        const [one, other] = [lstatSync(join(prefix, path)), lstatSync(join(oracle, path))]
        const mode = one.isSymbolicLink() ? other.mode : other.mode & ~mask
        if (one.mode !== mode)
          wrong.push(`${name}: ${path}: mode ${one.mode.toString(8)}, expected ${mode.toString(8)}`)
        if (one.isSymbolicLink() || type === 'pyc_file') continue
        const bytes = readFileSync(join(prefix, path))
        if (!bytes.equals(readFileSync(join(oracle, path)))) wrong.push(`${name}: ${path}: content`)
        const got = createHash('sha256').update(bytes).digest('hex')
        if (expected !== undefined && got !== expected) wrong.push(`${name}: ${path}: ${got}, recorded ${expected}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('straight to an archive it is the same as packed, byte for byte where it is deployed', () => {
    const env = { PATH: process.env['PATH'], HOME: home }
    const cli = (...args: string[]): string =>
      execFileSync('node', [join(root, 'dist/conda-deploy.cjs'), ...args, '-q'], {
        encoding: 'utf8',
        env,
        stdio: 'pipe',
      })
    const packed = join(home, 'packed.tar.zst')
    const straight = join(home, 'straight.tar.zst')
    cli('pack', '-p', prefix, '-o', packed)
    cli('pack', '--from-packages', '-c', channel, '--override-channels', '--offline', '-o', straight, ...specs)
    const [one, other] = [packed, straight].map((archive) => {
      const target = join(home, 'target')
      cli(archive, '--to', target, '--allow-shared')
      const history = readFileSync(join(target, 'conda-meta/history'), 'utf8').replace(/^(==>|# cmd:) .*$/gm, '')
      const lines = [...describeTree(target, ['.conda-deploy'])].map(([path, line]): [string, string] => {
        // What tells of the run or names the prefix it was packed from, and times: files with a prefix are as old as their environment.
        if (path === 'bin/conda-unpack') return [path, '']
        return [path, path === 'conda-meta/history' ? history : line.replace(/^(file|directory) (\d+) \d+/, '$1 $2')]
      })
      removeTree(target)
      return new Map(lines)
    })
    expect(one?.size).toBeGreaterThan(20_000)
    expect(differences(one ?? new Map(), other ?? new Map())).toEqual([])
  })

  test('is the same when packages went and came again', () => {
    const state = (): Map<string, string> =>
      new Map(
        [...describeTree(prefix, [])]
          .filter(([path]) => path !== 'conda-meta/history' && !path.startsWith('conda-meta/'))
          .map(([path, line]) => [path, line.replace(/^(file|directory) (\d+) \d+/, '$1 $2')]),
      )
    const texts = (): Document[] =>
      [...records(prefix).values()].map((one) => ({ ...one, package_tarball_full_path: '' }))
    const [before, documents] = [state(), texts()]
    const cli = (verb: string, ...args: string[]) => {
      const line = [join(root, 'dist/conda-deploy.cjs'), verb, '-n', 'jupyter', '--json', '-q', ...args]
      const done = spawnSync('node', line, { encoding: 'utf8', env: { PATH: process.env['PATH'], HOME: home } })
      expect(done.status, done.stderr).toBe(0)
      return JSON.parse(done.stdout) as { removed: unknown[]; added: unknown[]; warnings: string[] }
    }
    const gone = cli('remove', 'traitlets')
    expect(gone.removed.length).toBeGreaterThan(20)
    expect(existsSync(join(prefix, 'bin/jupyter'))).toBe(false)
    const back = cli('install', '-c', channel, '--override-channels', '--offline', ...specs)
    expect(back).toMatchObject({ removed: [], warnings: [expect.stringContaining('-post-link.sh')] })
    expect(back.added).toHaveLength(gone.removed.length)
    expect(differences(state(), before)).toEqual([])
    expect(texts()).toEqual(documents)
    expect(run('jupyter', '--version')).toMatch(/notebook\s*: 6\.4\.12/)
  })
})
