/**
 * What the scripts of an environment do to variables, found by running them once in a real shell: for whoever cannot source them (a
 * program that is started, a scheduler, a shell of another family).
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { EnvError, fromSystem } from '../errors.js'
import { type Activation, assignments, pathWith, pathWithout, type Scripts } from './activation.js'
import type { Variables } from './find.js'
import { activating, type Step } from './steps.js'

type Environment = Readonly<Record<string, string>>

export interface Recorded {
  /** The steps with scripts replaced by what they do. */
  readonly steps: readonly Step[]
  /** The environment after them. */
  readonly variables: Environment
  /** Variables that scripts changed, added or removed. */
  readonly touched: readonly string[]
  /** What the scripts said, and which one ended the shell. */
  readonly warnings: readonly string[]
}

/** Which scripts the taker cannot source itself. */
export type Lacking = (scripts: Scripts) => readonly string[]
const all: Lacking = ({ sh }) => sh

/**
 * Applies the steps to `env`; the scripts that are `lacking` are run: by bash (they are often written for it), else by /bin/sh, without
 * input. Throws CANCELLED, IO.
 */
export async function record(
  steps: readonly Step[],
  env: Variables,
  { lacking = all, signal }: { readonly lacking?: Lacking; readonly signal?: AbortSignal | undefined } = {},
): Promise<Recorded> {
  let variables: Environment = Object.fromEntries(
    Object.entries(env).filter((pair): pair is [string, string] => pair[1] !== undefined),
  )
  const done: Step[] = []
  const touched: string[] = []
  const warnings: string[] = []
  for (const step of steps) {
    const scripts = step.is === 'source' ? lacking(step.scripts) : []
    if (step.is === 'source' && scripts.length > 0) {
      const effect = await effectOf(scripts, variables, signal)
      warnings.push(...effect.warnings)
      touched.push(...effect.changes.map(({ name }) => name))
      done.push(...effect.changes, { is: 'source', scripts: { ...step.scripts, sh: [] } })
      for (const change of effect.changes) variables = after(change, variables)
    } else {
      done.push(step)
      variables = after(step, variables)
    }
  }
  return { steps: done, variables, touched, warnings }
}

/** The environment activated; deactivating will restore what its scripts touched too. Throws what `record` throws. */
export async function recordActivating(
  activation: Activation,
  env: Variables,
  how: { readonly lacking?: Lacking; readonly signal?: AbortSignal | undefined } = {},
): Promise<Recorded> {
  const done = await record(activating(activation, env), env, how)
  const [plain, noting] = [assignments(activation, env), assignments(activation, env, done.touched)]
  const known = new Set(plain.set.map(([name, value]) => `${name}=${value}`))
  const notes = noting.set.filter(([name, value]) => !known.has(`${name}=${value}`))
  const steps = notes.map(([name, value]): Step => ({ is: 'set', name, value }))
  return {
    ...done,
    steps: [...done.steps, ...steps],
    variables: { ...done.variables, ...Object.fromEntries(notes) },
  }
}

function after(step: Step, variables: Environment): Environment {
  if (step.is === 'set') return { ...variables, [step.name]: step.value }
  if (step.is === 'enter') return { ...variables, PATH: pathWith(step.folder, variables['PATH']) }
  if (step.is === 'leave' && variables['PATH'] !== undefined)
    return { ...variables, PATH: pathWithout(step.folder, variables['PATH']) }
  if (step.is !== 'unset') return variables
  const { [step.name]: _, ...rest } = variables
  return rest
}

export type Assigning = Extract<Step, { readonly is: 'set' | 'unset' }>

/** From one environment to another, by name. */
export function changesOf(before: Variables, now: Variables): readonly Assigning[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])].sort()
  return names.flatMap((name): Assigning[] => {
    const value = now[name]
    if (value === before[name]) return []
    return [value === undefined ? { is: 'unset', name } : { is: 'set', name, value }]
  })
}

/**
 * Tells its environment before the scripts and at the end, whoever ends it. Descriptor 3 is for the answer, so that what scripts print
 * does not get into it; `env` is named by its path, because scripts may change PATH. CONDA_DEPLOY_SOURCING is set while a script runs.
 * Each of the two listings ends with an empty entry.
 */
const code = `
/usr/bin/env -0 >&3
printf '\\0' >&3
trap '/usr/bin/env -0 >&3; printf "\\0" >&3' EXIT
export CONDA_DEPLOY_SOURCING
for CONDA_DEPLOY_SOURCING; do
  . "$CONDA_DEPLOY_SOURCING"
done
unset CONDA_DEPLOY_SOURCING`

