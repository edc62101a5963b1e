/** What the verbs that install packages are asked, in the same words: which packages, from where, and how. */
import { availableParallelism } from 'node:os'
import { publicUrl } from '../conda/channel.js'
import { type Config, readConfig } from '../conda/config.js'
import { findPrefix } from '../conda/find.js'
import { EnvError } from '../errors.js'
import { type Reporter, silent } from '../report.js'
import { cutoff } from './exclude-newer.js'
import { type Network, networkOf } from './network.js'
import type { RepoRecord } from './repodata.js'
import { type PipSection, readSpecFile, type SpecFile } from './spec-file.js'
import { thisPlatform } from './virtual-packages.js'

export interface RequestOptions {
  /** Match specs, as conda takes them. */
  readonly specs?: readonly string[] | undefined
  /** More of them, and of channels: `environment.yml`, lists of specs; or one explicit list, alone. */
  readonly files?: readonly string[] | undefined
  /** Names, paths or URLs, first to last; those of conda's configuration come after them. */
  readonly channels?: readonly string[] | undefined
  /** Only `channels`. */
  readonly overrideChannels?: boolean | undefined
  /** Of channels that need one: `TOKEN`, or `HOST=TOKEN` where they are on several servers; after those of CONDA_TOKEN. */
  readonly tokens?: readonly string[] | undefined
  /** No packages published later: a date, a moment or a span of time, as `exclude_newer` of conda's configuration. */
  readonly excludeNewer?: string | undefined
  /** Nothing is asked of a server. */
  readonly offline?: boolean | undefined
  /** Copies in place of clones and hard links. */
  readonly copy?: boolean | undefined
  /** Run the link scripts of packages, once they stand where they belong; default: they are named. */
  readonly linkScripts?: boolean | undefined
  /** Solve, and write nothing but the cache of channels' indexes. */
  readonly dryRun?: boolean | undefined
  /** For `conda-meta/history`; credentials in it are left out. Default: the verb, the prefix and the specs. */
  readonly command?: string | undefined
  /** Default: all cores. */
  readonly threads?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

/** Which environment a verb is about that changes one. */
export interface EnvironmentOptions {
  /** Of the environment; default: the active one. */
  readonly prefix?: string | undefined
  /** Or its name. */
  readonly name?: string | undefined
}

/** Throws ENV_NOT_FOUND, NOT_AN_ENV, INVALID_OPTION. */
export const environmentOf = ({ prefix, name }: EnvironmentOptions): string =>
  findPrefix({ ...(prefix === undefined ? {} : { prefix }), ...(name === undefined ? {} : { name }) })

export const requestShape = {
  specs: 'strings',
  files: 'strings',
  channels: 'strings',
  overrideChannels: 'boolean',
  tokens: 'strings',
  excludeNewer: 'string',
  offline: 'boolean',
  copy: 'boolean',
  linkScripts: 'boolean',
  dryRun: 'boolean',
  command: 'string',
  threads: 'number',
  signal: 'object',
  reporter: 'object',
} as const

/** A request with its files read and its defaults filled in. */
export interface Request {
  readonly config: Config
  readonly files: readonly SpecFile[]
  /** Of the options and of the files. */
  readonly specs: readonly string[]
  /** Packages of an explicit list; null: the specs are to be solved. */
  readonly explicit: readonly RepoRecord[] | null
  /** Those of the options before those of the files. */
  readonly channels: readonly string[]
  readonly overrideChannels: boolean
  readonly tokens: readonly string[]
  /** Milliseconds since 1970; null: no limit. */
  readonly excludeNewer: number | null
  /** What the files have for pip; none where they may not. */
  readonly pip: readonly PipSection[]
  /** Of the files; later ones win. */
  readonly variables: Readonly<Record<string, string>>
  /** How servers are reached. */
  readonly network: Network
  readonly offline: boolean
  readonly copy: boolean
  readonly linkScripts: boolean
  readonly dryRun: boolean
  readonly threads: number
  readonly signal: AbortSignal | undefined
  readonly reporter: Reporter
  /** Everything that was warned of. */
  readonly warnings: readonly string[]
  readonly warn: (message: string) => void
}

/**
/**
 * `prefix`: an environment whose own configuration counts too; null: there is none yet, and files may say more of it than its packages (what is
 * for pip, variables), which is UNSUPPORTED otherwise. Throws what reading configuration and files does, and INVALID_OPTION for an explicit
 * list beside other specs.
 */
export async function readRequest(options: RequestOptions, prefix?: string | null): Promise<Request> {
  const config = readConfig(process.env, prefix ?? undefined)
  const files = await Promise.all((options.files ?? []).map((file) => readSpecFile(file, config, thisPlatform())))
  const given = [...(options.specs ?? []), ...files.flatMap((file) => file.specs)]
  const specs = given.map((spec) => spec.replace(/[a-z]+:\/\/\S+?(?=::|$)/g, publicUrl))
  const pip = files.flatMap((file) => file.pip ?? [])
  const variables = Object.assign({}, ...files.map((file) => file.variables)) as Record<string, string>
  if (prefix !== null && (pip.length > 0 || Object.keys(variables).length > 0)) throw morePlease(options.files ?? [])
  const reporter = options.reporter ?? silent
  const newest = options.excludeNewer ?? config.excludeNewer
  const variable = process.env['CONDA_TOKEN']
  const warnings: string[] = []
  const warn = (message: string): void => {
    warnings.push(message)
    reporter.warn(message)
  }
  if (specs.some((spec, i) => spec !== given[i]))
    warn('credentials in a package spec are not used: give them with the channel, by ~/.netrc or by --token')
  for (const note of files.flatMap((file) => file.notes)) warn(note)
  return {
    ...{ config, files, specs, reporter, warnings, pip, variables },
    explicit: explicitOf(files, specs),
    channels: [...(options.channels ?? []), ...files.flatMap((file) => file.channels)],
    overrideChannels: options.overrideChannels ?? files.some(({ nodefaults }) => nodefaults),
    tokens: [...(variable ? [variable] : []), ...(options.tokens ?? [])],
    excludeNewer: newest === null ? null : cutoff(newest),
    network: networkOf(config),
    offline: options.offline ?? config.offline,
    copy: options.copy ?? false,
    linkScripts: options.linkScripts ?? false,
    dryRun: options.dryRun ?? false,
    threads: options.threads ?? availableParallelism(),
    signal: options.signal,
    warn,
  }
}

const morePlease = (files: readonly string[]): EnvError =>
  new EnvError('UNSUPPORTED', `${files.join(', ')}: what is for pip, and variables, is only taken by create`, {
    hint: "take 'pip:' and 'variables:' out, and run the environment's own pip afterwards",
  })

function explicitOf(files: readonly SpecFile[], specs: readonly string[]): readonly RepoRecord[] | null {
  const [first] = files.filter(({ explicit }) => explicit !== null)
  if (first === undefined) return null
  if (files.length === 1 && specs.length === 0) return first.explicit
  throw new EnvError('INVALID_OPTION', 'an explicit list stands alone: nothing is solved with it')
}
