/** Files that are replaced as a whole: who reads one sees the old content or the new one, never a part. */
import { chmod, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fromSystem } from '../errors.js'
import { boundedName } from './bounded-name.js'

let made = 0

/** Makes the folder too. `mode`: default 0666 less the umask. On failure the old file is as it was. Throws IO, NO_SPACE. */
export async function replaceFile(file: string, content: Uint8Array | string, mode?: number): Promise<void> {
  const part = join(dirname(file), `${boundedName(basename(file))}.${process.pid}-${made++}.part`)
  try {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(part, content, { flag: 'wx' })
    if (mode !== undefined) await chmod(part, mode)
    await rename(part, file)
  } catch (error) {
    await rm(part, { force: true })
    throw fromSystem(error, 'cannot write', file)
  }
}
