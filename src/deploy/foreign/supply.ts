/** Where the members of a foreign environment come from: an archive, an image, a directory. What they mean is not decided here. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Decoded, type Decoding, decode } from '../../archive/decode.js'
import { checkUnchanged, digestOf, see } from '../../archive/digest.js'
import { checkDirectory, digestDirectory, listDirectory, readDirectory } from '../../archive/directory.js'
import { formatOf } from '../../archive/format.js'
import { checkLimits } from '../../archive/limits.js'
import { extractSquashfs } from '../../archive/squashfs.js'
import { native, runJob } from '../../native.js'
import { ownFolder } from '../ready.js'

export type Feeding = Omit<Decoding, 'archive' | 'packing'>

export interface Supply {
  /** e.g. `tar.gz`; `directory`. */
  readonly format: string
  /** Read when it is first asked for, or while the archive is unpacked. */
  readonly digest: () => Promise<string>
  /** Bytes that the environment needs at least. */
  readonly leastBytes: number
  /** Writes what is admitted. The root holds our own folder, and nothing else. */
  readonly feed: (feeding: Feeding) => Promise<Decoded>
  /** Throws SOURCE_CHANGED unless the source is what it was when it was opened. */
  readonly check: () => Promise<void>
}

export interface Opening {
  readonly threads: number
  readonly signal?: AbortSignal | undefined
}

/** Throws ARCHIVE_NOT_FOUND, ARCHIVE_UNKNOWN, PERMISSION, IO. */
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
    digest: once(() => digestDirectory(listed, threads, signal)),
    leastBytes: listed.found.reduce((sum, { size, kind }) => sum + (kind === 'file' ? size : 0), 0),
    feed: (feeding) => readDirectory(listed, feeding),
    check: () => checkDirectory(listed, threads, signal),
  }
}

async function archiveSupply(archive: string, { signal }: Opening): Promise<Supply> {
  const seen = await see(archive)
  const { name, packing } = await formatOf(archive)
  return {
    format: name,
    digest: once(async () => (await digestOf(seen, signal)).digest),
    leastBytes: seen.size,
    feed: (feeding) => (packing === null ? extracted(archive, feeding) : decode({ archive, packing, ...feeding })),
    check: () => checkUnchanged(seen),
  }
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}

async function extracted(archive: string, feeding: Feeding): Promise<Decoded> {
  const { into, signal, limits } = feeding
  const folder = join(into.root, ownFolder, 'image')
  await extractSquashfs({ archive, folder, threads: into.threads, limits, signal })
  const listed = await listDirectory(folder, into.threads, signal)
  const bytes = listed.found.reduce((sum, { size }) => sum + size, 0)
  checkLimits(archive, limits, listed.found.length, bytes)
  const { size } = await stat(archive)
  const decoded = { ...(await readDirectory(listed, feeding)), packedBytes: size }
  await runJob((counters) => native().remove({ root: folder, threads: into.threads }, counters))
  return decoded
}
