/**
 * What goes into the archive: an environment and what a scan found of it become the list of entries for the native core. Pure: reads
 * no file, decides all policy. The content of conda-meta is made anew: see conda/record-text.ts; the order of entries: see order.ts.
 */
import type { Environment, OwnedFile } from '../conda/environment.js'
import { pycSource } from '../conda/noarch.js'
import type { PathRecord } from '../conda/paths.js'
import { EnvError } from '../errors.js'
import type { Expectation, PackEntry, Policy, Scanned } from '../native.js'
import { excludes, type Filter } from '../tree/filter.js'
import { follow } from '../tree/follow.js'
import type { LeftOut, OutsideLink } from '../tree/manifest.js'
import { linkInside, linkText } from '../tree/safe-path.js'
import { foldersOf, inOrder, joinFiles, parentOf } from './order.js'

/** Names directly beneath a prefix that are no part of an environment: conda's own, those of HPC overlays, and ours. */
export const ignored: readonly string[] = [
  ...['pkgs', 'envs', 'conda-bld', '.conda_lock', 'users', 'conda-recipes', '.index', '.unionfs', '.nonadmin'],
  ...['python.app', 'Launcher.app', '.conda-deploy'],
]

/** Old versions of conda put these into environments when activating them. */
const strays: ReadonlySet<string> = new Set(['bin/conda', 'bin/activate', 'bin/deactivate'])

/** Length of the placeholder that conda-build has used since 2015: what mamba, which does not record it, replaced. */
const usualPlaceholder = 255

export interface MissingFiles {
  readonly name: string
  readonly version: string
  readonly paths: readonly string[]
}

