/** Which earlier deployment a new one takes equal content from. Decides; what is taken is the native core's matter. */
import { readdir, realpath } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import type { Base } from '../native.js'
import type { Plan } from './plan.js'
import type { Content } from './preflight.js'
import { type Ready, readReady } from './ready.js'

export interface DeltaWish {
  /** A deployment that the user names; otherwise the node's cache is looked through. */
  readonly base?: string | undefined
  readonly readOnly: boolean
  /** Hash what is taken. */
  readonly check: boolean
}

/**
 * The base for a deployment; undefined: there is none. Looked for only among the copies of the node's cache, which belong to this user
 * alone: the newest read-only one of an environment of the same name. Throws NOT_A_DEPLOYMENT for a named base that is none.
 */
export async function baseFor(content: Content, plan: Plan, wish: DeltaWish): Promise<Base | undefined> {
  if (content.size === null) return undefined // An archive made by others tells its content only when it has been read.
  if (wish.base !== undefined) return await named(resolve(wish.base), wish)
  if (plan.cache === null || content.name === null || !wish.readOnly) return undefined
  const folder = dirname(plan.prefix)
  const found: (Ready & { readonly at: string })[] = []
  for (const name of await namesIn(folder)) {
    const at = join(folder, name)
    const ready = at === plan.prefix ? null : await readReady(at)
    if (ready?.prefix === at && ready.readOnly && ready.name === content.name) found.push({ ...ready, at })
  }
  const newest = found.sort((a, b) => (a.created < b.created ? 1 : -1))[0]
  return newest && { root: newest.at, share: 'read-only', check: wish.check }
}

async function named(path: string, { check }: DeltaWish): Promise<Base> {
  const root = await realpath(path).catch((error: unknown) => {
    throw fromSystem(error, 'cannot use the base', path)
  })
  const ready = await readReady(root)
  if (ready === null)
    throw new EnvError('NOT_A_DEPLOYMENT', `${path} is no deployment: nothing can be taken from it`, { path })
  // A writable tree may have been changed in ways that sizes and times do not show.
  return { root, share: 'read-only', check: check || !ready.readOnly }
}

/** Copies of the cache; a read-only one's name is its digest alone (see cachedPrefix). */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => /^[0-9a-f]{16}$/.test(name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw fromSystem(error, 'cannot read', folder)
  }
}
