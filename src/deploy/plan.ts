/** Where a deployment goes, and whether one is there already. Decides; writes nothing. */
import { stat } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { EnvError, type ErrorCode, fromSystem } from '../errors.js'
import { checkPrefix, remarksOnPrefix } from '../prefix/name.js'
import { type FileSystem, fileSystemOf, type Locality } from '../tree/file-system.js'
import { type CacheFolder, checkCacheFolder, entryOf, privateCache, sharedCache } from './cache/folder.js'
import { checkedPlace, type Evictions } from './cache/room.js'
import { distrust, findShared } from './cache/shared.js'
import type { Content } from './preflight.js'
import { standingAt, targetExists } from './ready.js'
import { type Candidate, candidates, type Rejected } from './scratch.js'

/** Where a deployment stands and why there. */
export interface Target {
  /** The scratch folder that was chosen; for a target named by `to` its parent. */
  readonly root: string
  /** `to`, `root`, `shared`, the variable that named the root (`$SLURM_TMPDIR`), `policy`, or `default`. */
  readonly reason: string
  readonly fileSystem: { readonly type: string; readonly locality: Locality }
  /** Roots that come earlier in the order and were passed over. */
  readonly rejected: readonly Rejected[]
}

export interface Wish extends Evictions {
  readonly to?: string
  readonly root?: string
  readonly readOnly: boolean
  /** Of a deployment that stands at `to`. */
  readonly update: boolean
  /** The cache of all users: root fills it, the others look there first, or it is passed over. */
  readonly shared: 'fill' | 'use' | 'pass'
  /** The scratch folder of the site's policy. */
  readonly site: string | null
}

export interface Plan {
  readonly prefix: string
  /** `updated`: an earlier deployment stands there, or one in the midst of an update. */
  readonly method: 'deployed' | 'adopted' | 'updated'
  readonly target: Target
  /** The cache folder that the prefix lies in; null: it is named by `to`. */
  readonly cache: CacheFolder | null
  readonly warnings: readonly string[]
}

type Surroundings = Readonly<Record<string, string | undefined>>

/**
 * The prefix for a content, by the wish, else by the places of scratch.ts in their order; `env` names some of them. Throws
 * TARGET_EXISTS and what preflight throws; when no place will do, the error that is nearest to success, naming all places.
 */
export async function planDeploy(content: Content, wish: Wish, env: Surroundings): Promise<Plan> {
  if (wish.to !== undefined) {
    const prefix = checkPrefix('deploy', resolve(wish.to))
    return await planAt(prefix, { path: dirname(prefix), source: 'to' }, content, wish, [])
  }
  if (wish.shared === 'fill') return await planShared(content, wish)
  if (wish.root !== undefined) {
    const root = resolve(wish.root)
    await checkCacheFolder(root)
    return await planCached({ path: root, source: 'root' }, content, wish, [])
  }
  const site = wish.shared === 'use' && wish.readOnly ? wish.site : null
  const { prefix, why } = site === null ? nothingShared : await findShared(site, await content.digest())
  if (site === null || prefix === null) return await planDetected(content, wish, env, why)
  const { type, locality } = await fileSystemOf(sharedCache(site).path)
  const target = { root: site, reason: 'shared', fileSystem: { type, locality }, rejected: [] }
  return { prefix, method: 'adopted', target, cache: sharedCache(site), warnings: [] }
}

const nothingShared = { prefix: null, why: null }

/** Root's own work: for all users. */
async function planShared(content: Content, wish: Wish): Promise<Plan> {
  const root = wish.root === undefined ? wish.site : resolve(wish.root)
  if (root === null) {
    const hint = 'name one with --root, or cache.root in /etc/conda-deploy.yaml'
    throw new EnvError('INVALID_OPTION', 'deploy: the shared cache has no root', { hint })
  }
  const distrusted = distrust(root)
  if (distrusted !== null)
    throw new EnvError('PERMISSION', `${distrusted}: nothing is shared there`, {
      ...{ path: root, hint: 'share below a folder that only root can rename or replace' },
    })
  const cache = sharedCache(root)
  const prefix = checkPrefix('deploy', join(cache.path, entryOf(await content.digest(), true)))
  return await planAt(prefix, { path: root, source: 'shared' }, content, wish, [], cache)
}

/** `unshared`: why a shared copy is not used. */
async function planDetected(content: Content, wish: Wish, env: Surroundings, unshared: string | null): Promise<Plan> {
  const places = candidates(env, userName(env), wish.site)
  const rejected: Rejected[] = [...places.rejected]
  if (unshared !== null && wish.site !== null)
    rejected.push({ path: sharedCache(wish.site).path, source: 'shared', why: unshared })
  const refusals: EnvError[] = []
  for (const candidate of places.try) {
    try {
      await checkScratch(candidate.path, wish.allowShared)
      return await planCached(candidate, content, wish, rejected)
    } catch (error) {
      if (!(error instanceof EnvError)) throw error
      refusals.push(error)
      rejected.push({ ...candidate, why: error.message })
    }
  }
  const told = rejected.map(({ path, source, why }) => `  ${path} (${source}): ${why}`).join('\n')
  const code = nearness.find((known) => refusals.some((refusal) => refusal.code === known)) ?? 'TARGET_SHARED'
  throw new EnvError(code, `no local scratch folder can take the environment:\n${told}`, {
    hint: 'name a target with --to, or a scratch folder in CONDA_DEPLOY_ROOT',
  })
}

