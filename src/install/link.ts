/**
 * From unpacked packages to the files of an environment: what comes from where, under which name, and how. The core does it
 * (native `link`), and create.ts decides where.
 */
import { EnvError } from '../errors.js'
import type { LinkEntry } from '../install-jobs.js'
import { native } from '../native.js'
import { bring, column, type Placed, type PythonSource, type Shared, scriptOf, sharing } from './bring.js'
import type { Compiled } from './compile.js'
import { entryPointText, type Python, pythonOf } from './python.js'
import type { RepoRecord } from './repodata.js'
import type { Unpacked } from './unpacked.js'

export interface Wanted {
  readonly record: RepoRecord
  readonly unpacked: Unpacked
  /** Its archive; empty: not on this machine any more. */
  readonly archive: string
  /** Spec by which it was asked for; null: needed by others. */
  readonly spec: string | null
}

export interface Clobber {
  readonly path: string
  /** File names of the packages; the last one's file is there. */
  readonly packages: readonly string[]
}

/** What comes from one folder. */
export interface Part {
  /** Of an unpacked package, or of what was compiled of one; empty: its entries are written from memory. */
  readonly source: string
  readonly shared: Shared
  readonly entries: readonly LinkEntry[]
}

export interface LinkPlan {
  /** In the order of the packages. No path is in two of them. */
  readonly parts: readonly Part[]
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

/** `owner`: the package; null: what it covers is its own package's, and nobody is told. */
interface Owned extends Part {
  readonly owner: string | null
}

/** `wanted` in the order of linking: of files that several packages have, the last one's counts. */
export function planLink(wanted: readonly Wanted[], { prefix, copy, compiled, ...given }: PlanOptions): LinkPlan {
  const python = given.python === undefined ? pythonOf(wanted.map(({ record }) => record)) : given.python
  const parts: Owned[] = []
  const compile: string[] = []
  const placed = wanted.map(({ record, unpacked }, number) => {
    const owner = record.fn
    if (record.noarch !== 'python') {
      const brought = bring(unpacked, null, copy)
      parts.push({ source: unpacked.folder, ...brought, owner })
      return brought.placed
    }
    if (python === null)
      throw new EnvError('UNSATISFIABLE', `${owner} is a Python package, but no python is to be installed with it`)
    const { shared, entries, placed, sources } = bring(unpacked, python, copy)
    parts.push({ source: unpacked.folder, shared, entries, owner })
    const done = compiled?.get(number)
    const there = sources.filter(({ own, rewritten }) => !rewritten && done?.paths.has(own))
    for (const { path, rewritten } of sources) if (done === undefined || rewritten) compile.push(path)
    if (done !== undefined) parts.push({ source: done.folder, ...compiledFiles(there, copy), owner: null })
    const scripts = unpacked.entryPoints.map((point): LinkEntry => {
      const data = Buffer.from(entryPointText(point, prefix, python.version))
      return { path: scriptOf(point), how: 'write', data, mode: 0o775 }
    })
    if (scripts.length > 0) parts.push({ source: '', shared: nothing, entries: scripts, owner })
    return placed
  })
  return { ...settled(parts), placed, compile, python: python?.version ?? null }
}

const nothing = sharing([], [])

function compiledFiles(sources: readonly PythonSource[], copy: boolean): Pick<Part, 'shared' | 'entries'> {
  if (copy) return { shared: nothing, entries: sources.map(({ pyc, own }) => ({ path: pyc, how: 'copy', from: own })) }
  const shared = sharing(
    sources.map(({ pyc }) => pyc),
    sources.map(({ own }) => own),
  )
  return { shared, entries: [] }
}

/** Of all that a part brings. */
export const pathsIn = ({ shared, entries }: Part): string[] => [...shared.paths, ...entries.map(({ path }) => path)]

/** Of paths that are in several parts, the last one's stay. */
function settled(parts: readonly Owned[]): Pick<LinkPlan, 'parts' | 'clobbers'> {
  const others = column(parts.flatMap(({ entries }) => entries.map(({ path }) => path)))
  // Nearly always.
  if (!native().repeats([...parts.map(({ shared }) => shared.columns.paths), others])) return { parts, clobbers: [] }
  const last = new Map<string, Part>()
  const owners = new Map<string, Set<string>>()
  for (const part of parts)
    for (const path of pathsIn(part)) {
      last.set(path, part)
      if (part.owner !== null) owners.set(path, (owners.get(path) ?? new Set()).add(part.owner))
    }
  // Taken once, also where one package lists it twice.
  const takes = (part: Part) => (path: string) => last.get(path) === part && last.delete(path)
  const clobbers = [...owners].filter(([, { size }]) => size > 1)
  return {
    parts: parts.map((part) => only(part, takes(part))),
    clobbers: clobbers.map(([path, packages]) => ({ path, packages: [...packages] })),
  }
}

/** A part without the paths that `takes` refuses. */
export function only({ source, shared, entries }: Part, takes: (path: string) => boolean): Part {
  // What is written or rewritten before what is shared, where a package lists a path as both.
  const left = entries.filter(({ path }) => takes(path))
  const kept = shared.paths.map(takes)
  const paths = shared.paths.filter((_, i) => kept[i])
  const from = shared.from.filter((_, i) => kept[i])
  return { source, shared: sharing(paths, from), entries: left }
}

export function warnOfClobbers(clobbers: readonly Clobber[], warn: (message: string) => void): void {
  for (const { path, packages } of clobbers)
    warn(`${path} is in ${packages.join(' and in ')}: the last one's is installed`)
}
