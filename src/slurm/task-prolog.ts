/** Before a task, as its user: the lines that start it in the environment which the prolog deployed, or which is deployed now. */
import { readActivation } from '../conda/activation.js'
import type { Variables } from '../conda/find.js'
import { slurmLines } from '../conda/slurm-lines.js'
import { tellActivating } from '../conda/taker.js'
import { readPolicy } from '../deploy/cache/policy.js'
import { deploy } from '../deploy/deploy.js'
import { readReady } from '../deploy/ready.js'
import { EnvError } from '../errors.js'
import { checkOptions, type Shape } from '../options.js'
import { type Reporter, silent } from '../report.js'
import { type Job, jobOf, namedIn } from './job.js'
import { type JobRecord, readRecord } from './record.js'

export interface TaskPrologOptions {
  /** The policy file to read instead of /etc/conda-deploy.yaml. */
  readonly policy?: string | undefined
  readonly threads?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

export interface TaskPrologResult {
  readonly job: string
  /** Null: the job asks for nothing, or its user left the environment for another one. */
  readonly prefix: string | null
  /** `prolog`: it was there. `task`: it was deployed, or found, for this task. */
  readonly by: 'prolog' | 'task' | null
  /** In the words of Slurm's task prolog: `export`, `unset`, `print`. */
  readonly lines: string
  readonly warnings: readonly string[]
}

const shape: Shape<TaskPrologOptions> = { policy: 'string', threads: 'number', signal: 'object', reporter: 'object' }

/** Set in every task: job and prefix. Steps inherit it, so that an environment which the user activated instead stays active in them. */
const mark = 'CONDA_DEPLOY_TASK'
/** Slurm sets it for this hook, and leaves it in the task, whose programs could take themselves for a prolog. */
const leaking = 'SLURM_SCRIPT_CONTEXT'

/** Throws USAGE outside a job, CONFIG_DAMAGED, what `deploy` throws, and what the prolog failed with. */
export async function taskProlog(options: TaskPrologOptions = {}): Promise<TaskPrologResult> {
  checkOptions<TaskPrologOptions>('taskProlog', options, shape)
  const env = process.env
  const job = jobOf(env, { user: String(process.geteuid?.() ?? 0) })
  const found = await environmentFor(job, env, options)
  if (found === null) return { job: job.holder, prefix: null, by: null, lines: '', warnings: [] }
  const { prefix, by, warnings } = found
  const before = env[mark]?.startsWith(`${job.holder} `) ? env[mark].slice(job.holder.length + 1) : null
  if (before !== null && (before === prefix || env['CONDA_PREFIX'] !== before)) {
    const stays = env['CONDA_PREFIX'] === prefix ? prefix : null
    return { job: job.holder, prefix: stays, by, lines: slurmLines([], warnings), warnings }
  }
  const activating = await tellActivating(await readActivation(prefix), 'slurm', { now: env, signal: options.signal })
  const marking = slurmLines(
    [
      { is: 'set', name: mark, value: `${job.holder} ${prefix}` },
      ...(env[leaking] === undefined ? [] : [{ is: 'unset', name: leaking } as const]),
    ],
    warnings,
  )
  return {
    ...{ job: job.holder, prefix, by },
    lines: `${activating.text}${marking}`,
    warnings: [...warnings, ...activating.warnings],
  }
}

interface Found {
  readonly prefix: string
  readonly by: 'prolog' | 'task'
  readonly warnings: readonly string[]
}

/** What the task's own variable names comes before what the prolog knew of; that it failed is told, not tried again by every task. */
async function environmentFor(job: Job, env: Variables, options: TaskPrologOptions): Promise<Found | null> {
  const { state } = (await readPolicy(options.policy)).jobs
  const record = readRecord(state, job.holder)
  const named = namedIn(env, job)
  if (named === 'nothing') return null
  if (named !== null && named.archive !== record?.archive) return await deployed(named.archive, job, options, [])
  if (record === null) return null
  const { archive, deployed: there, failure } = record
  if (failure?.tookTooLong === true) return await deployed(archive, job, options, [`in the prolog, ${failure.message}`])
  if (failure !== null || there === null) throw failed(record)
  if ((await readReady(there.prefix))?.digest === there.digest)
    return { prefix: there.prefix, by: 'prolog', warnings: [] }
  return await deployed(archive, job, options, [`${there.prefix} is gone: it is deployed again`])
}

function failed({ archive, failure }: JobRecord): EnvError {
  const hint = failure?.hint ?? undefined
  return new EnvError('IO', `not activated: ${failure?.message ?? `${archive} was not deployed`}`, {
    path: archive,
    ...(hint === undefined ? {} : { hint }),
  })
}

async function deployed(
  archive: string,
  job: Job,
  { policy, threads, signal, reporter = silent }: TaskPrologOptions,
  warnings: readonly string[],
): Promise<Found> {
  const done = await deploy({ archive, lease: job.holder, policy, threads, signal, reporter })
  return { prefix: done.prefix, by: 'task', warnings: [...warnings, ...done.warnings] }
}

/** One task of a node speaks for all where they would say the same. */
export const speaksForNode = (env: Variables): boolean => (env['SLURM_LOCALID'] ?? '0') === '0'
