/**
 * The only door to the C++ core. Loads the addon, names its surface, turns its rejections into EnvError. Jobs are run by `runJob`
 * (src/run-job.ts). Nothing here knows conda.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EnvError, fromNative } from './errors.js'
import type { Extracted, ExtractJob } from './extract-jobs.js'
import type { Changed, ChangeJob, Linked, LinkJob, LookJob, There, Unpacked, UnpackJob } from './install-jobs.js'
import type {
  BatchAnswer,
  Counters,
  Decoded,
  DecodedBatch,
  DecodeJob,
  HashJob,
  Index,
  Materialized,
  MaterializeJob,
  Packed,
  PackJob,
  PlainFiles,
  PlainNodes,
  Removed,
  Rewrite,
  ScanJob,
  Scanned,
  Sealed,
  SealJob,
  Verified,
  VerifyJob,
} from './jobs.js'
import type { List } from './list.js'
import { type PackPieces, packPieces } from './packed-entries.js'
import { type ScannedColumns, scannedOf } from './scanned.js'
import type { Traced, TraceJob } from './traced.js'
import type { Entry } from './tree/entry.js'

export type * from './extract-jobs.js'
export type * from './jobs.js'
export { type JobOptions, runJob } from './run-job.js'

export interface NativeBinding {
  scan(job: ScanJob, counters: Counters): Promise<List<Scanned>>
  pack(job: PackJob, counters: Counters): Promise<Packed>
  seal(job: SealJob, counters: Counters): Promise<Sealed>
  extract(job: ExtractJob, counters: Counters): Promise<Extracted>
  materialize(job: MaterializeJob, counters: Counters): Promise<Materialized>
  unpack(job: UnpackJob, counters: Counters): Promise<readonly Unpacked[]>
  link(job: LinkJob, counters: Counters): Promise<Linked>
  change(job: ChangeJob, counters: Counters): Promise<Changed>
  /** What stands at each path, in their order. */
  look(job: LookJob, counters: Counters): Promise<readonly There[]>
  hash(job: HashJob, counters: Counters): Promise<readonly { readonly sha256: string; readonly size: number }[]>
  /**
   * `buffers`: filled with contents and handed to `receive` batch by batch; for gzip three of one size or more, of 256 kB at least,
   * and a larger one. `receive` must not throw, and answers each batch once, in their order; null: it wants no more, which ends the
   * job with CANCELLED. What is answered is written while it decodes on.
   */
  decode(
    job: DecodeJob,
    counters: Counters,
    buffers: readonly Uint8Array[],
    receive: (batch: DecodedBatch, done: (answer: BatchAnswer | null) => void) => void,
  ): Promise<Decoded>
  verify(job: VerifyJob, counters: Counters): Promise<Verified>
  remove(job: { readonly root: string; readonly threads: number }, counters: Counters): Promise<Removed>
  /** While the program runs, `counters[3]` is its process number. */
  trace(job: TraceJob, counters: Counters): Promise<Traced>
  /** Of an archive or of a deployed tree's index; null: not ours. `list`: with all entries. */
  index(path: string, list: boolean): Promise<Index | null>
  /** Bytes of a deployed tree's index for entries made elsewhere (archives of others), in any order; `files` and `nodes` are more of them. */
  encode(entries: readonly Entry[], prefix: string, files?: PlainFiles, nodes?: PlainNodes): Promise<Buffer>
  /** Rewrites one content in memory, by search; null: nothing found. */
  rewrite(data: Uint8Array, rewrites: readonly Rewrite[], prefix: string): Buffer | null
  /** Hexadecimal. Of node:crypto a first hash costs 7 ms: half of Node's modules for cryptography are loaded for it. */
  sha256(data: Uint8Array): string
  /** false: the destination exists (`no-replace`), or one of the two does not (`exchange`). */
  rename(from: string, to: string, how: 'no-replace' | 'exchange'): boolean
  /** Whether a path may be twice in columns of `SharedFiles`, by their hashes: ten times as fast as a Set of JavaScript is made. */
  repeats(columns: readonly Uint8Array[]): boolean
  /** A pipe for a job to write into; its ends are closed by the caller, and not passed on to programs. */
  pipe(): { readonly read: number; readonly write: number }
  /** Takes an flock without waiting, creating the file with `mode` (default 0644: who may read it may lock it); null: held elsewhere. */
  lock(path: string, how: 'shared' | 'exclusive', mode?: number): number | null
  unlock(descriptor: number): void
  /** `glibc`: the version that runs; null: another C library. */
  features(): { readonly zstd: string; readonly sha256: 'hardware' | 'portable'; readonly glibc: string | null }
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
  const holder: { exports: Partial<Addon> } = { exports: {} }
  process.dlopen(holder, path)
  const raw = holder.exports as Addon
  return {
    ...raw,
    scan: (job, counters) => raw.scan(job, counters).then(scannedOf),
    pack: (job, counters) => raw.pack({ ...job, entries: packPieces(job.entries) }, counters),
    seal: (job, counters) => raw.seal({ ...job, entries: packPieces(job.entries) }, counters),
  }
}

type InPieces<Job> = Omit<Job, 'entries'> & { readonly entries: PackPieces }

/** As it is beneath the surface. */
interface Addon extends Omit<NativeBinding, 'scan' | 'pack' | 'seal'> {
  scan(job: ScanJob, counters: Counters): Promise<ScannedColumns>
  pack(job: InPieces<PackJob>, counters: Counters): Promise<Packed>
  seal(job: InPieces<SealJob>, counters: Counters): Promise<Sealed>
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
