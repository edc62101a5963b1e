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

/** What the order depends on, by numbers. */
export interface Members {
  path(number: number): string
  kind(number: number): PackEntry['kind'] | 'other'
  /** Of what may become a hard link. */
  inode(number: number): string | undefined
}

interface Shelf {
  readonly files: number[]
  readonly compiled: number[]
  readonly links: number[]
  readonly folders: number[]
}

/**
 * Directory by directory, each whole before the next: GNU tar gives a directory its time when it leaves it. In a directory
 * come files, compiled Python (after its sources), symbolic links, subdirectories, each by name; of those of the root `bin` and
 * `conda-meta` come last, because what is made anew goes there. Every parent must be among them.
 */
export function inOrder(numbers: Iterable<number>, members: Members): number[] {
  const shelves = new Map<string, Shelf>()
  let last: { readonly path: string; readonly shelf: Shelf } | undefined
  const shelf = (path: string): Shelf => {
    if (last?.path === path) return last.shelf
    const there = shelves.get(path) ?? { files: [], compiled: [], links: [], folders: [] }
    last = { path, shelf: there }
    shelves.set(path, there)
    return there
  }
  for (const number of numbers) {
    const [path, kind] = [members.path(number), members.kind(number)]
    const { files, compiled, links, folders } = shelf(parentOf(path))
    if (kind === 'directory') folders.push(number)
    else if (kind === 'symlink') links.push(number)
    else if (path.endsWith('.pyc')) compiled.push(number)
    else files.push(number)
  }
  const ordered: number[] = []
  const byPath = (a: number, b: number): number => compare(members.path(a), members.path(b))
  const byRank = (a: number, b: number): number => rank(members.path(a)) - rank(members.path(b)) || byPath(a, b)
  const visit = (path: string): void => {
    const { files, compiled, links, folders } = shelf(path)
    for (const list of [files, compiled, links]) for (const number of list.sort(byPath)) ordered.push(number)
    for (const number of folders.sort(path === '' ? byRank : byPath)) {
      ordered.push(number)
      visit(members.path(number))
    }
  }
  visit('')
  return ordered
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
const lastOnes = ['bin', 'conda-meta']
const rank = (path: string): number => lastOnes.indexOf(path)

export interface Joined {
  /** Those that stay, in order. */
  readonly numbers: readonly number[]
  /** The entry of a number with what was found for it. */
  readonly entry: (entry: PackEntry, number: number) => PackEntry
  /** For the path of a hard link the file that it shares. */
  readonly shared: ReadonlyMap<string, string>
  /** Compiled from what stands later; they cannot be judged. */
  readonly orphans: readonly string[]
}

/**
 * Makes files of one inode hard links to the first of them, and names for each `.pyc` the source that it goes with. A `.pyc` never
 * shares, since it may be left out while its namesake stays.
 */
export function joinFiles(
  ordered: readonly number[],
  members: Members,
  sourceOf: (path: string) => number | undefined,
): Joined {
  /** By numbers: of a `.pyc` its source, of a hard link the file that it shares. */
  const sources = new Map<number, number>()
  const targets = new Map<number, number>()
  const asked = new Set<number>()
  for (const number of ordered) {
    const path = members.path(number)
    const source = members.kind(number) === 'file' && path.endsWith('.pyc') ? sourceOf(path) : undefined
    if (source === undefined) continue
    sources.set(number, source)
    asked.add(source)
  }
  const wanted = new Set(ordered.filter((number) => asked.has(number)))
  const first = new Map<string, number>()
  const placed = new Set<number>()
  const numbers: number[] = []
  const shared = new Map<string, string>()
  const orphans: string[] = []
  for (const number of ordered) {
    const [path, kind] = [members.path(number), members.kind(number)]
    const source = sources.get(number)
    if (source !== undefined && wanted.has(source)) {
      const file = targets.get(source) ?? source
      sources.set(number, file)
      if (!placed.has(file)) {
        orphans.push(path)
        continue
      }
    } else if (kind === 'file' && !path.endsWith('.pyc')) {
      const inode = members.inode(number)
      const target = inode === undefined ? undefined : first.get(inode)
      if (target !== undefined) {
        targets.set(number, target)
        shared.set(path, members.path(target))
      } else {
        if (inode !== undefined) first.set(inode, number)
        if (inode !== undefined || asked.has(number)) placed.add(number)
      }
    }
    numbers.push(number)
  }
  const entry = (plain: PackEntry, number: number): PackEntry => {
    const target = shared.get(plain.path)
    if (target !== undefined) return { ...linkOf(plain), target }
    const source = sources.get(number)
    return source !== undefined && placed.has(source) ? { ...plain, unlessRewritten: members.path(source) } : plain
  }
  return { numbers, entry, shared, orphans }
}

const linkOf = ({ path, mode, mtime }: PackEntry): PackEntry => ({ path, kind: 'hardlink', mode, mtime, size: 0 })
