/**
 * The verb: runs a program and counts every file access of its whole process tree, by what served it. Counting is native
 * (native/trace); here is the plan, the classification of paths and the report. Nothing here prints; the program has this process's
 * streams. What the tracer cannot see is in the report: `unseen`.
 */
import { constants, homedir } from 'node:os'
import { resolve } from 'node:path'
import { EnvError } from '../errors.js'
import { forwardSignals } from '../forward-signals.js'
import { type Counters, native, runJob } from '../native.js'
import { checkOptions } from '../options.js'
import { type Reporter, silent } from '../report.js'
import { classifier } from './classify.js'
import { makeReport, type TraceReport } from './report.js'

export interface TraceOptions {
  /** The program, found by the PATH of `env`, and its arguments. It has this process's standard streams. */
  readonly argv: readonly string[]
  /** Default: this process's. */
  readonly cwd?: string | undefined
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
  /** Where the environment was deployed to. */
  readonly target?: string | undefined
  /** Where it came from. */
  readonly source?: string | undefined
  /** Folders that count as shared whatever serves them. */
  readonly shared?: readonly string[] | undefined
  /** Default: the home folder of the user. */
  readonly home?: string | undefined
  /** Also count calls on open descriptors, and the bytes they read and map. Costs more: every read stops. */
  readonly bytes?: boolean | undefined
  /**
   * The program has this process's terminal: while it runs, signals that this process gets are handed to it, and Ctrl-Z stops both.
   * Default: false.
   */
  readonly foreground?: boolean | undefined
  /** Aborting kills the whole process tree; rejects with CANCELLED. */
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

/**
 * Runs a program under the tracer. Resolves when its last process has ended, also when it failed: `status` tells. Throws
 * INVALID_OPTION, COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, UNSUPPORTED (another system, or ptrace or seccomp is forbidden), CANCELLED, IO.
 */
export async function trace(options: TraceOptions): Promise<TraceReport> {
  checkOptions('trace', options, {
    argv: 'strings',
    cwd: 'string',
    env: 'object',
    target: 'string',
    source: 'string',
    shared: 'strings',
    home: 'string',
    bytes: 'boolean',
    foreground: 'boolean',
    signal: 'object',
    reporter: 'object',
  })
  const { argv, bytes = false, foreground = false, signal, reporter = silent } = options
  if (argv.length === 0 || argv[0] === '') throw new EnvError('INVALID_OPTION', 'trace: no program is named')
  const cwd = resolve(options.cwd ?? process.cwd())
  const env = Object.entries(options.env ?? process.env).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`],
  )
  let counters: Counters | undefined
  const release = foreground
    ? takeSignals(() => Number(counters === undefined ? 0n : Atomics.load(counters, 3)))
    : undefined
  try {
    const traced = await runJob(
      (shared) => {
        counters = shared
        return native().trace({ argv, env, cwd, bytes, foreground }, shared)
      },
      { signal },
    )
    const absolute = (folder: string): string => resolve(cwd, folder)
    const places = {
      target: options.target === undefined ? undefined : absolute(options.target),
      source: options.source === undefined ? undefined : absolute(options.source),
      shared: (options.shared ?? []).map(absolute),
      home: options.home === undefined ? homedir() : absolute(options.home),
    }
    const serve = await classifier(
      places,
      traced.paths.map(({ at }) => at),
    )
    const report = makeReport(traced, { command: argv, cwd, bytes, signal: signalName(traced.signal) }, serve)
    for (const warning of report.warnings) reporter.warn(warning)
    return report
  } finally {
    release?.()
  }
}

const signalName = (number: number | null): string | null =>
  number === null
    ? null
    : (Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? `SIG${number}`)

/** Signals go to the program; Ctrl-Z stops it, and the native core stops this process with it. */
function takeSignals(pid: () => number): () => void {
  const stay = (): void => undefined
  const hand = (name: NodeJS.Signals): void => {
    const running = pid()
    if (running === 0) return
    try {
      process.kill(running, name)
    } catch (error) {
      // It has ended in between.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  const release = forwardSignals(hand)
  process.on('SIGTSTP', stay)
  return () => {
    process.off('SIGTSTP', stay)
    release()
  }
}
