/**
 * conda's configuration, as far as this product needs it: `.condarc` files in conda's own places and order, then its environment
 * variables. https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/settings.html
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parse } from 'yaml'
import { EnvError, fromSystem } from '../errors.js'
import type { ChannelConfig } from './channel.js'

export interface Config extends ChannelConfig {
  readonly channels: readonly string[]
  readonly priority: 'strict' | 'flexible' | 'disabled'
  /** Absolute, in their order; those of conda's own that follow are added by whoever looks there. */
  readonly envsDirs: readonly string[]
  readonly pkgsDirs: readonly string[]
  readonly pinned: readonly string[]
  readonly proxies: ReadonlyMap<string, string>
  /** Base addresses, each with those to ask instead, first to last. */
  readonly mirrors: ReadonlyMap<string, readonly string[]>
  readonly offline: boolean
  /** As it is written; null: no limit. */
  readonly excludeNewer: string | null
  readonly sslVerify: boolean | string
  /** Files that were read. */
  readonly files: readonly string[]
}

export type Variables = Readonly<Record<string, string | undefined>>

const defaultChannels = ['https://repo.anaconda.com/pkgs/main', 'https://repo.anaconda.com/pkgs/r']

/** Throws CONFIG_DAMAGED for a file that is no configuration, PERMISSION, IO for one that cannot be read. `prefix`: an environment whose own file counts too. */
export function readConfig(variables: Variables = process.env, prefix?: string): Config {
  const files = places(variables, prefix).flatMap(expand)
  const found = files.flatMap((file) => read(file))
  return settle(
    found.map(({ values }) => values),
    found.map(({ file }) => file),
    variables,
  )
}

/** In conda's order: what comes later wins. */
function places(
  { HOME: home = '/', XDG_CONFIG_HOME: xdg, CONDA_ROOT: root, CONDARC: own, CONDA_PREFIX: active }: Variables,
  prefix?: string,
): string[] {
  const of = (folder: string): string[] => ['.condarc', 'condarc', 'condarc.d'].map((name) => join(folder, name))
  return [
    ...of('/etc/conda'),
    ...of('/var/lib/conda'),
    ...(root === undefined ? [] : of(root)),
    ...of(join(xdg ?? join(home, '.config'), 'conda')),
    ...of(join(home, '.conda')),
    join(home, '.condarc'),
    ...((prefix ?? active) === undefined ? [] : of((prefix ?? active) as string)),
    ...(own === undefined ? [] : [own]),
  ]
}

function expand(place: string): string[] {
  if (!place.endsWith('.d')) return [place]
  try {
    return readdirSync(place)
      .filter((name) => /\.ya?ml$/.test(name))
      .sort()
      .map((name) => join(place, name))
  } catch (error) {
    if (isAbsent(error) || isHidden(error, place)) return []
    throw fromSystem(error, 'cannot read', place)
  }
}

type Values = Readonly<Record<string, unknown>>

function read(file: string): { file: string; values: Values }[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (isAbsent(error) || isHidden(error, file)) return []
    throw fromSystem(error, 'cannot read', file)
  }
  let values: unknown
  try {
    // A time stays a text, as it is written.
    values = parse(text, { schema: 'core' })
  } catch (error) {
    throw new EnvError('CONFIG_DAMAGED', `${file}: ${firstLine(error as Error)}`, { path: file })
  }
  if (values === null) return []
  if (typeof values !== 'object' || Array.isArray(values))
    throw new EnvError('CONFIG_DAMAGED', `${file}: expected settings, 'name: value'`, { path: file })
  return [{ file, values: values as Values }]
}

/** What follows shows the file, in which there may be credentials. */
export const firstLine = ({ message }: Error): string => message.split('\n')[0]?.replace(/:$/, '') ?? ''

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ''
const isAbsent = (error: unknown): boolean => ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(codeOf(error))

/** In a folder that is closed to this user: nobody can say whether anything is there, and conda passes it over. */
function isHidden(error: unknown, path: string): boolean {
  if (codeOf(error) !== 'EACCES') return false
  try {
    statSync(path)
    return false
  } catch (closed) {
    if (codeOf(closed) === 'EACCES') return true
    throw fromSystem(closed, 'cannot look at', path)
  }
}

function settle(all: readonly Values[], files: readonly string[], variables: Variables): Config {
  const expanded = (text: string): string =>
    text
      .replace(/^~(?=\/|$)/, variables['HOME'] ?? '~')
      // One that is not set stays as it is written.
      .replace(
        /\$(?:\{(\w+)\}|(\w+))/g,
        (whole, braced?: string, bare?: string) => variables[braced ?? bare ?? ''] ?? whole,
      )
  const variable = (key: string): string | undefined => variables[`CONDA_${key.toUpperCase()}`]
  const last = (...keys: string[]): unknown => {
    const given = keys.map(variable).find((value) => value !== undefined && value !== '')
    return (
      given ??
      all.findLast((values) => keys.some((key) => key in values))?.[
        keys.find((key) => all.findLast((values) => key in values)) ?? ''
      ]
    )
  }
  // Lists of later files stand before those of earlier ones, and what variables say before all of them.
  const list = (...keys: string[]): string[] => {
    const given =
      keys
        .map(variable)
        .find((value) => value !== undefined && value !== '')
        ?.split(/[,&]/) ?? []
    const written = all.toReversed().flatMap((values) => keys.flatMap((key) => strings(values[key])))
    return [...new Set([...given, ...written].map((item) => item.trim()).filter((item) => item !== ''))]
  }
  const map = (key: string): Map<string, unknown> =>
    new Map(all.flatMap((values) => Object.entries((values[key] as object | null | undefined) ?? {})))
  const priority = String(last('channel_priority') ?? 'flexible')
  const newest = last('exclude_newer')
  const ssl = last('ssl_verify', 'verify_ssl')
  return {
    alias: expanded(String(last('channel_alias') ?? 'https://conda.anaconda.org')),
    defaults: list('default_channels').length > 0 ? list('default_channels').map(expanded) : defaultChannels,
    multichannels: new Map(
      [...map('custom_multichannels')].map(([name, value]) => [name, strings(value).map(expanded)]),
    ),
    customs: new Map([...map('custom_channels')].map(([name, value]) => [name, expanded(String(value))])),
    channels: list('channels', 'channel').map(expanded),
    priority:
      priority === 'strict' || priority === 'true'
        ? 'strict'
        : priority === 'disabled' || priority === 'false'
          ? 'disabled'
          : 'flexible',
    envsDirs: list('envs_dirs', 'envs_path').map((path) => resolve(expanded(path))),
    pkgsDirs: list('pkgs_dirs').map((path) => resolve(expanded(path))),
    pinned: list('pinned_packages'),
    proxies: new Map([...map('proxy_servers')].map(([name, value]) => [name, expanded(String(value))])),
    mirrors: new Map([...map('mirrored_channels')].map(([name, value]) => [name, strings(value).map(expanded)])),
    offline: String(last('offline') ?? 'false').toLowerCase() === 'true',
    excludeNewer: newest === undefined || newest === null || newest === '' || newest === false ? null : String(newest),
    sslVerify:
      ssl === undefined || ssl === true || ssl === 'true'
        ? true
        : ssl === false || ssl === 'false'
          ? false
          : expanded(String(ssl)),
    files,
  }
}

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.map(String) : typeof value === 'string' ? [value] : []
