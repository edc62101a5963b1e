/** The environment variables for a program that runs in an activated environment: the effect of activate.d takes a real shell. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { EnvError, fromSystem } from '../errors.js'
import { type Activation, assignments, pathWith } from './activation.js'
import type { Variables } from './find.js'

export interface Activated {
  readonly variables: Readonly<Record<string, string>>
  /** What the scripts of activate.d said, and which one ended the shell. */
  readonly warnings: readonly string[]
}

/**
 * `env` with the activation applied, scripts included: bash (they are often written for it), else /bin/sh, sources them without input
 * and tells its environment. Throws CANCELLED, IO.
 */
export async function environmentOf(activation: Activation, env: Variables, signal?: AbortSignal): Promise<Activated> {
  const variables: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) if (value !== undefined) variables[name] = value
  Object.assign(variables, Object.fromEntries(assignments(activation, env).set))
  variables['PATH'] = pathWith(activation, env['PATH'])
  if (activation.scripts.sh.length === 0) return { variables, warnings: [] }
  return await sourced(activation.scripts.sh, variables, signal)
}

/** Descriptor 3 is for the answer, so that what scripts print does not get into it. CONDA_DEPLOY_SOURCING is set while a script runs. */
const code = `
trap 'env -0 >&3' EXIT
export CONDA_DEPLOY_SOURCING
for CONDA_DEPLOY_SOURCING; do
  . "$CONDA_DEPLOY_SOURCING"
done
unset CONDA_DEPLOY_SOURCING`

/** Startup files of the shell, which would run before the scripts: kept, but not in force. */
const startup = ['BASH_ENV', 'ENV']
/** The shell's own, which a program started from it would not get from us. */
const volatile = new Set(['_', 'SHLVL', 'PWD', 'OLDPWD', 'CONDA_DEPLOY_SOURCING', ...startup])

async function sourced(
  scripts: readonly string[],
  variables: Record<string, string>,
  signal?: AbortSignal,
): Promise<Activated> {
  const shell = ['/bin/bash', '/usr/bin/bash'].find((path) => existsSync(path)) ?? '/bin/sh'
  const env = Object.fromEntries(Object.entries(variables).filter(([name]) => !startup.includes(name)))
  const { answer, said, ended } = await shellRun(shell, ['-c', code, 'activate', ...scripts], env, signal)
  const found: Record<string, string> = {}
  for (const line of answer.split('\0')) {
    const at = line.indexOf('=')
    if (at > 0) found[line.slice(0, at)] = line.slice(at + 1)
  }
  if (found['PATH'] === undefined)
    throw new EnvError('IO', `${shell} sourced ${scripts.join(' ')} and told no environment (${ended}): ${said}`)
  const warnings = said.split('\n').filter((line) => line !== '')
  const current = found['CONDA_DEPLOY_SOURCING']
  if (current !== undefined) warnings.push(`${current} ended the shell (${ended}); the scripts after it did not run`)
  for (const name of volatile) {
    const before = variables[name]
    if (before === undefined) delete found[name]
    else found[name] = before
  }
  return { variables: found, warnings }
}

interface Ran {
  readonly answer: string
  readonly said: string
  readonly ended: string
}

function shellRun(
  shell: string,
  args: readonly string[],
  env: Record<string, string>,
  signal?: AbortSignal,
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(shell, args, { env, stdio: ['ignore', 'pipe', 'pipe', 'pipe'], ...(signal ? { signal } : {}) })
    const gather = (index: 1 | 2 | 3): Buffer[] => {
      const chunks: Buffer[] = []
      ;(child.stdio[index] as NodeJS.ReadableStream | null)?.on('data', (chunk: Buffer) => chunks.push(chunk))
      return chunks
    }
    const [out, err, answer] = [gather(1), gather(2), gather(3)]
    child.on('error', (error) =>
      reject(
        signal?.aborted
          ? new EnvError('CANCELLED', 'cancelled', { cause: error })
          : fromSystem(error, 'cannot run', shell),
      ),
    )
    child.on('close', (status, ending) => {
      const text = (chunks: Buffer[]): string => Buffer.concat(chunks).toString('utf8')
      resolve({ answer: text(answer), said: text(out) + text(err), ended: ending ?? `status ${status}` })
    })
  })
}
