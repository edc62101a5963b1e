/** Members of archives made by others, as the native core hands them over: nothing is checked yet. Plain data. */
import type { Kind } from './entry.js'

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
