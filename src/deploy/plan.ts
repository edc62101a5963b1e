/** Where a deployment goes, and whether one is there already. Decides; writes nothing. */
import { stat } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { dirname, resolve } from 'node:path'
import { EnvError, type ErrorCode } from '../errors.js'
import { type FileSystem, fileSystemOf, type Locality } from '../tree/file-system.js'
import { cachedPrefix, checkCacheFolder } from './cache/folder.js'
import { type Content, preflight } from './preflight.js'
import { standingAt, targetExists } from './ready.js'
import { type Candidate, candidates, type Rejected } from './scratch.js'

/** Where a deployment stands and why there. */
export interface Target {
  /** The scratch folder that was chosen; for a target named by `to` its parent. */
  readonly root: string
  /** `to`, `root`, the variable that named the root (`$SLURM_TMPDIR`), or `default`. */
  readonly reason: string
  readonly fileSystem: { readonly type: string; readonly locality: Locality }
  /** Roots that come earlier in the order and were passed over. */
  readonly rejected: readonly Rejected[]
}

export interface Wish {
  readonly to?: string
  readonly root?: string
  readonly allowShared: boolean
  readonly readOnly: boolean
  /** Takes away what dead processes left beside a prefix; true: there was something. */
  readonly sweep: (prefix: string) => Promise<boolean>
}

export interface Plan {
  readonly prefix: string
  readonly method: 'deployed' | 'adopted'
  readonly target: Target
  /** The prefix lies in the folder of this user beneath the root. */
  readonly cached: boolean
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
  if (wish.root !== undefined) {
    const root = resolve(wish.root)
    await checkCacheFolder(root)
    return await planCached({ path: root, source: 'root' }, content, wish, [])
  }
  return await planDetected(content, wish, env)
}

async function planDetected(content: Content, wish: Wish, env: Surroundings): Promise<Plan> {
  const places = candidates(env, userName(env))
  const rejected: Rejected[] = [...places.rejected]
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

function planCached(root: Candidate, content: Content, wish: Wish, rejected: readonly Rejected[]): Promise<Plan> {
  const prefix = checkPrefix('deploy', cachedPrefix(root.path, content.digest, wish.readOnly))
  return planAt(prefix, root, content, wish, rejected)
}

async function planAt(
  prefix: string,
  { path: root, source }: Candidate,
  content: Content,
  wish: Wish,
  rejected: readonly Rejected[],
): Promise<Plan> {
  const cached = source !== 'to'
  const plan = (method: Plan['method'], { type, locality }: FileSystem, warnings: readonly string[]): Plan => {
    const target = { root, reason: source, fileSystem: { type, locality }, rejected }
    return { prefix, method, target, cached, warnings }
  }
  const standing = await standingAt(prefix, content.digest, wish.readOnly)
  if (standing.is === 'other') throw targetExists(prefix, standing.what)
  if (standing.is === 'equal') {
    await wish.sweep(prefix)
    return plan('adopted', await fileSystemOf(prefix), [])
  }
  const fileSystem = await preflight(prefix, content, wish.allowShared).catch(async (error: unknown) => {
    // What a killed deployment left here may be what fills the place.
    const full = error instanceof EnvError && error.code === 'NO_SPACE'
    if (full && (await wish.sweep(prefix))) return await preflight(prefix, content, wish.allowShared)
    throw error
  })
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

/** Bytes of a file name on every file system that Linux has. */
const longestName = 255

/** A prefix is written into scripts and texts line by line, and is a name of the file system. Throws INVALID_OPTION. */
export function checkPrefix(verb: string, prefix: string): string {
  const refuse = (why: string): never => {
    throw new EnvError('INVALID_OPTION', `${verb}: ${why}`, { path: prefix })
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(prefix))
    refuse(`${JSON.stringify(prefix)} has control characters; a prefix cannot have any`)
  // Node turns bytes of the command line that are not UTF-8 into U+FFFD: what was named cannot be known any more.
  if (/\ufffd|\p{Surrogate}/u.test(prefix)) refuse(`${prefix} is not UTF-8; a prefix must be`)
  const name = prefix.split('/').find((part) => Buffer.byteLength(part) > longestName)
  if (name !== undefined)
    refuse(`'${name.slice(0, 40)}…' has ${Buffer.byteLength(name)} bytes; a name can have ${longestName}`)
  if (prefix === '/') refuse('/ cannot be a prefix')
  return prefix
}

/** What a prefix makes difficult, though it is allowed. Pure. */
export function remarksOnPrefix(prefix: string): string[] {
  const said: string[] = []
  if (prefix.includes(':')) said.push(`${prefix} has a colon: it cannot stand in PATH, so it cannot be activated`)
  const quote = /['"\\]/.exec(prefix)?.[0]
  if (quote !== undefined)
    said.push(`${prefix} has a ${quote}: texts that quote the prefix, such as Python's sysconfig data, break there`)
  return said
}
