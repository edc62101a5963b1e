/**
 * Root working where a user could change names under its hands: the folder of the target is reached without that user's links, and held
 * open, so that what is done in it is done there, whatever its name leads to by then. For everyone else names are good enough: what they
 * could be led to write, they could write themselves.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  type Stats,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'

export interface Held {
  /** Reaches the folder until it is let go. */
  readonly path: string
  /** What it was called when it was opened. */
  readonly name: string
  letGo(): void
}

/** Linux; Node does not name it. It needs no permission to read. */
const O_PATH = 0o10000000
const directoryFlags = O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW
/** As in Linux. */
const maxLinks = 40
const through = (fd: number, name = ''): string => join('/proc/self/fd', String(fd), name)

const isRoot = (): boolean => process.platform === 'linux' && process.geteuid?.() === 0

/** Users that have no number in a container's namespace, the machine's root among them, all look like this one there. */
const nobody = 65534
function isMapped(): boolean {
  return !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'))
}
export const isRoots = (stat: Stats): boolean => stat.uid === 0 || (stat.uid === nobody && isMapped())

/** May nobody but root change the names in this directory? In a sticky one users change only their own. */
const isGuarded = (stat: Stats): boolean => isRoots(stat) && ((stat.mode & 0o022) === 0 || (stat.mode & 0o1000) !== 0)

/**
 * The first part of the way to an existing folder that someone besides root could exchange for another, links included; null: there is
 * none. Throws what node:fs throws.
 */
export function unguardedOn(folder: string): string | null {
  const rest = folder.split('/').reverse()
  let at = '/'
  for (let links = 0; ; ) {
    const stat = lstatSync(at)
    if (!stat.isSymbolicLink() && !isGuarded(stat)) return at
    if (stat.isSymbolicLink()) {
      if (!isRoots(stat) || ++links > maxLinks) return at
      const text = readlinkSync(at)
      rest.push(...text.split('/').reverse())
      at = text.startsWith('/') ? '/' : dirname(at)
      continue
    }
    let part = rest.pop()
    while (part === '' || part === '.') part = rest.pop()
    if (part === undefined) return null
    at = join(at, part)
  }
}

/**
 * The existing directory `folder`, held; null: it need not be, because this is not root, or only root can change the way to it. Throws
 * UNSAFE_PATH for a link of a user on the way, and IO for a part that is absent: root makes no folders where a user could lead it away.
 */
export function hold(folder: string): Held | null {
  if (!isRoot()) return null
  const rest = folder.split('/').reverse()
  const way = { fd: openSync('/', directoryFlags), name: '/', guarded: true }
  const enter = (fd: number, name: string): void => {
    closeSync(way.fd)
    Object.assign(way, { fd, name })
  }
  try {
    for (let links = 0; rest.length > 0; ) {
      const part = rest.pop() as string
      if (part === '' || part === '.') continue
      const name = join(way.name, part)
      const stat = lstatSync(through(way.fd, part), { throwIfNoEntry: false })
      if (stat === undefined) {
        // Below what only root can change, the rest is made as always.
        if (way.guarded) return released(way.fd)
        const hint = 'make the directory first, as its user'
        throw new EnvError('IO', `${name} does not exist, and root makes none beneath a directory of a user`, {
          path: name,
          hint,
        })
      }
      if (stat.isSymbolicLink()) {
        if (!isRoots(stat))
          throw new EnvError('UNSAFE_PATH', `${name} is a link of user ${stat.uid}, which root does not follow`, {
            path: name,
          })
        if (++links > maxLinks) throw new EnvError('IO', `${folder}: too many links`, { path: folder })
        const text = readlinkSync(through(way.fd, part))
        rest.push(...text.split('/').reverse())
        if (text.startsWith('/')) enter(openSync('/', directoryFlags), '/')
      } else {
        enter(openSync(through(way.fd, part), directoryFlags), name)
        if (!isGuarded(fstatSync(way.fd))) way.guarded = false
      }
    }
  } catch (error) {
    closeSync(way.fd)
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot enter', folder)
  }
  return way.guarded ? released(way.fd) : { path: through(way.fd), name: folder, letGo: () => closeSync(way.fd) }
}

function released(fd: number): null {
  closeSync(fd)
  return null
}

/** A folder of root's own in one that is held, made where it is absent. Throws PERMISSION for what is not root's alone. */
export function holdOwn(parent: Held, base: string): Held {
  const name = join(parent.name, base)
  try {
    mkdirSync(join(parent.path, base), { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fromSystem(error, 'cannot make', name)
  }
  const held = holdStage(join(parent.path, base), name)
  parent.letGo()
  return held
}

/** The tree at `prefix`, held as root's alone; null: it need not be, as in `hold`. Throws as `hold` and `holdStage`. */
export function holdTree(prefix: string): Held | null {
  const way = hold(dirname(prefix))
  if (way === null) return null
  try {
    return holdStage(join(way.path, basename(prefix)), prefix)
  } finally {
    way.letGo()
  }
}

/** The directory at `path`, which root just made, held as the one it made. Throws PERMISSION when it is not `owner`'s alone by now. */
export function holdStage(path: string, name: string, owner: number | undefined = process.geteuid?.()): Held {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  } catch (error) {
    throw fromSystem(error, 'cannot enter', name)
  }
  const letGo = (): void => closeSync(fd)
  try {
    checkOwner(fstatSync(fd), name, owner)
  } catch (error) {
    letGo()
    throw error
  }
  return { path: through(fd), name, letGo }
}

function checkOwner({ uid, mode }: Stats, name: string, owner: number | undefined): void {
  if (uid === owner && (mode & 0o022) === 0) return
  const found = uid === owner ? `can be written by others (mode ${(mode & 0o7777).toString(8)})` : `is user ${uid}'s`
  throw new EnvError('PERMISSION', `${name} ${found}, not user ${owner}'s alone: root does not work in it`, {
    path: name,
  })
}

/**
 * The directory `name` in `parent`, which has to be `owner`'s alone, held; null: there is none. Throws PERMISSION for what is something else,
 * UNSAFE_PATH for a link of a user on the way, IO.
 */
export function holdFolder(parent: string, name: string, owner: number): Held | null {
  if (!existsSync(parent)) return null
  const way = hold(parent)
  const called = join(parent, name)
  try {
    const at = join(way?.path ?? parent, name)
    const stat = lstatSync(at, { throwIfNoEntry: false })
    if (stat === undefined) return null
    if (process.platform === 'linux') return holdStage(at, called, owner)
    checkOwner(stat, called, owner)
    return { path: at, name: called, letGo() {} }
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot enter', called)
  } finally {
    way?.letGo()
  }
}

/** An error as it would be if what is held had been called by its name. */
export function byName(error: unknown, helds: readonly (Held | null)[]): unknown {
  if (!(error instanceof EnvError)) return error
  const named = (text: string): string =>
    helds.reduce(
      (all, held) =>
        held === null
          ? all
          : all.replaceAll(new RegExp(`${held.path}/\\.(?![^/:\\s])`, 'g'), held.name).replaceAll(held.path, held.name),
      text,
    )
  const { code, message, path, hint, errno, syscall, paths } = error
  if (named(message) === message) return error
  return new EnvError(code, named(message), {
    cause: error,
    paths: paths.map(named),
    ...(path === undefined ? {} : { path: named(path) }),
    ...(hint === undefined ? {} : { hint }),
    ...(errno === undefined ? {} : { errno }),
    ...(syscall === undefined ? {} : { syscall }),
  })
}
