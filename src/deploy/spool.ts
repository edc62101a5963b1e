/**
 * Standard input as an archive: written to a file without a name on local scratch first, because our index stands at the end of an
 * archive, and a deployment is adopted by the hash of all of it. Nothing is left, however the process ends.
 */
import { mkdtemp, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { fileSystemOf } from '../tree/file-system.js'
import { candidates } from './scratch.js'

export interface Spool {
  /** A path that leads to the spooled bytes while it is open. */
  readonly path: string
  readonly close: () => Promise<void>
}

/** Reads `input` to its end. Throws NO_SPACE, IO, CANCELLED; ARCHIVE_UNKNOWN when nothing comes. */
export async function spool(input: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<Spool> {
  return await fill(await makeFolder(), input, signal)
}

/** As `spool`, in a folder that is known. Throws the same. */
export async function spoolIn(place: string, input: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<Spool> {
  try {
    return await fill(await mkdtemp(join(place, prefix)), input, signal)
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot keep a copy in', place)
  }
}

const prefix = '.conda-deploy-spool-'

async function fill(folder: string, input: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): Promise<Spool> {
  const file = await open(join(folder, 'archive'), 'wx+', 0o600)
  try {
    await rm(folder, { recursive: true })
    let size = 0
    for await (const chunk of input) {
      if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
      await file.writeFile(chunk)
      size += chunk.length
    }
    if (size === 0) throw new EnvError('ARCHIVE_UNKNOWN', 'standard input is empty: pipe an archive into it')
    return { path: `/proc/self/fd/${file.fd}`, close: () => file.close() }
  } catch (error) {
    await file.close()
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot keep standard input in', folder)
  }
}

/** In the first place of scratch.ts that is there, local, and takes files. */
async function makeFolder(): Promise<string> {
  const told: string[] = []
  for (const { path } of candidates(process.env, process.env['USER'] ?? null).try) {
    try {
      if ((await fileSystemOf(path)).locality !== 'shared') return await mkdtemp(join(path, prefix))
      told.push(`${path}: on a network or parallel file system`)
    } catch (error) {
      told.push((error as Error).message)
    }
  }
  const hint = 'name a local scratch folder in CONDA_DEPLOY_ROOT, or deploy from a file'
  throw new EnvError('IO', `no local folder can keep standard input: ${told.join('; ')}`, { hint })
}