/** Of several refusals the one to answer with: what is easiest to mend. */
const nearness: readonly ErrorCode[] = ['NO_SPACE', 'PREFIX_TOO_LONG', 'TARGET_EXISTS', 'TARGET_NOEXEC', 'PERMISSION']

function userName(env: Surroundings): string | null {
  try {
    return userInfo().username
  } catch {
    return env['USER'] ?? null // The user database need not know a container's user.
  }
}

/** A place that nobody named for this deployment must exist, and be known to be local. */
async function checkScratch(root: string, allowShared: boolean): Promise<void> {
  let fileSystem: FileSystem
  try {
    if (!(await stat(root)).isDirectory()) throw new EnvError('IO', 'it is not a directory', { path: root })
    fileSystem = await fileSystemOf(root)
  } catch (error) {
    if (error instanceof EnvError) throw error
    const gone = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw new EnvError('IO', gone ? 'it does not exist' : (error as Error).message, { path: root, cause: error })
  }
  if (fileSystem.locality === 'shared' && !allowShared)
    throw new EnvError('TARGET_SHARED', `it is on ${fileSystem.type}, a network or parallel file system`, {
      path: root,
    })
  if (fileSystem.locality === 'unknown')
    throw new EnvError('TARGET_SHARED', `it is on ${fileSystem.type}, which is not known to be local`, { path: root })
  await checkCacheFolder(root)
}

async function planCached(root: Candidate, content: Content, wish: Wish, rejected: readonly Rejected[]): Promise<Plan> {
  const cache = privateCache(root.path)
  const prefix = checkPrefix('deploy', join(cache.path, entryOf(await content.digest(), wish.readOnly)))
  return await planAt(prefix, root, content, wish, rejected, cache)
}

async function planAt(
  prefix: string,
  { path: root, source }: Candidate,
  content: Content,
  wish: Wish,
  rejected: readonly Rejected[],
  cache: CacheFolder | null = null,
): Promise<Plan> {
  const plan = (method: Plan['method'], { type, locality }: FileSystem, warnings: readonly string[]): Plan => {
    const target = { root, reason: source, fileSystem: { type, locality }, rejected }
    return { prefix, method, target, cache, warnings }
  }
  const standing = await standingAt(prefix, content.digest, wish.readOnly)
  if (standing.is === 'other') throw targetExists(prefix, standing.what)
  if (standing.is === 'earlier' || standing.is === 'equal') await wish.sweep(prefix)
  if (standing.is === 'earlier' && !wish.update) throw targetExists(prefix, standing.what, standing.is)
  if (standing.is === 'earlier' && content.size === null)
    throw new EnvError(
      'UNSUPPORTED',
      `${prefix} is not updated: the archive was not made by conda-deploy, and tells nothing of what differs`,
      {
        ...{ path: prefix, hint: 'pack the environment with conda-deploy, or deploy to another target' },
      },
    )
  const placed = (path: string): Promise<FileSystem> =>
    fileSystemOf(path).catch((error: unknown) => {
      throw fromSystem(error, 'cannot look at', path)
    })
  if (standing.is === 'earlier' || standing.is === 'interrupted') return plan('updated', await placed(prefix), [])
  if (standing.is === 'equal') {
    // In a cache it may be evicted meanwhile, until it is claimed.
    return plan('adopted', await placed(cache?.path ?? prefix), [])
  }
  const fileSystem = await checkedPlace(prefix, content, wish, cache)
  return plan('deployed', fileSystem, remarks(prefix, source, fileSystem, rejected))
}

function remarks(prefix: string, source: string, fileSystem: FileSystem, rejected: readonly Rejected[]): string[] {
  const said: string[] = []
  if (fileSystem.locality === 'memory' && source !== 'to' && source !== 'root')
    said.push(`${prefix} is in memory (${fileSystem.type}): it may count against the memory of the job`)
  if (fileSystem.locality === 'unknown') said.push(`${prefix} is on ${fileSystem.type}, which is not known to be local`)
  said.push(...remarksOnPrefix(prefix))
  const told = rejected.find(({ source: by }) => by === '$CONDA_DEPLOY_ROOT')
  if (told !== undefined) said.push(`CONDA_DEPLOY_ROOT is passed over: ${told.path}: ${told.why}`)
  return said
}
