/** Packages built by the tests: `.conda` and `.tar.bz2` of a few files, and the record by which a channel offers them. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { pack } from 'tar-stream'
import { compress } from 'zstd-napi'
import { type RepoRecord, repoRecord } from '../../src/install/repodata.js'
import { rawZip } from '../support/raw-zip.js'

export interface BuiltFile {
  readonly path: string
  readonly content?: string | Buffer
  readonly mode?: number
  /** Text of a symbolic link. */
  readonly link?: string
  /** Another name of this file of the package. */
  readonly same?: string
  readonly placeholder?: 'text' | 'binary'
  readonly noLink?: boolean
}

export interface Built {
  readonly name: string
  readonly version?: string
  readonly build?: string
  readonly kind?: 'conda' | 'tar.bz2'
  readonly noarch?: 'python' | 'generic'
  readonly depends?: readonly string[]
  readonly entryPoints?: readonly string[]
  readonly files: readonly BuiltFile[]
  /** Members besides those that are listed in paths.json. */
  readonly hidden?: readonly BuiltFile[]
}

/** As conda-build makes them. */
export const placeholder: string = '/opt/conda-bld/built_1700000000000/_h_env'.padEnd(255, '_placehold')

const sha256 = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex')

async function tarOf(files: readonly BuiltFile[]): Promise<Buffer> {
  const tar = pack()
  for (const { path, content = '', mode = 0o644, link, same } of files) {
    const mtime = new Date(1_700_000_000_000)
    if (link !== undefined) tar.entry({ name: path, type: 'symlink', linkname: link, mtime })
    else if (same !== undefined) tar.entry({ name: path, type: 'link', linkname: same, mtime })
    else tar.entry({ name: path, mode, mtime }, content)
  }
  tar.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of tar) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** Writes the package into `channel/subdir`, and answers with its record at `base`. */
export async function build(
  channel: string,
  built: Built,
  base: string = pathToFileURL(channel).href,
): Promise<RepoRecord> {
  const { name, version = '1.0', build: text = '0', kind = 'conda', noarch, depends = [], entryPoints, files } = built
  const subdir = noarch === undefined ? 'linux-64' : 'noarch'
  const index = { name, version, build: text, build_number: 0, depends, subdir, ...(noarch ? { noarch } : {}) }
  const paths = files.map(({ path, content = '', link, placeholder: mode, noLink, same }) => {
    const data = same === undefined ? content : (files.find((other) => other.path === same)?.content ?? '')
    return {
      _path: path,
      path_type: link === undefined ? 'hardlink' : 'softlink',
      ...{ sha256: sha256(data), size_in_bytes: Buffer.byteLength(data) },
      ...(mode === undefined ? {} : { file_mode: mode, prefix_placeholder: placeholder }),
      ...(noLink ? { no_link: true } : {}),
    }
  })
  const info: BuiltFile[] = [
    { path: 'info/index.json', content: JSON.stringify(index) },
    { path: 'info/paths.json', content: JSON.stringify({ paths, paths_version: 1 }) },
    { path: 'info/files', content: files.map(({ path }) => `${path}\n`).join('') },
    ...(noarch === 'python'
      ? [
          {
            path: 'info/link.json',
            content: JSON.stringify({
              noarch: { type: 'python', entry_points: entryPoints ?? [] },
              package_metadata_version: 1,
            }),
          },
        ]
      : []),
  ]
  const dist = `${name}-${version}-${text}`
  const fn = `${dist}.${kind}`
  const content = [...files, ...(built.hidden ?? [])]
  const bytes =
    kind === 'conda'
      ? rawZip([
          { name: 'metadata.json', method: 0, data: Buffer.from('{"conda_pkg_format_version": 2}') },
          { name: `pkg-${dist}.tar.zst`, method: 0, data: compress(await tarOf(content)) },
          { name: `info-${dist}.tar.zst`, method: 0, data: compress(await tarOf(info)) },
        ])
      : execFileSync('bzip2', ['-c'], { input: await tarOf([...content, ...info]) })
  mkdirSync(join(channel, subdir), { recursive: true })
  writeFileSync(join(channel, subdir, fn), bytes)
  const md5 = createHash('md5').update(bytes).digest('hex')
  return repoRecord(base, subdir, fn, { ...index, sha256: sha256(bytes), md5, size: bytes.length })
}

/** `repodata.json` of what was built. */
export function writeIndex(channel: string, records: readonly RepoRecord[]): void {
  for (const subdir of ['linux-64', 'noarch']) {
    const own = records.filter((record) => record.subdir === subdir)
    const of = (end: string): Record<string, unknown> =>
      Object.fromEntries(own.filter(({ fn }) => fn.endsWith(end)).map(({ fn, raw }) => [fn, raw]))
    mkdirSync(join(channel, subdir), { recursive: true })
    const document = { info: { subdir }, packages: of('.tar.bz2'), 'packages.conda': of('.conda') }
    writeFileSync(join(channel, subdir, 'repodata.json'), JSON.stringify(document))
  }
}

export const text = (path: string): string => readFileSync(path, 'utf8')
