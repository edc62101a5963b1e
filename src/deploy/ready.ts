/** The marker that a deployment is complete, `.conda-deploy/ready`: written last into the stage, read before anything is adopted. */
import type { Stats } from 'node:fs'
import { chmod, lstat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isUpdating } from '../conda/changing.js'
import { EnvError, fromSystem } from '../errors.js'
import { ifThere, textIfThere } from '../tree/if-there.js'

/** See "A deployed tree" in src/archive/FORMAT.md. */
export interface Ready {
  readonly version: 1
  readonly digest: string
  /** Where the tree was deployed to: the prefix in its files. */
  readonly prefix: string
  readonly readOnly: boolean
  /** ISO 8601. */
  readonly created: string
  /** Of the environment, where its archive tells. */
  readonly name?: string
  /** Bytes of the files as deployed, and files, directories and links; absent in deployments of earlier versions. */
  readonly bytes?: number
  readonly entries?: number
}

export const ownFolder = '.conda-deploy'
export const indexOf = (prefix: string): string => join(prefix, ownFolder, 'index')
export const markerOf = (prefix: string): string => join(prefix, ownFolder, 'ready')

/** The marker of the tree at `prefix`; null: it has none, or what is there says nothing to this version. */
export async function readReady(prefix: string): Promise<Ready | null> {
  const path = markerOf(prefix)
  const text = await textIfThere(path)
  return text === null ? null : parseReady(text)
}

/** null: it says nothing to this version. Pure. */
export function parseReady(text: string): Ready | null {
  let value: Partial<Record<keyof Ready, unknown>> | null
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
  const { version, digest, prefix, readOnly, created, name, bytes, entries } = value ?? {}
  const known = version === 1 && typeof digest === 'string' && typeof prefix === 'string'
  if (!known || typeof readOnly !== 'boolean' || typeof created !== 'string') return null
  return {
    ...{ version, digest, prefix, readOnly, created },
    ...(typeof name === 'string' ? { name } : {}),
    ...(typeof bytes === 'number' ? { bytes } : {}),
    ...(typeof entries === 'number' ? { entries } : {}),
  }
}

/** Marks a stage as complete. A read-only one gets read-only modes here too. */
export async function writeReady(stage: string, ready: Ready): Promise<void> {
  const path = markerOf(stage)
  try {
    // The core has made it read-only already.
    await chmod(join(stage, ownFolder), 0o755)
    await writeFile(path, `${JSON.stringify(ready)}\n`, { flag: 'wx', mode: 0o644 })
    await chmod(path, ready.readOnly ? 0o444 : 0o644)
    if (ready.readOnly) await chmod(indexOf(stage), 0o444)
    if (ready.readOnly) await chmod(join(stage, ownFolder), 0o555)
  } catch (error) {
    throw fromSystem(error, 'cannot write', path)
  }
}

/**
 * What stands at a target: nothing; the very deployment that is wanted; one in the midst of an update; this user's deployment of another
 * archive, alike otherwise; something else. The last two in words.
 */
export type Standing =
  | { readonly is: 'absent' | 'equal' | 'interrupted' }
  | { readonly is: 'earlier' | 'other'; readonly what: string }

/** What has the name; null: nothing. */
export const lookAt = (path: string): Promise<Stats | null> => ifThere(lstat(path), path, 'cannot look at')

/** Compares what stands at `prefix` with what is wanted there. Follows no link at the target itself. */
export async function standingAt(prefix: string, digest: () => Promise<string>, readOnly: boolean): Promise<Standing> {
  const stat = await lookAt(prefix)
  if (stat === null) return { is: 'absent' }
  const other = (what: string): Standing => ({ is: 'other', what })
  if (stat.isSymbolicLink()) return other('a symbolic link')
  if (!stat.isDirectory()) return other('a file')
  const user = process.getuid?.()
  const isTrusted = stat.uid === user || stat.uid === 0
  // A journal of others would be done as ours.
  if (isTrusted && isUpdating(prefix)) return { is: 'interrupted' }
  const ready = await readReady(prefix)
  if (ready === null) {
    // Between the looks it may have lost its name to who evicts it, or its marker to who updates it.
    const still = (await lookAt(prefix))?.ino === stat.ino && !(isTrusted && isUpdating(prefix))
    const isOther = still && (await readReady(prefix)) === null
    return isOther ? other('a directory that conda-deploy did not make') : await standingAt(prefix, digest, readOnly)
  }
  // What others have put there could run as us.
  if (!isTrusted) return other(`a deployment of another user (${stat.uid})`)
  const same = ready.digest === (await digest())
  const another = `a deployment of another archive (${ready.digest.slice(0, 16)})`
  if (!same && (ready.prefix !== prefix || ready.readOnly !== readOnly)) return other(another)
  if (!same) return { is: 'earlier', what: another }
  if (ready.prefix !== prefix) return other(`a deployment made for ${ready.prefix}`)
  if (ready.readOnly !== readOnly)
    return other(`the same environment, but ${ready.readOnly ? 'read-only' : 'writable'}, deployed ${ready.created}`)
  return { is: 'equal' }
}

export function targetExists(prefix: string, what: string, is?: Standing['is']): EnvError {
  // Deployments are read-only, and so not removed by rm alone.
  const remove = 'remove it (chmod -R u+w, rm -r), or choose another target with --to'
  const hint = is === 'earlier' ? `update it with --update, ${remove}` : remove
  return new EnvError('TARGET_EXISTS', `${prefix} exists: ${what}`, { path: prefix, hint })
}
