/** Where the members of a foreign environment come from: an archive, an image, a directory. What they mean is not decided here. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Decoded, decode, type Receive } from '../../archive/decode.js'
import { checkUnchanged, digestOf } from '../../archive/digest.js'
import { checkDirectory, digestDirectory, listDirectory, readDirectory } from '../../archive/directory.js'
import { formatOf } from '../../archive/format.js'
import { checkLimits, type Limits } from '../../archive/limits.js'
import { extractSquashfs } from '../../archive/squashfs.js'

export interface Feeding {
  /** An empty directory for files on their way. */
  readonly parts: string
  readonly threads: number
  readonly signal: AbortSignal | undefined
  readonly limits: Limits
  readonly receive: Receive
}

export interface Supply {
  /** e.g. `tar.gz`; `directory`. */
  readonly format: string
  readonly digest: string
  /** Bytes that the environment needs at least. */
  readonly leastBytes: number
  readonly feed: (feeding: Feeding) => Promise<Decoded>
  /** Throws SOURCE_CHANGED unless the source is what it was when it was opened. */
  readonly check: () => Promise<void>
}

export interface Opening {
  readonly threads: number
  readonly signal?: AbortSignal | undefined
}

/** Throws ARCHIVE_NOT_FOUND, ARCHIVE_UNKNOWN, SOURCE_CHANGED, PERMISSION, IO. Reads the whole file, or all files of a directory. */
export async function openSupply(path: string, opening: Opening): Promise<Supply> {
  return (await isDirectory(path)) ? await directorySupply(path, opening) : await archiveSupply(path, opening)
}

export async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch {
    return false // Opening it as a file says what is wrong.
  }
}

async function directorySupply(root: string, { threads, signal }: Opening): Promise<Supply> {
  const listed = await listDirectory(root, threads, signal)
  return {
    format: 'directory',
    digest: await digestDirectory(listed, threads, signal),
    leastBytes: listed.found.reduce((sum, { size, kind }) => sum + (kind === 'file' ? size : 0), 0),
    feed: ({ receive }) => readDirectory(listed, receive),
    check: () => checkDirectory(listed, threads, signal),
  }
}

async function archiveSupply(archive: string, { signal }: Opening): Promise<Supply> {
  const { name, packing } = await formatOf(archive)
  const digested = await digestOf(archive, signal)
  return {
    format: name,
    digest: digested.digest,
    leastBytes: digested.size,
    feed: (feeding) => (packing === null ? extracted(archive, feeding) : decode({ archive, packing, ...feeding })),
    check: () => checkUnchanged(archive, digested),
  }
}

async function extracted(archive: string, feeding: Feeding): Promise<Decoded> {
  const { parts, threads, signal, limits, receive } = feeding
  const folder = join(parts, 'image')
  await extractSquashfs({ archive, folder, threads, limits, signal })
  const listed = await listDirectory(folder, threads, signal)
  const bytes = listed.found.reduce((sum, { size }) => sum + size, 0)
  checkLimits(archive, limits, listed.found.length, bytes)
  const { size } = await stat(archive)
  return { ...(await readDirectory(listed, receive)), packedBytes: size }
}
