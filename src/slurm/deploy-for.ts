/**
 * The step of a prolog that touches what the user names: a process of its own, started by prolog.ts, which bounds it. It runs as the user
 * and fills the user's cache, or as root and fills the cache that all users of the node share.
 */
import { closeSync, fstatSync } from 'node:fs'
import { openTarZst } from '../archive/tar-zst.js'
import { type DeployResult, deploy } from '../deploy/deploy.js'
import { EnvError } from '../errors.js'
import type { Reporter } from '../report.js'
import { type Account, openAs } from './as-user.js'

export interface DeployFor {
  /** Absolute. */
  readonly archive: string
  /** Opened with their rights. */
  readonly account: Account
  /** Into the shared cache, as root. */
  readonly shared: boolean
  readonly lease: string
  readonly policy?: string | undefined
  readonly threads?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

export type DeployedFor =
  | Pick<DeployResult, 'prefix' | 'digest' | 'method' | 'files' | 'bytes' | 'readBytes' | 'warnings'>
  /** Why an archive is none for the shared cache. */
  | { readonly unsuited: string }

/** Deploys an archive for a user. Throws what `openAs` and `deploy` throw. */
export async function deployFor(options: DeployFor): Promise<DeployedFor> {
  const { archive, account, shared, lease, policy, threads, signal, reporter } = options
  const file = openAs(account, archive)
  // Root goes on with what was opened, whatever has the name by now; a user may be led only where that user may go.
  const opened = shared ? `/proc/self/fd/${file}` : archive
  try {
    const unsuited = shared ? await unsuitedFor(opened, file) : null
    if (unsuited !== null) return { unsuited: `${archive} ${unsuited}` }
    const done = await deploy({
      archive: opened,
      lease,
      policy,
      threads,
      signal,
      reporter,
      ...(shared ? { shared } : {}),
    })
    const { prefix, digest, method, files, bytes, readBytes, warnings } = done
    return { prefix, digest, method, files, bytes, readBytes, warnings }
  } catch (error) {
    throw error instanceof EnvError ? named(error, opened, archive) : error
  } finally {
    closeSync(file)
  }
}

/**
 * The shared cache hands a deployment to whoever names its digest, so the digest has to prove the content, also where the archive's owner
 * changes the file while it is read; and everybody may read the deployment. Null: suited.
 */
async function unsuitedFor(opened: string, file: number): Promise<string | null> {
  if ((fstatSync(file).mode & 0o004) === 0) return 'may not be read by everybody'
  const index = await openTarZst(opened, false)
  return index === null ? 'was not made by conda-deploy' : null
}

/** The error in words of what the user named. */
function named(error: EnvError, opened: string, archive: string): EnvError {
  const { code, message, path, hint, paths } = error
  const by = (text: string): string => text.replaceAll(opened, archive)
  return new EnvError(code, by(message), {
    cause: error,
    paths: paths.map(by),
    ...(path === undefined ? {} : { path: by(path) }),
    ...(hint === undefined ? {} : { hint: by(hint) }),
  })
}
