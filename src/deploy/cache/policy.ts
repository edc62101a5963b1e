/**
 * What the administrator of a site decided, in one file: `/etc/conda-deploy.yaml`. It is believed only when nobody but root (or, where a
 * user names another file, that user) can have written it. A key that is not known is refused by its name.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { EnvError, fromSystem } from '../../errors.js'
import { sizeOf, spanOf } from './units.js'

export const policyFile = '/etc/conda-deploy.yaml'

/** Section `cache`. null: not said, so there is no such limit. */
export interface CachePolicy {
  /** The scratch folder of the node, before those that are found. */
  readonly root: string | null
  /** The node keeps copies for all users in `<root>/conda-deploy-shared`, which root fills. Needs `root`. */
  readonly shared: boolean
  /** Seconds since a deployment was last adopted, after which it goes. */
  readonly maxAge: number | null
  /** Of all deployments in a cache folder together. */
  readonly maxBytes: number | null
  readonly maxInodes: number | null
  /** Bytes that shall be free on the file system. */
  readonly minFree: number | null
  /** Seconds after which a job's lease counts no more when no process of the job is on the node; default a day. */
  readonly leaseAge: number
}

/** Section `jobs`: what the hooks of a scheduler do. */
export interface JobsPolicy {
  /** Seconds that a prolog may take to deploy; below the scheduler's own limit (Slurm: PrologEpilogTimeout). */
  readonly timeout: number
  /** The folder of root in which prologs leave notes for the tasks of their jobs. */
  readonly state: string
  /** What jobs get that ask for nothing: the first rule that fits. */
  readonly rules: readonly JobRule[]
}

/** All that is said has to be so. */
export interface JobRule {
  /** Names of users, of partitions or queues. */
  readonly user?: readonly string[]
  readonly partition?: readonly string[]
  /** A feature that the job asked for (Slurm: --constraint). */
  readonly constraint?: string
  readonly archive: string
}

export interface Policy {
  /** The file that was read; null: there is none, and everything is as by default. */
  readonly file: string | null
  readonly cache: CachePolicy
  readonly jobs: JobsPolicy
}

/** Turns a value of the file into that of a key. Throws Error with what was expected. */
export type Reader<T> = (value: unknown) => T

/** Settings of a section by their names. */
export type Readers<T> = { readonly [Key in keyof T]: Reader<T[Key]> }

function expected(what: string): never {
  throw new Error(`expected ${what}`)
}

/** Readers of values, for all sections. */
export const flag: Reader<boolean> = (value) => (typeof value === 'boolean' ? value : expected('true or false'))
export const text: Reader<string> = (value) => (typeof value === 'string' && value !== '' ? value : expected('a text'))
export const folder: Reader<string> = (value) =>
  typeof value === 'string' && isAbsolute(value) ? resolve(value) : expected('an absolute path')
export const count: Reader<number> = (value) =>
  Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : expected('a whole number from 1')
export const size: Reader<number> = (value) =>
  (typeof value === 'number' || typeof value === 'string' ? sizeOf(String(value)) : null) ??
  expected('a size such as 50G')
export const span: Reader<number> = (value) =>
  (typeof value === 'string' ? spanOf(value) : null) ?? expected('a span of time such as 14d, 12h or 30m')

const cacheReaders: Readers<CachePolicy> = {
  root: folder,
  shared: flag,
  maxAge: span,
  maxBytes: size,
  maxInodes: count,
  minFree: size,
  leaseAge: span,
}

const cacheDefaults: CachePolicy = {
  ...{ root: null, shared: false, maxAge: null, maxBytes: null, maxInodes: null, minFree: null },
  leaseAge: 86_400,
}

const names: Reader<readonly string[]> = (value) => {
  const all: unknown[] = Array.isArray(value) ? value : [value]
  return all.length > 0 && all.every((one): one is string => typeof one === 'string') ? all : expected('names')
}
const ruleReaders: Readers<Required<JobRule>> = { user: names, partition: names, constraint: text, archive: folder }

const rules: Reader<readonly JobRule[]> = (value) =>
  Array.isArray(value) ? value.map(rule) : expected('a list of rules, each with an archive')

