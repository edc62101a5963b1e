/** squashfs images, extracted by the program that comes with the format: no other reader knows all of its compressors. */
import { spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { EnvError } from '../errors.js'

/**
 * Extracts the image at `archive` to the new directory `folder`. Throws UNSUPPORTED where `unsquashfs` is not installed, ARCHIVE_CORRUPT
 * when it fails, CANCELLED.
 */
export async function extractSquashfs(
  archive: string,
  folder: string,
  threads: number,
  signal?: AbortSignal,
): Promise<void> {
  await mkdir(folder, { mode: 0o700 })
  const options = ['-no-progress', '-no-xattrs', '-force', '-processors', String(threads), '-dest', folder]
  const child = spawn('unsquashfs', [...options, archive], { stdio: ['ignore', 'ignore', 'pipe'], signal })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < 1000) said += text
  })
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve)
    child.once('error', reject)
  }).catch((error: NodeJS.ErrnoException) => {
    if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
    if (error.code !== 'ENOENT') throw error
    const hint = 'install it (Debian, Ubuntu: apt-get install squashfs-tools), or pack the environment as .tar.zst'
    throw new EnvError('UNSUPPORTED', `unsquashfs is not installed, but ${archive} needs it`, { hint, cause: error })
  })
  if (status === 0) return
  const message = `${archive} could not be extracted: unsquashfs ended with status ${status}: ${said.trim()}`
  throw new EnvError(/No space left/i.test(said) ? 'NO_SPACE' : 'ARCHIVE_CORRUPT', message, { path: archive })
}
