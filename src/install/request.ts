/** What the verbs that install packages are asked, in the same words: which packages, from where, and how. */
import { availableParallelism } from 'node:os'
import { type Config, readConfig } from '../conda/config.js'
import { findPrefix } from '../conda/find.js'
import { EnvError } from '../errors.js'
import { type Reporter, silent } from '../report.js'
import type { RepoRecord } from './repodata.js'
import { readSpecFile, type SpecFile } from './spec-file.js'

export interface RequestOptions {
  /** Match specs, as conda takes them. */
  readonly specs?: readonly string[] | undefined
  /** More of them, and of channels: `environment.yml`, lists of specs; or one explicit list, alone. */
  readonly files?: readonly string[] | undefined
  /** Names, paths or URLs, first to last; those of conda's configuration come after them. */
  readonly channels?: readonly string[] | undefined
  /** Only `channels`. */
  readonly overrideChannels?: boolean | undefined
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
 * `prefix`: an environment whose own configuration counts too. Throws what reading configuration and files does, and INVALID_OPTION for an
 * explicit list beside other specs.
 */
export async function readRequest(options: RequestOptions, prefix?: string): Promise<Request> {
  const config = readConfig(process.env, prefix)
  const files = await Promise.all((options.files ?? []).map((file) => readSpecFile(file, config)))
  const specs = [...(options.specs ?? []), ...files.flatMap((file) => file.specs)]
  const reporter = options.reporter ?? silent
  const warnings: string[] = []
  return {
    ...{ config, files, specs, reporter, warnings },
    explicit: explicitOf(files, specs),
    channels: [...(options.channels ?? []), ...files.flatMap((file) => file.channels)],
    overrideChannels: options.overrideChannels ?? false,
    offline: options.offline ?? config.offline,
    copy: options.copy ?? false,
    linkScripts: options.linkScripts ?? false,
    dryRun: options.dryRun ?? false,
    threads: options.threads ?? availableParallelism(),
    signal: options.signal,
    warn: (message) => {
      warnings.push(message)
      reporter.warn(message)
    },
  }
}

function explicitOf(files: readonly SpecFile[], specs: readonly string[]): readonly RepoRecord[] | null {
  const [first] = files.filter(({ explicit }) => explicit !== null)
  if (first === undefined) return null
  if (files.length === 1 && specs.length === 0) return first.explicit
  throw new EnvError('INVALID_OPTION', 'an explicit list stands alone: nothing is solved with it')
}