function rule(value: unknown): JobRule {
  const said = Object.entries((value ?? {}) as object).map(([key, one]): [string, unknown] => {
    if (!Object.hasOwn(ruleReaders, key)) return expected(`rules of ${Object.keys(ruleReaders).join(', ')}`)
    return [key, ruleReaders[key as keyof JobRule](one)]
  })
  const { archive, ...when } = Object.fromEntries(said) as Partial<JobRule>
  return archive === undefined ? expected('an archive in each rule') : { ...when, archive }
}

const jobsReaders: Readers<JobsPolicy> = { timeout: span, state: folder, rules }
const jobsDefaults: JobsPolicy = { timeout: 120, state: '/run/conda-deploy', rules: [] }

/** Where no file says anything. */
export const defaultPolicy: Policy = { file: null, cache: cacheDefaults, jobs: jobsDefaults }

/**
 * The policy of `path`; without it of the file that CONDA_DEPLOY_POLICY names, which root ignores; else of /etc/conda-deploy.yaml, which
 * need not exist. Throws CONFIG_DAMAGED, naming the key, PERMISSION for a file that others could have written, IO.
 */
export async function readPolicy(
  path?: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Policy> {
  const user = process.geteuid?.() ?? 0
  const named = path ?? (user === 0 ? undefined : env['CONDA_DEPLOY_POLICY'] || undefined)
  const file = resolve(named ?? policyFile)
  const content = readTrusted(file, user)
  if (content === null) {
    if (named === undefined) return defaultPolicy
    throw new EnvError('CONFIG_DAMAGED', `there is no policy file ${file}`, { path: file })
  }
  const { cache, jobs, ...others } = keysOf(file, '', await parsed(file, content))
  const unknown = Object.keys(others)[0]
  if (unknown !== undefined) throw damaged(file, `unknown section '${unknown}'; known are cache, jobs`)
  const policy = {
    file,
    cache: section(file, 'cache', cache, cacheReaders, cacheDefaults),
    jobs: section(file, 'jobs', jobs, jobsReaders, jobsDefaults),
  }
  if (policy.cache.shared && policy.cache.root === null) throw damaged(file, "'cache.shared' needs 'cache.root'")
  return policy
}

function damaged(file: string, message: string, cause?: unknown): EnvError {
  return new EnvError('CONFIG_DAMAGED', `${file}: ${message}`, { path: file, ...(cause ? { cause } : {}) })
}

/** null: there is none. */
function readTrusted(file: string, user: number): string | null {
  let descriptor: number
  try {
    // Not to be kept waiting by a pipe.
    descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw fromSystem(error, 'cannot read the policy', file)
  }
  try {
    const stat = fstatSync(descriptor)
    const refuse = (why: string): never => {
      const hint = 'a policy is a file of root that only root can write'
      throw new EnvError('PERMISSION', `${file} ${why}: it is not followed`, { path: file, hint })
    }
    if (!stat.isFile()) refuse('is not a file')
    if (stat.uid !== 0 && stat.uid !== user) refuse(`belongs to user ${stat.uid}`)
    if ((stat.mode & 0o022) !== 0) refuse(`can be written by others (mode ${(stat.mode & 0o7777).toString(8)})`)
    return readFileSync(descriptor, 'utf8')
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot read the policy', file)
  } finally {
    closeSync(descriptor)
  }
}

async function parsed(file: string, content: string): Promise<unknown> {
  const { parse } = await import('yaml')
  try {
    return parse(content)
  } catch (error) {
    throw damaged(file, (error as Error).message, error)
  }
}

function keysOf(file: string, name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (value === undefined || value === null) return {}
  if (typeof value === 'object' && !Array.isArray(value)) return value as Readonly<Record<string, unknown>>
  throw damaged(file, `${name === '' ? '' : `'${name}': `}expected settings, 'name: value'`)
}

/** One section of a policy, with its defaults. Throws CONFIG_DAMAGED, naming the key. */
export function section<T extends object>(
  file: string,
  name: string,
  value: unknown,
  readers: Readers<T>,
  defaults: T,
): T {
  const read = Object.entries(keysOf(file, name, value)).map(([key, said]) => {
    if (!Object.hasOwn(readers, key)) {
      const known = Object.keys(readers).join(', ')
      throw damaged(file, `unknown key '${name}.${key}'; known are ${known}`)
    }
    try {
      return [key, readers[key as keyof T](said)]
    } catch (error) {
      throw damaged(file, `'${name}.${key}': ${(error as Error).message}, got ${JSON.stringify(said)}`, error)
    }
  })
  return { ...defaults, ...Object.fromEntries(read) }
}
