/** Which shell is to understand what `--shell` prints. */
import { readlinkSync } from 'node:fs'
import { basename } from 'node:path'
import { type Shell, shells, type Taker, takers } from '../conda/takers.js'

/** What a `--shell` without a name stands for. */
export const callingShell = 'auto'

/** `--shell ARCHIVE` means the calling shell: the name is optional, and an archive is none. Looks no further than `--`. */
export function nameShell(argv: readonly string[]): string[] {
  const end = argv.indexOf('--')
  const isName = (word: string | undefined): boolean => word === callingShell || takers.some((taker) => taker === word)
  return argv.map((word, i) =>
    word === '--shell' && (end < 0 || i < end) && !isName(argv[i + 1]) ? `--shell=${callingShell}` : word,
  )
}

/** What `--shell` was given, with the calling shell where no name was. */
export const takerNamed = (name: Taker | typeof callingShell): Taker => (name === callingShell ? guessShell() : name)

/** The shell that called, where the system tells (a script's own name says nothing, its executable does); else that of the user. */
export function guessShell(): Shell {
  return shellNamed(parentProgram()) ?? shellNamed(process.env.SHELL) ?? 'sh'
}

/** `/usr/bin/ksh93` is ksh, busybox is sh; undefined: no shell that we know. */
export function shellNamed(program: string | undefined): Shell | undefined {
  const name = basename(program ?? '')
    .replace(/^-/, '')
    .replace(/[\d.]+$/, '')
  const plain =
    ({ mksh: 'ksh', rksh: 'ksh', rbash: 'bash', ash: 'sh', busybox: 'sh' } as Record<string, string>)[name] ?? name
  return shells.find((shell) => shell === plain)
}

function parentProgram(): string | undefined {
  try {
    return readlinkSync(`/proc/${process.ppid}/exe`)
  } catch {
    return undefined // No /proc, or a parent of another user: $SHELL has to do.
  }
}
