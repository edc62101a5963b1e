/** The verb: deploys, activates, runs one program in it, and tells how it ended. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readActivation } from '../conda/activation.js'
import { recordActivating } from '../conda/recorded.js'
import { type Spare, spares, sparing } from '../conda/spare.js'
import { EnvError, fromSystem } from '../errors.js'
import { forwardSignals } from '../forward-signals.js'
import { silent } from '../report.js'
import { cancelled } from '../tree/lock.js'
import { ProgramLease } from './cache/program-lease.js'
import { type DeployOptions, type DeployResult, deployFor } from './deploy.js'
import { standardInput } from './source.js'

export interface RunOptions extends Omit<DeployOptions, 'dryRun'> {
  /** The program, found by the PATH of the environment, and its arguments. It has this process's standard streams. */
  readonly command: readonly string[]
  /** Settings that keep programs from looking into a shared home folder. Default: none. */
  readonly spare?: readonly Spare[] | undefined
  /**
   * Called when the program has started. From then on the signals that this process gets are handed to it, and what else acts on them
   * should stop doing so; `signal` ends it with SIGTERM.
   */
  readonly onStart?: ((pid: number) => void) | undefined
}

export interface RunResult {
  /** Exit status; null: a signal ended the program. */
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly deployment: DeployResult
  /** What the scripts of activate.d said, and what could not be activated. */
  readonly warnings: readonly string[]
}

/**
 * Runs a program in the environment of an archive. Throws what `deploy` throws, and COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE,
 * NOT_AN_ENV (the prefix cannot be activated), CANCELLED before the program has started.
 */
export async function run(options: RunOptions): Promise<RunResult> {
  const { command, spare = [], onStart, ...rest } = options
  checkArchive(options.archive)
  const [program, ...args] = checkCommand(command)
  if (onStart !== undefined && typeof onStart !== 'function')
    throw new EnvError('INVALID_OPTION', `run: option 'onStart' must be a function, got ${typeof onStart}`)
  checkSpare(spare)
  const { reporter = silent } = rest
  const lease = new ProgramLease((message) => reporter.warn(message))
  const { result: deployment, claim } = await deployFor(rest, lease.holders)
  lease.of(claim)
  try {
    return await runIn(deployment, [program, ...args], options, (pid) => {
      lease.passTo(pid)
      onStart?.(pid)
    })
  } finally {
    await lease.end()
  }
}

async function runIn(
  deployment: DeployResult,
  [program, ...args]: readonly [string, ...string[]],
  { spare = [], signal, reporter = silent }: RunOptions,
  onStart: (pid: number) => void,
): Promise<RunResult> {
  reporter.phase('activate')
  const activation = await sparing(await readActivation(deployment.prefix), spare)
  const { variables, warnings: said } = await recordActivating(activation, process.env, { signal })
  const warnings = [...activation.warnings, ...said]
  for (const warning of warnings) reporter.warn(warning)
  if (signal?.aborted) throw cancelled(signal)
  reporter.phase('run')
  return { ...(await runProgram(program, args, variables, signal, onStart)), deployment, warnings }
}

/** Throws INVALID_OPTION for standard input, which belongs to the program. */
export function checkArchive(archive: string): void {
  if (archive !== standardInput) return
  const hint = 'save it to a file, or deploy it with conda-deploy - and activate what that prints'
  throw new EnvError(
    'INVALID_OPTION',
    'run: standard input belongs to the program, so the archive cannot come from it',
    { hint },
  )
}

function checkCommand(command: readonly string[]): [string, ...string[]] {
  const all: unknown = command
  if (!Array.isArray(all) || !all.every((part) => typeof part === 'string'))
    throw new EnvError('INVALID_OPTION', "run: option 'command' must be an array of strings")
  const [program, ...args] = all as string[]
  if (program === undefined || program === '') throw new EnvError('INVALID_OPTION', 'run: no command is named')
  return [program, ...args]
}

function checkSpare(spare: readonly string[]): void {
  const wrong = Array.isArray(spare) ? spare.find((one) => !spares.some((known) => known === one)) : spare
  if (wrong !== undefined)
    throw new EnvError('INVALID_OPTION', `run: option 'spare' knows ${spares.join(', ')}, got ${String(wrong)}`)
}

type Ended = Pick<RunResult, 'status' | 'signal'>

function runProgram(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal | undefined,
  onStart: RunOptions['onStart'],
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, stdio: 'inherit' })
    const end = (): void => void child.kill('SIGTERM')
    const release = forwardSignals((name) => void child.kill(name))
    const stop = (): void => {
      release()
      signal?.removeEventListener('abort', end)
    }
    signal?.addEventListener('abort', end)
    child.once('spawn', () => onStart?.(child.pid ?? 0))
    child.once('error', (error) => {
      stop()
      reject(failure(error, program, env['PATH']))
    })
    child.once('exit', (status, ending) => {
      stop()
      resolve({ status, signal: ending })
    })
  })
}

/** As shells say it: 127 there is no such program, 126 there is something that cannot be executed. */
function failure(error: NodeJS.ErrnoException, program: string, path: string | undefined): EnvError {
  // A folder in PATH that may not be looked into is reported as if the program might not be executed.
  const isThere = (): boolean => (path ?? '').split(':').some((folder) => existsSync(join(folder, program)))
  const isSought = !program.includes('/')
  const isAbsent = isSought ? !isThere() : !existsSync(program)
  if ((error.code === 'ENOENT' || error.code === 'EACCES') && isAbsent) {
    const where = isSought ? ' in the environment, nor elsewhere in PATH' : ''
    return new EnvError('COMMAND_NOT_FOUND', `there is no program ${program}${where}`, { path: program, cause: error })
  }
  const unable: readonly string[] = ['ENOENT', 'EACCES', 'EPERM', 'ENOEXEC', 'EISDIR', 'ELOOP', 'ETXTBSY']
  if (!unable.includes(error.code ?? '')) return fromSystem(error, 'cannot run', program)
  // A script whose interpreter is missing is reported as if it were missing itself.
  const why = error.code === 'ENOENT' ? 'its interpreter is missing' : error.message
  return new EnvError('COMMAND_NOT_EXECUTABLE', `${program} cannot be executed: ${why}`, {
    ...{ path: program, cause: error },
  })
}
