/** Fills the stage through the native core, and keeps what stands in it: every entry as it was written last. */
import { checkLimits } from '../../archive/limits.js'
import { type Materialized, type MaterializeEntry, native, type Rewrite, runJob } from '../../native.js'
import type { Entry } from '../../tree/entry.js'
import type { Unpacking, UnpackJob } from '../source.js'

export class Writer {
  readonly job: UnpackJob
  readonly entries: Map<string, Entry> = new Map()
  readonly byPath: Set<string> = new Set()
  private readonly rewrites = new Map<string, readonly Rewrite[]>()
  private readonly unpacking: Unpacking
  /** Bytes of the files as they stand. */
  private written = 0
  private trampolines_ = 0

  constructor(job: UnpackJob, unpacking: Unpacking) {
    this.job = job
    this.unpacking = unpacking
  }

  /** Scripts whose shebang became a trampoline. */
  get trampolines(): number {
    return this.trampolines_
  }

  /** What was looked for in the file at `path` until now. */
  applied(path: string): readonly Rewrite[] {
    return this.rewrites.get(path) ?? []
  }

  /** Writes or replaces files, and makes links and directories. */
  async write(entries: readonly MaterializeEntry[]): Promise<void> {
    if (entries.length === 0) return
    const job = { ...this.job, entries }
    const { signal } = this.unpacking
    this.keep(entries, await runJob((counters) => native().materialize(job, counters), { signal }))
  }

  /** Notes what was written, here or by whoever read the archive. */
  keep(entries: Iterable<MaterializeEntry>, done: Materialized): void {
    const { digests, sizes, rewritten } = done
    const changes = new Map(rewritten.map((change) => [change.entry, change]))
    let i = -1
    for (const { path, kind, mode, mtime, target, rewrites = [] } of entries) {
      const size = sizes[++i] ?? 0
      const was = this.entries.get(path)
      const change = changes.get(i)
      let entry: Entry
      if (kind !== 'file') entry = { path, kind, mode, mtime, size, ...(target === undefined ? {} : { target }) }
      else {
        const sha256 = digests.slice(64 * i, 64 * (i + 1))
        entry =
          change === undefined
            ? { path, kind, mode, mtime, size, sha256 }
            : { path, kind, mode, mtime, size, sha256, spots: change.spots, deployed: change.deployed }
      }
      this.written += sizeOf(entry) - (was === undefined ? 0 : sizeOf(was))
      this.entries.set(path, entry)
      if (rewrites.length > 0) this.rewrites.set(path, [...this.applied(path), ...rewrites])
    }
    // What was read is counted where it is read; a prefix that stands everywhere makes more of it.
    checkLimits(this.job.root, this.unpacking.limits, this.entries.size, this.written)
    for (const path of done.byPath) this.byPath.add(path)
    this.trampolines_ += done.trampolines
  }
}

const sizeOf = ({ deployed, size }: Entry): number => deployed?.size ?? size