/** Startup files of the shell, which would run before the scripts: kept, but not in force. */
const startup = ['BASH_ENV', 'ENV']
/** The shell's own. Where a script leaves the shell is of no consequence: who takes the effect stands where it stood. */
const volatile = new Set(['_', 'SHLVL', 'PWD', 'OLDPWD', 'CONDA_DEPLOY_SOURCING'])

interface Effect {
  readonly changes: readonly Assigning[]
  readonly warnings: readonly string[]
}

async function effectOf(scripts: readonly string[], variables: Environment, signal?: AbortSignal): Promise<Effect> {
  const shell = ['/bin/bash', '/usr/bin/bash'].find((path) => existsSync(path)) ?? '/bin/sh'
  const env = Object.fromEntries(Object.entries(variables).filter(([name]) => !startup.includes(name)))
  const { answer, said, ended } = await shellRun(shell, ['-c', code, 'activate', ...scripts], env, signal)
  const [before, end] = answer.split('\0\0').map(environmentIn)
  if (before === undefined || end === undefined)
    throw new EnvError('IO', `${shell} sourced ${scripts.join(' ')} and told no environment (${ended}): ${said}`)
  const warnings = linesOf(said)
  const current = end['CONDA_DEPLOY_SOURCING']
  if (current !== undefined) warnings.push(`${current} ended the shell (${ended}); the scripts after it did not run`)
  return { changes: changesOf(before, end).filter(({ name }) => !volatile.has(name)), warnings }
}

/** Lines of what scripts say that are passed on: an explanation, not a flood on every task of a job. */
const mostLines = 20

function linesOf(said: string): string[] {
  const lines = said.split('\n').filter((line) => line !== '')
  if (lines.length <= mostLines) return lines
  return [...lines.slice(0, mostLines), `… and more lines (the first ${mostLines} of what scripts of activation said)`]
}

function environmentIn(listing: string): Environment {
  const found: Record<string, string> = {}
  for (const line of listing.split('\0')) {
    const at = line.indexOf('=')
    if (at > 0) found[line.slice(0, at)] = line.slice(at + 1)
  }
  return found
}

interface Ran {
  readonly answer: string
  readonly said: string
  readonly ended: string
}

/** Bytes, about, of what scripts print that are kept. */
const mostSaid = 65_536

/** Milliseconds for which what the shell left behind (a daemon that a script started) may keep its pipes open; with no answer longer. */
const grace = { answered: 100, silent: 2000 }

/** In a process group of its own: what scripts started ends with the shell when it is cancelled. */
function shellRun(shell: string, args: readonly string[], env: Environment, signal?: AbortSignal): Promise<Ran> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
    const child = spawn(shell, args, { env, stdio: ['ignore', 'pipe', 'pipe', 'pipe'], detached: true })
    const gather = (index: 1 | 2 | 3, most = Number.POSITIVE_INFINITY): Buffer[] => {
      const chunks: Buffer[] = []
      let size = 0
      ;(child.stdio[index] as NodeJS.ReadableStream | null)?.on('data', (chunk: Buffer) => {
        if (size < most) chunks.push(chunk)
        size += chunk.length
      })
      return chunks
    }
    const [out, err, answer] = [gather(1, mostSaid), gather(2, mostSaid), gather(3)]
    const stop = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        // It has ended by itself.
      }
    }
    signal?.addEventListener('abort', stop, { once: true })
    const text = (chunks: Buffer[]): string => Buffer.concat(chunks).toString('utf8')
    const isAnswered = (): boolean => text(answer).split('\0\0').length > 2
    let waiting: NodeJS.Timeout | undefined
    const finish = (status: number | null, ending: string | null): void => {
      clearTimeout(waiting)
      signal?.removeEventListener('abort', stop)
      for (const stream of child.stdio) stream?.destroy()
      if (signal?.aborted) reject(new EnvError('CANCELLED', 'cancelled', { cause: signal.reason }))
      resolve({ answer: text(answer), said: text(out) + text(err), ended: ending ?? `status ${status}` })
    }
    child.on('error', (error) => reject(fromSystem(error, 'cannot run', shell)))
    child.on('exit', (status, ending) => {
      const late = (): void => finish(status, ending)
      waiting = setTimeout(() => {
        if (isAnswered()) late()
        else waiting = setTimeout(late, grace.silent)
      }, grace.answered)
    })
    child.on('close', finish)
  })
}
