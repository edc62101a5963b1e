/**
 * Changing an environment as the only one who does, and so that it can be taken back (tree/change.ts), in `conda-meta/.conda-deploy`. Who finds
 * an interrupted change later, under the lock, puts it right.
 */
import { realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { changeFolder, changeLock, inUpdate, isUpdating } from '../conda/changing.js'
import { EnvError, fromSystem } from '../errors.js'
import { Change, type Recovered } from '../tree/change.js'
import { ifThere } from '../tree/if-there.js'
import { acquire } from '../tree/lock.js'
import type { Request } from './request.js'

type Means = Pick<Request, 'threads' | 'signal' | 'warn'>

/**
 * Runs `work` as the only one who changes the environment; `root`: its true path. Waits for another one that is at work. Throws PERMISSION for
 * a prefix that cannot be written to, UNSUPPORTED where there are no locks, CANCELLED, and what `work` throws.
 */
export async function locked<T>(
  prefix: string,
  { signal, warn }: Pick<Means, 'signal' | 'warn'>,
  work: (root: string) => Promise<T>,
): Promise<T> {
  const root = await realpath(prefix).catch((error: unknown) => {
    throw fromSystem(error, 'cannot look at', prefix)
  })
  await checkOpen(root, prefix)
  const lock = await acquire(join(root, changeLock), {
    makeFolder: async () => {},
    signal,
    onWait: () => warn(`another conda-deploy changes ${prefix}: waiting for it`),
    enough: async () => false,
  }).catch((error: unknown) => {
    if (!(error instanceof EnvError) || error.code !== 'PERMISSION') throw error
    throw new EnvError('PERMISSION', `${prefix} cannot be changed: ${error.message}`, { path: prefix, cause: error })
  })
  const release = async (): Promise<void> => {
    // What was done is done; nobody is kept out by a file that nobody holds.
    await lock?.release().catch((error: Error) => warn(error.message))
  }
  return await work(root).finally(release)
}

/** What was deployed read-only is adopted by others, who count on its content: root, whom no mode stops, must not change it either. */
async function checkOpen(root: string, prefix: string): Promise<void> {
  const marker = join(root, '.conda-deploy', 'ready')
  const [tree, deployed] = [await ifThere(stat(root), root), await ifThere(stat(marker), marker)]
  if (deployed === null || tree === null || (tree.mode & 0o200) !== 0) return
  const hint = 'deploy the archive again, with --writable, and change that; conda-deploy cache remove removes one'
  throw new EnvError('PERMISSION', `${prefix} was deployed read-only: it is not changed`, { path: prefix, hint })
}

/** `locked`, after what an earlier process left in the environment was put right, which is told. */
export async function changing<T>(
  prefix: string,
  means: Means,
  work: (change: Change, recovered: Recovered) => Promise<T>,
): Promise<T> {
  return await locked(prefix, means, async (root) => {
    if (isUpdating(root)) throw inUpdate(prefix)
    const change = new Change(root, changeFolder, `conda-deploy repair -p ${root}`)
    const recovered = await change.recover(means.threads)
    const told = tellings[recovered]
    if (told !== null) means.warn(`${prefix}: ${told}`)
    return await work(change, recovered)
  })
}

const tellings: Readonly<Record<Recovered, string | null>> = {
  nothing: null,
  cleared: 'what an interrupted change had made ready was removed',
  'taken back': 'an interrupted change was taken back',
  finished: 'an interrupted change had been done; it was ended',
}
