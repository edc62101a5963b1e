/**
 * Workflows of schedulers. Their hooks: before a job (prolog.ts, as root), before each of its tasks (task-prolog.ts, as its user), after it
 * (epilog.ts, as root); what administrators install of them (install.ts); one archive onto all nodes of a job (broadcast.ts). They put
 * verbs together: nothing here extracts, or knows what a cache looks like inside. What a job's user names is touched only in
 * deploy-for.ts, with that user's rights, in a process that has only so much time.
 */
import { constants } from 'node:os'
import { type JobsPolicy, readPolicy } from '../deploy/cache/policy.js'
import { EnvError, isErrorCode } from '../errors.js'
import { checkOptions, type Shape } from '../options.js'
import { now, type Reporter, silent } from '../report.js'
import { type Account, commandAs } from './as-user.js'
import { type Ended, lastJson, runBounded } from './bounded.js'
import type { DeployedFor } from './deploy-for.js'
import { type Job, jobOf, type Wanted, wantedBy } from './job.js'
import { ownCommand } from './own-command.js'
import { type JobRecord, removeRecord, writeRecord } from './record.js'

export interface PrologOptions {
  /** As leases have it, `slurm:4711`. Default: as the variables of the scheduler tell. */
  readonly job?: string | undefined
  /** Whose job it is, where the scheduler does not tell. */
  readonly user?: string | undefined
  /** The policy file to read instead of /etc/conda-deploy.yaml. */
  readonly policy?: string | undefined
  /** Seconds that deploying may take; default: `jobs.timeout` of the policy, 120. */
  readonly timeout?: number | undefined
  /** Default: all cores. */
  readonly threads?: number | undefined
  /** The command that starts conda-deploy, which does the work. Default: the one that lies beside this library. */
  readonly command?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

export interface PrologResult {
  readonly job: string
  readonly user: string
  /** Null: the job asks for nothing. */
  readonly wanted: Wanted | null
  readonly deployment: Exclude<DeployedFor, { unsuited: string }> | null
  /** In the cache of all users, not the user's own. */
  readonly shared: boolean
  readonly seconds: number
  readonly warnings: readonly string[]
}

const shape: Shape<PrologOptions> = {
  job: 'string',
  user: 'string',
  policy: 'string',
  timeout: 'number',
  threads: 'number',
  command: 'strings',
  signal: 'object',
  reporter: 'object',
}

type Deployment = NonNullable<PrologResult['deployment']>

/**
 * Deploys what a job asks for, and leaves a note for its tasks: where it is, or why it is not there. Throws USAGE (no job), CONFIG_DAMAGED,
 * LIMIT_EXCEEDED (it took too long), CANCELLED, and what deploying throws; nothing half-made is left then.
 */
export async function prolog(options: PrologOptions = {}): Promise<PrologResult> {
  checkOptions<PrologOptions>('prolog', options, shape)
  const start = now()
  const { policy: file, reporter = silent } = options
  const { jobs, cache } = await readPolicy(file)
  const job = jobOf(process.env, options)
  const told = { job: job.holder, user: job.user }
  const state = jobs.state
  let wanted: Wanted | null = null
  try {
    removeRecord(state, job.holder)
    wanted = wantedBy(job, process.env, jobs.rules)
    if (wanted === null)
      return { ...told, wanted, deployment: null, shared: false, seconds: secondsSince(start), warnings: [] }
    const account = job.account()
    const done = await deployWanted(wanted, job, account, { jobs, shared: cache.shared }, options)
    for (const warning of done.warnings) reporter.warn(warning)
    const { prefix, digest } = done.deployment
    writeRecord(state, job.holder, account, {
      ...{ version: 1, archive: wanted.archive, deployed: { prefix, digest }, failure: null },
    })
    return { ...told, wanted, ...done, seconds: secondsSince(start) }
  } catch (error) {
    tell(error, job, wanted, state, reporter)
    throw error
  }
}

const secondsSince = (start: number): number => (now() - start) / 1000

/** Leaves a note for the user. That it cannot be left is no reason to hide why. */
function tell(error: unknown, job: Job, wanted: Wanted | null, state: string, reporter: Reporter): void {
  if (!(error instanceof EnvError)) return
  const failure = { message: error.message, hint: error.hint ?? null, tookTooLong: error.errno === timedOut }
  const record: JobRecord = { version: 1, archive: wanted?.archive ?? '', deployed: null, failure }
  try {
    writeRecord(state, job.holder, job.account(), record)
  } catch (other) {
    reporter.warn(`the user of ${job.holder} is not told: ${(other as Error).message}`)
  }
}

/** As Node has it, below zero. */
const timedOut = -constants.errno.ETIMEDOUT

interface Settings {
  readonly jobs: JobsPolicy
  readonly shared: boolean
}

type Done = Pick<PrologResult, 'shared' | 'warnings'> & { readonly deployment: Deployment }

async function deployWanted(
  wanted: Wanted,
  job: Job,
  account: Account,
  { jobs, shared }: Settings,
  options: PrologOptions,
): Promise<Done> {
  const { timeout = jobs.timeout, command = ownCommand(), policy, threads, signal, reporter = silent } = options
  const until = now() + timeout * 1000
  const step = async (asRoot: boolean): Promise<DeployedFor> => {
    reporter.phase(asRoot ? 'deploy for all users' : `deploy for ${account.name}`)
    const words = ['deploy-for', wanted.archive, '--json', '--lease', job.holder]
    words.push('--account', `${account.uid}:${account.gid}:${account.name}`)
    if (policy !== undefined) words.push('--policy', policy)
    if (threads !== undefined) words.push('--threads', String(threads))
    if (asRoot) words.push('--shared')
    const line = asRoot ? [...command, ...words] : commandAs(account, [...command, ...words])
    const ended = await runBounded(line, {
      env: { PATH: '/usr/bin:/bin', USER: account.name, LOGNAME: account.name },
      timeout: Math.max(0.001, (until - now()) / 1000),
      signal,
    })
    return answerOf(ended, wanted, timeout)
  }
  const isRoot = process.geteuid?.() === 0
  const first = await step(shared && isRoot)
  if (!('unsuited' in first)) return { deployment: first, shared: shared && isRoot, warnings: first.warnings }
  const second = await step(false)
  if ('unsuited' in second) throw new Error(`deploy-for found ${second.unsuited} without --shared`)
  const why = `${first.unsuited}: it is deployed for user ${account.name} alone`
  return { deployment: second, shared: false, warnings: [why, ...second.warnings] }
}

/** What the step said. It may have run as the user, so nothing of it is believed beyond what the user could do. */
function answerOf({ status, stdout, stderr, cut }: Ended, { archive }: Wanted, timeout: number): DeployedFor {
  const path = archive
  if (cut === 'cancelled') throw new EnvError('CANCELLED', `deploying ${archive} was cancelled`, { path })
  if (cut === 'timeout') {
    const hint = "the task prolog tries again in the job's own time; or raise 'jobs.timeout' of the policy"
    throw new EnvError('LIMIT_EXCEEDED', `deploying ${archive} took longer than ${timeout} s`, {
      ...{ path, hint, errno: timedOut },
    })
  }
  const answer = lastJson(status === 0 ? stdout : stderr)
  if (status === 0 && isDeployed(answer)) return answer
  const error = (answer as { error?: { code?: unknown; message?: unknown; hint?: unknown } } | null)?.error
  if (isErrorCode(error?.code) && typeof error.message === 'string') {
    const hint = typeof error.hint === 'string' ? { hint: error.hint } : {}
    throw new EnvError(error.code, error.message, { path, ...hint })
  }
  const said = stderr.trim().split('\n').at(-1) ?? ''
  throw new EnvError('IO', `deploying ${archive} ended with status ${status ?? 'none'}: ${said}`, { path })
}

function isDeployed(answer: unknown): answer is DeployedFor {
  const { unsuited, prefix, digest, files, bytes, warnings } = (answer ?? {}) as Partial<Record<string, unknown>>
  if (typeof unsuited === 'string') return true
  const named = [prefix, digest].every((text) => typeof text === 'string')
  const counted = [files, bytes].every((number) => typeof number === 'number')
  return named && counted && Array.isArray(warnings) && warnings.every((text) => typeof text === 'string')
}
