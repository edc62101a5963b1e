/** A file to every node of a job, by sbcast. */
import { type ChildProcess, spawn } from 'node:child_process'
import { EnvError } from '../errors.js'
import type { Allocation } from './allocation.js'
import { stepOptions } from './step.js'

/**
 * Ends its program when its own input ends, that is when whoever started it is gone: sbcast would go on writing for nobody. A shell's
 * background job has no input of its own, hence descriptor 3.
 */
const leash =
  'exec 3<&0; "$@" <&- & p=$!; { cat <&3; kill $p; } >/dev/null 2>&1 & c=$!; exec 3<&-; trap "kill $p" TERM; ' +
  'wait $p; s=$?; kill $c 2>/dev/null; exit $s'

/**
 * Runs `sbcast` for the nodes of a step; null: done, else what it said. Throws CANCELLED. Copies, or parts of them, may be on nodes in any
 * case.
 */
export function sbcast(
  { programs, job }: Allocation,
  step: string,
  from: string,
  to: string,
  signal: AbortSignal | undefined,
): Promise<string | null> {
  const program = programs['sbcast'] ?? 'sbcast'
  const command = ['sh', '-c', leash, 'sh', program, '-j', `${job}.${step}`, from, to]
  // A signal would end the shell alone while it is not ready to pass it on, and the program would go on.
  return ranBy(command, signal, (child) => void child.stdin?.end()).then(({ status, said }) =>
    status === 0
      ? null
      : `sbcast ended with ${status === null ? 'a signal' : `status ${status}`}${said === '' ? '' : `: ${said}`}`,
  )
}

/** Milliseconds for a step that removes two files. */
const sweepTime = 60_000

/** Takes files away on nodes whose own task did not say that it had; false: it could not be done. */
export async function sweep(
  { programs }: Allocation,
  nodes: readonly string[],
  files: readonly string[],
): Promise<boolean> {
  const args = [...stepOptions(nodes), '--input=none', 'rm', '-f', '--', ...files]
  const command = [programs['srun'] ?? 'srun', ...args]
  const { status } = await ranBy(command, AbortSignal.timeout(sweepTime), (child) => void child.kill()).catch(() => ({
    status: 1,
  }))
  return status === 0
}

interface Ran {
  readonly status: number | null
  readonly said: string
}

function ranBy(
  [program = '', ...args]: readonly string[],
  signal: AbortSignal | undefined,
  end: (child: ChildProcess) => void,
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'pipe'], detached: true })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = `${said}${text}`.slice(-4000)
    })
    child.stdin.on('error', () => undefined) // It does not read it.
    const stop = (): void => end(child)
    signal?.addEventListener('abort', stop, { once: true })
    child.once('error', reject)
    child.once('close', (status) => {
      signal?.removeEventListener('abort', stop)
      if (signal?.aborted) reject(new EnvError('CANCELLED', 'cancelled', { cause: signal.reason }))
      else resolve({ status, said: said.trim().replaceAll(/\s*\n\s*/g, '; ') })
    })
    if (signal?.aborted) stop()
  })
}
