/**
 * Who holds a lease, as a text: a job of a scheduler (`slurm:4711`), or a process by its number and its start in clock ticks since boot
 * (`pid:4711:88123`), which together name one process until the machine boots again.
 */
import { EnvError } from '../../errors.js'
import { startOf } from '../../tree/process.js'

type Variables = Readonly<Record<string, string | undefined>>

/** What a scheduler tells by variables. Lists: the first one that is set. */
export interface Scheduler {
  /** Its variable for the job in the environment of every process of the job. */
  readonly job: string
  /** That for the task of an array job, and what it says when there is no array. */
  readonly task?: readonly [variable: string, none: string]
  /** A variable that has to be there too, where the first one's name is not the scheduler's alone. */
  readonly also?: string
  /**
   * Whose job it is: name, number, and number of the primary group. Only where a user cannot set them for a hook of root: others are told
   * the user on their command line.
   */
  readonly user?: readonly string[]
  readonly uid?: readonly string[]
  readonly gid?: readonly string[]
  /** Partition or queue. */
  readonly partition?: readonly string[]
  /** Features that the job asked for. */
  readonly constraints?: readonly string[]
  readonly comment?: readonly string[]
  /** The folder the job was submitted from, or starts in. */
  readonly folder?: readonly string[]
}

/** By the word that begins a holder. Slurm gives every task of an array a job id of its own, PBS writes the task into the id. */
export const schedulers: Readonly<Record<string, Scheduler>> = {
  slurm: {
    job: 'SLURM_JOB_ID',
    ...{ user: ['SLURM_JOB_USER'], uid: ['SLURM_JOB_UID', 'SLURM_UID'], gid: ['SLURM_JOB_GID'] },
    ...{ partition: ['SLURM_JOB_PARTITION'], constraints: ['SLURM_JOB_CONSTRAINTS'] },
    ...{ comment: ['SLURM_JOB_COMMENT'], folder: ['SLURM_JOB_WORK_DIR', 'SLURM_SUBMIT_DIR'] },
  },
  pbs: { job: 'PBS_JOBID', partition: ['PBS_QUEUE'], folder: ['PBS_O_WORKDIR'] },
  lsf: {
    ...{ job: 'LSB_JOBID', task: ['LSB_JOBINDEX', '0'] },
    ...{ partition: ['LSB_QUEUE'], folder: ['LS_SUBCWD'] },
  },
  sge: {
    ...{ job: 'JOB_ID', task: ['SGE_TASK_ID', 'undefined'], also: 'SGE_ROOT' },
    ...{ partition: ['QUEUE'], folder: ['SGE_O_WORKDIR'] },
  },
}

const job = /^(?:slurm|pbs|sge|lsf):[A-Za-z0-9][A-Za-z0-9._[\]-]{0,127}$/
const pid = /^pid:([1-9]\d{0,9}):(\d{1,20})$/

export const isHolder = (holder: string): boolean => job.test(holder) || pid.test(holder)

/** Throws INVALID_OPTION for what names no holder. */
export function checkHolder(verb: string, holder: string): string {
  if (isHolder(holder)) return holder
  const message = `${verb}: '${holder}' names no holder of a lease; expected slurm:ID, pbs:ID, sge:ID, lsf:ID or pid:PID:START`
  throw new EnvError('INVALID_OPTION', message)
}

/** The job that an environment belongs to: `slurm:4711`, `sge:12.3` for the third task of an array; undefined: none. Pure. */
export function jobHolder(env: Variables): string | undefined {
  for (const [word, { job: variable, task, also }] of Object.entries(schedulers)) {
    const id = env[variable]
    if (id === undefined || id === '' || (also !== undefined && env[also] === undefined)) continue
    const index = task === undefined ? undefined : env[task[0]]
    const isArray = index !== undefined && index !== '' && index !== task?.[1]
    const holder = `${word}:${id}${isArray ? `.${index}` : ''}`
    if (isHolder(holder)) return holder
  }
  return undefined
}

/** The process of that number, as a holder; undefined: there is none, or the system does not tell (macOS). */
export function processHolder(number: number): string | undefined {
  const start = startOf(number)
  return start === null ? undefined : `pid:${number}:${start}`
}

/** Number and start of a process that holds; undefined: a job does. */
export function processOf(holder: string): { readonly number: number; readonly start: string } | undefined {
  const [, number, start] = pid.exec(holder) ?? []
  return number === undefined || start === undefined ? undefined : { number: Number(number), start }
}