export interface Plan {
  /** For the core's pack: everything but conda-meta. */
  readonly entries: readonly PackEntry[]
  /** conda-meta, without content: it is made anew, or read, once the core has said what it found. */
  readonly meta: readonly PackEntry[]
  /** Links into the environment that are relative now, with the text they had. */
  readonly relinked: ReadonlyMap<string, string>
  /** Who owns a path; the last one is the one whose record is trusted. */
  readonly owners: ReadonlyMap<string, readonly OwnedFile[]>
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

type Nodes = ReadonlyMap<string, Scanned>

export function planPack(environment: Environment, scanned: readonly Scanned[], options: PlanOptions): Plan {
  const isExcluded = excludes(options.filters)
  const nodes = new Map<string, Scanned>()
  const relinked = new Map<string, string>()
  const inodes = new Map<string, string>()
  for (const found of scanned) {
    const node = found.kind === 'symlink' ? relativeLink(environment, found) : found
    nodes.set(node.path, node)
    if (node !== found) relinked.set(node.path, found.target ?? '')
    if (node.inode !== undefined) inodes.set(node.path, node.inode)
  }
  const { owners, missing } = compare(environment, nodes, isExcluded)
  const made = new Set([...options.scripts.map((script) => script.path), ...options.reserved])
  const records = new Set(environment.packages.map(({ record }) => record.file)).add('conda-meta/history')
  const mtime = [...records].reduce((newest, path) => Math.max(newest, nodes.get(path)?.mtime ?? 0), 0)

  const leftOut: LeftOut[] = options.skipped.map((path) => ({ path, why: 'ignored' }))
  const kept: Scanned[] = []
  for (const node of nodes.values()) {
    const why = reason(node, options, made, owners)
    if (why !== null) leftOut.push({ path: node.path, why })
    else if (node.kind === 'directory' || !isExcluded(node.path)) kept.push(node)
    else leftOut.push({ path: node.path, why: 'excluded' })
  }
  const content = kept.filter((node) => node.kind !== 'directory')
  const scripts = options.scripts.map(
    ({ path, text, mode }): PackEntry => ({
      path,
      kind: 'file',
      mode,
      mtime,
      size: Buffer.byteLength(text),
      data: Buffer.from(text),
    }),
  )
  const anew = [...scripts.map((entry) => entry.path), ...options.reserved]
  const folders = directories(nodes, kept, [...content.map((node) => node.path), ...anew], isExcluded, mtime)
  const entries = content.map((node) =>
    contentEntry(node, node.kind === 'file' ? owners.get(node.source ?? node.path)?.at(-1) : undefined),
  )
  const ordered = inOrder(folders, [...entries, ...scripts])
  const sourceOf = (path: string): string | null => follow(nodes, pycSource(path) ?? '', true)
  const isMeta = (path: string): boolean => path === 'conda-meta' || path.startsWith('conda-meta/')
  const joined = joinFiles(
    ordered.filter(({ path }) => !isMeta(path)),
    (path) => inodes.get(path),
    sourceOf,
  )
  return {
    entries: joined.entries,
    meta: ordered.filter(({ path }) => isMeta(path)),
    relinked,
    owners,
    shared: joined.shared,
    mtime,
    missing,
    outsideLinks: content.filter(leavesTree).map(({ path, target }) => ({ path, target: target ?? '' })),
    leftOut: [
      ...leftOut,
      ...joined.orphans.map((path) => ({ path, why: 'compiled from a source that a link leads to' })),
    ],
  }
}

/** Why a node stays out whatever the filters say; null: it does not. */
function reason(node: Scanned, options: PlanOptions, made: ReadonlySet<string>, owners: Plan['owners']): string | null {
  const slash = node.path.indexOf('/')
  const top = slash < 0 ? node.path : node.path.slice(0, slash)
  if (top.endsWith('~') || top.endsWith('.DS_STORE')) return 'ignored'
  if (node.kind === 'other') return 'socket, fifo or device'
  if (node.path === options.output) return 'the archive itself'
  if (node.kind === 'directory') return null
  if (made.has(node.path)) return 'replaced by that of the archive'
  if (strays.has(node.path) && !owners.has(node.path)) return 'stray file of an old conda'
  return null
}

/** An absolute link into the environment, by any spelling of its prefix, or one that leaves it and comes back, made relative. */
function relativeLink(environment: Environment, node: Scanned): Scanned {
  const target = node.target
  if (node.kind !== 'symlink' || target === undefined || linkInside(node.path, target) !== null) return node
  for (const prefix of environment.spellings) {
    const absolute = target.startsWith('/') ? target : `${prefix}/${node.path}/../${target}`
    const inside = linkInside('', absolute.replace(/^\/+/, ''))
    const root = prefix.slice(1)
    if (inside === root) return { ...node, target: linkText(node.path, '') }
    if (inside?.startsWith(`${root}/`)) return { ...node, target: linkText(node.path, inside.slice(root.length + 1)) }
  }
  return node
}

const leavesTree = (node: Scanned): boolean =>
  node.kind === 'symlink' && linkInside(node.path, node.target ?? '') === null

/** What packages own, by where it is found in the tree, and what of it is not there. */
function compare(environment: Environment, nodes: Nodes, isExcluded: (path: string) => boolean) {
  const owners = new Map<string, OwnedFile[]>()
  const missing: MissingFiles[] = []
  for (const { record, owned } of environment.packages) {
    const absent: string[] = []
    for (const file of owned) {
      const path = follow(nodes, file.path, false)
      if (path === null) {
        const type = file.recorded?.type
        const dispensable = type === 'directory' || type === 'pyc_file' || file.path.endsWith('.pyc')
        if (!dispensable && !isExcluded(file.path)) absent.push(file.path)
        continue
      }
      const others = owners.get(path)
      if (others) others.push(file)
      else owners.set(path, [file])
    }
    if (absent.length > 0) missing.push({ name: record.name, version: record.version, paths: absent.sort() })
  }
  for (const [path, several] of owners) if (several.length > 1) trustLast(several, nodes.get(path)?.size ?? 0)
  return { owners, missing }
}

/** Of packages that claim one path, the one whose recorded size is that of the file comes last. */
function trustLast(several: OwnedFile[], size: number): void {
  const trust = ({ recorded }: OwnedFile): number =>
    recorded?.sha256 === undefined ? 0 : recorded.size === size ? 2 : 1
  several.sort((a, b) => trust(a) - trust(b))
}

/** Directories that will hold something, and those that were empty before any filter. */
function directories(
  nodes: Nodes,
  kept: readonly Scanned[],
  content: readonly string[],
  isExcluded: (path: string) => boolean,
  mtime: number,
): PackEntry[] {
  const parents = foldersOf(nodes.keys())
  const empty = kept.filter(({ kind, path }) => kind === 'directory' && !parents.has(path) && !isExcluded(path))
  const needed = new Set(empty.map((node) => node.path))
  for (const folder of [...foldersOf(content), ...empty.map((node) => parentOf(node.path))])
    for (let at = folder; at !== '' && !needed.has(at); at = parentOf(at)) needed.add(at)
  return [...needed].map((path): PackEntry => {
    const node = nodes.get(path)
    if (node && node.kind !== 'directory')
      throw new EnvError('UNSUPPORTED', `${path} is not a directory: the archive has to put files into it`, { path })
    return { path, kind: 'directory', mode: 0o755, mtime: node?.mtime ?? mtime, size: 0 }
  })
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
function knownOf(recorded: PathRecord | null | undefined): Known {
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
