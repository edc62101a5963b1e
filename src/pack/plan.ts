/**
 * What goes into the archive: an environment and what a scan found of it become the list of entries for the native core. Pure: reads
 * no file, decides all policy. The content of conda-meta is made anew: see conda/record-text.ts; the order of entries: see order.ts.
 */
import type { Environment } from '../conda/environment.js'
import { pycSource } from '../conda/noarch.js'
import type { OwnedFile } from '../conda/owned.js'
import { EnvError } from '../errors.js'
import { type List, lazyList, many } from '../list.js'
import type { Expectation, PackEntry, Policy, Scanned } from '../native.js'
import { excludes, type Filter } from '../tree/filter.js'
import { follow } from '../tree/follow.js'
import type { LeftOut, OutsideLink } from '../tree/manifest.js'
import { linkInside } from '../tree/safe-path.js'
import { type MissingFiles, Nodes, Owners } from './nodes.js'
import { foldersOf, inOrder, joinFiles, type Members, parentOf } from './order.js'

/** Names directly beneath a prefix that are no part of an environment: conda's own, those of HPC overlays, and ours. */
export const ignored: readonly string[] = [
  ...['pkgs', 'envs', 'conda-bld', '.conda_lock', 'users', 'conda-recipes', '.index', '.unionfs', '.nonadmin'],
  ...['python.app', 'Launcher.app', '.conda-deploy'],
]

/** Old versions of conda put these into environments when activating them. */
const strays: ReadonlySet<string> = new Set(['bin/conda', 'bin/activate', 'bin/deactivate'])

/** Length of the placeholder that conda-build has used since 2015: what mamba, which does not record it, replaced. */
const usualPlaceholder = 255

export interface Plan {
  /** For the core's pack: everything but conda-meta. */
  readonly entries: List<PackEntry>
  /** conda-meta, without content: it is made anew, or read, once the core has said what it found. */
  readonly meta: readonly PackEntry[]
  /** Of the content of `entries`. */
  readonly bytes: number
  readonly has: (path: string) => boolean
  /** The entry at a path, of either. */
  readonly find: (path: string) => PackEntry | undefined
  /** Links into the environment that are relative now, with the text they had. */
  readonly relinked: ReadonlyMap<string, string>
  /** Of those who own a path the one whose record is trusted. */
  readonly ownerOf: (path: string) => OwnedFile | undefined
  /** For the path of a hardlink the file entry that it shares. */
  readonly shared: ReadonlyMap<string, string>
  /** mtime of everything that is made anew: of the newest record, so that equal trees give equal archives. */
  readonly mtime: number
  readonly missing: readonly MissingFiles[]
  readonly outsideLinks: readonly OutsideLink[]
  readonly leftOut: readonly LeftOut[]
}

export interface PlanOptions {
  readonly filters: readonly Filter[]
  /** Texts that every archive holds; they replace what stands at their paths. */
  readonly scripts: readonly { readonly path: string; readonly text: string; readonly mode: number }[]
  /** Paths that are made after packing, and replaced likewise. */
  readonly reserved: readonly string[]
  /** Names of `ignored` that are there: the scan passed over them. */
  readonly skipped: readonly string[]
  /** A path in the prefix where the archive itself is written. */
  readonly output?: string
}

/**
 * Nodes have the numbers of the scan, what is made beside them (folders, scripts) those behind: an object for each of hundreds of thousands
 * of entries would take more memory than everything else.
 */
