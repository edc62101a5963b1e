/**
 * The jobs of the C++ core, as plain data: what each is given and what it answers. Paths are texts in which bytes that are not UTF-8 stand
 * as U+DC80..U+DCFF. What runs them is native.ts.
 */
import type { List } from './list.js'
import type { Entry, Kind } from './tree/entry.js'

/** Shared with a running job: [0] entries done, [1] bytes done, [2] set to 1 by JavaScript to cancel, [3] entries in all. */
export type Counters = BigUint64Array

export interface ScanJob {
  readonly root: string
  /** Names directly beneath the root that are passed over. */
  readonly skip: readonly string[]
  readonly threads: number
  /** Count the names that files have outside of the tree; default false. */
  readonly outside?: boolean
}

export interface Scanned {
  readonly path: string
  /** `other`: device, socket, fifo. */
  readonly kind: 'directory' | 'file' | 'symlink' | 'other'
  readonly mode: number
  /** Whole seconds (floor). */
  readonly mtime: number
  readonly size: number
  readonly target?: string
  /** `device:inode`, only for files that share it with another one of the scan. */
  readonly inode?: string
  /** Names of the file outside of the tree, where it has some and they were asked for. */
  readonly outside?: number
  /** Never of a scan: where the content of a link stands that is packed as what it leads to. */
  readonly source?: string
  /** Never of a scan: the file of an unpacked package that this one would be made of, by its whole path. */
  readonly origin?: string
  /** Never of a scan: the content of a file that is nowhere. */
  readonly data?: Uint8Array
}

/** What conda recorded about a file: lets its stored form be proven. */
export interface Expectation {
  /** SHA-256 of the file as it was in its package, before any prefix was written into it. */
  readonly sha256?: string
  /** SHA-256 of the file as it was installed. */
  readonly sha256InPrefix?: string
  readonly placeholder?: string
  readonly mode?: 'text' | 'binary'
}

/**
 * What may be done with a prefix found in a file that is not proven:
 * `detect`: texts, ELF files and `ar` archives are relocated, other binaries named;
 * `any`: every binary is relocated (it is known to have been rewritten by an installer); `report`: named only.
 */
export type Policy = 'detect' | 'any' | 'report'

export interface PackEntry {
  readonly path: string
  readonly kind: Kind
  readonly mode: number
  readonly mtime: number
  readonly size: number
  readonly target?: string
  /** File content in memory; otherwise read from `root/path`. */
  readonly data?: Uint8Array
  /** Another path to read it from, relative to the root or absolute: what a link that is packed as a file leads to. */
  readonly source?: string
  /** Or it stands in the spool of `seal`, from here on, `size` bytes. */
  readonly spooled?: number
  /**
   * Digest spots of the content, for `seal` alone: offset and the path of the entry meant, itself or as a hardlink. Where that entry has no
   * spots its hash is written at once.
   */
  readonly digests?: readonly { readonly offset: number; readonly path: string }[]
  readonly expect?: Expectation
  readonly policy?: Policy
  /** The file is as its package has it: prefixes stand where its placeholder does, and nothing has to be proven. */
  readonly pristine?: boolean
  /** Slot to try for C strings of an unproven file (the placeholder's length its installer used); its closing NULs must show it. */
  readonly slot?: number
  /** Left out when the entry of this path, which stands earlier in the list, gets spots (a `.pyc` and its `.py`). */
  readonly unlessRewritten?: string
}

/** How the pieces of a tar are packed: zstd frames, gzip members, or as they are. */
export type Codec = 'zstd' | 'gzip' | 'stored'

export interface PackJob {
  readonly root: string
  readonly entries: List<PackEntry>
  /** Spellings of the prefix to look for: as given, and resolved. */
  readonly prefixes: readonly string[]
  /** Text that betrays a build placeholder left in a file, e.g. `_placehold_placehold`; hits are reported. */
  readonly marker: string
  /**
   * File to create (must not exist: OUTPUT_EXISTS), removed when the job fails; or an open descriptor, which stays open; null: study
   * only, write nothing.
   */
  readonly output: string | number | null
  /** Default zstd. Only zstd makes an archive with a table. */
  readonly codec?: Codec
  /** Folder of the tar in which all members lie; default: none. Paths stay relative to the environment. */
  readonly arcroot?: string
  /** Prefix to write into the files, where spots refer to it then; default: files as their packages had them. PREFIX_TOO_LONG. */
  readonly dest?: string
  readonly level: number
  /** Bytes of members to a frame. */
  readonly frameBytes: number
  readonly threads: number
}

