/**
 * The members of a foreign archive as one tree, checked while they come: last of a name wins, nothing stands beneath what is no
 * directory. Links are kept back until all files stand, so that nothing is ever written through one. Pure.
 */
import type { Member } from '../../archive/decode.js'
import { EnvError } from '../../errors.js'
import type { LinkOrDirectory } from '../../plain-nodes.js'
import { linkInside, linkText } from '../../tree/safe-path.js'
import { ownFolder } from '../ready.js'
import { Column, Paths } from './paths.js'

/** What was met and does not stand in the tree as the archive has it. */
export interface Met {
  /** Named more than once; the last counts. */
  readonly duplicates: readonly string[]
  /** Beneath `.conda-deploy`: left out. */
  readonly own: readonly string[]
  /** setuid, setgid or sticky bits: not given. */
  readonly setuid: readonly string[]
  /** Hard links that brought content of their own. */
  readonly detached: readonly string[]
  /** Symbolic links that lead out of the tree, as they stand. */
  readonly outsideLinks: readonly { readonly path: string; readonly target: string }[]
}

/** A file of a batch, and the number of its path. */
export interface Placed {
  readonly number: number
  readonly member: Member
}

export class ForeignTree {
  readonly paths: Paths
  private readonly archive: string
  private readonly kinds = new Column<Member['kind']>()
  /** What is no file; the members themselves. */
  private readonly others = new Map<number, Member>()
  /** Directories that members stand in: the time of the newest thing beneath. */
  private readonly newest = new Column<number>()
  /** How many hard links share a file. */
  private readonly shared = new Map<string, number>()
  /** That of the member before, and its number. */
  private folder = ''
  private folderNumber: number | undefined
  /** A name of the batch that is admitted was there before. */
  private again = false
  private readonly duplicates = new Set<string>()
  private readonly own: string[] = []
  private readonly setuid = new Set<string>()
  private readonly detached = new Set<string>()

  constructor(archive: string, paths: Paths = new Paths()) {
    this.archive = archive
    this.paths = paths
  }

  /**
   * Files to be written now, each name once; `again`: one of them was among those before. Their paths are safe: who reads an archive makes
   * them so. Throws UNSAFE_PATH and ARCHIVE_CORRUPT.
   */
  admit(members: readonly Member[]): { readonly files: readonly Placed[]; readonly again: boolean } {
    const files: Placed[] = []
    this.again = false
    for (const member of members) {
      const { path } = member
      if (path.startsWith(ownFolder) && (path.length === ownFolder.length || path[ownFolder.length] === '/')) {
        this.own.push(path)
        continue
      }
      const number = this.place(member)
      if (member.kind === 'file') files.push({ number, member })
    }
    return { files: this.again ? this.last(files) : files, again: this.again }
  }

  /** Of those of one name the last, and none that something else took the place of. */
  private last(files: readonly Placed[]): Placed[] {
    const last = new Map(files.map((file) => [file.number, file]))
    return files.filter((file) => last.get(file.number) === file && this.kinds.get(file.number) === 'file')
  }

  private place(member: Member): number {
    const { path, kind, mtime } = member
    const number = this.paths.number(path)
    const there = this.kinds.get(number)
    if (there !== undefined && !(there === 'directory' && kind === 'directory')) {
      if (kind === 'directory') throw this.broken('ARCHIVE_CORRUPT', path, `is a directory and a ${there}`)
      if (this.shared.has(path)) throw this.broken('ARCHIVE_CORRUPT', path, 'is named again after a hard link to it')
      this.duplicates.add(path)
      this.again = true
    }
    if (kind !== 'directory' && this.newest.get(number) !== undefined)
      throw this.broken('UNSAFE_PATH', path, 'is no directory, but members stand beneath it')
    this.climb(path, mtime)
    if (kind === 'hardlink') this.share(this.sharedBy(member), 1)
    if (kind === 'symlink' && !member.target)
      throw this.broken('ARCHIVE_CORRUPT', path, 'is a symbolic link without a target')
    // A zip and a pax header can say that; no system can.
    if (kind === 'symlink' && member.target?.includes('\0'))
      throw this.broken('ARCHIVE_CORRUPT', path, 'is a symbolic link whose target holds a NUL')
    if (kind === 'file' && (member.mode & 0o7000) !== 0) this.setuid.add(path)
    if (member.detached) this.detached.add(path)
    // Last of a name last: a file that comes again is written again.
    if (there !== undefined) this.others.delete(number)
    this.kinds.set(number, kind)
    if (kind !== 'file') this.others.set(number, member)
    return number
  }

  /** What stands above a path is a directory, and as new as what is in it. */
  private climb(path: string, mtime: number): void {
    const end = path.lastIndexOf('/')
    if (end <= 0) return
    // Neighbours come one after another: what was checked for one, and is not older, holds for the next.
    const isSame = end === this.folder.length && path.startsWith(this.folder)
    if (isSame && mtime <= this.newestOf(this.folderNumber)) return
    for (let slash = end; slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const parent = path.slice(0, slash)
      const number = this.paths.number(parent)
      if (slash === end) {
        this.folder = parent
        this.folderNumber = number
      }
      const kind = this.kinds.get(number) ?? 'directory'
      if (kind !== 'directory')
        throw this.broken('UNSAFE_PATH', path, `stands beneath ${JSON.stringify(parent)}, which is a ${kind}`)
      if (this.newestOf(number) >= mtime) break
      this.newest.set(number, mtime)
    }
  }

  private newestOf(number: number | undefined): number {
    return this.newest.get(number) ?? Number.NEGATIVE_INFINITY
  }

