/**
 * What one package brings into an environment: its files under their names there. The same for every environment of one python, so that it can
 * be known before it is known what else is installed. Pure.
 */
import { installedPath } from '../conda/noarch.js'
import type { PathRecord } from '../conda/paths.js'
import type { LinkEntry, SharedFiles } from '../install-jobs.js'
import { isPythonSource, type Python, pycOf } from './python.js'
import type { EntryPoint, Unpacked } from './unpacked.js'

/** One file of a package as it will be recorded. */
export interface Placed {
  readonly path: string
  readonly type: 'package' | 'pyc_file' | 'unix_python_entry_point'
  /** Null: made here. */
  readonly recorded: PathRecord | null
}

/** Files that are shared, in the order of `paths`; `from`: where they stand in their folder, empty: at the same paths. */
export interface Shared {
  readonly paths: readonly string[]
  readonly from: readonly string[]
  readonly columns: SharedFiles
}

export interface Brought {
  /** Nearly all files are. */
  readonly shared: Shared
  /** The others. */
  readonly entries: readonly LinkEntry[]
  readonly placed: readonly Placed[]
  /** What is to be compiled. */
  readonly sources: readonly PythonSource[]
}

export interface PythonSource {
  readonly path: string
  /** Where what is compiled of it stands in the environment, and what that is called in the package's own terms. */
  readonly pyc: string
  readonly own: string
  /** A prefix is written into it first. */
  readonly rewritten: boolean
}

const known = new WeakMap<Unpacked, { readonly for: string; readonly brought: Brought }>()

/** `python`: that of the environment, for a noarch: python package; null: the package is none. `copy`: copies in place of shared files. */
export function bring(unpacked: Unpacked, python: Python | null, copy: boolean): Brought {
  const key = `${copy} ${python?.version} ${python?.sitePackages}`
  const before = known.get(unpacked)
  if (before?.for === key) return before.brought
  const brought = brings(unpacked, python, copy)
  known.set(unpacked, { for: key, brought })
  return brought
}

function brings(unpacked: Unpacked, python: Python | null, copy: boolean): Brought {
  const paths: string[] = []
  const from: string[] = []
  const entries: LinkEntry[] = []
  const placed: Placed[] = []
  const sources: PythonSource[] = []
  for (const recorded of unpacked.paths) {
    const path = python === null ? recorded.path : installedPath(recorded.path, python.sitePackages)
    placed.push({ path, type: 'package', recorded })
    const entry = entryOf(recorded, path, copy)
    if (entry !== null) entries.push(entry)
    else {
      paths.push(path)
      if (python !== null) from.push(recorded.path)
    }
    if (python === null || !isPythonSource(recorded.path)) continue
    const { version } = python
    const rewritten = recorded.placeholder !== undefined
    sources.push({ path, pyc: pycOf(path, version), own: pycOf(recorded.path, version), rewritten })
  }
  for (const { pyc } of sources) placed.push({ path: pyc, type: 'pyc_file', recorded: null })
  if (python !== null)
    for (const point of unpacked.entryPoints)
      placed.push({ path: scriptOf(point), type: 'unix_python_entry_point', recorded: null })
  return { shared: sharing(paths, from), entries, placed, sources }
}

/** Of an entry point. */
export const scriptOf = ({ name }: EntryPoint): string => `bin/${name}`

/** Null: it is shared. */
function entryOf(
  { path: from, type, placeholder, mode, noLink }: PathRecord,
  path: string,
  copy: boolean,
): LinkEntry | null {
  if (type === 'softlink') return { path, how: 'symlink', from }
  if (placeholder !== undefined) return { path, how: 'rewrite', from, placeholder, text: mode !== 'binary' }
  return copy || noLink ? { path, how: 'copy', from } : null
}

export function sharing(paths: readonly string[], from: readonly string[]): Shared {
  return { paths, from, columns: { paths: column(paths), from: column(from) } }
}

/** Texts as they cross the border. */
export const column = (texts: readonly string[]): Uint8Array => Buffer.from(texts.map((text) => `${text}\0`).join(''))