/** Said of every entry that is not plain: proven files without spots and directories and links are not listed. */
export interface Outcome {
  readonly path: string
  /**
   * `proven`: the stored bytes hash to what the package had; `installed`: as installed, but its package form cannot be
   * rebuilt; `modified`: changed after installation; `unknown`: nothing was recorded.
   */
  readonly state: 'proven' | 'installed' | 'modified' | 'unknown'
  readonly size: number
  readonly sha256: string
  readonly spots: Entry['spots']
  /** Occurrences that stay as they are: of a prefix of this environment, and of a build placeholder. */
  readonly kept: { readonly prefix: number; readonly placeholder: number }
  /** Left out because of `unlessRewritten`. */
  readonly dropped: boolean
}

export interface Packed {
  readonly outcomes: readonly Outcome[]
  /** Opaque; hand it to `seal`. */
  readonly draft: Uint8Array
  readonly entries: number
  readonly bytes: number
  /** Scripts that find their interpreter by PATH, because `dest` cannot stand in their first line. */
  readonly byPath: readonly string[]
}

export interface SealJob {
  /** The file as `pack` left it, removed when the job fails; or the descriptor. */
  readonly output: string | number
  /** As in `PackJob`. */
  readonly codec?: Codec
  readonly dest?: string
  readonly draft: Uint8Array
  /** Generated entries, appended after those already written. */
  readonly entries: List<PackEntry>
  /** An open file that contents wait in; default: none do. */
  readonly spool?: number
  /** Text spots for generated entries: prefixes to record in texts among `entries`, as in `PackJob`. */
  readonly prefixes: readonly string[]
  /** The identity, put into the summary. */
  readonly json: string
  readonly level: number
  readonly frameBytes: number
  readonly threads: number
}

export interface Sealed {
  readonly digest: string
  readonly entries: number
  readonly files: number
  readonly bytes: number
  readonly packedBytes: number
  readonly frames: number
  readonly rewritten: number
  readonly longestPrefix: number | null
}

export interface Index {
  readonly version: number
  /** The digest of the content; empty for the index of a deployed tree. */
  readonly digest: string
  readonly entries: number
  readonly files: number
  readonly bytes: number
  readonly rewritten: number
  readonly longestPrefix: number | null
  readonly largestFile: number
  readonly json: string
  /** Size of the archive and of its parts, in bytes; 0 for the index of a deployed tree. */
  readonly packedBytes: number
  readonly frames: number
  /** Prefixes that occur; for a deployed tree the last one is where it was deployed. Of an archive only together with the list. */
  readonly prefixes: readonly string[]
  /** Only when asked for: the entry table is not read for the rest. */
  readonly list?: readonly Entry[]
}

/** How a prefix is looked for in content whose spots are not known (archives made by others). */
export interface Rewrite {
  readonly prefix: string
  readonly mode: 'text' | 'binary'
}

export interface MaterializeEntry {
  readonly path: string
  readonly kind: Kind
  readonly mode: number
  readonly mtime: number
  readonly target?: string
  /** Content; or `source`, an absolute path to read it from (which may be the very file to replace). */
  readonly data?: Uint8Array
  readonly source?: string
  readonly rewrites?: readonly Rewrite[]
}

export interface MaterializeJob {
  readonly root: string
  readonly entries: readonly MaterializeEntry[]
  /** More of them. */
  readonly nodes?: PlainNodes
  readonly prefix: string
  readonly readOnly: boolean
  readonly threads: number
}

/**
 * Parents are made as needed. Directory entries get mode and mtime after all other entries of the same job are done, deepest first:
 * send them in the last job.
 */
