/** An archive as deploying sees it: what is known of its content beforehand, and the way to unpack it. */
import type { Limits } from '../archive/limits.js'
import { openTarZst } from '../archive/tar-zst.js'
import { native, runJob } from '../native.js'
import type { ForeignFacts } from './foreign/facts.js'
import type { Content } from './preflight.js'

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

/** Throws ARCHIVE_NOT_FOUND, ARCHIVE_UNKNOWN, ARCHIVE_CORRUPT, UNSAFE_PATH, UNSUPPORTED, PERMISSION, IO. */
export async function openSource(archive: string, signal?: AbortSignal): Promise<Source> {
  const opened = await openTarZst(archive, false)
  if (opened === null) {
    // Half of this folder's code, of which our own archives need nothing: 3 ms of a second deployment.
    const { openForeign } = await import('./foreign.js')
    return await openForeign(archive, signal)
  }
  const { digest, entries, files, bytes, longestPrefix, packedBytes } = opened.index
  const list = async () => (await openTarZst(archive, true))?.index.list ?? []
  return {
    content: { digest, size: { entries, files, bytes }, leastBytes: bytes, longestPrefix, list },
    packedBytes,
    async unpack(job, unpacking) {
      const done = await runJob((counters) => native().extract({ archive, ...job }, counters), unpacking)
      const { files, bytes, readBytes, rewritten, spots, trampolines, byPath } = done
      return { files, bytes, readBytes, rewritten, spots, trampolines, byPath, warnings: byPathWarning(byPath) }
    },
  }
}

export function byPathWarning(byPath: readonly string[]): string[] {
  if (byPath.length === 0) return []
  const named = byPath.slice(0, 3).join(', ')
  const more = byPath.length > 3 ? `, and ${byPath.length - 3} more` : ''
  return [`activate the environment before using these scripts, they find their interpreter by PATH: ${named}${more}`]
}
