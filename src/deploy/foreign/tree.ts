/**
 * The members of a foreign archive as one tree, checked while they come: last of a name wins, nothing stands beneath what is no
 * directory. Links are kept back until all files stand, so that nothing is ever written through one. Pure.
 */
import type { Member } from '../../archive/decode.js'
import { EnvError } from '../../errors.js'
import type { MaterializeEntry } from '../../native.js'
import { checkPath, linkInside, linkText } from '../../tree/safe-path.js'
import { ownFolder } from '../ready.js'

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

export class ForeignTree {
  private readonly archive: string
  private readonly members = new Map<string, Member>()
  /** Directories that members stand in, with the time of the newest thing beneath. */
  private readonly parents = new Map<string, number>()
  /** How many hard links share a file. */
  private readonly shared = new Map<string, number>()
  /** That of the member before. */
  private folder = ''
  /** A name of the batch that is admitted was there before. */
  private again = false
  private readonly duplicates = new Set<string>()
  private readonly own: string[] = []
  private readonly setuid = new Set<string>()
  private readonly detached = new Set<string>()

  constructor(archive: string) {
    this.archive = archive
  }

  /** Files to be written now, each name once; `again`: one of them was among those before. Throws UNSAFE_PATH and ARCHIVE_CORRUPT. */
  admit(members: readonly Member[]): { readonly files: Member[]; readonly again: boolean } {
    const files: Member[] = []
    this.again = false
    for (const member of members) {
      const { path } = member
      if (path === ownFolder || path.startsWith(`${ownFolder}/`)) {
        this.own.push(path)
        continue
      }
      checkPath(path, this.archive)
      this.place(member)
      if (member.kind === 'file') files.push(member)
    }
    return {
      files: this.again ? files.filter((file) => this.members.get(file.path) === file) : files,
      again: this.again,
    }
  }

  private place(member: Member): void {
    const { path, mtime } = member
    const there = this.members.get(path)
    if (there && !(there.kind === 'directory' && member.kind === 'directory')) {
      if (member.kind === 'directory') throw this.broken('ARCHIVE_CORRUPT', path, `is a directory and a ${there.kind}`)
      if (this.shared.has(path)) throw this.broken('ARCHIVE_CORRUPT', path, 'is named again after a hard link to it')
      this.duplicates.add(path)
      this.again = true
    }
    if (member.kind !== 'directory' && this.parents.has(path))
      throw this.broken('UNSAFE_PATH', path, 'is no directory, but members stand beneath it')
    const folder = path.slice(0, Math.max(0, path.lastIndexOf('/')))
    // Neighbours come one after another: what was checked for one, and is not older, holds for the next.
    const isChecked = folder === this.folder && mtime <= (this.parents.get(folder) ?? Number.NEGATIVE_INFINITY)
    this.folder = folder
    for (let slash = isChecked ? 0 : folder.length; slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
      const parent = path.slice(0, slash)
      const kind = this.members.get(parent)?.kind ?? 'directory'
      if (kind !== 'directory')
        throw this.broken('UNSAFE_PATH', path, `stands beneath ${JSON.stringify(parent)}, which is a ${kind}`)
      if ((this.parents.get(parent) ?? Number.NEGATIVE_INFINITY) >= mtime) break
      this.parents.set(parent, mtime)
    }
    if (member.kind === 'hardlink') this.share(this.sharedBy(member), 1)
    if (member.kind === 'symlink' && !member.target)
      throw this.broken('ARCHIVE_CORRUPT', path, 'is a symbolic link without a target')
    if ((member.mode & 0o7000) !== 0 && member.kind === 'file') this.setuid.add(path)
    if (member.detached) this.detached.add(path)
    // Last of a name last: a file that comes again is written again.
    if (there) this.members.delete(path)
    this.members.set(path, member)
  }

  /** The file or symbolic link behind a hard link, which stands before it. */
  private sharedBy({ path, target = '' }: Member): string {
    const there = this.members.get(target)
    if (target === path || there === undefined || there.kind === 'directory') {
      const what = there === undefined ? 'which is not in the archive before it' : 'which cannot be shared'
      throw this.broken('ARCHIVE_CORRUPT', path, `is a hard link to ${JSON.stringify(target)}, ${what}`)
    }
    return there.kind === 'hardlink' ? this.sharedBy(there) : target
  }

  private share(path: string, more: 1 | -1): void {
    const links = (this.shared.get(path) ?? 0) + more
    if (links > 0) this.shared.set(path, links)
    else this.shared.delete(path)
  }

  private broken(code: 'ARCHIVE_CORRUPT' | 'UNSAFE_PATH', path: string, what: string): EnvError {
    return new EnvError(code, `${this.archive}: ${JSON.stringify(path)} ${what}`, { path })
  }

  has(path: string): boolean {
    return this.members.has(path) || this.parents.has(path)
  }

  /** For a hard link the file it shares, for a file its own path; null: neither. */
  fileOf(path: string): string | null {
    const member = this.members.get(path)
    if (member?.kind === 'hardlink') {
      const target = this.sharedBy(member)
      return this.members.get(target)?.kind === 'file' ? target : null
    }
    return member?.kind === 'file' ? path : null
  }

  /** Takes a member out, so that nothing is said of it any more; false: hard links share it, it has to stay. */
  leaveOut(path: string): boolean {
    const member = this.members.get(path)
    if (this.shared.has(path)) return false
    if (member?.kind === 'hardlink') this.share(this.sharedBy(member), -1)
    this.members.delete(path)
    return true
  }

  /** Text of the symbolic link at `path` as the archive has it. */
  linkText(path: string): string | undefined {
    const member = this.members.get(path)
    return member?.kind === 'symlink' ? member.target : undefined
  }

  /** Paths of files and of hard links. */
  *files(): Generator<string> {
    for (const { path, kind } of this.members.values()) if (kind === 'file' || kind === 'hardlink') yield path
  }

  /** Hard links, then symbolic ones; those that lead to one of `origins` lead to the same place in this tree. */
  links(origins: readonly string[]): MaterializeEntry[] {
    const links: MaterializeEntry[] = []
    for (const { path, kind, mode, mtime, target = '' } of this.members.values()) {
      if (kind !== 'symlink' && kind !== 'hardlink') continue
      const shared = kind === 'hardlink' ? this.fileOf(path) : null
      if (shared !== null) links.push({ path, kind: 'hardlink', mode, mtime, target: shared })
      else {
        // A hard link to a symbolic link is one more of its kind.
        const text =
          kind === 'symlink'
            ? target
            : (this.members.get(this.sharedBy(this.members.get(path) as Member))?.target ?? '')
        links.push({ path, kind: 'symlink', mode: 0o777, mtime, target: here(path, text, origins) })
      }
    }
    return links
  }

  /** All directories; those that only follow from names have the time of the newest thing beneath them. */
  directories(): MaterializeEntry[] {
    const times = new Map(this.parents)
    for (const { path, kind, mtime } of this.members.values()) if (kind === 'directory') times.set(path, mtime)
    return [...times].map(([path, mtime]) => ({ path, kind: 'directory', mode: 0o755, mtime }))
  }

  met(links: readonly MaterializeEntry[]): Met {
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
