/** Small environments from a literal, as conda, mamba or pixi would have installed them: files with the prefix in place, and records. */
import { createHash } from 'node:crypto'
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll } from 'vitest'
import type { Scanned } from '../../src/native.js'

/** What packages are built in: 255 bytes, as conda-build has it. */
export const placeholder: string = `/build/_h_env${'_placehold'.repeat(25)}`.slice(0, 255).padEnd(255, '_')

/** Where a text or binary has this, packages have the placeholder and environments their prefix. */
export const here = '{prefix}'

export interface FakeFile {
  /** Path as the package has it, which is the short one for noarch python. */
  readonly path: string
  readonly text?: string
  /** Of a binary: `{prefix}` must stand in a C string. */
  readonly binary?: string
  readonly link?: string
  readonly executable?: boolean
  /** As recorded; default by the content. */
  readonly type?: string
}

export interface FakePackage {
  readonly name: string
  readonly version?: string
  readonly subdir?: string
  readonly noarch?: 'python' | 'generic'
  readonly files?: readonly FakeFile[]
  /** Paths only listed: compiled Python, entry points, whose content is given by `files` of the environment. */
  readonly listed?: readonly { readonly path: string; readonly type: string }[]
  /** Goes into the record as it is. */
  readonly record?: Readonly<Record<string, unknown>>
}

export interface FakeEnvironment {
  readonly style?: 'conda' | 'mamba' | 'pixi'
  readonly packages: readonly FakePackage[]
  /** Files that no package owns. */
  readonly files?: readonly FakeFile[]
  readonly history?: string
}

const sitePackages = 'lib/python3.11/site-packages'
const mtime = 1_700_000_000
const sha = (data: Buffer | string): string => createHash('sha256').update(data).digest('hex')

function installed(path: string, noarch: FakePackage['noarch']): string {
  if (noarch !== 'python') return path
  return path.replace(/^site-packages\//, `${sitePackages}/`).replace(/^python-scripts\//, 'bin/')
}

/** Content with a prefix in place: C strings keep the room that the placeholder took. */
function content(file: FakeFile, prefix: string): Buffer {
  if (file.binary === undefined) return Buffer.from((file.text ?? '').replaceAll(here, prefix))
  const strings = file.binary.split('\0').map((text) => {
    const padding = '\0'.repeat((text.split(here).length - 1) * (placeholder.length - prefix.length))
    return text.replaceAll(here, prefix) + padding
  })
  return Buffer.from(strings.join('\0'), 'latin1')
}

function write(prefix: string, path: string, file: FakeFile, time: number = mtime): void {
  const full = join(prefix, path)
  mkdirSync(dirname(full), { recursive: true })
  if (file.link !== undefined) symlinkSync(file.link.replaceAll(here, prefix), full)
  else {
    writeFileSync(full, content(file, prefix), { mode: file.executable ? 0o755 : 0o644 })
    utimesSync(full, time, time)
  }
}

/** Makes the environment at `prefix`. */
export function makeEnvironment(prefix: string, what: FakeEnvironment): void {
  const style = what.style ?? 'conda'
  mkdirSync(join(prefix, 'conda-meta'), { recursive: true })
  for (const one of what.packages) {
    const version = one.version ?? '1.0'
    const dist = `${one.name}-${version}-0`
    const paths: Record<string, unknown>[] = []
    for (const file of one.files ?? []) {
      const real = installed(file.path, one.noarch)
      write(prefix, real, file)
      const replaced = (file.text ?? file.binary ?? '').includes(here)
      const before = file.link === undefined ? sha(content(file, placeholder)) : sha(file.link)
      const after = file.link === undefined ? sha(content(file, prefix)) : before
      paths.push({
        _path: style === 'conda' ? file.path : real,
        path_type: file.type ?? (file.link === undefined ? 'hardlink' : 'softlink'),
        sha256: before,
        ...(style !== 'pixi' || after !== before ? { sha256_in_prefix: after } : {}),
        size_in_bytes: content(file, placeholder).length,
        ...(replaced && style !== 'mamba'
          ? { prefix_placeholder: placeholder, file_mode: file.binary === undefined ? 'text' : 'binary' }
          : {}),
      })
    }
    for (const { path, type } of one.listed ?? []) paths.push({ _path: path, path_type: type })
    const record = {
      build: '0',
      build_number: 0,
      channel: 'https://conda.example.org/forge/linux-64',
      depends: [],
      extracted_package_dir: `/opt/source-machine/pkgs/${dist}`,
      files: [
        ...(one.files ?? []).map((file) => installed(file.path, one.noarch)),
        ...(one.listed ?? []).map((file) => file.path),
      ],
      link: style === 'pixi' ? null : { source: `/opt/source-machine/pkgs/${dist}`, type: 1 },
      name: one.name,
      ...(one.noarch === undefined ? {} : { noarch: one.noarch }),
      package_tarball_full_path: `/opt/source-machine/pkgs/${dist}.conda`,
      paths_data: { paths, paths_version: 1 },
      subdir: one.subdir ?? (one.noarch === undefined ? 'linux-64' : 'noarch'),
      url: `https://conda.example.org/forge/linux-64/${dist}.conda`,
      version,
      ...one.record,
    }
    write(prefix, `conda-meta/${dist}.json`, { path: '', text: JSON.stringify(record, null, 2) }, mtime + 5)
  }
  if (style !== 'pixi')
    write(prefix, 'conda-meta/history', {
      path: '',
      text: what.history ?? '# cmd: /opt/c/bin/conda create -p {prefix}\n',
    })
  for (const file of what.files ?? []) write(prefix, file.path, file)
}

/** A python without its files: enough for everything that asks about it. */
export const python: FakePackage = {
  name: 'python',
  version: '3.11.4',
  files: [
    { path: 'bin/python3.11', binary: 'ELF-like\0home={prefix}\0end', executable: true },
    { path: 'bin/python', link: 'python3.11' },
  ],
}

/** What the core's scan says of a tree, by Node's own means. */
export function scanTree(root: string, skip: readonly string[] = []): Scanned[] {
  const found: Scanned[] = []
  const visit = (relative: string): void => {
    for (const name of readdirSync(join(root, relative))) {
      if (relative === '' && skip.includes(name)) continue
      const path = relative === '' ? name : `${relative}/${name}`
      const stat = lstatSync(join(root, path))
      const kind = stat.isDirectory()
        ? 'directory'
        : stat.isSymbolicLink()
          ? 'symlink'
          : stat.isFile()
            ? 'file'
            : 'other'
      found.push({
        path,
        kind,
        mode: stat.mode & 0o7777,
        mtime: Math.floor(stat.mtimeMs / 1000),
        size: stat.size,
        ...(kind === 'symlink' ? { target: readlinkSync(join(root, path)) } : {}),
        ...(kind === 'file' && stat.nlink > 1 ? { inode: `${stat.dev}:${stat.ino}` } : {}),
      })
      if (kind === 'directory') visit(path)
    }
  }
  visit('')
  return found.sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
}

/** A folder that is gone after the tests of the calling file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'conda-deploy-test-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
