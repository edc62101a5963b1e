/** What the job `extract` takes and answers: archive → tree, tree → tree, and what makes of one deployed tree the next. */

/** A deployed tree that equal content is taken from. */
export interface Base {
  readonly root: string
  /**
   * Files without spots that may become hard links of the base's: none, those without write permission (they must have none in the
   * new tree either), or all. Only files that belong to this user, and that no other can write or replace, ever do. `stays`: the base is
   * the tree at the prefix, deployed to it, which is to become that of the archive; what is equal is left out, and the result tells what
   * there is to change. VERIFY_FAILED when what is to go is not as it was deployed, by size, mode and time.
   */
  readonly share: 'never' | 'read-only' | 'always' | 'stays'
  /** Hash what is taken unchanged, instead of comparing size, mode and time with the base's index. */
  readonly check: boolean
}

export interface ExtractJob {
  /** null: everything is in the base, by its own index; a file that is not what that says is VERIFY_FAILED. */
  readonly archive: string | null
  /** Existing empty directory to fill. */
  readonly root: string
  /** The prefix to write into the files: where the tree will stand once published; null: files as they are stored, and no index. */
  readonly prefix: string | null
  /** Take write permission away from files and directories. */
  readonly readOnly: boolean
  readonly threads: number
  readonly base?: Base
}

/** Files that were taken from the base, by how. */
export interface Reused {
  readonly linked: number
  readonly cloned: number
  readonly copied: number
  /** Brought back to what was stored, and rewritten for the new prefix. */
  readonly rewritten: number
  readonly bytes: number
  /** Not what the base's index says, and so taken from the archive. */
  readonly refused: number
  /** Why: of one of them, or of the whole base; empty: nothing was refused. */
  readonly why: string
}

export interface ChangedFolder {
  readonly path: string
  readonly mode: number
  readonly mtime: number
}

/** What makes of a base that stays the tree of the archive. */
export interface Difference {
  /** Files and links that stand in the root. */
  readonly incoming: readonly string[]
  /** Its new directories with nothing in them. */
  readonly empty: readonly string[]
  /** Files and links of the base that go, or are replaced. */
  readonly outgoing: readonly string[]
  /** Its directories that go. */
  readonly emptied: readonly string[]
  /** Directories whose names, modes or times change: as they are in the base, and as they are to be. */
  readonly before: readonly ChangedFolder[]
  readonly after: readonly ChangedFolder[]
  /** Files and links that stay. */
  readonly kept: number
}

export interface Extracted {
  readonly files: number
  readonly directories: number
  readonly symlinks: number
  readonly hardlinks: number
  /** Bytes written. */
  readonly bytes: number
  /** Bytes read from the archive. */
  readonly readBytes: number
  /** Files with a changed content, and places changed in them. */
  readonly rewritten: number
  readonly spots: number
  /** Scripts whose shebang became a `/bin/sh` trampoline. */
  readonly trampolines: number
  /** Scripts that find their interpreter by PATH now: the shebang could not name it. */
  readonly byPath: readonly string[]
  readonly reused: Reused
  /** Only of a base that stays. */
  readonly difference?: Difference
}
