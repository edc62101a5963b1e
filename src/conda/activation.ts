/**
 * What activating an environment means, read once from its files: variables, and the scripts of etc/conda/activate.d. steps.ts makes an
 * order of steps of it, which is printed as code for a shell or applied to an environment for a program. The same as bin/activate does;
 * that is how it is undone too: what a variable was stands in __CONDA_SHLVL_<level>_<NAME>, CONDA_DEPLOY_SET_<level> lists the names.
 */
import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { EnvError } from '../errors.js'
import { ifThere, textIfThere } from '../tree/if-there.js'
import { inUpdate, isUpdating } from './changing.js'
import type { Variables } from './find.js'

/** Paths, in the order in which they run. */
export interface Scripts {
  readonly sh: readonly string[]
  readonly fish: readonly string[]
  readonly csh: readonly string[]
}

export interface Activation {
  readonly prefix: string
  /** CONDA_DEFAULT_ENV: the name when the environment lies in an `envs` folder or in the cache of a node, else the prefix. */
  readonly name: string
  /** CONDA_PROMPT_MODIFIER. */
  readonly prompt: string
  /** Of etc/conda/env_vars.d and conda-meta/state, which wins. */
  readonly variables: Readonly<Record<string, string>>
  /** Of etc/conda/activate.d. */
  readonly scripts: Scripts
  /** The prefix has our bin/deactivate. */
  readonly deactivates: boolean
  /** Files that could not be read as what they should be, and variables that an environment may not set. */
  readonly warnings: readonly string[]
}

/**
 * What activation itself sets: conda would let an environment overwrite them, and break. And what no shell can set: bash ends its `eval`
 * there, zsh takes them for a wish to be another user.
 */
const reserved =
  /^(?:__proto__|PATH|CONDA_(?:PREFIX|SHLVL|DEFAULT_ENV|PROMPT_MODIFIER)|E?[UG]ID|PPID|BASHOPTS|SHELLOPTS|BASH_VERSINFO)$/
export const isName = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)
/** conda's word for a variable that `conda env config vars unset` removed. */
const unset = '***unset***'

