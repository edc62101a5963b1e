/** The jobs of the core that make and change environments: types of `native().unpack`, `link`, `look` and `change`. */

/** Archives made by others, each unpacked into a tree of its own; one archive to a thread. */
export interface UnpackJob {
  readonly items: readonly {
    readonly archive: string
    /** `zip`: all the `.tar.zst` in it; `zstd`: a `.tar.zst`; `tool`: a tar that the program of `command` writes. */
    readonly container: 'zip' | 'zstd' | 'tool'
    readonly command: readonly string[]
    /** A directory to make. */
    readonly root: string
  }[]
  /** Throws LIMIT_EXCEEDED when one of them holds more. */
  readonly mostBytes: number
  readonly threads: number
}

/** One an item, in their order. Modes are the archive's without setuid and its like, less the umask. What fails is left as it is. */
export interface Unpacked {
  readonly entries: number
  readonly bytes: number
}

/**
 * What comes into a tree. `copy`; `rewrite`: with the prefix in place of the placeholder; `symlink`: a link of the same text; `write`: from
 * memory. `from`: the path in the folder of its part, unless it is the same.
 */
export type LinkEntry =
  | { readonly path: string; readonly how: 'copy' | 'symlink'; readonly from?: string }
  | {
      readonly path: string
      readonly how: 'rewrite'
      readonly from?: string
      readonly placeholder: string
      readonly text: boolean
    }
  | { readonly path: string; readonly how: 'write'; readonly data: Uint8Array; readonly mode: number }

/**
 * Files that come as clones, else as hard links, else as copies. Crossing the border one by one they would take longer than being linked.
 */
export interface SharedFiles {
  /** UTF-8, each ended by a NUL. */
  readonly paths: Uint8Array
  /** Where they stand in the folder, in the same way; empty: all by the same paths. */
  readonly from: Uint8Array
}

export interface LinkPart {
  /** Folder of an unpacked package; what it lacks is PACKAGE_DAMAGED. Empty: there are only entries to be written. */
  readonly source: string
  readonly shared: SharedFiles
  readonly entries: readonly LinkEntry[]
}

export interface LinkJob {
  /** An existing directory; nothing in it is replaced. */
  readonly root: string
  /** The prefix to write. */
  readonly prefix: string
  readonly parts: readonly LinkPart[]
  readonly threads: number
}

export interface Linked {
  /** Entries to be rewritten, as they stand in the tree. */
  readonly written: readonly { readonly path: string; readonly sha256: string; readonly size: number }[]
  /** Files that were shared, by how; copies that were asked for count as copied. */
  readonly linked: number
  readonly cloned: number
  readonly copied: number
  /** As in `Materialized`. */
  readonly trampolines: number
  readonly byPath: readonly string[]
}

/**
 * One name of a tree. `add`: a file, a link or a whole directory of the stage, where nothing is; `replace`: of the stage, in the place of a
 * file or link, which is kept aside; `remove`: a file or link, kept aside; `clear`: an emptied directory where something else is to stand;
 * `tidy`: a directory, if it is empty, never to come back. Those two: deepest first. `open`: a directory whose names change, so that its
 * owner may write there; `mode` and `mtime` are those it gets when this is taken back. `close`: a directory gets its mode and time.
 */
export interface Step {
  readonly path: string
  readonly how: 'add' | 'replace' | 'remove' | 'clear' | 'tidy' | 'open' | 'close'
  readonly mode?: number
  readonly mtime?: number
}

export interface ChangeJob {
  readonly root: string
  /** The stage: what comes in stands there at the path it will have in `root`. On its file system, as `aside` is. */
  readonly fresh: string
  /** Where what goes is kept, by the same paths. */
  readonly aside: string
  /** Done one after another, in whatever order within. */
  readonly groups: readonly (readonly Step[])[]
  /** Takes back whatever of these steps was done, by whomever: the names in the three trees tell. */
  readonly back: boolean
  readonly threads: number
}

export interface Changed {
  readonly steps: number
  /** Files that were not there for a moment, because they have no second name on this file system while they are replaced. */
  readonly moments: number
}

export interface LookJob {
  readonly root: string
  readonly paths: readonly string[]
  readonly threads: number
}

/** `beyond`: a symbolic link stands in the way to it. */
export type There = 'nothing' | 'file' | 'directory' | 'symlink' | 'other' | 'beyond'
