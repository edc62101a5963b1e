/** What stands at each path of an environment, by its number in the scan, and who owns it. Pure. */
import type { Environment } from '../conda/environment.js'
import type { OwnedFile } from '../conda/owned.js'
import type { List } from '../list.js'
import type { Scanned } from '../native.js'
import { follow, type Node } from '../tree/follow.js'
import { linkInside, linkText } from '../tree/safe-path.js'

/** A scan whose links into the environment are relative. What is asked of every node, and more than once, is kept beside it. */
export class Nodes {
  readonly length: number
  /** Links that are relative now, with the text they had. */
  readonly relinked: ReadonlyMap<string, string>
  private readonly scanned: List<Scanned>
  private readonly paths: string[] = []
  private readonly kinds: Uint8Array
  private readonly sizes: Float64Array
  private readonly numbers = new Map<string, number>()
  private readonly targets = new Map<number, string>()
  private readonly inodes = new Map<number, string>()

  constructor(environment: Environment, scanned: List<Scanned>) {
    this.length = scanned.length
    this.scanned = scanned
    this.kinds = new Uint8Array(scanned.length)
    this.sizes = new Float64Array(scanned.length)
    const relinked = new Map<string, string>()
    for (const node of scanned) {
      const { path, kind, size, target = '', inode, data } = node
      const number = this.paths.push(path) - 1
      this.numbers.set(path, number)
      this.kinds[number] = kinds.indexOf(kind)
      this.sizes[number] = size
      if (inode !== undefined && data === undefined) this.inodes.set(number, inode)
      if (kind !== 'symlink') continue
      const relative = relativeTarget(environment, path, target)
      if (relative !== null) relinked.set(path, target)
      this.targets.set(number, relative ?? target)
    }
    this.relinked = relinked
  }

  find(path: string): number | undefined {
    return this.numbers.get(path)
  }

  path(number: number): string {
    return this.paths[number] as string
  }

  kind(number: number): Scanned['kind'] {
    return kinds[this.kinds[number] as number] as Scanned['kind']
  }

  size(number: number): number {
    return this.sizes[number] as number
  }

  /** Of what may become a hard link. */
  inode(number: number): string | undefined {
    return this.inodes.get(number)
  }

  /** Whole. */
  at(number: number): Scanned {
    const node = this.scanned.at(number) as Scanned
    const target = this.targets.get(number)
    return target === undefined ? node : { ...node, target }
  }

  /** What is needed to follow links. */
  get(path: string): Node | undefined {
    const number = this.numbers.get(path)
    if (number === undefined) return undefined
    const target = this.targets.get(number)
    return target === undefined ? { kind: this.kind(number) } : { kind: 'symlink', target }
  }
}

const kinds: readonly Scanned['kind'][] = ['directory', 'file', 'symlink', 'other']

/** For an absolute link into the environment, by any spelling of its prefix, or one that leaves it and comes back; null: it stays. */
function relativeTarget(environment: Environment, path: string, target: string): string | null {
  if (linkInside(path, target) !== null) return null
  for (const prefix of environment.spellings) {
    const absolute = target.startsWith('/') ? target : `${prefix}/${path}/../${target}`
    const inside = linkInside('', absolute.replace(/^\/+/, ''))
    const root = prefix.slice(1)
    if (inside === root) return linkText(path, '')
    if (inside?.startsWith(`${root}/`)) return linkText(path, inside.slice(root.length + 1))
  }
  return null
}

export interface MissingFiles {
  readonly name: string
  readonly version: string
  readonly paths: readonly string[]
}

/** What packages own, by where it is found in the tree, and what of it is not there. */
export class Owners {
  readonly missing: readonly MissingFiles[]
  private readonly environment: Environment
  /** Of each node: the package, from 1 on, and the number of the file in it. */
  private readonly packages: Uint32Array
  private readonly files: Uint32Array

  constructor(environment: Environment, nodes: Nodes, isExcluded: (path: string) => boolean) {
    this.environment = environment
    this.packages = new Uint32Array(nodes.length)
    this.files = new Uint32Array(nodes.length)
    const missing: MissingFiles[] = []
    for (const [i, { record, owned }] of environment.packages.entries()) {
      const absent: string[] = []
      let file = 0
      for (const { path, recorded } of owned) {
        const number = nodes.find(path) ?? nodes.find(follow(nodes, path, false) ?? '')
        if (number !== undefined) this.claim(number, i + 1, file, nodes)
        else {
          const dispensable = recorded?.type === 'directory' || recorded?.type === 'pyc_file' || path.endsWith('.pyc')
          if (!dispensable && !isExcluded(path)) absent.push(path)
        }
        file++
      }
      if (absent.length > 0) missing.push({ name: record.name, version: record.version, paths: absent.sort() })
    }
    this.missing = missing
  }

  /** Of several that own a node the one whose record is trusted. */
  of(number: number | undefined): OwnedFile | undefined {
    const owner = this.packages[number ?? this.packages.length] ?? 0
    return owner === 0 ? undefined : this.environment.packages[owner - 1]?.owned.at(this.files[number as number] ?? 0)
  }

  /** Of packages that claim one path it is the last of those that are trusted most: the recorded size is that of the file. */
  private claim(number: number, owner: number, file: number, nodes: Nodes): void {
    const before = this.of(number)
    const [was, is] = [this.packages[number] ?? 0, this.files[number] ?? 0]
    this.packages[number] = owner
    this.files[number] = file
    if (before === undefined) return
    const size = nodes.size(number)
    if (trust(this.of(number), size) >= trust(before, size)) return
    this.packages[number] = was
    this.files[number] = is
  }
}

function trust(file: OwnedFile | undefined, size: number): number {
  if (file?.recorded?.sha256 === undefined) return 0
  return file.recorded.size === size ? 2 : 1
}
