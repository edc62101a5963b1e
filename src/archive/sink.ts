/**
 * Where the tar of the core goes: straight into the file, or through a pipe to what makes another format of it, or to somebody's
 * stream. The one who writes a part of a file here leaves it to the caller to publish it, or to remove it.
 */
import { closeSync, createWriteStream, statSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { EnvError, fromSystem } from '../errors.js'
import { native } from '../native.js'
import type { Filter, FilterOptions, WritableFormat } from './write-formats.js'
import { writeSquashfs } from './write-squashfs.js'

/** A file to make, or a stream, which is not ended. */
export type Target = { readonly path: string } | { readonly stream: Writable }

export interface SinkOptions extends FilterOptions {
  /** Of the newest member, in seconds: what formats note for the archive itself. */
  readonly time: number
}

export interface Sink {
  /** For the core's jobs. */
  readonly output: string | number
  /** After the last job: waits until everything is written. Bytes of the archive; null: the core has counted them. */
  end(): Promise<number | null>
  /** After a failure: lets go of everything, and says which failure came first. */
  abandon(failure: unknown): Promise<unknown>
}

/** Copies the tar, packed by the core already. */
const copy: Filter = async (tar, put) => {
  for await (const chunk of tar) await put(chunk as Buffer)
}

export function openSink(format: WritableFormat, target: Target, options: SinkOptions): Sink {
  const { via } = format
  if ('path' in target && (via === 'core' || via === 'directory')) {
    return { output: target.path, end: async () => null, abandon: async (failure) => failure }
  }
  if (via === 'squashfs') {
    if ('path' in target) return piped((tar) => toSquashfs(tar, target.path, options))
    throw new EnvError('INVALID_OPTION', 'squashfs cannot be written to a stream', {
      hint: 'name a file with --output',
    })
  }
  if (via === 'directory') throw new EnvError('INVALID_OPTION', 'a directory cannot be written to a stream')
  return piped((tar) => filtered(tar, via === 'core' ? copy : via, target, options))
}

/** `consume` owns the descriptor it is given: it reads the tar to its end, and answers with the bytes written. */
function piped(consume: (tar: number) => Promise<number>): Sink {
  checkPool()
  const { read, write: output } = native().pipe()
  let open = true
  const close = (): void => {
    if (open) closeSync(output)
    open = false
  }
  let failed: { readonly reason: unknown } | undefined
  const consumed = consume(read).catch((reason: unknown) => {
    failed = { reason }
    throw reason
  })
  consumed.catch(() => undefined)
  return {
    output,
    end() {
      close()
      return consumed
    },
    async abandon(failure) {
      // The core cannot write what nobody reads: then the reader's failure is the reason.
      const first = failed
      close()
      await Promise.allSettled([consumed])
      return first === undefined ? failure : first.reason
    },
  }
}

async function toSquashfs(tar: number, path: string, options: SinkOptions): Promise<number> {
  let made: Promise<void>
  try {
    made = writeSquashfs(tar, path, options)
  } finally {
    closeSync(tar)
  }
  await made
  return statSync(path).size
}

async function filtered(tar: number, filter: Filter, target: Target, options: SinkOptions): Promise<number> {
  const source = new Socket({ fd: tar, readable: true, writable: false })
  const own = 'path' in target ? createWriteStream(target.path, { flags: 'wx', mode: 0o666 }) : null
  const out = own ?? (target as { readonly stream: Writable }).stream
  let bytes = 0
  const put = (chunk: Buffer): Promise<void> => {
    bytes += chunk.length
    return new Promise((fulfil, reject) => {
      out.write(chunk, (error) => (error ? reject(error) : fulfil()))
    })
  }
  const ignore = (): void => undefined // every write hears of it
  out.on('error', ignore)
  try {
    await filter(source, put, options)
    if (own) {
      own.end()
      await finished(own)
    }
    return bytes
  } catch (error) {
    if (error instanceof EnvError || typeof (error as NodeJS.ErrnoException).errno !== 'number') throw error
    throw fromSystem(error, 'cannot write', 'path' in target ? target.path : undefined)
  } finally {
    source.destroy()
    own?.destroy()
    out.off('error', ignore)
  }
}

/** The core's job keeps a thread of Node's pool; who reads from it needs others, or both wait forever. */
function checkPool(): void {
  const size = Number(process.env['UV_THREADPOOL_SIZE'] ?? 4)
  if (size < 3) throw new EnvError('INVALID_OPTION', `UV_THREADPOOL_SIZE is ${size}: this format needs 3 or more`)
}
