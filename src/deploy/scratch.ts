/** Where a node keeps fast files of a job: the places to try, in their order, when no target is named. */
import { isAbsolute, resolve } from 'node:path'

export interface Candidate {
  readonly path: string
  /** Who names it: `$SLURM_TMPDIR`, `policy`, `default`, … */
  readonly source: string
}

/** A place that was passed over. */
export interface Rejected extends Candidate {
  readonly why: string
}

/** The administrator's word comes first; then what schedulers give to one job; then what a job finds on most clusters. */
const variables = ['CONDA_DEPLOY_ROOT', 'SLURM_TMPDIR', 'LOCAL_SCRATCH', 'TMPDIR'] as const

export interface Candidates {
  readonly try: readonly Candidate[]
  readonly rejected: readonly Rejected[]
}

/**
 * Pure. `site`: the scratch folder of the site's policy, which only the administrator's variable comes before. `/mnt/bb/USER` is the burst buffer of Frontier and its kin; `/dev/shm` comes last because it is memory. A place named twice is
 * tried once. `user` is null where the system knows no name.
 */
export function candidates(
  env: Readonly<Record<string, string | undefined>>,
  user: string | null,
  site: string | null = null,
): Candidates {
  const found = new Map<string, Candidate>()
  const rejected: Rejected[] = []
  const named = variables.map((name): [source: string, value: string | undefined] => [`$${name}`, env[name]])
  named.splice(1, 0, ['policy', site ?? undefined])
  for (const [source, value] of named) {
    if (value === undefined || value === '') continue
    if (!isAbsolute(value)) rejected.push({ path: value, source, why: 'it is not an absolute path' })
    else if (!found.has(resolve(value))) found.set(resolve(value), { path: resolve(value), source })
  }
  const own = user === null ? [] : [`/mnt/bb/${user}`, `/scratch/${user}`]
  for (const path of [...own, '/local', '/tmp', '/dev/shm'])
    if (!found.has(path)) found.set(path, { path, source: 'default' })
  return { try: [...found.values()], rejected }
}
