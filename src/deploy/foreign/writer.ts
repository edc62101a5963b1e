/** Fills the stage through the native core, and keeps what stands in it: every file and link as it was written last. */
import { checkLimits } from '../../archive/limits.js'
import {
  type Materialized,
  type MaterializeEntry,
  native,
  type PlainFiles,
  type Rewrite,
  runJob,
} from '../../native.js'
import { type LinkOrDirectory, plainNodes } from '../../plain-nodes.js'
import type { Entry } from '../../tree/entry.js'
import type { Node } from '../../tree/follow.js'
import type { Unpacking, UnpackJob } from '../source.js'
import { Column, type Paths } from './paths.js'

/** Files that were written while the archive was read, in columns. */
export interface Admitted {
  /** Of their paths. A file that was written again occurs again. */
  readonly numbers: number[]
  readonly modes: number[]
  readonly mtimes: number[]
  /** By their place in the columns: what was looked for in them. Most files have none. */
  readonly rewrites: Map<number, readonly Rewrite[]>
}

export class Writer {
  readonly job: UnpackJob
  readonly byPath: Set<string> = new Set()
  private readonly paths: Paths
  private readonly unpacking: Unpacking
  private admitted: Admitted = { numbers: [], modes: [], mtimes: [], rewrites: new Map() }
  private digests = ''
  private sizes: Float64Array = new Float64Array()
  /** Where in those columns a file stands that is as it came: no object for each of tens of thousands. */
  private readonly plain = new Column<number>()
  /** All else. */
  private readonly others = new Map<number, Entry>()
  private readonly rewrites = new Map<number, readonly Rewrite[]>()
  private count = 0
  /** Bytes of the files as they stand. */
  private written = 0
  private trampolines_ = 0

  constructor(job: UnpackJob, unpacking: Unpacking, paths: Paths) {
    this.job = job
    this.unpacking = unpacking
    this.paths = paths
  }

  /** Scripts whose shebang became a trampoline. */
  get trampolines(): number {
    return this.trampolines_
  }

  /** What was looked for until now in the file at the path of that number. */
  applied(number: number): readonly Rewrite[] {
    return this.rewrites.get(number) ?? []
  }

  get(path: string): Entry | undefined {
    const number = this.paths.find(path)
    return number === undefined ? undefined : this.at(number)
  }

  /** What is at the path, links not followed. */
  node(path: string): Node | undefined {
    const number = this.paths.find(path)
    return number === undefined ? undefined : this.nodeAt(number)
  }

  nodeAt(number: number): Node | undefined {
    return this.plain.get(number) === undefined ? this.others.get(number) : file
  }

  /** What stands at the path of that number. */
  at(number: number): Entry | undefined {
    const i = this.plain.get(number)
    if (i === undefined) return this.others.get(number)
    const [mode = 0, mtime = 0, size = 0] = [this.admitted.modes[i], this.admitted.mtimes[i], this.sizes[i]]
    return { path: this.paths.text(number), kind: 'file', mode, mtime, size, sha256: this.digestAt(i) }
  }

  /** Calls `use` with the number of the path of every file. */
  eachFile(use: (number: number) => void): void {
    this.plain.each((_, number) => use(number))
    for (const [number, { kind }] of this.others) if (kind === 'file') use(number)
  }

  /** A file of that content was written at the path of that number; what stands there may be that with another prefix. */
  hasDigest(number: number, sha256: string): boolean {
    const i = this.plain.get(number)
    return i === undefined ? this.others.get(number)?.sha256 === sha256 : this.digests.startsWith(sha256, 64 * i)
  }

  /** A file of that content stands at the path of that number. */
  stands(number: number, sha256: string): boolean {
    const i = this.plain.get(number)
    if (i !== undefined) return this.digests.startsWith(sha256, 64 * i)
    const there = this.others.get(number)
    return there?.sha256 === sha256 && there.kind === 'file' && there.spots === undefined
  }

  /** Paths of the files with a changed content. */
  rewrittenFiles(): string[] {
    const found: string[] = []
    for (const { path, spots } of this.others.values()) if (spots !== undefined && spots.length > 0) found.push(path)
    return found
  }

  set(entry: Entry): void {
    this.put(this.paths.number(entry.path), entry)
  }

  delete(path: string): void {
    const number = this.paths.find(path)
    const entry = number === undefined || this.nodeAt(number) === undefined ? undefined : this.at(number)
    if (number === undefined || entry === undefined) return
    this.count--
    this.written -= sizeOf(entry)
    this.plain.set(number, undefined)
    this.others.delete(number)
  }

