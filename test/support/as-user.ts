/** Programs as another user: needs root, and setpriv of Linux. */
import { spawnSync } from 'node:child_process'
import { cliFile } from './run-cli.js'

/** Why it cannot be done here; null: it can. */
export const noOtherUsers: string | null =
  process.platform !== 'linux'
    ? 'needs setpriv of Linux'
    : process.getuid?.() !== 0
      ? 'needs root, to be several users'
      : spawnSync('setpriv', ['--version']).status !== 0
        ? 'needs setpriv'
        : null

export interface EndedAs {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Arguments that run a command as a user without groups. */
export const userCommand = (user: number, command: readonly string[]): [string, ...string[]] => [
  ...(['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups'] as const),
  ...command,
]

/** Runs a program as a user, in an environment of PATH and `env`. */
export function runAs(user: number, command: readonly string[], env: Readonly<Record<string, string>> = {}): EndedAs {
  const [program, ...rest] = userCommand(user, command)
  const { status, stdout, stderr } = spawnSync(program, rest, {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], HOME: '/nonexistent', ...env },
  })
  return { status, stdout, stderr }
}

export const cliAs = (user: number, args: readonly string[], env: Readonly<Record<string, string>> = {}): EndedAs =>
  runAs(user, [process.execPath, cliFile, ...args], env)
