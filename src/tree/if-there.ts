/** Reading what may not be there: its absence is an answer, every other failure an error. */
import { readFile } from 'node:fs/promises'
import { fromSystem } from '../errors.js'

/** Nothing has the name, or what stands on the way to it is no folder. */
export const isAbsent = (error: unknown): boolean =>
  ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')

/** What `reading` brings of `path`; null: nothing has that name. Throws PERMISSION, NO_SPACE, IO, with `doing` before the path. */
export async function ifThere<T>(reading: Promise<T>, path: string, doing = 'cannot read'): Promise<T | null> {
  try {
    return await reading
  } catch (error) {
    if (isAbsent(error)) return null
    throw fromSystem(error, doing, path)
  }
}

export const textIfThere = (path: string): Promise<string | null> => ifThere(readFile(path, 'utf8'), path)
