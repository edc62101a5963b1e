/** An archive as deploying sees it: what is known of its content beforehand, and the way to unpack it. */
import { createReadStream, statSync } from 'node:fs'
import type { Limits } from '../archive/limits.js'
import { openTarZst } from '../archive/tar-zst.js'
import { EnvError } from '../errors.js'
import { type Base, type Difference, type Extracted, type Index, native, type Reused, runJob } from '../native.js'
import { parseName } from '../tree/manifest.js'
import type { ForeignFacts } from './foreign/facts.js'
import type { Opening } from './foreign/supply.js'
import type { Content } from './preflight.js'
import type { Spool } from './spool.js'

/** What unpacking did; where nothing was unpacked: files and bytes that are there, or would be, and zeros. */
export interface Unpacked {
  readonly files: number
  /** Bytes of the files as written. */
  readonly bytes: number
  /** Bytes read from the archive to write the files. */
  readonly readBytes: number
  /** Files with a changed content, and places changed in them. */
  readonly rewritten: number
  readonly spots: number
  /** Scripts whose shebang became a `/bin/sh` trampoline: too long, or with a blank. */
  readonly trampolines: number
  /** Scripts that find their interpreter by PATH. */
  readonly byPath: readonly string[]
  /** What unpacking could not do as well as it should. */
  readonly warnings: readonly string[]
  /** Only with a base that content was taken from. */
  readonly reused?: Reused
  /** Only with a base that stays. */
  readonly difference?: Difference
  /** Only for archives made by others. */
  readonly foreign?: ForeignFacts
}

export interface UnpackJob {
  /** Existing empty directory. */
  readonly root: string
  /** The prefix to write into the files. */
  readonly prefix: string
  readonly readOnly: boolean
  readonly threads: number
  /** A deployment to take equal content from; only an archive that tells its content beforehand can use it. */
  readonly base?: Base
}

export interface Unpacking {
  readonly signal: AbortSignal | undefined
  /** Called while it runs, with the bytes written so far. */
  readonly progress: (bytes: number) => void
  readonly limits: Limits
}

export interface Source {
  readonly content: Content
  /** Size of the archive file. */
  readonly packedBytes: number
  /** Fills `root` and writes its `.conda-deploy/index`. */
  readonly unpack: (job: UnpackJob, unpacking: Unpacking) => Promise<Unpacked>
}

/** The name of standard input where an archive is named. */
export const standardInput = '-'

/**
 * Opens an archive, a directory, or standard input (`-`) for the time of `use`, which is told a path that leads to it. Throws what `use` throws, ARCHIVE_NOT_FOUND,
 * ARCHIVE_UNKNOWN, ARCHIVE_CORRUPT, UNSAFE_PATH, UNSUPPORTED, PERMISSION, IO.
 */
export async function withSource<T>(
  archive: string,
  opening: Opening,
  use: (source: Source, path: string) => Promise<T>,
): Promise<T> {
  if (archive !== standardInput) return await use(await openSource(archive, opening), archive)
  const { spool } = await import('./spool.js')
  const spooled = await spool(process.stdin, opening.signal)
  try {
    return await use(await openSource(spooled.path, opening), spooled.path)
  } catch (error) {
    throw error instanceof EnvError ? named(error, spooled) : error
  } finally {
    await spooled.close()
  }
}

/**
 * The archive at `path`, from a copy in `folder` which nobody else can change, for the time of `use`: what is said of the digest and what is
 * extracted is then said of the same bytes. Throws what `use` throws, SOURCE_CHANGED when it is not the content it was, NO_SPACE, IO.
 */
export async function withCopy<T>(
  { content: { digest } }: Source,
  path: string,
  folder: string,
  opening: Opening,
  use: (source: Source) => Promise<T>,
): Promise<T> {
  const { spoolIn } = await import('./spool.js')
  const copy = await spoolIn(folder, createReadStream(path), opening.signal)
  try {
    const source = await openSource(copy.path, opening)
    if ((await source.content.digest()) === (await digest())) return await use(source)
    throw new EnvError('SOURCE_CHANGED', `${path} was changed while it was read`, { path, hint: 'deploy it again' })
  } finally {
    await copy.close()
  }
}

/** The error in words of what the user named. */
function named(error: EnvError, { path }: Spool): EnvError {
  if (!error.message.includes(path)) return error
  return new EnvError(error.code, error.message.replaceAll(path, 'standard input'), {
    cause: error,
    paths: error.paths,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  })
}

async function openSource(archive: string, opening: Opening): Promise<Source> {
  const opened = await openOwn(archive)
  if (opened === null) {
    // Half of this folder's code, of which our own archives need nothing: 3 ms of a second deployment.
    const { openForeign } = await import('./foreign.js')
    return await openForeign(archive, opening)
  }
  const { digest, entries, files, bytes, longestPrefix, packedBytes } = opened
  const name = parseName(opened.json, archive)
  const list = async () => (await openTarZst(archive, true))?.list ?? []
  return {
    content: {
      digest: async () => digest,
      size: { entries, files, bytes },
      leastBytes: bytes,
      longestPrefix,
      name,
      list,
    },
    packedBytes,
    async unpack(job, unpacking) {
      const done = await runJob((counters) => native().extract({ archive, ...job }, counters), unpacking)
      const { reused, difference } = done
      if (difference !== undefined) return { ...unpackedOf(done), difference }
      return { ...unpackedOf(done), ...(job.base === undefined ? {} : { reused }) }
    },
  }
}

/** Null: an archive made by others, or a directory; which is looked at only then, because every look may be one at shared storage. */
async function openOwn(archive: string): Promise<Index | null> {
  try {
    return await openTarZst(archive, false)
  } catch (error) {
    const isFolder = statSync(archive, { throwIfNoEntry: false })?.isDirectory() === true
    if (isFolder) return null
    throw error
  }
}

export function unpackedOf(done: Extracted): Unpacked {
  const { files, bytes, readBytes, rewritten, spots, trampolines, byPath } = done
  return { files, bytes, readBytes, rewritten, spots, trampolines, byPath, warnings: byPathWarning(byPath) }
}

export function byPathWarning(byPath: readonly string[]): string[] {
  if (byPath.length === 0) return []
  const named = byPath.slice(0, 3).join(', ')
  const more = byPath.length > 3 ? `, and ${byPath.length - 3} more` : ''
  return [`activate the environment before using these scripts, they find their interpreter by PATH: ${named}${more}`]
}
