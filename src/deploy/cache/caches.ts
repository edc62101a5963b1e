/** Which cache folders a verb of the cache works on, and how each is reported. */
import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { EnvError, fromSystem } from '../../errors.js'
import { byName } from '../hold.js'
import { type CacheFolder, type OpenCache, openCache, privateCache, sharedCache } from './folder.js'
import { cacheRoots } from './lease.js'

export interface CacheOptions {
  /** The scratch folder to look in. Default: that of the policy, and those that deployments find by themselves. */
  readonly root?: string | undefined
  /** The site's policy file; default: /etc/conda-deploy.yaml, where it is there. */
  readonly policy?: string | undefined
  /** Number of the user whose cache it is; default: this one. Another one's needs root. */
  readonly user?: number | undefined
  /** That user's name, where scratch folders are named by it. */
  readonly userName?: string | undefined
  /** The caches of all users; needs root. */
  readonly allUsers?: boolean | undefined
}

export const cacheShape = {
  root: 'string',
  policy: 'string',
  user: 'number',
  userName: 'string',
  allUsers: 'boolean',
} as const

/** Of verbs that write: those of other users, and the shared one, are for root. */
export type Access = 'read' | 'write'

const isRoot = (): boolean => process.geteuid?.() === 0

/** Throws INVALID_OPTION, PERMISSION, and what reading the policy throws. */
export async function cachesFor(verb: string, options: CacheOptions, access: Access): Promise<CacheFolder[]> {
  const { user = process.geteuid?.() ?? 0, allUsers = false } = options
  if (options.root === '') throw new EnvError('INVALID_OPTION', `${verb}: option 'root' is empty`)
  if (!Number.isInteger(user) || user < 0)
    throw new EnvError('INVALID_OPTION', `${verb}: option 'user' must be the number of a user, got ${user}`)
  if (!isRoot() && (allUsers || user !== process.geteuid?.()))
    throw new EnvError('PERMISSION', `${verb}: the caches of other users are for root`, { hint: 'run it as root' })
  const roots = await cacheRoots(options)
  return roots.flatMap((root) => [
    ...(allUsers ? usersIn(root) : [user]).map((owner) => privateCache(root, owner)),
    ...(isRoot() || access === 'read' ? [sharedCache(root)] : []),
  ])
}

/** Users who may have a cache there. */
function usersIn(root: string): number[] {
  try {
    return readdirSync(root).flatMap((name) => {
      const [, number] = /^conda-deploy-(\d{1,10})$/.exec(name) ?? []
      return number === undefined ? [] : [Number(number)]
    })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw fromSystem(error, 'cannot read', root)
  }
}

/** Works in those caches that are there; one that is not its owner's own is told and passed over. */
export async function inCaches(
  caches: readonly CacheFolder[],
  warn: (message: string) => void,
  use: (open: OpenCache) => Promise<void>,
): Promise<void> {
  for (const cache of caches) {
    let open: OpenCache | null = null
    try {
      open = openCache(cache)
      if (open !== null) await use(open)
    } catch (error) {
      // Whoever made it may have taken it back, when it was of no use.
      if (!existsSync(cache.path)) continue
      // What a user did to a cache must not keep root from the others.
      const isTold = cache.owner !== process.geteuid?.()
      if (!(error instanceof EnvError) || !(isTold || ['PERMISSION', 'UNSAFE_PATH'].includes(error.code)))
        throw byName(error, [open])
      warn((byName(error, [open]) as EnvError).message)
    } finally {
      open?.letGo()
    }
  }
}

/** Throws INVALID_OPTION. */
export function threadsOf(verb: string, threads: number = availableParallelism()): number {
  if (Number.isInteger(threads) && threads >= 1) return threads
  throw new EnvError('INVALID_OPTION', `${verb}: option 'threads' must be a whole number from 1, got ${threads}`)
}
