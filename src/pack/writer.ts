/** An archive in the making: where it goes, what waits for its end, and that end. It knows nothing of the plan, which may go before. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openSink, type Sink, type Target } from '../archive/sink.js'
import { packTarZst, sealTarZst, type Writing } from '../archive/tar-zst.js'
import { fromSystem } from '../errors.js'
import { native, type PackEntry, type Packed, runJob, type Sealed } from '../native.js'
import type { Settled } from './options.js'
import { discard } from './output.js'
import { Spool } from './spool.js'

/** Generated entries, and the identity as JSON. */
export interface Rest {
  readonly packed: Packed
  readonly generated: readonly PackEntry[]
  readonly prefixes: readonly string[]
  readonly json: string
}

export interface WriterOptions {
  /** A partial file, or directory, or a stream. */
  readonly target: Target
  readonly writing: Writing
  readonly arcroot: string
  readonly settled: Settled
  /** Of the newest entry, in seconds: what squashfs notes for itself. */
  readonly time: number
}

/** Once `pack`, then `seal`. A failure of what runs in `attempt` lets go of everything but the target. */
export class Writer {
  private readonly settled: Settled
  private readonly arcroot: string
  private readonly directory: string | null
  /** What a directory is unpacked from: what it is made of is looked at, and rewritten, but once. */
  private readonly archive: string
  private readonly writing: Writing
  private readonly sink: Sink
  private readonly spool: Spool

  constructor({ target, writing, arcroot, settled, time }: WriterOptions) {
    const { format } = settled
    this.settled = settled
    this.arcroot = arcroot
    this.directory = format.via === 'directory' && 'path' in target ? target.path : null
    this.archive = `${this.directory}.tar.zst`
    const form = { ...writing, codec: format.codec }
    if (this.directory !== null) this.writing = { ...form, level: 1 }
    else this.writing = arcroot === '' ? form : { ...form, arcroot }
    const to = this.directory === null ? target : { path: this.archive }
    this.sink = openSink(format, to, { ...settled, time })
    this.spool = new Spool('path' in to ? to.path : null)
  }

  async attempt<T>(half: () => Promise<T>): Promise<T> {
    try {
      return await half()
    } catch (error) {
      throw await this.sink.abandon(error).finally(() => this.close())
    }
  }

  pack(packing: Parameters<typeof packTarZst>[0], progress: (bytes: number) => void): Promise<Packed> {
    return packTarZst(packing, this.sink.output, { ...this.writing, progress })
  }

  /** What is kept until the end of an entry that was generated. */
  keep(entry: PackEntry): PackEntry {
    return this.spool.keep(entry)
  }

  /** Completes the archive: what the core says of it, and its size; null: of a directory. */
  async seal({ packed, generated, prefixes, json }: Rest): Promise<{ sealed: Sealed; packedBytes: number | null }> {
    const packing = { entries: generated, prefixes, ...this.spool.descriptor }
    const sealed = await sealTarZst(packed.draft, packing, json, this.sink.output, this.writing)
    const packedBytes = (await this.sink.end()) ?? sealed.packedBytes
    if (this.directory !== null) await this.unpack(join(this.directory, this.arcroot))
    this.close()
    return { sealed, packedBytes: this.directory === null ? packedBytes : null }
  }

  private close(): void {
    this.spool.close()
    if (this.directory !== null) discard(this.archive)
  }

  /** The files of the archive as they stand in it, at `root`. */
  private async unpack(root: string): Promise<void> {
    const { threads, signal } = this.settled
    try {
      mkdirSync(root, { recursive: true })
    } catch (error) {
      throw fromSystem(error, 'cannot make', root)
    }
    const job = { archive: this.archive, root, prefix: null, readOnly: false, threads }
    await runJob((counters) => native().extract(job, counters), { signal })
  }
}
