/** Fills the stage through the native core, and keeps what stands in it: every entry as it was written last. */
import { checkLimits } from '../../archive/limits.js'
import { type MaterializeEntry, native, type Rewrite, runJob } from '../../native.js'
import type { Entry } from '../../tree/entry.js'
import type { Unpacking, UnpackJob } from '../source.js'

export class Writer {
  readonly job: UnpackJob
  readonly entries: Map<string, Entry> = new Map()
  readonly byPath: Set<string> = new Set()
  private readonly rewrites = new Map<string, readonly Rewrite[]>()
  private readonly unpacking: Unpacking
  private made = 0
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

  /** Writes new files; what they hold counts as progress. */
  async write(entries: readonly MaterializeEntry[]): Promise<void> {
    const before = this.made
    await this.materialize(entries, (bytes) => {
      this.made = before + bytes
      this.unpacking.progress(this.made)
    })
  }

  /** Replaces files, and makes links and directories. */
  async change(entries: readonly MaterializeEntry[]): Promise<void> {
    await this.materialize(entries, undefined)
  }

  private async materialize(
    entries: readonly MaterializeEntry[],
    progress: Unpacking['progress'] | undefined,
  ): Promise<void> {
    if (entries.length === 0) return
    const job = { ...this.job, entries }
    const { list, trampolines, byPath } = await runJob((counters) => native().materialize(job, counters), {
      signal: this.unpacking.signal,
      progress,
    })
    for (const entry of list) {
      this.written += sizeOf(entry) - sizeOf(this.entries.get(entry.path))
      this.entries.set(entry.path, entry)
    }
    // What was read is counted where it is read; a prefix that stands everywhere makes more of it.
    checkLimits(this.job.root, this.unpacking.limits, this.entries.size, this.written)
    for (const { path, rewrites = [] } of entries)
      if (rewrites.length > 0) this.rewrites.set(path, [...this.applied(path), ...rewrites])
    for (const path of byPath) this.byPath.add(path)
    this.trampolines_ += trampolines
  }
}

const sizeOf = (entry: Entry | undefined): number => entry?.deployed?.size ?? entry?.size ?? 0
