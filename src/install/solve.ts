/**
 * From match specs to packages. The room of this folder: environments are made from packages here, with neither conda nor its solver. This
 * file prepares the question and names the answer; the rules are in candidates.ts, the library's border in solver.ts.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Piscina } from 'piscina'
import { EnvError } from '../errors.js'
import type { Priority } from './candidates.js'
import type { RepoRecord } from './repodata.js'
import type { SolveAnswer, SolveTask } from './solve-worker.js'
import type { VirtualPackage } from './solver.js'

/** One `repodata.json` on this machine, of one folder of a channel. */
export interface Index {
  /** Address of the channel. */
  readonly base: string
  readonly name: string
  readonly subdir: string
  readonly file: string
}

export interface Question {
  /** Match specs. */
  readonly specs: readonly string[]
  /** In the order of their channels. */
  readonly indexes: readonly Index[]
  readonly platform: string
  readonly virtual: readonly VirtualPackage[]
  /** What is installed already: kept where the specs allow it, also where no channel has it any more. */
  readonly installed?: readonly RepoRecord[]
  /** Installed too, but one candidate among others. */
  readonly free?: readonly RepoRecord[]
  /** Only what the specs name, whatever it needs. */
  readonly alone?: boolean
  readonly pins?: readonly string[]
  /** Specs that need not hold: which of them do not is part of the answer. */
  readonly wishes?: readonly string[]
  /** Milliseconds since 1970. */
  readonly excludeNewer?: number | null
  readonly priority?: Priority
  readonly signal?: AbortSignal | undefined
}

export interface Answer {
  /** In the order in which they are to be linked. */
  readonly records: readonly RepoRecord[]
  /** With flexible priority there was no answer until packages of later channels were allowed where earlier ones have the name. */
  readonly relaxed: boolean
  /** Those of the wishes that do not hold. */
  readonly unmet: readonly string[]
}

/** A solver in a thread of its own. */
export interface SolverThread {
  /** Throws UNSATISFIABLE with the solver's explanation, INVALID_SPEC, CHANNEL_DAMAGED, CANCELLED. */
  readonly solve: (question: Question) => Promise<Answer>
  /** Ends the thread, and with it all its memory. */
  readonly end: () => Promise<void>
}

let early: Promise<SolverThread> | null = null

/** For who knows that a question will come long before it can be put; waited for, the thread is begun. It keeps no process alive. */
export async function startSolverEarly(): Promise<void> {
  early ??= makeSolver()
  // Why not is told to who asks.
  await early.catch(() => undefined)
}

/** The thread takes a tenth of a second to be ready: what the question needs can be prepared meanwhile. Throws ADDON_MISSING. */
export function startSolver(): Promise<SolverThread> {
  const solver = early ?? makeSolver()
  early = null
  return solver
}

async function makeSolver(): Promise<SolverThread> {
  const { Piscina } = await import('piscina')
  const pool = new Piscina({
    ...{ filename: workerFile(), minThreads: 1, maxThreads: 1 },
    ...{ atomics: 'disabled', execArgv: [] },
  })
  return { solve: (question) => solveIn(pool, question), end: () => pool.destroy() }
}

const defaults = {
  installed: [],
  free: [],
  alone: false,
  pins: [],
  wishes: [],
  excludeNewer: null,
  priority: 'flexible',
} as const

async function solveIn(pool: Piscina, { signal, ...question }: Question): Promise<Answer> {
  const task: SolveTask = { ...defaults, ...question }
  try {
    const answer = (await pool.run(task, signal === undefined ? {} : { signal })) as SolveAnswer
    if (!('failed' in answer)) return answer
    const { code, message, hint } = answer.failed
    throw new EnvError(code, message, hint === undefined ? {} : { hint })
  } catch (error) {
    if (error instanceof EnvError) throw error
    if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
    // The library panics on some specs; its thread is gone then, and with it all it had.
    const message = `the solver gave up on ${question.specs.join(' ')}: ${(error as Error).message}`
    throw new EnvError('UNSATISFIABLE', message, { cause: error })
  }
}

/** One question to a thread of its own. Throws what they throw. */
export async function solve(question: Question): Promise<Answer> {
  const solver = await startSolver()
  try {
    return await solver.solve(question)
  } finally {
    await solver.end()
  }
}

/** The bundled worker stands beside whatever bundle this is part of; run from source, it is that of the last build. */
function workerFile(): string {
  const here = import.meta.url
  const file = fileURLToPath(new URL(here.endsWith('.ts') ? '../../dist/solve-worker.cjs' : './solve-worker.cjs', here))
  if (existsSync(file)) return file
  const hint = 'build it: npm run build:js (checkout), or install conda-deploy again'
  throw new EnvError('ADDON_MISSING', `the solver is not at ${file}`, { path: file, hint })
}
