/**
 * What activating an environment means, read once from its files: variables, and the scripts of etc/conda/activate.d. Printed as code
 * for a shell, or applied to an environment for a program to run in. The same as bin/activate does; that is how it is undone too:
 * what a variable was stands in __CONDA_SHLVL_<level>_<NAME>, CONDA_DEPLOY_SET_<level> lists the names.
 */
import { readdir, readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import type { Variables } from './find.js'

export interface Activation {
  readonly prefix: string
  /** CONDA_DEFAULT_ENV: the name when the environment lies in an `envs` folder, else the prefix. */
  readonly name: string
  /** CONDA_PROMPT_MODIFIER. */
  readonly prompt: string
  /** Of etc/conda/env_vars.d and conda-meta/state, which wins. */
  readonly variables: Readonly<Record<string, string>>
  /** Of etc/conda/activate.d, in the order in which they run. */
  readonly scripts: {
    readonly sh: readonly string[]
    readonly fish: readonly string[]
    readonly csh: readonly string[]
  }
  /** The prefix has our bin/deactivate. */
  readonly deactivates: boolean
  /** Files that could not be read as what they should be, and variables that an environment may not set. */
  readonly warnings: readonly string[]
}

/** What activation itself sets; conda would let an environment overwrite them, and break. */
const reserved = /^(?:__proto__|PATH|CONDA_PREFIX|CONDA_SHLVL|CONDA_DEFAULT_ENV|CONDA_PROMPT_MODIFIER)$/
const isName = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)
/** conda's word for a variable that `conda env config vars unset` removed. */
const unset = '***unset***'

/** Reads what activating `prefix` means. Throws NOT_AN_ENV for a prefix that cannot stand in PATH; IO and PERMISSION. */
export async function readActivation(prefix: string): Promise<Activation> {
  if (prefix.includes(':')) {
    const message = `${prefix} cannot be activated: a path with a colon cannot stand in PATH`
    throw new EnvError('NOT_AN_ENV', message, { path: prefix, hint: 'deploy to another path with --to' })
  }
  const warnings: string[] = []
  const variables: Record<string, string> = {}
  const packages = await listed(join(prefix, 'etc/conda/env_vars.d'), '.json')
  for (const file of [...packages, join(prefix, 'conda-meta/state')]) {
    const text = await ifThere(file, (path) => readFile(path, 'utf8'))
    if (text !== null) Object.assign(variables, variablesOf(file, text, warnings))
  }
  for (const [name, value] of Object.entries(variables)) if (value === unset) delete variables[name]
  const scripts = join(prefix, 'etc/conda/activate.d')
  const shown = basename(prefix)
  return {
    prefix,
    name: basename(dirname(prefix)) === 'envs' ? shown : prefix,
    // A prompt is expanded by the shell: a name that would do something there is not shown.
    prompt: `(${/[$`\\%!]/.test(shown) ? 'environment' : shown}) `,
    variables,
    scripts: {
      sh: await listed(scripts, '.sh'),
      fish: await listed(scripts, '.fish'),
      csh: await listed(scripts, '.csh'),
    },
    deactivates: (await listed(join(prefix, 'bin'), 'activate.awk')).length > 0,
    warnings,
  }
}

/** Paths of the files of a folder with this suffix, in conda's order; none when there is no such folder. */
async function listed(folder: string, suffix: string): Promise<string[]> {
  const names = await ifThere(folder, (path) => readdir(path))
  return (names ?? [])
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => join(folder, name))
}

async function ifThere<T>(path: string, read: (path: string) => Promise<T>): Promise<T | null> {
  try {
    return await read(path)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw fromSystem(error, 'cannot read', path)
  }
}

function variablesOf(file: string, text: string, warnings: string[]): Record<string, string> {
  const found: Record<string, string> = {}
  let members: unknown
  try {
    const document = JSON.parse(text) as { env_vars?: unknown } | null
    members = file.endsWith('/conda-meta/state') ? (document?.env_vars ?? {}) : document
  } catch (error) {
    warnings.push(`${file}: ${(error as Error).message}: its variables are not set`)
    return found
  }
  if (typeof members !== 'object' || members === null || Array.isArray(members)) {
    warnings.push(`${file}: expected an object of variables: its variables are not set`)
    return found
  }
  for (const [name, value] of Object.entries(members)) {
    if (!isName(name) || reserved.test(name)) warnings.push(`${file}: variable ${name} cannot be set by an environment`)
    else if (typeof value === 'object' || String(value).includes('\0'))
      warnings.push(`${file}: ${name} is no text: it is not set`)
    else found[name] = String(value)
  }
  return found
}

export interface Assignments {
  /** In this order; PATH is not among them. */
  readonly set: readonly (readonly [name: string, value: string])[]
  /** The environment was active already: one deactivation goes back behind the first activation. */
  readonly again: boolean
}

/** What has to be set in an environment that is `now`; PATH, which every shell spells its own way, is the caller's. */
export function assignments(activation: Activation, now: Variables): Assignments {
  const { prefix, name, prompt, variables } = activation
  const level = /^\d{1,6}$/.test(now['CONDA_SHLVL'] ?? '') ? Number(now['CONDA_SHLVL']) : 0
  const again = now['CONDA_PREFIX'] === prefix && now[`CONDA_DEPLOY_SET_${level}`] !== undefined
  if (again) return { set: Object.entries(variables), again }
  const below = now['CONDA_PREFIX']
  const stacked: [string, string][] = level > 0 && below ? [[`CONDA_PREFIX_${level}`, below]] : []
  const own: [string, string][] = [
    ['CONDA_PREFIX', prefix],
    ['CONDA_DEFAULT_ENV', name],
    ['CONDA_PROMPT_MODIFIER', prompt],
    ['CONDA_SHLVL', String(level + 1)],
  ]
  const all = [...Object.entries(variables), ...stacked, ...own]
  const kept = all.flatMap(([key]): [string, string][] => {
    // Of an object literal `constructor` would be a function.
    const old = Object.hasOwn(now, key) ? now[key] : undefined
    return old === undefined ? [] : [[`__CONDA_SHLVL_${level}_${key}`, old]]
  })
  const notes: [string, string][] = [[`CONDA_DEPLOY_SET_${level + 1}`, all.map(([key]) => key).join(' ')]]
  if (level > 0) notes.push([`CONDA_STACKED_${level + 1}`, 'true'])
  return { set: [...kept, ...all, ...notes], again }
}

/** `path` with the environment's programs first. */
export const pathWith = (activation: Activation, path: string | undefined): string => {
  const bin = `${activation.prefix}/bin`
  return path === undefined || path === '' ? bin : path.split(':')[0] === bin ? path : `${bin}:${path}`
}
