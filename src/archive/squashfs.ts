/** squashfs images, read by the program that comes with the format: no other reader knows all of its compressors. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { EnvError } from '../errors.js'
import { checkLimits, type Limits } from './limits.js'

/** Most of what the program says that stands in a message. */
const mostWords = 1000

export interface Extraction {
  readonly archive: string
  /** Will be made. */
  readonly folder: string
  readonly threads: number
  readonly limits: Limits
  readonly signal?: AbortSignal | undefined
}

/**
 * Extracts an image, after a look at what it lists. Throws UNSUPPORTED where `unsquashfs` is not installed, LIMIT_EXCEEDED,
 * ARCHIVE_CORRUPT when it fails, NO_SPACE, CANCELLED.
 */
export async function extractSquashfs({ archive, folder, threads, limits, signal }: Extraction): Promise<void> {
  await checkListing(archive, limits, signal)
  await mkdir(folder, { mode: 0o700 })
  const options = ['-no-progress', '-no-xattrs', '-force', '-processors', String(threads), '-dest', folder]
  await unsquashfs([...options, archive], archive, signal)
}

/** Type and permissions, owner, and the size; in place of it devices have numbers with a comma. Names come last: they hide nothing. */
const listed = /^([-a-z])[-a-zA-Z]{9} +\S+ +(\d+)(?!,)\s/

/** The sizes in the image's own tables, summed up before anything is written: each name of a file counts. */
async function checkListing(archive: string, limits: Limits, signal: AbortSignal | undefined): Promise<void> {
  let files = 0
  let bytes = 0
  const count = async (child: ChildProcess): Promise<void> => {
    if (child.stdout === null) return
    for await (const line of createInterface({ input: child.stdout })) {
      const found = listed.exec(line)
      files++
      if (found?.[1] === '-') bytes += Number(found[2])
      try {
        checkLimits(archive, limits, files, bytes)
      } catch (error) {
        child.kill() // Its listing may be endless.
        throw error
      }
    }
  }
  await unsquashfs(['-no-progress', '-lln', archive], archive, signal, count)
}

async function unsquashfs(
  words: readonly string[],
  archive: string,
  signal: AbortSignal | undefined,
  use?: (child: ChildProcess) => Promise<void>,
): Promise<void> {
  const child = spawn('unsquashfs', words, { stdio: ['ignore', use === undefined ? 'ignore' : 'pipe', 'pipe'], signal })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < mostWords) said += text
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve)
    child.once('error', reject)
  }).catch((error: NodeJS.ErrnoException) => {
    if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
    if (error.code !== 'ENOENT') throw error
    const hint = 'install it (Debian, Ubuntu: apt-get install squashfs-tools), or pack the environment as .tar.zst'
    throw new EnvError('UNSUPPORTED', `unsquashfs is not installed, but ${archive} needs it`, { hint, cause: error })
  })
  const [status] = await Promise.all([ended, use?.(child)])
  if (status === 0) return
  const message = `${archive} could not be read: unsquashfs ended with status ${status}: ${said.trim().slice(0, mostWords)}`
  throw new EnvError(/No space left/i.test(said) ? 'NO_SPACE' : 'ARCHIVE_CORRUPT', message, { path: archive })
}
