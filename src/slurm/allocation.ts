/** The job whose nodes are meant, and Slurm's programs. */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Variables } from '../conda/find.js'
import { EnvError } from '../errors.js'

export interface Allocation {
  readonly job: string
  /** Names as Slurm has them, in its order. */
  readonly nodes: readonly string[]
  /** Paths of the programs that were asked for. */
  readonly programs: Readonly<Record<string, string>>
}

/**
 * The allocation that this process is in. Throws USAGE when it is in none, COMMAND_NOT_FOUND when one of `programs` is not in PATH, IO
 * when Slurm does not tell the nodes.
 */
export function allocationOf(env: Variables, programs: readonly string[]): Allocation {
  const job = env['SLURM_JOB_ID'] ?? env['SLURM_JOBID']
  const list = env['SLURM_JOB_NODELIST'] ?? env['SLURM_NODELIST']
  if (!job || !list) {
    const hint = 'run it in a job: salloc -N4 conda-deploy broadcast ARCHIVE, or a line of a script for sbatch'
    throw new EnvError('USAGE', 'broadcast: this is not in an allocation of Slurm (SLURM_JOB_ID is not set)', { hint })
  }
  const found = Object.fromEntries(['scontrol', ...programs].map((name) => [name, inPath(name, env)]))
  const listing = spawnSync(found['scontrol'] ?? '', ['show', 'hostnames', list], { encoding: 'utf8', timeout: 30_000 })
  const nodes = (listing.stdout ?? '').split('\n').filter((line) => line !== '')
  if (listing.status !== 0 || nodes.length === 0) {
    const why = (listing.stderr ?? '').trim() || listing.error?.message || `status ${listing.status}`
    throw new EnvError('IO', `scontrol does not tell the nodes of job ${job} (${list}): ${why}`)
  }
  return { job, nodes, programs: found }
}

function inPath(name: string, env: Variables): string {
  const found = (env['PATH'] ?? '')
    .split(':')
    .map((folder) => join(folder || '.', name))
    .find(isProgram)
  if (found !== undefined) return found
  const hint = "it is one of Slurm's: load the module of Slurm, or add its folder to PATH"
  throw new EnvError('COMMAND_NOT_FOUND', `broadcast: there is no ${name} in PATH`, { path: name, hint })
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false // Not here, or not to be executed: the next folder of PATH.
  }
}
