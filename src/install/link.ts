/**
 * From unpacked packages to the files of an environment: what comes from where, under which name, and how. Pure: the core does it
 * (native `link`), and create.ts decides where.
 */
import { defaultSitePackages, installedPath } from '../conda/noarch.js'
import type { PathRecord } from '../conda/paths.js'
import { EnvError } from '../errors.js'
import type { LinkEntry } from '../install-jobs.js'
import type { Compiled } from './compile.js'
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
  /** Null: made here. */
  readonly recorded: PathRecord | null
}

export interface Clobber {
  readonly path: string
  /** File names of the packages; the last one's file is there. */
  readonly packages: readonly string[]
}

export interface LinkPlan {
  /** Folders of the packages, in the order of the packages, and of what was compiled of them. */
  readonly sources: readonly string[]
  readonly entries: readonly LinkEntry[]
  /** Of each package. */
  readonly placed: readonly (readonly Placed[])[]
  readonly clobbers: readonly Clobber[]
  /** Python files that are to be compiled once they are there, relative to the prefix. */
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
  /** What is compiled already, by the numbers of the packages. */
  readonly compiled?: ReadonlyMap<number, Compiled> | undefined
}

export interface Python {
  /** `3.11` */
  readonly version: string
  /** Relative to the prefix. */
  readonly sitePackages: string
}

/** `wanted` in the order of linking: of files that several packages have, the last one's counts. */
export function planLink(wanted: readonly Wanted[], { prefix, copy, compiled, ...given }: PlanOptions): LinkPlan {
  const python = given.python === undefined ? pythonOf(wanted.map(({ record }) => record)) : given.python
  // Twenty thousand files: each path is hashed once.
  const entries: LinkEntry[] = []
  const numbers = new Map<string, number>()
  const owners: string[] = []
  const clobbers = new Map<string, string[]>()
  const compile: string[] = []
  const folders = wanted.map(({ unpacked }) => unpacked.folder)
  // Not told of twice: its source is another's, too.
  const isCompiled = (entry: LinkEntry): boolean => entry.how !== 'write' && entry.source >= wanted.length
  const add = (entry: LinkEntry, owner: string): void => {
    const there = numbers.get(entry.path)
    if (there === undefined) {
      numbers.set(entry.path, entries.length)
      owners.push(owner)
      entries.push(entry)
      return
    }
    entries[there] = entry
    const others = clobbers.get(entry.path)
    if (owners[there] === owner || isCompiled(entry)) return
    if (others === undefined) clobbers.set(entry.path, [owners[there] ?? '', owner])
    else others.push(owner)
  }
  const placed = wanted.map(({ record, unpacked }, source) => {
    const { fn } = record
    if (record.noarch !== 'python')
      return unpacked.paths.map((recorded): Placed => {
        add(entryOf(recorded, recorded.path, source, copy), fn)
        return { path: recorded.path, type: 'package', recorded }
      })
    if (python === null)
      throw new EnvError('UNSATISFIABLE', `${fn} is a Python package, but no python is to be installed with it`)
    const files: Placed[] = []
    const pycs: Placed[] = []
    const shared: LinkEntry[] = []
    const done = compiled?.get(source)
    const from = done === undefined ? 0 : folders.push(done.folder) - 1
    for (const recorded of unpacked.paths) {
      const path = installedPath(recorded.path, python.sitePackages)
      add(entryOf(recorded, path, source, copy), fn)
      files.push({ path, type: 'package', recorded })
      if (!isPythonSource(recorded.path)) continue
      const pyc = pycOf(path, python.version)
      pycs.push({ path: pyc, type: 'pyc_file', recorded: null })
      const own = pycOf(recorded.path, python.version)
      if (done === undefined || recorded.placeholder !== undefined) compile.push(path)
      else if (done.paths.has(own)) shared.push({ path: pyc, how: copy ? 'copy' : 'share', source: from, from: own })
    }
    // Not between the others: neighbours are linked from one folder.
    for (const entry of shared) add(entry, fn)
    files.push(...pycs)
    for (const point of unpacked.entryPoints) {
      const path = `bin/${point.name}`
      const data = Buffer.from(entryPointText(point, prefix, python.version))
      add({ path, how: 'write', data, mode: 0o775 }, fn)
      files.push({ path, type: 'unix_python_entry_point', recorded: null })
    }
    return files
  })
  return {
    sources: folders,
    entries,
    placed,
    clobbers: [...clobbers].map(([path, packages]) => ({ path, packages })),
    compile,
    python: python?.version ?? null,
  }
}

export function warnOfClobbers(clobbers: readonly Clobber[], warn: (message: string) => void): void {
  for (const { path, packages } of clobbers)
    warn(`${path} is in ${packages.join(' and in ')}: the last one's is installed`)
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

/** `from` also where it is the path: objects of one shape are made and read faster, and there are many. */
function entryOf(
  { path: from, type, placeholder, mode, noLink }: PathRecord,
  path: string,
  source: number,
  copy: boolean,
): LinkEntry {
  if (type === 'softlink') return { path, how: 'symlink', source, from }
  if (placeholder !== undefined) return { path, how: 'rewrite', source, from, placeholder, text: mode !== 'binary' }
  return { path, how: copy || noLink ? 'copy' : 'share', source, from }
}

/** Of a path in a noarch: python package: is it compiled? */
export const isPythonSource = (path: string): boolean => /^site-packages\/.+\.py$/.test(path)

/** Where Python keeps what it compiled: `a/__pycache__/b.cpython-311.pyc`. `more`: of another optimization, `.opt-1`. */
export function pycOf(path: string, version: string, more = ''): string {
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
