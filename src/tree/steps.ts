/**
 * Which names change, and in which order: what comes and what goes, laid against what stands in the prefix. Readers see either the old file or
 * the new one wherever a name stays, and new files before the names that lead to them change. Pure; the core does it (native `change`).
 */
import { dirname } from 'node:path/posix'
import { EnvError, few } from '../errors.js'
import type { Step, There } from '../install-jobs.js'

export interface Change {
  /** Files and links that come, by their paths; they stand in the stage. */
  readonly incoming: ReadonlySet<string>
  /** Directories that come with nothing in them, likewise; default: none. */
  readonly empty?: ReadonlySet<string>
  /** Files that go; what comes under the same name replaces them. */
  readonly outgoing: ReadonlySet<string>
  /** Directories that go where nothing is left in them, beside those of files that go; default: none. */
  readonly emptied?: ReadonlySet<string>
  /** Compiled Python of files that go, if it is there. */
  readonly derived: ReadonlySet<string>
  /** Files of packages that stay, which what comes may replace. */
  readonly shared: ReadonlySet<string>
  /** Documents in `conda-meta` among them, which change last. */
  readonly documents: ReadonlySet<string>
  /** Files that belong to nobody may be replaced. */
  readonly clobber: boolean
  /** What to do about those that are in the way. */
  readonly hint: string
}

export interface Steps {
  readonly groups: readonly (readonly Step[])[]
  /** Directories to be removed afterwards where they are empty, deepest first. */
  readonly tidy: readonly Step[]
  /** Files of nobody that are replaced. */
  readonly replaced: readonly string[]
  /** Files of packages that go which stay, and why. */
  readonly left: readonly string[]
}

const none: ReadonlySet<string> = new Set()

/** All paths of which must be known what stands there, in order. */
export function pathsOf({ incoming, empty = none, outgoing, derived }: Change): string[] {
  const paths = new Set([...incoming, ...empty, ...outgoing, ...derived])
  for (const path of [...incoming, ...empty]) for (const folder of foldersOf(path)) paths.add(folder)
  return [...paths].sort()
}

/** Throws TARGET_EXISTS naming all files of nobody that are in the way, UNSAFE_PATH for a link on the way to a file. */
export function stepsOf(change: Change, there: ReadonlyMap<string, There>, prefix: string): Steps {
  const { incoming, empty = none, outgoing, emptied = none, derived, shared, documents, clobber } = change
  const kind = (path: string): There => there.get(path) ?? 'nothing'
  const isName = (path: string): boolean => kind(path) === 'file' || kind(path) === 'symlink'
  const goes = (path: string): boolean => outgoing.has(path) || derived.has(path)
  /** Files and links that go although something comes beneath them, and directories in whose place a file comes. */
  const early = new Set<string>()
  const clears = new Set<string>()
  const adds = new Set<string>()
  const replaces: string[] = []
  const [foreign, behind, replaced]: [string[], string[], string[]] = [[], [], []]
  for (const path of [...incoming, ...empty]) {
    const way = foldersOf(path)
    const wall = way.find((folder) => isName(folder) && !incoming.has(folder))
    if (wall !== undefined && !outgoing.has(wall)) {
      ;(kind(wall) === 'symlink' ? behind : foreign).push(wall)
      continue
    }
    if (wall !== undefined) early.add(wall)
    const top = [...way, path].find((one) => one === wall || kind(one) === 'nothing')
    if (top !== undefined) adds.add(top)
    else if (empty.has(path)) {
      if (kind(path) === 'directory') continue
      if (!outgoing.has(path)) foreign.push(path)
      early.add(path)
      adds.add(path)
    } else if (kind(path) === 'directory') {
      clears.add(path)
      adds.add(path)
    } else if (isName(path)) {
      replaces.push(path)
      if (goes(path) || shared.has(path) || isCompiled(path)) continue
      if (clobber) replaced.push(path)
      else foreign.push(path)
    } else foreign.push(path)
  }
  if (behind.length > 0) throw beyond(behind, prefix)
  if (foreign.length > 0) throw inTheWay(foreign, prefix, change.hint)
  const left: string[] = []
  const removes: string[] = []
  for (const path of new Set([...outgoing, ...derived])) {
    if (incoming.has(path) || kind(path) === 'nothing') continue
    const cleared = foldersOf(path).filter((folder) => clears.has(folder))
    if (!isName(path)) {
      if (outgoing.has(path)) left.push(`${path} is not removed: ${reasons[kind(path)] ?? 'it is no file'}`)
    } else if (cleared.length > 0) {
      early.add(path)
      for (const folder of foldersOf(path)) if (cleared.some((top) => folder.startsWith(`${top}/`))) clears.add(folder)
    } else if (!early.has(path)) removes.push(path)
  }
  const gone = [...early, ...removes]
  for (const folder of emptied) if (foldersOf(folder).some((above) => clears.has(above))) clears.add(folder)
  const isDocument = (path: string): boolean => documents.has(path)
  const split = (paths: Iterable<string>, how: Step['how'], last: boolean): Step[] =>
    [...paths].filter((path) => isDocument(path) === last).map((path) => ({ path, how }))
  const group = (last: boolean, ...all: [Iterable<string>, Step['how']][]): Step[] =>
    all.flatMap(([paths, how]) => split(paths, how, last)).sort(byPath)
  const groups = [
    group(false, [early, 'remove']),
    group(false, [clears, 'clear']).reverse(),
    group(false, [adds, 'add']),
    group(false, [replaces, 'replace']),
    group(false, [removes, 'remove']),
    group(true, [adds, 'add'], [replaces, 'replace'], [removes, 'remove']),
  ]
  const folders = new Set(
    [...gone.flatMap(foldersOf), ...emptied].filter((folder) => folder !== 'conda-meta' && !clears.has(folder)),
  )
  return { groups, tidy: group(false, [folders, 'tidy']).reverse(), replaced, left }
}

const reasons: Readonly<Partial<Record<There, string>>> = {
  directory: 'a directory stands there',
  beyond: 'a symbolic link stands in the way to it',
}

const byPath = (one: Step, other: Step): number => (one.path < other.path ? -1 : one.path > other.path ? 1 : 0)

/** All folders above a path, the topmost first. */
function foldersOf(path: string): string[] {
  const folders: string[] = []
  for (let at = dirname(path); at !== '.'; at = dirname(at)) folders.unshift(at)
  return folders
}

/** What Python makes for itself belongs to nobody, and can be made again. */
const isCompiled = (path: string): boolean => /(^|\/)__pycache__\/[^/]+\.pyc$/.test(path)

function inTheWay(paths: readonly string[], prefix: string, hint: string): EnvError {
  const names = [...new Set(paths)].sort()
  const message = `${prefix} has files that belong to no package where files of packages are to stand: ${few(names)}`
  return new EnvError('TARGET_EXISTS', message, { path: prefix, paths: names, hint })
}

function beyond(paths: readonly string[], prefix: string): EnvError {
  const names = [...new Set(paths)].sort()
  const message = `${prefix}: symbolic links stand in the way to files of packages: ${few(names)}`
  return new EnvError('UNSAFE_PATH', message, { path: prefix, paths: names, hint: 'put directories in their place' })
}
