/** Decompression of foreign archives as streams: memory stays the same whatever a compressed byte expands to. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, type ReadStream } from 'node:fs'
import { pipeline, type TransformOptions } from 'node:stream'
import { createGunzip, type ZlibOptions } from 'node:zlib'
import { EnvError } from '../errors.js'

/** Packed bytes to plain ones. What breaks a format is thrown as the decoder's plain Error. */
export type Decode = (packed: ReadStream) => AsyncIterable<Buffer>

/** 64 KiB cost a fifth more processor time in deploying, by hops between threads; 4 MiB none less, and 40 MB of memory. */
const chunkBytes = 256 << 10

export const openPacked = (path: string): ReadStream => createReadStream(path, { highWaterMark: chunkBytes })

export const plain: Decode = (packed) => packed

/** Several members one after another are one stream, as in what conda-pack, pigz and `cat` make. */
export const gunzip: Decode = (packed) => {
  // Some chunks ahead, so that decoding goes on in its thread while members are taken apart in this one.
  const options: ZlibOptions & TransformOptions = { chunkSize: chunkBytes, readableHighWaterMark: 4 * chunkBytes }
  const decoder = createGunzip(options)
  // The error is thrown to whoever reads the decoder.
  pipeline(packed, decoder, () => undefined)
  return decoder
}

/**
 * Frames one after another; skippable ones are passed over. Not zstd-napi's DecompressStream: it expands a whole input chunk before
 * it hands over anything, 32768 times its size at worst.
 */
export async function* unzstd(packed: ReadStream): AsyncGenerator<Buffer> {
  const { DCtx } = (await import('zstd-napi/binding.js')).default
  const context = new DCtx()
  let missing = 0
  for await (const chunk of packed as AsyncIterable<Buffer>) {
    for (let rest = chunk, full = true; rest.length > 0 || full; ) {
      const out = Buffer.allocUnsafeSlow(chunkBytes)
      const [hint, produced, consumed] = context.decompressStream(out, rest)
      missing = hint
      rest = rest.subarray(consumed)
      full = produced === out.length && hint !== 0
      if (produced > 0) yield out.subarray(0, produced)
    }
  }
  if (missing !== 0) throw new Error('the file ends inside a zstd frame')
}

/** bzip2 and xz are rare as containers of environments: the system's own tools are the best decoders there are. */
export const bunzip2: Decode = (packed) => piped('bzip2', packed)
export const unxz: Decode = (packed) => piped('xz', packed)

async function* piped(tool: string, packed: ReadStream): AsyncGenerator<Buffer> {
  const child = spawn(tool, ['-dc'], { stdio: ['pipe', 'pipe', 'pipe'] })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  ended.catch(() => undefined)
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < 1000) said += text
  })
  // A tool that dies closes its input; its status says why.
  pipeline(packed, child.stdin, () => undefined)
  try {
    await Promise.race([once(child, 'spawn'), ended])
    yield* child.stdout as AsyncIterable<Buffer>
    const status = await ended
    if (packed.errored) throw packed.errored
    if (status !== 0) throw new Error(`${tool} -dc ended with status ${status}: ${said.trim()}`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const hint = `install ${tool}, or pack the archive as .tar.gz or .tar.zst`
    throw new EnvError('UNSUPPORTED', `${tool} is not installed, but the archive needs it`, { hint, cause: error })
  } finally {
    child.kill()
  }
}
