/**
 * The one description of a thing in a tree, shared by all rooms: what a scan finds, what an archive holds, what
 * a deployment writes. Plain data; nothing here touches the disk.
 */

export type Kind = 'directory' | 'file' | 'symlink' | 'hardlink'

/** How a prefix stands in a file; see src/archive/FORMAT.md, "Spots". */
export type Encoding = 'text' | 'c8' | 'c16le' | 'c16be' | 'c32le' | 'c32be' | 'digest'

/** One place in a stored file that deploying changes. */
export interface Spot {
  readonly encoding: Encoding
  /** Byte offset in the stored content. */
  readonly offset: number
  /** The prefix that stands there; for `digest` the path of the entry whose deployed SHA-256 is meant. */
  readonly refers: string
  /** Longest prefix that fits, in characters of the encoding; 0 for `text` and `digest`: no limit. */
  readonly slot: number
}

/** One member of an archive or of a deployed tree. */
export interface Entry {
  /** Relative, `/`-separated, no `.` or `..`. Bytes that are not UTF-8 stand as U+DC80..U+DCFF. */
  readonly path: string
  readonly kind: Kind
  /** Permission bits. */
  readonly mode: number
  /** Whole seconds since 1970; may be negative. */
  readonly mtime: number
  /** Bytes as stored; 0 unless `kind` is `file`. */
  readonly size: number
  /** Hexadecimal SHA-256 of the stored content; files only. */
  readonly sha256?: string
  /** Text of a symlink, or the path of the file that a hardlink shares. */
  readonly target?: string
  readonly spots?: readonly Spot[]
  /** Content after relocation; only in the index of a deployed tree, only for files with spots. */
  readonly deployed?: { readonly size: number; readonly sha256: string }
}
