/**
 * The environments that a benchmark works on. `jupyter`: the real one where conda packages for it are at hand, else a sample of the same
 * number of files. `large` and `scale`: made up, by the histograms of the real one, as conda would have installed them.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { makeSampleEnvironment } from '../../test/support/sample-env.js'
import { placeholder } from '../../test/support/sample-packages.js'
import { type Plan, type PlannedFile, planEnvironment } from './plan.js'

export type CorpusName = 'jupyter' | 'large' | 'scale'

export interface Corpus {
  readonly env: string
  readonly about: string
}

const seed = 20_240_601

/** Folder with conda packages and their installer, beside the checkout; `CONDA_DEPLOY_CHANNEL` names another. */
export const channelFolder = (root: string): string | undefined => {
  const folder = resolve(process.env['CONDA_DEPLOY_CHANNEL'] ?? join(root, '../shared/channel'))
  return existsSync(join(folder, 'make_scenarios.py')) ? folder : undefined
}

export function makeJupyter(root: string, target: string): Corpus {
  const channel = channelFolder(root)
  if (channel) {
    const scenario = ['make_scenarios.py', '--root', target, 'myproject']
    execFileSync('python3', scenario, {
      cwd: channel,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
    })
    return { env: join(target, 'home/alice/.conda/envs/myproject'), about: 'the Jupyter stack, 18,705 files, 341 MB' }
  }
  const sample = makeSampleEnvironment(target, { filler: 18_000 })
  return { env: sample.prefix, about: 'a generated sample of 18,000 files' }
}

export interface Growth {
  readonly files: number
  readonly bytes: number
  /** Of large files only the beginning is dense, the rest has holes. */
  readonly holes: boolean
  readonly threads: number
  /** The program that fills a plan. */
  readonly grow: string
}

/** An environment by plan beneath `target`, with its package cache. Its `bin/python` is the machine's own, for conda-unpack. */
export function growEnvironment(target: string, { files, bytes, holes, threads, grow }: Growth): Corpus {
  const env = join(target, 'envs/made')
  const cache = join(target, 'pkgs')
  mkdirSync(join(env, 'conda-meta'), { recursive: true })
  mkdirSync(cache)
  const plan = planEnvironment(files, bytes, seed)
  const input = lines(plan)
  const said = execFileSync(grow, [env, cache, placeholder, String(threads), holes ? '1' : '0'], {
    input,
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const hashes = said.trimEnd().split('\n')
  writeRecords(plan, hashes, env, cache)
  mkdirSync(join(env, 'bin'), { recursive: true })
  writeFileSync(join(env, 'bin/python'), '#!/bin/sh\nexec /usr/bin/env python3 "$@"\n')
  chmodSync(join(env, 'bin/python'), 0o755)
  return { env, about: `made up, ${files.toLocaleString('en-US')} files, ${(bytes / 1e9).toFixed(2)} GB` }
}

const letter = { text: 't', pyc: 'p', binary: 'b', elf: 'e' } as const

/** The plan as the program reads it. */
function lines({ directories, files, links, packages }: Plan): string {
  const cached = new Set<string>()
  const beneath = (path: string): void => {
    if (path === '.' || cached.has(path)) return
    beneath(dirname(path))
    cached.add(path)
  }
  for (const name of packages) beneath(name)
  for (const file of files) beneath(dirname(`${file.package}/${file.path}`))
  const file = (f: PlannedFile): string =>
    `f ${letter[f.kind]} ${f.executable ? '755' : '644'} ${f.places} ${f.size} ${f.package} ${f.path}`
  return [
    ...directories.map((path) => `d ${path}`),
    ...[...cached].map((path) => `D ${path}`),
    ...files.map(file),
    ...links.map(({ target, path }) => `l ${target} ${path}`),
    '',
  ].join('\n')
}

function writeRecords({ files, links, packages }: Plan, hashes: readonly string[], env: string, cache: string): void {
  const records = new Map(packages.map((name) => [name, [] as Record<string, string | number>[]]))
  files.forEach((file, i) => {
    const [sha256 = '', sha256_in_prefix = '', size = '0'] = hashes[i]?.split(' ') ?? []
    const mode = file.kind === 'text' ? 'text' : 'binary'
    records.get(file.package)?.push({
      ...{ _path: file.path, path_type: 'hardlink', sha256, sha256_in_prefix, size_in_bytes: Number(size) },
      ...(file.places > 0 ? { file_mode: mode, prefix_placeholder: placeholder } : {}),
    })
  })
  for (const [name, paths] of records) writeRecord(name, paths, env, cache)
  // Links are nobody's: what users add themselves.
  writeFileSync(join(env, 'conda-meta/history'), `==> 2024-06-01 00:00:00 <==\n# ${links.length} links\n`)
}

function writeRecord(name: string, paths: readonly object[], env: string, cache: string): void {
  const index = { name, version: '1', build: '0', build_number: 0, subdir: 'linux-64', depends: [] }
  const source = join(cache, name)
  mkdirSync(join(source, 'info'), { recursive: true })
  const data = { paths, paths_version: 1 }
  writeFileSync(join(source, 'info/index.json'), JSON.stringify(index))
  writeFileSync(join(source, 'info/paths.json'), JSON.stringify(data))
  const channel = 'https://conda.example.org/made'
  const record = {
    ...index,
    channel,
    url: `${channel}/linux-64/${name}-1-0.conda`,
    fn: `${name}-1-0.conda`,
    files: paths.map((path) => (path as { _path: string })._path),
    paths_data: data,
    extracted_package_dir: source,
    link: { source, type: 1 },
  }
  writeFileSync(join(env, 'conda-meta', `${name}-1-0.json`), JSON.stringify(record, null, 1))
}