  /** Makes links and directories, of which nothing is asked here any more. */
  async finish(nodes: readonly LinkOrDirectory[]): Promise<void> {
    if (nodes.length === 0) return
    this.count += nodes.length
    const job = { ...this.job, entries: [], nodes: plainNodes(nodes) }
    this.total(await runJob((counters) => native().materialize(job, counters), { signal: this.unpacking.signal }))
  }

  /** Writes or replaces files. */
  async write(entries: readonly MaterializeEntry[]): Promise<void> {
    if (entries.length === 0) return
    const job = { ...this.job, entries }
    const { signal } = this.unpacking
    const done = await runJob((counters) => native().materialize(job, counters), { signal })
    const changes = changesOf(done)
    for (const [i, { path, kind, mode, mtime, rewrites = [] }] of entries.entries()) {
      const number = this.paths.number(path)
      const size = done.sizes[i] ?? 0
      const sha256 = done.digests.slice(64 * i, 64 * (i + 1))
      this.put(number, { path, kind, mode, mtime, size, sha256, ...changes.get(i) })
      this.apply(number, rewrites)
    }
    this.total(done)
  }

  /** Notes what was written by whoever read the archive. Once, before anything else is written but what nothing of it replaces. */
  keep(admitted: Admitted, done: Materialized): void {
    this.admitted = admitted
    this.digests = done.digests
    this.sizes = done.sizes
    const changes = changesOf(done)
    const { numbers } = admitted
    for (let i = 0; i < numbers.length; i++) {
      const number = numbers[i] as number
      const before = this.plain.get(number)
      if (before !== undefined) this.written -= done.sizes[before] ?? 0
      else this.count++
      this.written += done.sizes[i] ?? 0
      this.plain.set(number, i)
    }
    for (const [i, change] of changes) {
      const number = admitted.numbers[i] as number
      const entry = this.plain.get(number) === i ? this.at(number) : undefined
      if (entry !== undefined) this.put(number, { ...entry, ...change })
    }
    for (const [i, rewrites] of admitted.rewrites) this.apply(admitted.numbers[i] as number, rewrites)
    this.total(done)
  }

  private apply(number: number, rewrites: readonly Rewrite[]): void {
    if (rewrites.length > 0) this.rewrites.set(number, [...this.applied(number), ...rewrites])
  }

  private put(number: number, entry: Entry): void {
    const was = this.at(number)
    if (was === undefined) this.count++
    this.written += sizeOf(entry) - (was === undefined ? 0 : sizeOf(was))
    this.plain.set(number, undefined)
    this.others.set(number, entry)
  }

  private total(done: Materialized): void {
    // What was read is counted where it is read; a prefix that stands everywhere makes more of it.
    checkLimits(this.job.root, this.unpacking.limits, this.count, this.written)
    for (const path of done.byPath) this.byPath.add(path)
    this.trampolines_ += done.trampolines
  }

  private digestAt(i: number): string {
    return this.digests.slice(64 * i, 64 * (i + 1))
  }

  /** For an index: the files that are as they came. */
  plainFiles(): PlainFiles {
    const paths: string[] = []
    const { modes, mtimes } = this.admitted
    const numbers = new Float64Array(3 * modes.length)
    let at = 0
    this.plain.each((i, number) => {
      paths.push(this.paths.text(number))
      numbers[at++] = i
      numbers[at++] = modes[i] as number
      numbers[at++] = mtimes[i] as number
    })
    paths.push('')
    return { paths: paths.join('//'), digests: this.digests, sizes: this.sizes, numbers: numbers.subarray(0, at) }
  }

  /** All that is not among `plainFiles`. */
  otherEntries(): Entry[] {
    return [...this.others.values()]
  }

  /** Files, their bytes as they stand, those with changed content, and the places changed in them. */
  totals(): { readonly files: number; readonly bytes: number; readonly rewritten: number; readonly spots: number } {
    let [files, bytes, rewritten, places] = [0, 0, 0, 0]
    this.plain.each((i) => {
      files++
      bytes += this.sizes[i] ?? 0
    })
    for (const entry of this.others.values()) {
      if (entry.kind !== 'file') continue
      const { spots = [] } = entry
      files++
      bytes += sizeOf(entry)
      if (spots.length > 0) rewritten++
      places += spots.length
    }
    return { files, bytes, rewritten, spots: places }
  }
}

/** One for all. */
const file: Node = { kind: 'file' }

const changesOf = ({ rewritten }: Materialized): Map<number, Pick<Entry, 'spots' | 'deployed'>> =>
  new Map(rewritten.map(({ entry, spots, deployed }) => [entry, { spots, deployed }]))

const sizeOf = ({ deployed, size }: Entry): number => deployed?.size ?? size
