/**
 * bzip2 and xz, written by their own programs: blocks of the tar, cut at the same places whatever the threads, are compressed by
 * as many processes as there are threads and stand in the file one after another, which both formats allow.
 */
import type { Readable } from 'node:stream'
import { startTool, type Tool } from './tool.js'
import type { FilterOptions, Put } from './write-formats.js'

export interface BlockFormat extends Tool {
  /** Bytes of the tar to a block. */
  block(level: number): number
  args(level: number): readonly string[]
}

const mebi = 1 << 20

export const bzip2: BlockFormat = {
  command: 'bzip2',
  package: 'bzip2',
  // Its own blocks have at most 900 kB: ten of them cost a process of two milliseconds and nothing in size.
  block: () => 9_000_000,
  // There is no level 0; the lowest is meant.
  args: (level) => ['-c', `-${Math.max(1, level)}`],
}

/** Dictionaries of the levels of xz, in MiB; three times as much is what xz itself takes for a block. */
const dictionaries = [0.25, 1, 2, 4, 4, 8, 8, 16, 32, 64]

export const xz: BlockFormat = {
  command: 'xz',
  package: 'xz-utils',
  // Of the highest levels less: a block is held in memory for every thread.
  block: (level) => Math.min(48, Math.max(3, 3 * (dictionaries[level] ?? 8))) * mebi,
  args: (level) => ['-c', '-T1', `-${level}`],
}

export async function writeBlocks(
  format: BlockFormat,
  tar: Readable,
  put: Put,
  { level, threads, signal }: FilterOptions,
): Promise<void> {
  // Ends what still runs when one of them fails.
  const stop = new AbortController()
  const cancel = (): void => stop.abort()
  signal?.addEventListener('abort', cancel, { once: true })
  const running: Promise<Buffer>[] = []
  try {
    for await (const block of cut(tar, format.block(level))) {
      const first = running.length < threads ? undefined : running.shift()
      if (first) await put(await first)
      const packed = compress(format, level, block, stop.signal)
      packed.catch(() => undefined) // looked at when its turn comes
      running.push(packed)
    }
    for (const packed of running) await put(await packed)
  } finally {
    signal?.removeEventListener('abort', cancel)
    stop.abort()
    await Promise.allSettled(running)
  }
}

async function* cut(tar: Readable, size: number): AsyncGenerator<Buffer[]> {
  let block: Buffer[] = []
  let left = size
  for await (const chunk of tar) {
    let rest = chunk as Buffer
    while (rest.length >= left) {
      block.push(rest.subarray(0, left))
      yield block
      rest = rest.subarray(left)
      block = []
      left = size
    }
    if (rest.length > 0) block.push(rest)
    left -= rest.length
  }
  if (block.length > 0) yield block
}

async function compress(format: BlockFormat, level: number, block: Buffer[], signal: AbortSignal): Promise<Buffer> {
  const { child, ended } = startTool(format, format.args(level), { stdio: 'pipe', signal })
  const packed: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => packed.push(chunk))
  // A tool that fails reads no more; what it says counts.
  child.stdin?.on('error', () => undefined)
  for (const chunk of block) child.stdin?.write(chunk)
  child.stdin?.end()
  await ended
  return Buffer.concat(packed)
}