export function planPack(environment: Environment, scanned: List<Scanned>, options: PlanOptions): Plan {
  const isExcluded = excludes(options.filters)
  const nodes = new Nodes(environment, scanned)
  const owners = new Owners(environment, nodes, isExcluded)
  const ownerOf = (path: string): OwnedFile | undefined => owners.of(nodes.find(path))
  const replaced = new Set([...options.scripts.map((script) => script.path), ...options.reserved])
  const records = new Set(environment.packages.map(({ record }) => record.file)).add('conda-meta/history')
  let mtime = 0
  for (const path of records) {
    const number = nodes.find(path)
    if (number !== undefined) mtime = Math.max(mtime, nodes.at(number).mtime)
  }

  const leftOut: LeftOut[] = options.skipped.map((path) => ({ path, why: 'ignored' }))
  const outsideLinks: OutsideLink[] = []
  const content: number[] = []
  const kept: string[] = []
  for (let number = 0; number < nodes.length; number++) {
    const [path, kind] = [nodes.path(number), nodes.kind(number)]
    const why = reason(path, kind, options, replaced, ownerOf)
    if (why !== null) leftOut.push({ path, why })
    else if (kind === 'directory') kept.push(path)
    else if (isExcluded(path)) leftOut.push({ path, why: 'excluded' })
    else {
      content.push(number)
      const target = kind === 'symlink' ? (nodes.get(path)?.target ?? '') : ''
      if (kind === 'symlink' && linkInside(path, target) === null) outsideLinks.push({ path, target })
    }
  }
  const scripts = options.scripts.map(
    ({ path, text, mode }): PackEntry => ({
      ...{ path, kind: 'file', mode, mtime, size: Buffer.byteLength(text), data: Buffer.from(text) },
    }),
  )
  const needed = directories(nodes, kept, holders(nodes, content, [...replaced]), isExcluded)
  const folders = needed.map((path) => folderEntry(nodes, path, mtime))
  const made = [...folders, ...scripts]
  const beyond = (number: number): PackEntry | undefined =>
    number < nodes.length ? undefined : made[number - nodes.length]
  const all: Members = {
    path: (number) => beyond(number)?.path ?? nodes.path(number),
    kind: (number) => beyond(number)?.kind ?? nodes.kind(number),
    inode: (number) => nodes.inode(number),
  }
  const ordered = inOrder([...content, ...made.map((_, i) => nodes.length + i)], all)
  const isMeta = (number: number): boolean => {
    const path = all.path(number)
    return path === 'conda-meta' || path.startsWith('conda-meta/')
  }
  const joined = joinFiles(
    ordered.filter((number) => !isMeta(number)),
    all,
    (path) => nodes.find(follow(nodes, pycSource(path) ?? '', true) ?? ''),
  )
  const planned = (number: number): PackEntry => {
    const entry = beyond(number)
    if (entry !== undefined) return entry
    const node = nodes.at(number)
    if (node.kind !== 'file') return contentEntry(node, undefined)
    return contentEntry(node, node.source === undefined ? owners.of(number) : ownerOf(node.source))
  }
  const few = new Array<PackEntry | undefined>(joined.numbers.length < many ? nodes.length + made.length : 0)
  const entryOf = (number: number): PackEntry => {
    const entry = few[number] ?? joined.entry(planned(number), number)
    if (few.length > 0) few[number] = entry
    return entry
  }
  const meta = ordered.filter(isMeta)
  const there = new Uint8Array(nodes.length)
  for (const list of [joined.numbers, meta]) for (const number of list) if (number < there.length) there[number] = 1
  const beside = new Map(made.map((entry) => [entry.path, entry]))
  const numberOf = (path: string): number | undefined => {
    const number = nodes.find(path)
    return number === undefined || there[number] === 0 ? undefined : number
  }
  return {
    entries: lazyList(joined.numbers.length, (i) => entryOf(joined.numbers[i] as number)),
    meta: meta.map(planned),
    bytes: joined.numbers.reduce((sum, number) => sum + (beyond(number)?.size ?? nodes.size(number)), 0),
    has: (path) => numberOf(path) !== undefined || beside.has(path),
    find(path) {
      const number = numberOf(path)
      return number === undefined ? beside.get(path) : entryOf(number)
    },
    relinked: nodes.relinked,
    ownerOf,
    shared: joined.shared,
    mtime,
    missing: owners.missing,
    outsideLinks,
    leftOut: [
      ...leftOut,
      ...joined.orphans.map((path) => ({ path, why: 'compiled from a source that a link leads to' })),
    ],
  }
}

/** Folders of what the archive will hold: nodes, and paths that are made. */
function holders(nodes: Nodes, content: readonly number[], paths: readonly string[]): Set<string> {
  const folders = foldersOf(paths)
  let last: string | undefined
  for (const number of content) {
    const folder = parentOf(nodes.path(number))
    if (folder !== last) folders.add(folder)
    last = folder
  }
  return folders
}

