/** What root does for the user of a job: nothing that this user could not do. */
import { spawnSync } from 'node:child_process'
import { closeSync, constants, existsSync, fstatSync, openSync } from 'node:fs'
import { EnvError, fromSystem } from '../errors.js'

export interface Account {
  readonly uid: number
  /** Of the primary group. */
  readonly gid: number
  readonly name: string
}

const euid = (): number => process.geteuid?.() ?? 0

/** The account of a name or number, as the system knows it (which may ask LDAP). Throws ENV_NOT_FOUND, COMMAND_NOT_FOUND. */
export function accountOf(user: string | number): Account {
  const getent = program('getent', 'the GNU C library')
  const { status, stdout } = spawnSync(getent, ['passwd', '--', String(user)], { encoding: 'utf8', env: {} })
  const [name = '', , uid = '', gid = ''] = stdout.split('\n')[0]?.split(':') ?? []
  if (status === 0 && name !== '' && /^\d+$/.test(uid) && /^\d+$/.test(gid))
    return { name, uid: Number(uid), gid: Number(gid) }
  const hint = 'the node has to know the users whose jobs it runs: getent passwd NAME'
  throw new EnvError('ENV_NOT_FOUND', `this node knows no user ${user}`, { hint })
}

/**
 * Opens a file for reading with the rights of a user and of all groups of theirs; what root could read in addition does not count, not even on
 * the way to it. Throws ARCHIVE_NOT_FOUND, PERMISSION, UNSUPPORTED for what is no regular file, IO.
 */
export function openAs(account: Account, path: string): number {
  let file: number
  try {
    // Not to be kept waiting by a pipe, nor to get a terminal.
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY
    file = withRightsOf(account, () => openSync(path, flags))
  } catch (error) {
    if (error instanceof EnvError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new EnvError('ARCHIVE_NOT_FOUND', `there is no archive ${path}`, { path, cause: error })
    throw fromSystem(error, `user ${account.name} cannot read`, path)
  }
  if (fstatSync(file).isFile()) return file
  closeSync(file)
  const hint = 'pack it into a file: conda-deploy pack'
  throw new EnvError('UNSUPPORTED', `${path} is not a regular file: nothing else is deployed before a job`, {
    path,
    hint,
  })
}

/** @types/node does not know it. */
interface Initgroups {
  readonly initgroups?: (user: string, extraGroup: number) => void
}

/** Synchronous, and only while no other thread of this process works with files: the rights are those of the whole process. */
function withRightsOf<T>({ uid, gid, name }: Account, act: () => T): T {
  if (euid() === uid) return act()
  checkRoot(uid)
  const { getgroups, getegid, setgroups, setegid, seteuid, initgroups } = process as NodeJS.Process & Initgroups
  if (!getgroups || !getegid || !setgroups || !setegid || !seteuid || !initgroups)
    throw new EnvError('UNSUPPORTED', 'this system has no users to act for')
  const [groups, group] = [getgroups(), getegid()]
  try {
    initgroups(name, gid)
    setegid(gid)
    seteuid(uid)
    return act()
  } finally {
    seteuid(0)
    setegid(group)
    setgroups(groups)
  }
}

function checkRoot(uid: number): void {
  if (euid() === 0) return
  const hint = 'let the scheduler start prologs and epilogs as root'
  throw new EnvError('PERMISSION', `user ${euid()} cannot act for user ${uid}`, { hint })
}

/**
 * A command line that runs `command` as the user, for good, with all groups of theirs and no way back: by setpriv, because a process that
 * gives its rights away itself has been root with the user's file names in its hands. Throws PERMISSION, COMMAND_NOT_FOUND.
 */
export function commandAs({ uid, gid }: Account, command: readonly string[]): readonly string[] {
  if (euid() === uid) return command
  checkRoot(uid)
  const ids = [`--reuid=${uid}`, `--regid=${gid}`, '--init-groups']
  return [program('setpriv', 'util-linux'), ...ids, ...command]
}

/** By its folder: prologs have no PATH. */
function program(name: string, from: string): string {
  const path = [`/usr/bin/${name}`, `/bin/${name}`].find((one) => existsSync(one))
  if (path !== undefined) return path
  throw new EnvError('COMMAND_NOT_FOUND', `there is no /usr/bin/${name}`, { hint: `it comes with ${from}` })
}
