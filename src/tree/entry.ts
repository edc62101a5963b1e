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

/** How the members of an archive made by others are packed. */
export type Container = 'plain' | 'gzip' | 'zstd' | 'tool' | 'zip'

/** A member as it stands in the archive: nothing is checked, `mode` has setuid and its like, `target` of a hard link is a member's name. */
export interface DecodedMember {
  readonly path: string
  readonly kind: Kind
  readonly mode: number
  readonly mtime: number
  readonly size: number
  readonly target?: string
  /** A hard link that brought content of its own. */
  readonly detached?: true
  /** Where the content of a file begins in the buffer of its batch. */
  readonly at: number
  /** Or the file that holds it. */
  readonly part?: string
}

export interface DecodedBatch {
  readonly members: readonly DecodedMember[]
  /** Number of the buffer; `done(true)` gives it back, `done(false)` ends the job with CANCELLED. */
  readonly buffer: number
  /** Bytes of the archive read so far. */
  readonly packedBytes: number
}

export interface DecodeJob {
  readonly archive: string
  /** `tool`: as a tar that the program of `command`, run with the file as its input, writes; `zip`: as a zip; else as a tar. */
  readonly container: Container
  readonly command: readonly string[]
  /** An existing directory for files larger than a buffer. */
  readonly parts: string
  /** Throws LIMIT_EXCEEDED beyond. */
  readonly mostBytes: number
  readonly mostMembers: number
  readonly threads: number
}

/** Answered by SHA-256, hexadecimal, and size of the regular files, in the order of `paths`. */
export interface HashJob {
  /** null: the paths are whole. */
  readonly root: string | null
  readonly paths: readonly string[]
  readonly threads: number
}
