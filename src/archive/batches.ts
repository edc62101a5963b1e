/**
 * Members gathered into batches of bounded memory: contents one behind another in a buffer that is lent, handed over, and comes
 * back. A file larger than a buffer is written to a file of its own.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fromSystem } from '../errors.js'
import type { Kind } from '../tree/entry.js'
import type { TarMember } from './tar.js'

/** Three of these are all that a foreign archive needs, whatever its size. From 4 to 64 MiB deploying takes equally long. */
export const batchBytes: number = 8 << 20

/** So that an archive of empty files does not make one endless batch. */
const batchMembers = 8192

export interface Member {
  readonly path: string
  readonly kind: Kind
  readonly mode: number
  readonly mtime: number
  readonly size: number
  readonly target?: string
  readonly detached?: true
  /** Where the content of a file begins in the buffer of its batch. */
  readonly at?: number
  /** Or the file that holds it, to be removed once used. */
  readonly part?: string
}

export interface Batch {
  readonly members: readonly Member[]
  readonly buffer: ArrayBuffer
  /** Bytes of the archive file read when this batch was handed over. */
  readonly packedBytes: number
}

export interface BatchSink {
  /** A buffer of `batchBytes`; waits until one is free. */
  take(): Promise<ArrayBuffer>
  /** Takes the buffer away. */
  hand(members: readonly Member[], buffer: ArrayBuffer): void
}

export class Batches {
  private members: Member[] = []
  private buffer: ArrayBuffer | null = null
  private used = 0
  private parts = 0
  private readonly sink: BatchSink
  private readonly folder: string

  /** `folder`: an existing directory for files larger than a batch. */
  constructor(sink: BatchSink, folder: string) {
    this.sink = sink
    this.folder = folder
  }

  async add(path: string, from: TarMember, target: string | undefined): Promise<void> {
    const { kind, mode, mtime, size } = from
    const member: Member = {
      ...{ path, kind, mode, mtime, size },
      ...(target === undefined ? {} : { target }),
      ...(from.detached ? { detached: true } : {}),
    }
    // Stored first: that may flush, and `this.members` is another list then.
    const place =
      kind !== 'file' ? {} : size > batchBytes ? { part: await this.writePart(from) } : { at: await this.store(from) }
    this.members.push({ ...member, ...place })
    // At once after a large file, so that few of them stand on the disk twice.
    if (size > batchBytes || this.members.length >= batchMembers) await this.flush()
  }

  async flush(): Promise<void> {
    if (this.members.length === 0) return
    const { members } = this
    const buffer = await this.current()
    this.members = []
    this.buffer = null
    this.used = 0
    this.sink.hand(members, buffer)
  }

  private async current(): Promise<ArrayBuffer> {
    this.buffer ??= await this.sink.take()
    return this.buffer
  }

  private async store({ size, content }: TarMember): Promise<number> {
    if (size > batchBytes - this.used) await this.flush()
    const to = new Uint8Array(await this.current())
    const at = this.used
    for await (const chunk of content) {
      to.set(chunk, this.used)
      this.used += chunk.length
    }
    return at
  }

  private async writePart({ content }: TarMember): Promise<string> {
    const path = join(this.folder, String(this.parts++))
    try {
      const file = openSync(path, 'wx', 0o600)
      try {
        for await (const chunk of content)
          for (let done = 0; done < chunk.length; ) done += writeSync(file, chunk, done)
      } finally {
        closeSync(file)
      }
    } catch (error) {
      throw (error as NodeJS.ErrnoException).syscall === undefined ? error : fromSystem(error, 'cannot write', path)
    }
    return path
  }
}