  /** The file or symbolic link behind a hard link, which stands before it. */
  private sharedBy({ path, target = '' }: Member): string {
    const number = this.paths.find(target)
    const there = this.kinds.get(number)
    if (target === path || there === undefined || there === 'directory') {
      const what = there === undefined ? 'which is not in the archive before it' : 'which cannot be shared'
      throw this.broken('ARCHIVE_CORRUPT', path, `is a hard link to ${JSON.stringify(target)}, ${what}`)
    }
    return there === 'hardlink' ? this.sharedBy(this.others.get(number as number) as Member) : target
  }

  private share(path: string, more: 1 | -1): void {
    const links = (this.shared.get(path) ?? 0) + more
    if (links > 0) this.shared.set(path, links)
    else this.shared.delete(path)
  }

  private broken(code: 'ARCHIVE_CORRUPT' | 'UNSAFE_PATH', path: string, what: string): EnvError {
    return new EnvError(code, `${this.archive}: ${JSON.stringify(path)} ${what}`, { path })
  }

  private member(path: string): Member | undefined {
    const number = this.paths.find(path)
    return number === undefined ? undefined : this.others.get(number)
  }

  has(path: string): boolean {
    const number = this.paths.find(path)
    return this.kinds.get(number) !== undefined || this.newest.get(number) !== undefined
  }

  /** For a hard link the file it shares, for a file its own path; null: neither. */
  fileOf(path: string): string | null {
    const kind = this.kinds.get(this.paths.find(path))
    if (kind === 'hardlink') {
      const target = this.sharedBy(this.member(path) as Member)
      return this.kinds.get(this.paths.find(target)) === 'file' ? target : null
    }
    return kind === 'file' ? path : null
  }

  /** The names of `files`: their own, where they still stand, and those of hard links to them. */
  namesOf(files: readonly string[]): string[] {
    const own = new Set(files.filter((path) => this.fileOf(path) === path))
    const links: string[] = []
    if (this.shared.size > 0)
      for (const { path, kind } of this.others.values())
        if (kind === 'hardlink' && own.has(this.fileOf(path) ?? '')) links.push(path)
    return [...own, ...links]
  }

  /** Files that something else took the place of later. */
  replacedFiles(): string[] {
    return [...this.duplicates].filter((path) => this.kinds.get(this.paths.find(path)) !== 'file')
  }

  /** Takes a member out, so that nothing is said of it any more; false: hard links share it, it has to stay. */
  leaveOut(path: string): boolean {
    const member = this.member(path)
    if (this.shared.has(path)) return false
    if (member?.kind === 'hardlink') this.share(this.sharedBy(member), -1)
    const number = this.paths.find(path)
    if (number === undefined) return true
    this.others.delete(number)
    this.kinds.set(number, undefined)
    return true
  }

  /** Text of the symbolic link at `path` as the archive has it. */
  linkText(path: string): string | undefined {
    const member = this.member(path)
    return member?.kind === 'symlink' ? member.target : undefined
  }

  /** Paths of files and of hard links for which `is` is true. */
  files(is: (path: string) => boolean): string[] {
    const found: string[] = []
    this.kinds.each((kind, number) => {
      const path = this.paths.text(number)
      if ((kind === 'file' || kind === 'hardlink') && is(path)) found.push(path)
    })
    return found
  }

  /** Hard links, then symbolic ones; those that lead to one of `origins` lead to the same place in this tree. */
  links(origins: readonly string[]): LinkOrDirectory[] {
    const links: LinkOrDirectory[] = []
    for (const { path, kind, mode, mtime, target = '' } of this.others.values()) {
      if (kind !== 'symlink' && kind !== 'hardlink') continue
      const shared = kind === 'hardlink' ? this.fileOf(path) : null
      if (shared !== null) links.push({ path, kind: 'hardlink', mode, mtime, target: shared })
      else {
        // A hard link to a symbolic link is one more of its kind.
        const text =
          kind === 'symlink' ? target : (this.member(this.sharedBy(this.member(path) as Member))?.target ?? '')
        links.push({ path, kind: 'symlink', mode: 0o777, mtime, target: here(path, text, origins) })
      }
    }
    return links
  }

  /** All directories; those that only follow from names have the time of the newest thing beneath them. */
  directories(): LinkOrDirectory[] {
    const directories: LinkOrDirectory[] = []
    const add = (path: string, mtime: number): void => {
      directories.push({ path, kind: 'directory', mode: 0o755, mtime })
    }
    this.newest.each((mtime, number) => {
      if (!this.others.has(number)) add(this.paths.text(number), mtime)
    })
    for (const { path, kind, mtime } of this.others.values()) if (kind === 'directory') add(path, mtime)
    return directories
  }

  met(links: readonly LinkOrDirectory[]): Met {
    const outside = links.filter(
      ({ path, kind, target = '' }) => kind === 'symlink' && linkInside(path, target) === null,
    )
    return {
      duplicates: [...this.duplicates],
      own: this.own,
      setuid: [...this.setuid],
      detached: [...this.detached],
      outsideLinks: outside.map(({ path, target = '' }) => ({ path, target })),
    }
  }
}

/** The text of a link, relative when it named a place in the source environment. */
function here(path: string, text: string, origins: readonly string[]): string {
  for (const origin of origins) {
    if (text === origin) return linkText(path, '')
    const inside = text.startsWith(`${origin}/`) ? linkInside('', text.slice(origin.length + 1)) : null
    if (inside !== null) return linkText(path, inside)
  }
  return text
}
