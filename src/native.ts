/**
 * The only door to the C++ core. Loads the addon, names its surface, turns its rejections into EnvError. Jobs are run by `runJob`
 * (src/run-job.ts). Nothing here knows conda.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EnvError, fromNative } from './errors.js'
import type { Traced, TraceJob } from './traced.js'
import type { DecodedBatch, DecodeJob, Entry, HashJob, Kind } from './tree/entry.js'

export { type JobOptions, runJob } from './run-job.js'

/** Shared with a running job: [0] entries done, [1] bytes done, [2] set to 1 by JavaScript to cancel, [3] entries in all. */
export type Counters = BigUint64Array

export interface ScanJob {
  readonly root: string
  /** Names directly beneath the root that are passed over. */
  readonly skip: readonly string[]
  readonly threads: number
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
  /** Never of a scan: where the content of a link stands that is packed as what it leads to. */
  readonly source?: string
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
  /**
   * Digest spots of `data`, for `seal` alone: offset and the path of the entry meant, itself or as a hardlink. Where that entry has no
   * spots its hash is written at once.
   */
  readonly digests?: readonly { readonly offset: number; readonly path: string }[]
  readonly expect?: Expectation
  readonly policy?: Policy
  /** Slot to try for C strings of an unproven file (the placeholder's length its installer used); its closing NULs must show it. */
  readonly slot?: number
  /** Left out when the entry of this path, which stands earlier in the list, gets spots (a `.pyc` and its `.py`). */
  readonly unlessRewritten?: string
}

/** How the pieces of a tar are packed: zstd frames, gzip members, or as they are. */
export type Codec = 'zstd' | 'gzip' | 'stored'

export interface PackJob {
  readonly root: string
  readonly entries: readonly PackEntry[]
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
  readonly entries: readonly PackEntry[]
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

/** A deployed tree that equal content is taken from. */
export interface Base {
  readonly root: string
  /**
   * Files without spots that may become hard links of the base's: none, those without write permission (they must have none in the
   * new tree either), or all. Only files that belong to this user, and that no other can write or replace, ever do.
   */
  readonly share: 'never' | 'read-only' | 'always'
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
  readonly prefix: string
  readonly readOnly: boolean
  readonly threads: number
}

/**
 * Parents are made as needed. Directory entries get mode and mtime after all other entries of the same job are done, deepest first:
 * send them in the last job.
 */
export interface Materialized {
  /** In the order of the job; files have `sha256`, and `spots` and `deployed` when something was rewritten. */
  readonly list: readonly Entry[]
  readonly trampolines: number
  readonly byPath: readonly string[]
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

export interface NativeBinding {
  scan(job: ScanJob, counters: Counters): Promise<Scanned[]>
  pack(job: PackJob, counters: Counters): Promise<Packed>
  seal(job: SealJob, counters: Counters): Promise<Sealed>
  extract(job: ExtractJob, counters: Counters): Promise<Extracted>
  materialize(job: MaterializeJob, counters: Counters): Promise<Materialized>
  hash(job: HashJob, counters: Counters): Promise<readonly { readonly sha256: string; readonly size: number }[]>
  /** `buffers`: of one size; filled with contents and handed to `receive`, which must not throw, batch by batch. */
  decode(
    job: DecodeJob,
    counters: Counters,
    buffers: readonly Uint8Array[],
    receive: (batch: DecodedBatch, done: (goOn: boolean) => void) => void,
  ): Promise<{ readonly packedBytes: number; readonly bytes: number }>
  verify(job: VerifyJob, counters: Counters): Promise<Verified>
  remove(job: { readonly root: string; readonly threads: number }, counters: Counters): Promise<Removed>
  /** While the program runs, `counters[3]` is its process number. */
  trace(job: TraceJob, counters: Counters): Promise<Traced>
  /** Of an archive or of a deployed tree's index; null: not ours. `list`: with all entries. */
  index(path: string, list: boolean): Promise<Index | null>
  /** Bytes of a deployed tree's index for entries made elsewhere (archives of others). */
  encode(entries: readonly Entry[], prefix: string): Buffer
  /** Rewrites one content in memory, by search; null: nothing found. */
  rewrite(data: Uint8Array, rewrites: readonly Rewrite[], prefix: string): Buffer | null
  /** false: the destination exists (`no-replace`), or one of the two does not (`exchange`). */
  rename(from: string, to: string, how: 'no-replace' | 'exchange'): boolean
  /** A pipe for a job to write into; its ends are closed by the caller, and not passed on to programs. */
  pipe(): { readonly read: number; readonly write: number }
  /** Takes an flock without waiting, creating the file; null: held elsewhere. */
  lock(path: string, how: 'shared' | 'exclusive'): number | null
  unlock(descriptor: number): void
  features(): { readonly zstd: string; readonly sha256: 'hardware' | 'portable' }
}

const foreign =
  'it was built for another system: build it here with npm rebuild conda-deploy (checkout: npm run build:native)'
const addon = join('build', 'Release', 'conda_deploy.node')

/** Where the addon may be: beside `src`, `dist` or `build`; in the package, where someone else's bundle holds this file. */
const places: readonly (() => string)[] = [
  () => join(dirname(dirname(fileURLToPath(import.meta.url))), addon),
  () => join(dirname(createRequire(import.meta.url).resolve('conda-deploy/package.json')), addon),
]

function load(): NativeBinding {
  const failures: { readonly path: string; readonly cause: Error }[] = []
  for (const place of places) {
    let path: string
    try {
      path = place()
    } catch {
      continue // Not installed as a package: a checkout, where the first place is the only one.
    }
    if (failures.some((failure) => failure.path === path)) continue
    try {
      return guarded(opened(path))
    } catch (error) {
      failures.push({ path, cause: error as Error })
    }
  }
  const lines = failures.map(({ path, cause }) => `\n  ${path}: ${existsSync(path) ? cause.message : 'no such file'}`)
  const built = failures.find(({ path }) => existsSync(path))
  throw new EnvError('ADDON_MISSING', `cannot load the native core; tried${lines.join('')}`, {
    cause: built?.cause ?? failures[0]?.cause,
    paths: failures.map(({ path }) => path),
    ...(built === undefined ? {} : { hint: foreign }),
  })
}

/** Without `require`, which looks at every folder above and for two package.json: nine accesses to where we are installed, not one. */
function opened(path: string): NativeBinding {
  const holder: { exports: Partial<NativeBinding> } = { exports: {} }
  process.dlopen(holder, path)
  return holder.exports as NativeBinding
}

/** The same functions, with every error they throw or reject with turned into EnvError. */
function guarded(binding: NativeBinding): NativeBinding {
  const translate = (error: unknown): never => {
    throw fromNative(error)
  }
  const wrapped = Object.entries(binding).map(([name, call]: [string, (...all: unknown[]) => unknown]) => {
    const guard = (...all: unknown[]): unknown => {
      try {
        const answer = call(...all)
        return answer instanceof Promise ? answer.catch(translate) : answer
      } catch (error) {
        return translate(error)
      }
    }
    return [name, guard]
  })
  return Object.fromEntries(wrapped) as NativeBinding
}

let binding: NativeBinding | undefined

/** The native core, loaded at the first call. Throws ADDON_MISSING. Jobs go through `runJob`. */
export function native(): NativeBinding {
  binding ??= load()
  return binding
}