export interface Materialized {
  /** Of each entry, in the order of the job: the SHA-256 of what came, 64 hexadecimal digits, and its bytes. Of no meaning but for files. */
  readonly digests: string
  readonly sizes: Float64Array
  /** Files that were written with something changed; `entry`: the number in the job. */
  readonly rewritten: readonly (Required<Pick<Entry, 'spots' | 'deployed'>> & { readonly entry: number })[]
  readonly trampolines: number
  readonly byPath: readonly string[]
}

/** Files without spots, in columns: entries of an index that are too many to be objects. */
export interface PlainFiles {
  /** Each closed by two slashes. */
  readonly paths: string
  /** As in `Materialized`. */
  readonly digests: string
  readonly sizes: Float64Array
  /** Three a file: where it stands in those two, mode, mtime. */
  readonly numbers: Float64Array
}

/** Links and directories, in columns: see plain-nodes.ts. */
export interface PlainNodes {
  /** Path and target of each, empty where there is none; divided by NUL. */
  readonly texts: string
  /** Three each: kind, mode, mtime. */
  readonly numbers: Float64Array
}

export interface VerifyJob {
  /** A deployed tree; null: check the archive's own content, frame by frame and hash by hash. */
  readonly root: string | null
  /** The tree's `.conda-deploy/index`, or the archive. */
  readonly index: string
  readonly threads: number
}

export interface Fault {
  readonly path: string
  readonly kind: 'missing' | 'extra' | 'type' | 'size' | 'mode' | 'target' | 'content' | 'unreadable'
  readonly expected: string
  readonly found: string
}

export interface Verified {
  readonly entries: number
  readonly bytes: number
  readonly faults: readonly Fault[]
}

export interface Removed {
  readonly entries: number
  readonly bytes: number
}

/** How the members of an archive made by others are packed. */
export type Container = 'plain' | 'gzip' | 'zstd' | 'tool' | 'zip'

/**
 * Members as they stand in the archive, in columns: an object for each of thousands would cost more than writing its file. Nothing is
 * checked; modes have setuid and its like, the target of a hard link is a member's name.
 */
export interface DecodedBatch {
  /** Path and target of each member, one behind another, and where each ends: two a member, equal where there is no target. */
  readonly names: string
  readonly ends: Uint32Array
  /** Five a member: kind (0 directory, 1 file, 2 symlink, 3 hardlink), mode, mtime, size, and where its content begins in the buffer. */
  readonly numbers: Float64Array
  /** Members that are hard links with content of their own, and that come as files. */
  readonly detached: readonly number[]
  /** Members whose content is in a file, which is removed once the batch is written. */
  readonly parts: readonly { readonly member: number; readonly path: string }[]
  /** Number of the buffer. */
  readonly buffer: number
}

/** What becomes of a batch. */
export interface BatchAnswer {
  /** The members to write, two numbers a file: the member, the mode. */
  readonly files: Uint32Array
  /** Their paths in the tree, each closed by two slashes, which none of them holds; null: those that they have in the archive. */
  readonly paths: string | null
  /** `file`: the number in `files`. */
  readonly rewrites: readonly { readonly file: number; readonly rewrites: readonly Rewrite[] }[]
  /** Not before all batches before it are written: it names a file again. */
  readonly alone: boolean
}

export interface DecodeJob {
  readonly archive: string
  /** `tool`: as a tar that the program of `command`, run with the file as its input, writes; `zip`: as a zip; else as a tar. */
  readonly container: Container
  readonly command: readonly string[]
  /** An existing directory to write into; files larger than all buffers pass through its `.conda-deploy/parts`. */
  readonly root: string
  readonly prefix: string
  readonly readOnly: boolean
  /** Throws LIMIT_EXCEEDED beyond. */
  readonly mostBytes: number
  readonly mostMembers: number
  readonly threads: number
}

/** `written`: of all files that were admitted, in the order of the answers. */
export interface Decoded {
  readonly packedBytes: number
  readonly bytes: number
  readonly written: Materialized
}

/** Answered by SHA-256, hexadecimal, and size of the regular files, in the order of `paths`. */
export interface HashJob {
  /** null: the paths are whole. */
  readonly root: string | null
  readonly paths: readonly string[]
  readonly threads: number
}
