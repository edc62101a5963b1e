/**
 * After a job, as root: what it held is given back, and the caches become as small as the policy wants them. Removing large trees takes as
 * long as it takes, so a process with a limit does it: what is not removed by then is taken up by the next one.
 */

import { releaseLeases } from '../deploy/cache/lease.js'
import { readPolicy } from '../deploy/cache/policy.js'
import type { PruneCacheResult } from '../deploy/cache/prune.js'
import { checkOptions, type Shape } from '../options.js'
import { type Reporter, silent } from '../report.js'
import type { Account } from './as-user.js'
import { lastJson, runBounded } from './bounded.js'
import { jobOf } from './job.js'
import { ownCommand } from './own-command.js'
import { removeRecord } from './record.js'

export interface EpilogOptions {
  /** As leases have it, `slurm:4711`. Default: as the variables of the scheduler tell. */
  readonly job?: string | undefined
  /** Whose job it was, where the scheduler does not tell. */
  readonly user?: string | undefined
  /** The policy file to read instead of /etc/conda-deploy.yaml. */
  readonly policy?: string | undefined
  /** Seconds that pruning may take; default: `jobs.timeout` of the policy, 120. */
  readonly timeout?: number | undefined
  /** The command that starts conda-deploy, which does the work. Default: the one that lies beside this library. */
  readonly command?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

export interface EpilogResult {
  readonly job: string
  readonly user: string
  /** Files of the leases that were given back. */
  readonly released: readonly string[]
  /** Prefixes that were removed. */
  readonly removed: readonly string[]
  readonly warnings: readonly string[]
}

const shape: Shape<EpilogOptions> = {
  job: 'string',
  user: 'string',
  policy: 'string',
  timeout: 'number',
  command: 'strings',
  signal: 'object',
  reporter: 'object',
}

/** Throws USAGE (no job), CONFIG_DAMAGED, ENV_NOT_FOUND (no such user), PERMISSION, IO. */
export async function epilog(options: EpilogOptions = {}): Promise<EpilogResult> {
  checkOptions<EpilogOptions>('epilog', options, shape)
  const { policy, reporter = silent } = options
  const { jobs } = await readPolicy(policy)
  const job = jobOf(process.env, options)
  const hadNote = removeRecord(jobs.state, job.holder)
  const account = job.account()
  const { released, warnings } = await releaseLeases({
    ...{ holder: job.holder, policy, user: account.uid, userName: account.name },
  })
  // A job that used nothing has left nothing: most jobs of a cluster.
  const isDue = hadNote || released.length > 0
  const pruned = isDue ? await prune(account, jobs.timeout, options) : { removed: [], warnings: [] }
  const all = [...warnings, ...pruned.warnings]
  for (const warning of all) reporter.warn(warning)
  return { job: job.holder, user: job.user, released, removed: pruned.removed, warnings: all }
}

async function prune(
  { uid, name }: Account,
  limit: number,
  { timeout = limit, command = ownCommand(), policy, signal }: EpilogOptions,
): Promise<Pick<EpilogResult, 'removed' | 'warnings'>> {
  const words = [
    'cache',
    'prune',
    '--json',
    '--user',
    String(uid),
    ...(policy === undefined ? [] : ['--policy', policy]),
  ]
  // Some scratch folders are found by the user's name.
  const env = { PATH: '/usr/bin:/bin', USER: name }
  const { status, stdout, stderr, cut } = await runBounded([...command, ...words], { env, timeout, signal })
  if (cut !== null)
    return { removed: [], warnings: [`pruning was ended after ${timeout} s: the next one goes on with it`] }
  const answer = lastJson(stdout) as Partial<PruneCacheResult> | null
  if (status !== 0 || answer === null)
    return { removed: [], warnings: [`pruning ended with ${status}: ${stderr.trim()}`] }
  return { removed: (answer.removed ?? []).map(({ prefix }) => prefix), warnings: answer.warnings ?? [] }
}
