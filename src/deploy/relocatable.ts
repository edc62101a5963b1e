/** What must be so before a deployed tree is relocated. Looks; writes nothing. */
import { access, constants, realpath, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { type Fault, type Index, native } from '../native.js'
import type { Reporter } from '../report.js'
import { nearestExisting } from '../tree/file-system.js'
import { preflight } from './preflight.js'
import { indexOf, type Ready } from './ready.js'
import { faultsIn, faulty } from './verify.js'

interface Places {
  readonly at: string
  /** The same place, by a way that is safe to use. */
  readonly here: string
  /** null: the tree stays where it is. */
  readonly to: string | null
  readonly copy: boolean
  readonly allowShared: boolean
}

/** Does the prefix in its files lead to this tree? By a link, too. */
export async function standsThere({ prefix }: Ready, at: string): Promise<boolean> {
  const resolved = (path: string): Promise<string | null> => realpath(path).catch(() => null)
  const [here, there] = await Promise.all([resolved(at), resolved(prefix)])
  return here === there
}

/** Throws PERMISSION, and what preflight throws. */
export async function checkPlaces({ at, here, to, copy, allowShared }: Places, index: Index): Promise<void> {
  const { files, entries, bytes, longestPrefix } = index
  const target = to ?? at
  try {
    const { uid, dev } = await stat(here)
    const user = process.geteuid?.()
    if (!copy && uid !== user) {
      const hint = 'ask that user, or make a copy of your own with --copy'
      throw new EnvError('PERMISSION', `${at} belongs to user ${uid}, not ${user}`, { path: at, hint })
    }
    if (!copy) await access(dirname(here), constants.W_OK | constants.X_OK)
    const sameDevice = (await stat(await nearestExisting(dirname(target)))).dev === dev
    // Links take no room; what is rewritten is little.
    const needed = sameDevice ? 0 : bytes
    const content = {
      digest: async () => '',
      size: { files, entries, bytes: needed },
      leastBytes: needed,
      longestPrefix,
      name: null,
    }
    const list = async () => (await native().index(indexOf(here), true))?.list ?? []
    await preflight(target, { ...content, list }, allowShared || sameDevice)
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot relocate', at)
  }
}

/** Made anew by Python, from sources that are in the tree. */
const isCompiled = (path: string): boolean => path.endsWith('.pyc') || basename(path) === '__pycache__'

export interface Stands {
  /** What was added to the tree. */
  readonly dropped: readonly string[]
  readonly warnings: readonly string[]
}

/** Hashes the tree. Throws VERIFY_FAILED when it is not what was deployed; `force`: what was added does not count. */
export async function whatStands(wish: {
  readonly at: string
  readonly here: string
  readonly force: boolean
  readonly threads: number
  readonly signal: AbortSignal | undefined
  readonly reporter: Reporter
}): Promise<Stands> {
  const { at, here, force } = wish
  const faults = await faultsIn(here, wish)
  const added: string[] = []
  const wrong: Fault[] = []
  let modes = 0
  for (const fault of faults) {
    if (fault.kind === 'extra' && (force || isCompiled(fault.path))) added.push(fault.path)
    else if (fault.kind === 'mode') modes++
    else wrong.push(fault)
  }
  if (wrong.length > 0) {
    const extra = wrong.every(({ kind }) => kind === 'extra')
    const hint = extra ? '--force leaves behind what was added' : 'deploy it again from its archive'
    const { message, path = at, paths } = faulty(at, `${at} is not what was deployed`, wrong)
    throw new EnvError('VERIFY_FAILED', message, { path, paths, hint })
  }
  const mended = modes === 0 ? [] : [`${modes} modes were not what was deployed, and are put right`]
  const left = added.filter((path) => !isCompiled(path))
  const said =
    left.length === 0 ? [] : [`what was added is left behind: ${left.slice(0, 3).join(', ')} (${left.length} in all)`]
  return { dropped: added, warnings: [...mended, ...said] }
}
