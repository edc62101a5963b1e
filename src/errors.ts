/**
 * The one error class of the product, and the one table from code to exit status and standing hint.
 * A message says what, which path, what was got, what was expected. Programmer errors stay plain Error (exit 70).
 */
import { constants } from 'node:os'

export type ErrorCode =
  | 'INVALID_OPTION'
  | 'USAGE'
  | 'ENV_NOT_FOUND'
  | 'NOT_AN_ENV'
  | 'ENV_DAMAGED'
  | 'EDITABLE_PACKAGES'
  | 'MISSING_FILES'
  | 'PREFIX_TOO_LONG'
  | 'ARCHIVE_NOT_FOUND'
  | 'ARCHIVE_CORRUPT'
  | 'ARCHIVE_UNKNOWN'
  | 'UNSAFE_PATH'
  | 'SOURCE_CHANGED'
  | 'TARGET_EXISTS'
  | 'TARGET_SHARED'
  | 'TARGET_NOEXEC'
  | 'NOT_A_DEPLOYMENT'
  | 'OUTPUT_EXISTS'
  | 'UNSUPPORTED'
  | 'PERMISSION'
  | 'IO'
  | 'COMMAND_NOT_FOUND'
  | 'COMMAND_NOT_EXECUTABLE'
  | 'ADDON_MISSING'
  | 'VERIFY_FAILED'
  | 'CANCELLED'
  | 'NO_SPACE'
  | 'LOCK_HELD'
  | 'CONFIG_DAMAGED'
  | 'INVALID_SPEC'
  | 'CHANNEL_NOT_FOUND'
  | 'CHANNEL_DAMAGED'
  | 'UNSATISFIABLE'
  | 'DOWNLOAD_FAILED'
  | 'PACKAGE_DAMAGED'
  | 'PACKAGE_NOT_FOUND'
  | 'PIP_FAILED'
  | 'LIMIT_EXCEEDED'
  | 'LINK_SCRIPT_FAILED'

/** Exit statuses: 1 the request failed, 2 wrong usage, 3 verification found faults, 75 try again. */
const codes: Readonly<Record<ErrorCode, { readonly exit: number; readonly hint?: string }>> = {
  INVALID_OPTION: { exit: 2 },
  USAGE: { exit: 2 },
  ENV_NOT_FOUND: { exit: 1, hint: 'name the environment by its path with --prefix' },
  NOT_AN_ENV: { exit: 1, hint: 'an environment has a conda-meta folder' },
  ENV_DAMAGED: { exit: 1 },
  EDITABLE_PACKAGES: { exit: 1, hint: 'install them normally, or pass --ignore-editable-packages' },
  MISSING_FILES: { exit: 1, hint: 'reinstall the packages, or pass --ignore-missing-files' },
  PREFIX_TOO_LONG: { exit: 1, hint: 'deploy to a shorter path with --to' },
  ARCHIVE_NOT_FOUND: { exit: 1 },
  ARCHIVE_CORRUPT: { exit: 1, hint: 'copy or pack the archive again' },
  ARCHIVE_UNKNOWN: { exit: 1, hint: 'conda-deploy reads its own archives, and tar, zip and squashfs made by others' },
  UNSAFE_PATH: { exit: 1 },
  SOURCE_CHANGED: { exit: 1, hint: 'pack while nothing changes the environment' },
  TARGET_EXISTS: { exit: 1, hint: 'remove it, or choose another target with --to' },
  TARGET_SHARED: { exit: 1, hint: 'name a directory on local disk with --to, or say --allow-shared' },
  TARGET_NOEXEC: { exit: 1, hint: 'choose a target on a file system mounted without noexec' },
  NOT_A_DEPLOYMENT: { exit: 1, hint: 'name a directory that conda-deploy printed' },
  OUTPUT_EXISTS: { exit: 1, hint: 'pass --force to replace it' },
  UNSUPPORTED: { exit: 1 },
  PERMISSION: { exit: 1, hint: 'ask its owner for permission, or choose another place' },
  IO: { exit: 1 },
  COMMAND_NOT_FOUND: { exit: 127 },
  COMMAND_NOT_EXECUTABLE: { exit: 126 },
  ADDON_MISSING: { exit: 1, hint: 'build it: npm run build (checkout) or npm rebuild conda-deploy (package)' },
  VERIFY_FAILED: { exit: 3 },
  CANCELLED: { exit: 130 },
  NO_SPACE: { exit: 75, hint: 'free some space, or choose another place' },
  LOCK_HELD: { exit: 75 },
  CONFIG_DAMAGED: { exit: 1 },
  INVALID_SPEC: { exit: 2, hint: 'write it as name, name=1.2, "name>=1.2,<2" or channel::name' },
  CHANNEL_NOT_FOUND: { exit: 1, hint: 'name a channel by its path, its URL, or a name beneath channel_alias' },
  CHANNEL_DAMAGED: { exit: 1 },
  UNSATISFIABLE: { exit: 1 },
  DOWNLOAD_FAILED: { exit: 1 },
  PACKAGE_DAMAGED: { exit: 1, hint: 'download it again' },
  PACKAGE_NOT_FOUND: { exit: 1 },
  PIP_FAILED: { exit: 1 },
  LIMIT_EXCEEDED: { exit: 1, hint: 'if you trust the archive, allow more with --max-bytes or --max-files' },
  LINK_SCRIPT_FAILED: { exit: 1, hint: 'leave out --run-link-scripts' },
}

