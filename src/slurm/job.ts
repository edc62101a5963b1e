/** The job that a hook is called for, and the archive that it asks for. */
import { isAbsolute, resolve } from 'node:path'
import type { Variables } from '../conda/find.js'
import { checkHolder, jobHolder, type Scheduler, schedulers } from '../deploy/cache/holder.js'
import type { JobRule } from '../deploy/cache/policy.js'
import { EnvError } from '../errors.js'
import { type Account, accountOf } from './as-user.js'

export interface Job {
  /** As leases have it: `slurm:4711`. */
  readonly holder: string
  /** Whose job it is: a name, or a number. */
  readonly user: string
  readonly account: () => Account
  /** Partition or queue. */
  readonly partition: string | undefined
  /** Features that the job asked for. */
  readonly constraints: readonly string[]
  readonly comment: string | undefined
  /** The folder that relative paths of a comment are meant from. */
  readonly folder: string | undefined
}

/** What a hook is told on its command line where the environment does not tell it: the arguments of a PBS prologue. */
export interface Told {
  readonly job?: string | undefined
  readonly user?: string | undefined
}

/** The job of an environment. Throws USAGE when neither that nor the command line names one, or its user. */
export function jobOf(env: Variables, told: Told = {}): Job {
  const holder = told.job === undefined ? jobHolder(env) : checkHolder('job', told.job)
  if (holder === undefined) {
    const names = Object.values(schedulers).map((one) => one.job)
    const hint = 'it runs in the prolog or epilog of a job; elsewhere name one with --job slurm:ID --user NAME'
    throw new EnvError('USAGE', `no job: none of ${names.join(', ')} is set`, { hint })
  }
  const columns: Partial<Scheduler> = schedulers[holder.slice(0, holder.indexOf(':'))] ?? {}
  const first = (names: readonly string[] = []): string | undefined =>
    names.map((name) => env[name]).find((value) => value !== undefined && value !== '')
  const [uid, gid, name] = [first(columns.uid), first(columns.gid), first(columns.user)]
  const self = process.geteuid?.() ?? 0
  // A job's hooks that are not root's are those of its user.
  const user = told.user ?? name ?? uid ?? (self === 0 ? undefined : String(self))
  if (user === undefined) {
    const hint = 'name the user with --user NAME'
    throw new EnvError('USAGE', `${holder}: nothing that can be believed says whose job it is`, { hint })
  }
  const isNumber = (text: string | undefined): text is string => text !== undefined && /^\d{1,10}$/.test(text)
  const known = told.user === undefined && name !== undefined && isNumber(uid) && isNumber(gid)
  return {
    holder,
    user,
    account: () => (known ? { name, uid: Number(uid), gid: Number(gid) } : accountOf(user)),
    partition: first(columns.partition),
    constraints: (first(columns.constraints) ?? '').split(/[^\w.-]+/).filter((word) => word !== ''),
    comment: first(columns.comment),
    folder: first(columns.folder),
  }
}

export interface Wanted {
  /** Absolute. */
  readonly archive: string
  /** Who asks for it: a variable, the job's comment, or a rule of the site. */
  readonly by: string
}

/** The variable by which a job names its archive, where the scheduler hands it on. */
export const variable = 'CONDA_DEPLOY_ENV'
/** Slurm hands a prolog what a SPANK plugin of the site sets, with this before its name. */
const variables = [variable, `SPANK_${variable}`] as const
/** Said by a job that wants nothing, though a rule of the site would give it something. */
const none = 'none'

/** What the variable says; null: it is not set. Throws INVALID_OPTION for a relative path that nobody knows the folder of. */
export function namedIn(env: Variables, job: Job): Wanted | 'nothing' | null {
  const name = variables.find((one) => env[one] !== undefined && env[one] !== '')
  return name === undefined ? null : absolute(env[name] ?? '', name, job)
}

/**
 * The archive that a job asks for: by the variable, else by `conda-deploy=PATH` in its comment, else the first rule of the site that fits;
 * null: nothing. Throws INVALID_OPTION.
 */
export function wantedBy(job: Job, env: Variables, rules: readonly JobRule[]): Wanted | null {
  const said = inComment(job.comment)
  const rule = rules.find((one) => fits(one, job))
  const wanted =
    namedIn(env, job) ??
    (said === undefined ? null : absolute(said, 'the comment of the job', job)) ??
    (rule === undefined ? null : absolute(rule.archive, 'the policy of the site', job))
  return wanted === 'nothing' ? null : wanted
}

/** `conda-deploy=PATH` as one of the words of a comment, which blanks, commas and semicolons divide; quotes keep them together. */
function inComment(comment = ''): string | undefined {
  const [, double, single, plain] = /(?:^|[\s,;])conda-deploy=(?:"([^"]*)"|'([^']*)'|([^\s,;]*))/.exec(comment) ?? []
  return [double, single, plain].find((path) => path !== undefined && path !== '')
}

function absolute(path: string, by: string, { folder, holder }: Job): Wanted | 'nothing' {
  if (path === none) return 'nothing'
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(path))
    throw new EnvError('INVALID_OPTION', `${by} names ${JSON.stringify(path)}, which has control characters`)
  if (isAbsolute(path)) return { archive: resolve(path), by }
  if (folder !== undefined && isAbsolute(folder)) return { archive: resolve(folder, path), by }
  const hint = 'name the archive by its whole path'
  throw new EnvError('INVALID_OPTION', `${by} of ${holder} names ${path}, which is not an absolute path`, { hint })
}

/** All that a rule says has to be so; a rule that says nothing fits every job. */
function fits(rule: JobRule, { user, partition, constraints }: Job): boolean {
  const { user: users, partition: partitions, constraint } = rule
  if (users !== undefined && !users.includes(user)) return false
  if (partitions !== undefined && !partitions.includes(partition ?? '')) return false
  return constraint === undefined || constraints.includes(constraint)
}
