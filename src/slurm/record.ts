/**
 * What a prolog tells the tasks of its job on this node: a small file to a job, `<state>/slurm:4711`, in a folder of root. It belongs to the
 * user of the job, and only to them: what it says, they could do themselves. Whoever acts as root takes nothing from it.
 */
import {
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { makeFolders } from '../tree/folders.js'
import { isAbsent } from '../tree/if-there.js'
import type { Account } from './as-user.js'

export interface JobRecord {
  readonly version: 1
  readonly archive: string
  /** Null: it could not be deployed. */
  readonly deployed: { readonly prefix: string; readonly digest: string } | null
  /** Why it could not. */
  readonly failure: { readonly message: string; readonly hint: string | null; readonly tookTooLong: boolean } | null
}

export const recordOf = (state: string, holder: string): string => join(state, holder)

/** Throws PERMISSION, IO, NO_SPACE. */
export function writeRecord(state: string, holder: string, { uid, gid }: Account, record: JobRecord): string {
  const path = recordOf(state, holder)
  try {
    makeFolders(state)
    checkState(state)
    // Of an earlier run of the same job.
    rmSync(path, { force: true })
    const file = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o400)
    try {
      writeFileSync(file, `${JSON.stringify(record)}\n`)
      if (process.geteuid?.() === 0) fchownSync(file, uid, gid)
    } finally {
      closeSync(file)
    }
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot write', path)
  }
  return path
}

/** What others could put there would be run by the tasks. */
function checkState(state: string): void {
  const { uid, mode } = lstatSync(state)
  if (uid === (process.geteuid?.() ?? 0) && (mode & 0o022) === 0) return
  const hint = "name a folder that only root can write as 'jobs.state' of the policy"
  throw new EnvError('PERMISSION', `${state} belongs to user ${uid}, mode ${(mode & 0o7777).toString(8)}`, {
    path: state,
    hint,
  })
}

/** Null: the prolog had nothing to do, or there was none. Throws IO for a file that says nothing, PERMISSION for one of somebody else. */
export function readRecord(state: string, holder: string): JobRecord | null {
  const path = recordOf(state, holder)
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (isAbsent(error)) return null
    throw fromSystem(error, 'cannot read', path)
  }
  try {
    const { uid } = fstatSync(file)
    if (uid !== 0 && uid !== process.geteuid?.())
      throw new EnvError('PERMISSION', `${path} belongs to user ${uid}: it is not followed`, { path })
    return parse(readFileSync(file, 'utf8'), path)
  } finally {
    closeSync(file)
  }
}

function parse(text: string, path: string): JobRecord {
  try {
    const record = JSON.parse(text) as JobRecord
    if (record.version === 1 && typeof record.archive === 'string') return record
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new EnvError('IO', `${path} is not what a prolog writes`, { path })
}

/** True: there was one. Never follows a link. Throws PERMISSION, IO. */
export function removeRecord(state: string, holder: string): boolean {
  const path = recordOf(state, holder)
  try {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return false
    rmSync(path)
    return true
  } catch (error) {
    throw fromSystem(error, 'cannot remove', path)
  }
}
