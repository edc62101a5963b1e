/**
 * How much an archive may become. A few kilobytes can unfold to more than any disk holds: what declares its sizes is refused before the
 * first byte, what does not is counted while it is read. Pure.
 */
import { EnvError } from '../errors.js'

export interface Limits {
  /** Bytes of all files together. */
  readonly maxBytes: number
  /** Files, directories and links. */
  readonly maxFiles: number
}

/** Environments shrink to a half or a tenth when they are packed. */
const mostExpansion = 100
const leastMaxBytes = 2 ** 30
const defaultMaxFiles = 4_000_000

/** What is not said is 100 times the size of the archive (at least 1 GiB), and 4 million files. */
export function limitsFor(packedBytes: number, said: { readonly [K in keyof Limits]?: number | undefined }): Limits {
  return {
    maxBytes: said.maxBytes ?? Math.max(leastMaxBytes, mostExpansion * packedBytes),
    maxFiles: said.maxFiles ?? defaultMaxFiles,
  }
}

/** Throws LIMIT_EXCEEDED. `files` and `bytes`: what the archive declares, or what was read of it until now. */
export function checkLimits(archive: string, limits: Limits, files: number, bytes: number): void {
  const refuse = (what: string, option: string): never => {
    const hint = `if you trust the archive, allow more with ${option}`
    throw new EnvError('LIMIT_EXCEEDED', `${archive} ${what}`, { path: archive, hint })
  }
  if (files > limits.maxFiles) refuse(`holds ${files} entries or more, ${limits.maxFiles} are allowed`, '--max-files')
  if (bytes > limits.maxBytes)
    refuse(`holds ${bytes} bytes or more, ${limits.maxBytes} are allowed: it may be made to fill disks`, '--max-bytes')
}
