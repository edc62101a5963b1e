/** Runs the bundled CLI as a user does: its own process, its own streams. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

export const cliFile: string = resolve(import.meta.dirname, '../../dist/conda-deploy.cjs')

export interface CliOptions {
  readonly cwd?: string
  /** Added to an environment that has nothing but PATH and HOME; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Called with the process while it runs. */
  readonly during?: (child: ChildProcess) => void
}

export interface CliResult {
  /** Null when a signal ended it. */
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  if (!existsSync(cliFile)) throw new Error(`${cliFile} is missing: run npm run build:js first`)
  const { PATH, HOME, TMPDIR } = process.env
  const env = Object.fromEntries(
    Object.entries({ PATH, HOME, TMPDIR, ...options.env }).filter(([, value]) => value !== undefined),
  ) as NodeJS.ProcessEnv
  const child = spawn(process.execPath, [cliFile, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  const stdout: Buffer[] = []
  const stderr: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
  options.during?.(child)
  return new Promise((fulfil, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => {
      fulfil({ status, signal, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() })
    })
  })
}
