/** The order of members in an archive. Pure. */
import type { PackEntry } from '../native.js'

export const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))

/** The folders of paths. Neighbours mostly share theirs: it is compared before it is hashed. */
export function foldersOf(paths: Iterable<string>): Set<string> {
  const folders = new Set<string>()
  let last: string | undefined
  for (const path of paths) {
    const folder = parentOf(path)
    if (folder !== last) folders.add(folder)
    last = folder
  }
  return folders
}

interface Shelf {
  readonly files: PackEntry[]
  readonly compiled: PackEntry[]
  readonly links: PackEntry[]
  readonly folders: PackEntry[]
}

/**
 * Directory by directory, each whole before the next: GNU tar gives a directory its time when it leaves it. In a directory
 * come files, compiled Python (after its sources), symbolic links, subdirectories, each by name; of those of the root `bin` and
 * `conda-meta` come last, because what is made anew goes there. Every parent of an entry must be among `folders`.
 */
export function inOrder(folders: readonly PackEntry[], content: readonly PackEntry[]): PackEntry[] {
  const shelves = new Map<string, Shelf>()
  let last: { readonly path: string; readonly shelf: Shelf } | undefined
  const shelf = (path: string): Shelf => {
    if (last?.path === path) return last.shelf
    const there = shelves.get(path) ?? { files: [], compiled: [], links: [], folders: [] }
    last = { path, shelf: there }
    shelves.set(path, there)
    return there
  }
  for (const entry of folders) shelf(parentOf(entry.path)).folders.push(entry)
  for (const entry of content) {
    const { files, compiled, links } = shelf(parentOf(entry.path))
    if (entry.kind === 'symlink') links.push(entry)
    else if (entry.path.endsWith('.pyc')) compiled.push(entry)
    else files.push(entry)
  }
  const ordered: PackEntry[] = []
  const visit = (path: string): void => {
    const { files, compiled, links, folders } = shelf(path)
    for (const list of [files, compiled, links]) for (const entry of list.sort(byPath)) ordered.push(entry)
    for (const entry of folders.sort(path === '' ? byRank : byPath)) {
      ordered.push(entry)
      visit(entry.path)
    }
  }
  visit('')
  return ordered
}

const byPath = (a: PackEntry, b: PackEntry): number => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)
const lastOnes = ['bin', 'conda-meta']
const byRank = (a: PackEntry, b: PackEntry): number =>
  lastOnes.indexOf(a.path) - lastOnes.indexOf(b.path) || byPath(a, b)

/**
 * Makes files of one inode hard links to the first of them, and names for each `.pyc` the source that it goes with. A `.pyc` never
 * shares, since it may be left out while its namesake stays. `orphans`: compiled from what stands later; they cannot be judged.
 */
export function joinFiles(
  ordered: readonly PackEntry[],
  inodeOf: (path: string) => string | undefined,
  sourceOf: (path: string) => string | null,
): { entries: PackEntry[]; shared: Map<string, string>; orphans: string[] } {
  const shared = new Map<string, string>()
  const first = new Map<string, string>()
  const isCompiled = ({ kind, path }: PackEntry): boolean => kind === 'file' && path.endsWith('.pyc')
  const sources = ordered.map((entry) => (isCompiled(entry) ? sourceOf(entry.path) : null))
  const asked = new Set(sources)
  const wanted = new Set<string>()
  for (const { path } of ordered) if (asked.has(path)) wanted.add(path)
  const placed = new Set<string>()
  const entries: PackEntry[] = []
  const orphans: string[] = []
  for (let i = 0; i < ordered.length; i++) {
    const entry = ordered[i] as PackEntry
    if (entry.kind !== 'file') entries.push(entry)
    else if (isCompiled(entry)) {
      const source = sources[i] ?? null
      const file = source === null ? undefined : (shared.get(source) ?? source)
      if (source === null || file === undefined || !wanted.has(source)) entries.push(entry)
      else if (placed.has(file)) entries.push({ ...entry, unlessRewritten: file })
      else orphans.push(entry.path)
    } else {
      const inode = entry.data === undefined ? inodeOf(entry.path) : undefined
      const target = inode === undefined ? undefined : first.get(inode)
      if (target === undefined) {
        if (inode !== undefined) first.set(inode, entry.path)
        if (inode !== undefined || asked.has(entry.path)) placed.add(entry.path)
        entries.push(entry)
      } else {
        shared.set(entry.path, target)
        entries.push({ path: entry.path, kind: 'hardlink', mode: entry.mode, mtime: entry.mtime, size: 0, target })
      }
    }
  }
  return { entries, shared, orphans }
}