export interface ErrorDetails {
  readonly path?: string
  /** What to do; without it the code's standing hint applies. */
  readonly hint?: string
  readonly cause?: unknown
  readonly errno?: number
  readonly syscall?: string
  /** Further paths the message is about (files that do not fit, …), all of them; the message names the first few. */
  readonly paths?: readonly string[]
}

export class EnvError extends Error {
  override readonly name: string = 'EnvError'
  readonly code: ErrorCode
  readonly path: string | undefined
  readonly hint: string | undefined
  readonly errno: number | undefined
  readonly syscall: string | undefined
  readonly paths: readonly string[]

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    const row = codes[code]
    this.code = code
    this.path = details.path
    this.hint = details.hint ?? row.hint
    this.errno = details.errno
    this.syscall = details.syscall
    this.paths = details.paths ?? []
  }

  get exitStatus(): number {
    return codes[this.code].exit
  }
}

/** System errors that mean more than "input or output failed". By number: Node has no name for EDQUOT where it reports errors. */
const byErrno: ReadonlyMap<number, ErrorCode> = new Map([
  [constants.errno.ENOSPC, 'NO_SPACE'],
  [constants.errno.EDQUOT, 'NO_SPACE'],
  [constants.errno.EACCES, 'PERMISSION'],
  [constants.errno.EPERM, 'PERMISSION'],
  [constants.errno.EROFS, 'PERMISSION'],
])

/** `errno` as Node has it, below zero. */
const meaningOf = (errno: number | undefined): ErrorCode => byErrno.get(-(errno ?? 0)) ?? 'IO'

/** Node's `EACCES: permission denied, open '/x'` without the parts that only programmers read; they stay in the fields. */
function sentence({ errno, message }: NodeJS.ErrnoException): string {
  if (errno === -constants.errno.EDQUOT) return 'disk quota exceeded'
  return message.replace(/^E[A-Z0-9]+: ([^,]+), .*$/s, '$1')
}

/** An EnvError for an error of `node:fs`. */
export function fromSystem(error: unknown, what: string, path?: string): EnvError {
  const e = error as NodeJS.ErrnoException
  const at = path ?? e.path
  return new EnvError(meaningOf(e.errno), `${what}${at === undefined ? '' : ` ${at}`}: ${sentence(e)}`, {
    cause: error,
    ...(at === undefined ? {} : { path: at }),
    ...(e.errno === undefined ? {} : { errno: e.errno }),
    ...(e.syscall === undefined ? {} : { syscall: e.syscall }),
  })
}

/**
 * An EnvError for a rejection of the native core (`Error & { code, path?, errno?, syscall?, paths? }`). What carries no code is an
 * error of the program, not of its input, and stays as it is.
 */
export function fromNative(error: unknown): unknown {
  if (error instanceof EnvError || !(error instanceof Error) || !('code' in error)) return error
  const { code, path, errno, syscall, paths } = error as NodeJS.ErrnoException & { readonly paths?: readonly string[] }
  const known = isErrorCode(code) ? code : 'IO'
  const meaning = known === 'IO' ? meaningOf(errno) : known
  return new EnvError(meaning, error.message, {
    cause: error,
    ...(path === undefined ? {} : { path }),
    ...(errno === undefined ? {} : { errno }),
    ...(syscall === undefined ? {} : { syscall }),
    ...(paths === undefined ? {} : { paths }),
  })
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(codes, code)
}

/** The first five of many names, for a message. */
export const few = (names: readonly string[]): string => names.slice(0, 5).join(', ') + (names.length > 5 ? ', …' : '')