/** Why a node stays out whatever the filters say; null: it does not. */
function reason(
  path: string,
  kind: Scanned['kind'],
  options: PlanOptions,
  replaced: ReadonlySet<string>,
  ownerOf: Plan['ownerOf'],
): string | null {
  const slash = path.indexOf('/')
  const top = slash < 0 ? path : path.slice(0, slash)
  if (top.endsWith('~') || top.endsWith('.DS_STORE')) return 'ignored'
  if (kind === 'other') return 'socket, fifo or device'
  if (path === options.output) return 'the archive itself'
  if (kind === 'directory') return null
  if (replaced.has(path)) return 'replaced by that of the archive'
  if (strays.has(path) && ownerOf(path) === undefined) return 'stray file of an old conda'
  return null
}

/** Directories that will hold something, and those that were empty before any filter. `kept`: that may stay; `holding`: that have content. */
function directories(
  nodes: Nodes,
  kept: readonly string[],
  holding: ReadonlySet<string>,
  isExcluded: (path: string) => boolean,
): string[] {
  const parents = foldersOf(lazyList(nodes.length, (number) => nodes.path(number)))
  const empty = kept.filter((path) => !parents.has(path) && !isExcluded(path))
  const needed = new Set(empty)
  for (const folder of [...holding, ...empty.map(parentOf)])
    for (let at = folder; at !== '' && !needed.has(at); at = parentOf(at)) needed.add(at)
  return [...needed]
}

/** `mtime`: of one that is not there. */
function folderEntry(nodes: Nodes, path: string, mtime: number): PackEntry {
  const number = nodes.find(path)
  if (number !== undefined && nodes.kind(number) !== 'directory')
    throw new EnvError('UNSUPPORTED', `${path} is not a directory: the archive has to put files into it`, { path })
  const own = number === undefined ? mtime : nodes.at(number).mtime
  return { path, kind: 'directory', mode: 0o755, mtime: own, size: 0 }
}

function contentEntry(node: Scanned, owner: OwnedFile | undefined): PackEntry {
  const { path, mtime, size } = node
  if (node.kind === 'symlink') return { path, kind: 'symlink', mode: 0o777, mtime, size: 0, target: node.target ?? '' }
  const mode = (node.mode & 0o111) === 0 ? 0o644 : 0o755
  const { expect, policy, slot } = knownOf(owner?.recorded)
  const entry: Writable<PackEntry> = { path, kind: 'file', mode, mtime, size, policy }
  if (node.source !== undefined) entry.source = node.source
  if (node.origin !== undefined) {
    entry.source = node.origin
    entry.pristine = true
  }
  if (node.data !== undefined) entry.data = node.data
  if (path.endsWith('.pyc')) entry.policy = 'report'
  if (expect !== undefined) entry.expect = expect
  if (slot !== undefined) entry.slot = slot
  return entry
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

interface Known {
  readonly expect?: Expectation
  readonly policy: Policy
  readonly slot?: number
}

const nothingKnown: Known = { policy: 'detect' }

/** What is recorded about a file, and what may be done with prefixes in it when that cannot be proven. */
function knownOf(recorded: OwnedFile['recorded'] | undefined): Known {
  if (!recorded) return nothingKnown
  // Made at installation, for this prefix: rattler's sha256 is of that, and no package has it.
  if (recorded.type === 'unix_python_entry_point') return nothingKnown
  const { sha256, sha256InPrefix, placeholder } = recorded
  const expect: Expectation = recorded
  if (placeholder !== undefined) return { expect, policy: 'detect', slot: Buffer.byteLength(placeholder) }
  if (sha256 === undefined) return nothingKnown
  // mamba replaced a placeholder that it did not record: the hashes tell.
  const replaced = sha256InPrefix !== undefined && sha256 !== sha256InPrefix
  return replaced ? { expect, policy: 'any', slot: usualPlaceholder } : { expect, policy: 'detect' }
}
