/**
 * The task of the pool: decodes one foreign archive and hands its members over in batches, at most two of which wait for their
 * receiver. Runs in a thread of its own, so that decoding and writing go on at the same time.
 */
import type { MessagePort } from 'node:worker_threads'
import { EnvError, type ErrorCode } from '../errors.js'
import { type Batch, Batches, type BatchSink, batchBytes } from './batches.js'
import { formatOf } from './format.js'
import { checkLimits, type Limits } from './limits.js'
import { beneath } from './names.js'
import { findRoot } from './root.js'
import { openTar } from './tar.js'

export interface DecodeTask {
  readonly archive: string
  /** An existing directory for files larger than a batch. */
  readonly parts: string
  readonly limits: Limits
  /** Batches go out, their buffers come back. */
  readonly port: MessagePort
}

export interface Decoded {
  /** The folder of the archive that holds the environment; `''`: the archive itself. */
  readonly root: string
  readonly packedBytes: number
  /** The sums of the contents of all members. */
  readonly bytes: number
}

/** An EnvError does not survive the way between threads as what it is. */
export interface Failed {
  readonly code: ErrorCode
  readonly message: string
  readonly path: string | undefined
  readonly hint: string | undefined
  readonly errno: number | undefined
  readonly syscall: string | undefined
}

export default async function decode(task: DecodeTask): Promise<Decoded | { readonly failed: Failed }> {
  try {
    return await run(task)
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    const { code, message, path, hint, errno, syscall } = error
    return { failed: { code, message, path, hint, errno, syscall } }
  } finally {
    task.port.close()
  }
}

async function run({ archive, parts, limits, port }: DecodeTask): Promise<Decoded> {
  const { read } = await formatOf(archive)
  const root = await findRoot(archive, read, limits)
  const tar = openTar(archive, read)
  const lender = new Lender(port, () => tar.packedBytes())
  const batches = new Batches(lender, parts)
  let bytes = 0
  let files = 0
  for await (const member of tar.members) {
    const path = beneath(root, member.path)
    const target = member.kind === 'hardlink' ? beneath(root, member.target ?? '') : member.target
    if (path === null || target === null) {
      const message = `${archive} holds an environment in ${root}/, but ${JSON.stringify(member.path)} lies outside of it`
      throw new EnvError('NOT_AN_ENV', message, { path: archive })
    }
    bytes += member.size
    checkLimits(archive, limits, ++files, bytes)
    if (path !== '') await batches.add(path, member, target)
  }
  await batches.flush()
  await lender.allBack()
  return { root, packedBytes: tar.packedBytes(), bytes }
}

/** One buffer is filled while one is worked on and one waits: more would only cost memory. */
const buffers = 3

class Lender implements BatchSink {
  private readonly free: ArrayBuffer[] = []
  private made = 0
  private away = 0
  private wake: (() => void) | null = null
  private readonly port: MessagePort
  private readonly packedBytes: () => number

  constructor(port: MessagePort, packedBytes: () => number) {
    this.port = port
    this.packedBytes = packedBytes
    port.on('message', (buffer: ArrayBuffer) => {
      this.free.push(buffer)
      this.away--
      this.wake?.()
    })
  }

  async take(): Promise<ArrayBuffer> {
    while (this.free.length === 0) {
      if (this.made < buffers) {
        this.made++
        return new ArrayBuffer(batchBytes)
      }
      await this.message()
    }
    return this.free.pop() as ArrayBuffer
  }

  hand(members: Batch['members'], buffer: ArrayBuffer): void {
    this.away++
    const batch: Batch = { members, buffer, packedBytes: this.packedBytes() }
    this.port.postMessage(batch, [buffer])
  }

  async allBack(): Promise<void> {
    while (this.away > 0) await this.message()
  }

  private message(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve
    })
  }
}
