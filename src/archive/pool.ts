/** The only Piscina: one task decodes one foreign archive. Made when it is needed and gone when its user is done. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { EnvError } from '../errors.js'
import type { Batch } from './batches.js'
import type { Limits } from './limits.js'
import type { Decoded, DecodeTask, Failed } from './worker.js'

export interface Decoding {
  readonly archive: string
  /** An existing directory, emptied by the receiver: files larger than a batch are handed over in it. */
  readonly parts: string
  readonly limits: Limits
  /** Called for one batch after another. Views of its buffer are invalid once the promise is fulfilled. */
  readonly receive: (batch: Batch) => Promise<void>
  readonly signal?: AbortSignal
}

export interface Pool {
  decode(job: Decoding): Promise<Decoded>
}

/** Runs `work` with a pool of one thread, which ends with it. */
export async function using<T>(work: (pool: Pool) => Promise<T>): Promise<T> {
  const { Piscina } = await import('piscina')
  // The thread waits for messages between its tasks, not on a lock, so that ending it is never late.
  const piscina = new Piscina({ filename: workerFile(), maxThreads: 1, atomics: 'disabled', execArgv: [] })
  try {
    return await work({
      decode: (job) => decode(job, (task, signal) => piscina.run(task, { transferList: [task.port], signal })),
    })
  } finally {
    await piscina.destroy()
  }
}

type Run = (task: DecodeTask, signal: AbortSignal) => Promise<Decoded | { readonly failed: Failed }>

async function decode({ archive, parts, limits, receive, signal }: Decoding, run: Run): Promise<Decoded> {
  const { port1: own, port2: port } = new MessageChannel()
  const stop = new AbortController()
  const received = receiver(own, receive, stop)
  const all = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal])
  try {
    const result = await run({ archive, parts, limits, port }, all)
    if ('failed' in result) throw rebuilt(result.failed)
    return result
  } catch (error) {
    // Why the receiver gave up says more than that the thread was stopped.
    if (received.failure !== null) throw received.failure.cause
    if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
    throw error
  } finally {
    await received.done()
    own.close()
  }
}

/** Hands batches on in their order, and their buffers back. */
function receiver(port: MessagePort, receive: Decoding['receive'], stop: AbortController) {
  let last: Promise<void> = Promise.resolve()
  const state = { failure: null as { readonly cause: unknown } | null, done: () => last }
  port.on('message', (batch: Batch) => {
    last = last.then(async () => {
      if (state.failure !== null) return
      try {
        await receive(batch)
        port.postMessage(batch.buffer, [batch.buffer])
      } catch (cause) {
        state.failure = { cause }
        stop.abort()
      }
    })
  })
  return state
}

function rebuilt({ code, message, ...rest }: Failed): EnvError {
  const details = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined))
  return new EnvError(code, message, details)
}

/** The bundled worker stands beside whatever bundle this is part of; run from source, it is that of the last build. */
function workerFile(): string {
  const here = import.meta.url
  const file = fileURLToPath(new URL(here.endsWith('.ts') ? '../../dist/worker.js' : './worker.js', here))
  if (existsSync(file)) return file
  const hint = 'build it: npm run build:js (checkout), or install conda-deploy again'
  throw new EnvError('ADDON_MISSING', `the decoder of foreign archives is not at ${file}`, { path: file, hint })
}
