/**
 * From unpacked packages to the files of an environment: what comes from where, under which name, and how. Pure: the core does it
 * (native `link`), and create.ts decides where.
 */
import { defaultSitePackages, installedPath } from '../conda/noarch.js'
import type { PathRecord } from '../conda/paths.js'
import { EnvError } from '../errors.js'
import type { LinkEntry } from '../install-jobs.js'
import type { RepoRecord } from './repodata.js'
import type { EntryPoint, Unpacked } from './unpacked.js'

export interface Wanted {
  readonly record: RepoRecord
  readonly unpacked: Unpacked
  /** Its archive; empty: not on this machine any more. */
  readonly archive: string
  /** Spec by which it was asked for; null: needed by others. */
  readonly spec: string | null
}

/** One file of a package as it will be recorded. */
export interface Placed {
  readonly path: string
  readonly type: 'package' | 'pyc_file' | 'unix_python_entry_point'
  readonly recorded?: PathRecord
  /** Number in the plan's entries: its hash may only be known after linking. */
  readonly entry?: number
}

export interface Clobber {
  readonly path: string
  /** File names of the packages; the last one's file is there. */
  readonly packages: readonly string[]
}

export interface LinkPlan {
  /** Folders of the packages, in the order of the packages. */
  readonly sources: readonly string[]
  readonly entries: readonly LinkEntry[]
  /** Of each package. */
  readonly placed: readonly (readonly Placed[])[]
  readonly clobbers: readonly Clobber[]
  /** Python files to compile, relative to the prefix. */
  readonly compile: readonly string[]
  /** `3.11`; null: no python in this environment. */
  readonly python: string | null
}

export interface PlanOptions {
  /** Where the environment will stand. */
  readonly prefix: string
  /** Copies instead of clones and hard links. */
  readonly copy: boolean
  /** The python that will be there; default: the one among what is wanted. */
  readonly python?: Python | null
}

export interface Python {
  /** `3.11` */
  readonly version: string
  /** Relative to the prefix. */
  readonly sitePackages: string
}

/** `wanted` in the order of linking: of files that several packages have, the last one's counts. */
export function planLink(wanted: readonly Wanted[], { prefix, copy, ...given }: PlanOptions): LinkPlan {
  const python = given.python === undefined ? pythonOf(wanted.map(({ record }) => record)) : given.python
  const entries = new Map<string, LinkEntry>()
  const owners = new Map<string, string[]>()
  const compile: string[] = []
  const placed = wanted.map(({ record, unpacked }, source) => {
    const isPython = record.noarch === 'python'
    if (isPython && python === null)
      throw new EnvError('UNSATISFIABLE', `${record.fn} is a Python package, but no python is to be installed with it`)
    const add = (entry: LinkEntry): void => {
      const own = owners.get(entry.path)
      if (own === undefined) owners.set(entry.path, [record.fn])
      else own.push(record.fn)
      entries.set(entry.path, entry)
    }
    const files: Placed[] = []
    const sources: string[] = []
    for (const item of unpacked.paths) {
      const path = isPython && python !== null ? installedPath(item.path, python.sitePackages) : item.path
      add(entryOf(item, path, source, copy))
      files.push({ path, type: 'package', recorded: item })
      if (isPython && /^site-packages\/.+\.py$/.test(item.path)) sources.push(path)
    }
    if (!isPython || python === null) return files
    compile.push(...sources)
    for (const path of sources) files.push({ path: compiled(path, python.version), type: 'pyc_file' })
    for (const point of unpacked.entryPoints) {
      const path = `bin/${point.name}`
      const data = Buffer.from(entryPointText(point, prefix, python.version))
      add({ path, how: 'write', data, mode: 0o775 })
      files.push({ path, type: 'unix_python_entry_point' })
    }
    return files
  })
  const list = [...entries.values()]
  const numbers = new Map(list.map((entry, number) => [entry.path, number]))
  return {
    sources: wanted.map(({ unpacked }) => unpacked.folder),
    entries: list,
    placed: placed.map((files) =>
      files.map((file) => {
        const entry = numbers.get(file.path)
        return entry === undefined ? file : { ...file, entry }
      }),
    ),
    clobbers: [...owners].flatMap(([path, packages]) => (packages.length > 1 ? [{ path, packages }] : [])),
    compile,
    python: python?.version ?? null,
  }
}

/** The python among packages, as it decides where others are installed. */
export function pythonOf(records: readonly RepoRecord[]): Python | null {
  const record = records.find(({ name }) => name === 'python')
  if (record === undefined) return null
  const own = record.raw['python_site_packages_path']
  return {
    version: record.version.split('.').slice(0, 2).join('.'),
    sitePackages: typeof own === 'string' && own !== '' ? own : defaultSitePackages(record.version),
  }
}

function entryOf(item: PathRecord, path: string, source: number, copy: boolean): LinkEntry {
  const from = item.path
  if (item.type === 'softlink') return { path, how: 'symlink', source, from }
  if (item.placeholder !== undefined)
    return { path, how: 'rewrite', source, from, placeholder: item.placeholder, text: item.mode !== 'binary' }
  return { path, how: copy || item.noLink ? 'copy' : 'share', source, from }
}

/** Where Python keeps what it compiled: `a/__pycache__/b.cpython-311.pyc`. `more`: of another optimization, `.opt-1`. */
export function compiled(path: string, version: string, more = ''): string {
  const slash = path.lastIndexOf('/') + 1
  return `${path.slice(0, slash)}__pycache__/${path.slice(slash, -3)}.cpython-${version.replace('.', '')}${more}.pyc`
}

/** Linux reads no longer first lines (BINPRM_BUF_SIZE before 5.1), and none with a blank in the program's path. */
const longestShebang = 127

/** The script that conda makes of an entry point. */
export function entryPointText({ module, func }: EntryPoint, prefix: string, version: string): string {
  const python = `${prefix}/bin/python${version}`
  const plain = `#!${python}\n`
  const quoted = python.replace(/[\\"$`]/g, '\\$&')
  const shebang =
    plain.length > longestShebang || python.includes(' ') ? `#!/bin/sh\n'''exec' "${quoted}" "$0" "$@" #'''\n` : plain
  return `${shebang}# -*- coding: utf-8 -*-
import re
import sys

from ${module} import ${func.split('.')[0]}

if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw?|\\.exe)?$', '', sys.argv[0])
    sys.exit(${func}())
`
}