/** Reads what activating `prefix` means. Throws NOT_AN_ENV for a prefix that cannot stand in PATH, ENV_DAMAGED in an update; IO and PERMISSION. */
export async function readActivation(prefix: string): Promise<Activation> {
  if (prefix.includes(':')) {
    const message = `${prefix} cannot be activated: a path with a colon cannot stand in PATH`
    throw new EnvError('NOT_AN_ENV', message, { path: prefix, hint: 'deploy to another path with --to' })
  }
  if (isUpdating(prefix)) throw inUpdate(prefix)
  const warnings: string[] = []
  const variables: Record<string, string> = {}
  const packages = await listed(join(prefix, 'etc/conda/env_vars.d'), '.json')
  for (const file of [...packages, join(prefix, 'conda-meta/state')]) {
    const text = await textIfThere(file)
    if (text !== null) Object.assign(variables, variablesOf(file, text, warnings))
  }
  for (const [name, value] of Object.entries(variables)) if (value === unset) delete variables[name]
  const cached = await nameInCache(prefix)
  const shown = cached ?? basename(prefix)
  return {
    prefix,
    name: cached !== null || basename(dirname(prefix)) === 'envs' ? shown : prefix,
    // A prompt is expanded by the shell: a name that would do something there is not shown.
    prompt: `(${/[$`\\%!]/.test(shown) ? 'environment' : shown}) `,
    variables,
    scripts: await scriptsIn(join(prefix, 'etc/conda/activate.d')),
    deactivates: (await listed(join(prefix, 'bin'), 'activate.awk')).length > 0,
    warnings,
  }
}

/** What the environment was called that is deployed in the cache of a node, where its folder has a digest for a name; null: nobody says. */
async function nameInCache(prefix: string): Promise<string | null> {
  if (!/\/conda-deploy-[^/]+\/[0-9a-f]{16}(?:-w)?$/.test(prefix)) return null
  const text = await textIfThere(join(prefix, '.conda-deploy/ready'))
  // As bin/activate reads it: only a name that JSON writes as it is.
  return (text === null ? undefined : /"name":"([^"\\]+)"/.exec(text)?.[1]) ?? null
}

/** The scripts of a folder, in conda's order; none when there is no such folder. */
export async function scriptsIn(folder: string): Promise<Scripts> {
  const [sh, fish, csh] = [await listed(folder, '.sh'), await listed(folder, '.fish'), await listed(folder, '.csh')]
  return { sh, fish, csh }
}

/** Paths of the files of a folder with this suffix, in conda's order; none when there is no such folder. */
async function listed(folder: string, suffix: string): Promise<string[]> {
  const names = await ifThere(readdir(folder), folder)
  return (names ?? [])
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => join(folder, name))
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

/** How many environments are active, one upon the other. */
export const levelOf = (now: Variables): number =>
  /^\d{1,6}$/.test(now['CONDA_SHLVL'] ?? '') ? Number(now['CONDA_SHLVL']) : 0

/** The name of the variable that lists what was set when this level was activated. */
export const listOf = (level: number): string => `CONDA_DEPLOY_SET_${level}`
/** Where the value that `name` had before is kept, when `level` is the one that is left for the new one. */
export const keptAs = (name: string, level: number): string => `__CONDA_SHLVL_${level}_${name}`

export interface Assignments {
  /** In this order; PATH is not among them. */
  readonly set: readonly (readonly [name: string, value: string])[]
  /** The environment was active already: one deactivation goes back behind the first activation. */
  readonly again: boolean
  /** Environments that are active beneath this one. */
  readonly below: number
}

/**
 * What has to be set in an environment that is `now`; PATH, which every shell spells its own way, is the caller's. `touched`: variables
 * that scripts of activate.d change, where what they do is known, so that deactivating restores them too.
 */
export function assignments(activation: Activation, now: Variables, touched: readonly string[] = []): Assignments {
  const { prefix, name, prompt, variables } = activation
  const level = levelOf(now)
  const listed = now[listOf(level)]
  const again = now['CONDA_PREFIX'] === prefix && listed !== undefined
  const below = again ? level - 1 : level
  const before = now['CONDA_PREFIX']
  const stacked: [string, string][] = !again && level > 0 && before ? [[`CONDA_PREFIX_${level}`, before]] : []
  const own: [string, string][] = [
    ['CONDA_PREFIX', prefix],
    ['CONDA_DEFAULT_ENV', name],
    ['CONDA_PROMPT_MODIFIER', prompt],
    ['CONDA_SHLVL', String(level + 1)],
  ]
  const all = [...Object.entries(variables), ...stacked, ...(again ? [] : own)]
  const known = again ? listed.split(' ') : []
  const others = touched.filter((key) => key !== 'PATH' && isName(key))
  const names = [...new Set([...all.map(([key]) => key), ...others])].filter((key) => !known.includes(key))
  const kept = names.flatMap((key): [string, string][] => {
    // Of an object literal `constructor` would be a function.
    const old = Object.hasOwn(now, key) ? now[key] : undefined
    return old === undefined ? [] : [[keptAs(key, below), old]]
  })
  const notes: [string, string][] = []
  if (names.length > 0) notes.push([listOf(below + 1), [...known, ...names].join(' ')])
  if (below > 0) notes.push([`CONDA_STACKED_${below + 1}`, 'true'])
  return { set: [...kept, ...all, ...notes], again, below }
}

/** `path` with the environment's programs first. */
export const pathWith = (folder: string, path: string | undefined): string =>
  path === undefined || path === '' ? folder : path.split(':')[0] === folder ? path : `${folder}:${path}`

/** `path` without the first place at which `folder` stands in it. */
export function pathWithout(folder: string, path: string | undefined): string {
  const folders = path === undefined || path === '' ? [] : path.split(':')
  const at = folders.indexOf(folder)
  return (at < 0 ? folders : folders.toSpliced(at, 1)).join(':')
}
