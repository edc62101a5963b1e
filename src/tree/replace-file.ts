/** Files that are replaced as a whole: who reads one sees the old content or the new one, never a part. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fromSystem } from '../errors.js'

let made = 0

/** Makes the folder too. On failure the old file is as it was. Throws IO, NO_SPACE. */
export async function replaceFile(file: string, content: Uint8Array | string): Promise<void> {
  const part = `${file}.${process.pid}-${made++}.part`
  try {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(part, content, { flag: 'wx' })
    await rename(part, file)
  } catch (error) {
    await rm(part, { force: true })
    throw fromSystem(error, 'cannot write', file)
  }
}
