/** The order of members in an archive. Pure. */
import type { PackEntry } from '../native.js'

export const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('/')))

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
  const shelf = (path: string): Shelf => {
    const there = shelves.get(path)
    if (there) return there
    const made: Shelf = { files: [], compiled: [], links: [], folders: [] }
    shelves.set(path, made)
    return made
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
    for (const entry of folders.sort(byPath)) {
      ordered.push(entry)
      visit(entry.path)
    }
  }
  visit('')
  return ordered
}

const last = ['bin', 'conda-meta']
const byPath = (a: PackEntry, b: PackEntry): number =>
  last.indexOf(a.path) - last.indexOf(b.path) || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)

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
  const placed = new Set<string>()
  const wanted = new Set(ordered.map((entry) => entry.path))
  const entries: PackEntry[] = []
  const orphans: string[] = []
  for (const entry of ordered) {
    if (entry.kind !== 'file') entries.push(entry)
    else if (entry.path.endsWith('.pyc')) {
      const source = sourceOf(entry.path)
      const file = source === null ? undefined : (shared.get(source) ?? source)
      if (file === undefined || !wanted.has(file)) entries.push(entry)
      else if (placed.has(file)) entries.push({ ...entry, unlessRewritten: file })
      else orphans.push(entry.path)
    } else {
      const inode = entry.data === undefined ? inodeOf(entry.path) : undefined
      const target = inode === undefined ? undefined : first.get(inode)
      if (target === undefined) {
        if (inode !== undefined) first.set(inode, entry.path)
        placed.add(entry.path)
        entries.push(entry)
      } else {
        shared.set(entry.path, target)
        entries.push({ path: entry.path, kind: 'hardlink', mode: entry.mode, mtime: entry.mtime, size: 0, target })
      }
    }
  }
  return { entries, shared, orphans }
}
