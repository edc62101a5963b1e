/** An environment written down, so that it can be made again: `conda export` without conda. Reads records, and writes nothing. */
import { createHash } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import { publicUrl, withoutSecret } from '../conda/channel.js'
import { type Config, readConfig } from '../conda/config.js'
import { findPrefix, knownEnvironments } from '../conda/find.js'
import { EnvError } from '../errors.js'
import { checkOptions } from '../options.js'
import { textIfThere } from '../tree/if-there.js'
import { version } from '../version.js'
import { parseHistory } from './history.js'
import { explicitLines, type ListedPackage, type Listing, listHead, listing } from './listed.js'
import { thisPlatform } from './virtual-packages.js'

/** Under their names in conda: as YAML or JSON, an explicit list, a lock file of conda-lock. */
export type ExportFormat = 'environment-yaml' | 'environment-json' | 'explicit' | 'conda-lock-v1'
export const exportFormats: readonly ExportFormat[] = [
  'environment-yaml',
  'environment-json',
  'explicit',
  'conda-lock-v1',
]

export interface ExportOptions {
  /** Default: the active environment. */
  readonly prefix?: string | undefined
  readonly name?: string | undefined
  /** Default environment-yaml. */
  readonly format?: string | undefined
  /** Only what was asked for, as it was asked for; nothing of pip. */
  readonly fromHistory?: boolean | undefined
  /** Versions without builds. */
  readonly noBuilds?: boolean | undefined
  /** Channels to name besides those that packages are from; then those of conda's configuration. */
  readonly channels?: readonly string[] | undefined
  /** Not those of the configuration. */
  readonly overrideChannels?: boolean | undefined
  /** Names no channels that packages are from. */
  readonly ignoreChannels?: boolean | undefined
}

export interface ExportResult {
  readonly prefix: string
  readonly format: ExportFormat
  readonly text: string
  /** What the text does not say. */
  readonly warnings: readonly string[]
}

const shape = {
  prefix: 'string',
  name: 'string',
  format: 'string',
  fromHistory: 'boolean',
  noBuilds: 'boolean',
  channels: 'strings',
  overrideChannels: 'boolean',
  ignoreChannels: 'boolean',
} as const

/** Throws ENV_NOT_FOUND, NOT_AN_ENV, ENV_DAMAGED, INVALID_OPTION; UNSUPPORTED where the format cannot say what is installed. */
export async function exportEnvironment(options: ExportOptions = {}): Promise<ExportResult> {
  checkOptions('export', options, shape)
  const { prefix, name, format: called = 'environment-yaml' } = options
  const format = exportFormats.find((one) => one === called)
  if (format === undefined)
    throw new EnvError('INVALID_OPTION', `no format '${called}'; known are ${exportFormats.join(', ')}`)
  const found = findPrefix({ ...(prefix === undefined ? {} : { prefix }), ...(name === undefined ? {} : { name }) })
  const config = readConfig(process.env, found)
  const all = await listing(found, config, true)
  const warnings: string[] = []
  const text = await textOf(format, found, all, config, options, warnings)
  return { prefix: found, format, text, warnings }
}

async function textOf(
  format: ExportFormat,
  prefix: string,
  all: Listing,
  config: Config,
  options: ExportOptions,
  warnings: string[],
): Promise<string> {
  const pip = all.packages.filter((one) => one.pip !== null)
  if (format === 'explicit') {
    if (pip.length > 0) throw notAll(format, `${pip.map((one) => one.name).join(', ')} of pip`)
    const unknown = all.recorded.filter(({ url }) => url === null).map((one) => one.dist)
    if (unknown.length > 0) throw notAll(format, `where ${unknown.join(', ')} came from`)
    const head = listHead(thisPlatform(), `conda-deploy ${version}`)
    return `${[...head, '@EXPLICIT', ...explicitLines(all.recorded, 'md5')].join('\n')}\n`
  }
  const { stringify } = await import('yaml')
  const plain = { lineWidth: 0, singleQuote: true }
  if (format === 'conda-lock-v1') return stringify(lockOf(all, warnings), { ...plain, indentSeq: false })
  const document = await environmentOf(prefix, all, config, options)
  return format === 'environment-json' ? `${JSON.stringify(document, null, 2)}\n` : stringify(document, plain)
}

const notAll = (format: ExportFormat, what: string): EnvError =>
  new EnvError('UNSUPPORTED', `the format ${format} cannot say ${what}`, { hint: 'export it as environment-yaml' })

/** In conda's order and words. */
async function environmentOf(prefix: string, { packages }: Listing, config: Config, options: ExportOptions) {
  const { fromHistory = false, noBuilds = false, channels = [], ignoreChannels = false } = options
  const conda = packages.filter((one) => one.pip === null)
  const pip = packages.filter((one) => one.pip !== null)
  const specs = fromHistory
    ? await requested(prefix, new Set(conda.map(({ name }) => name)))
    : conda.map(({ name, version: v, build }) => (noBuilds ? `${name}=${v}` : `${name}=${v}=${build}`))
  const used = fromHistory || ignoreChannels ? [] : conda.map(({ channel }) => channel)
  const named = [...used.filter((one) => one !== '<unknown>'), ...channels.map(publicUrl)]
  const all = [...new Set([...named, ...(options.overrideChannels ? [] : config.channels.map(publicUrl))])]
  const section = { pip: pip.map((one) => `${one.name}==${one.version}`) }
  const variables = await variablesOf(prefix)
  return {
    name: nameOf(prefix, config),
    ...(all.length === 0 ? {} : { channels: all }),
    dependencies: [...specs, ...(pip.length === 0 || fromHistory ? [] : [section])],
    ...(Object.keys(variables).length === 0 ? {} : { variables }),
    prefix,
  }
}

/** Of what is installed, what was asked for, in the words it was asked in. */
async function requested(prefix: string, installed: ReadonlySet<string>): Promise<string[]> {
  const history = parseHistory((await textIfThere(join(prefix, 'conda-meta', 'history'))) ?? '')
  return [...history.requested].filter(([name]) => installed.has(name)).map(([, spec]) => withoutSecret(spec))
}

function nameOf(prefix: string, config: Config): string {
  const { roots, folders } = knownEnvironments(config.envsDirs)
  if (roots.includes(prefix)) return 'base'
  return folders.includes(dirname(prefix)) ? basename(prefix) : prefix
}

async function variablesOf(prefix: string): Promise<Readonly<Record<string, string>>> {
  const file = join(prefix, 'conda-meta', 'state')
  const text = await textIfThere(file)
  if (text === null) return {}
  try {
    const { env_vars: all } = JSON.parse(text) as { readonly env_vars?: Readonly<Record<string, unknown>> }
    const set = Object.entries(all ?? {}).filter(([, value]) => value !== '***unset***')
    return Object.fromEntries(set.map(([key, value]) => [key, String(value)]))
  } catch (error) {
    throw new EnvError('ENV_DAMAGED', `${file}: ${(error as Error).message}`, { path: file, cause: error })
  }
}

/** A lock for this environment's platform. What pip did not note the address of cannot be locked, and is told. */
function lockOf({ recorded, packages }: Listing, warnings: string[]): object {
  const platform = recorded.find(({ subdir }) => subdir !== 'noarch' && subdir !== '')?.subdir ?? thisPlatform()
  const conda = recorded.map((one) => lockedConda(one, platform, warnings))
  const pip = packages.map((one) => lockedPip(one, platform, warnings))
  const entries = [...conda, ...pip].filter((one) => one !== null)
  const hash = createHash('sha256').update(JSON.stringify(entries)).digest('hex')
  const used = [...new Set(recorded.map(({ channel }) => channel))].filter((one) => one !== '<unknown>')
  return {
    version: 1,
    metadata: {
      content_hash: { [platform]: hash },
      channels: used.map((url) => ({ url, used_env_vars: [] })),
      platforms: [platform],
      sources: [],
    },
    package: entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
  }
}

interface LockEntry {
  readonly name: string
}

function lockedConda(one: ListedPackage, platform: string, warnings: string[]): LockEntry | null {
  const { name, version: v, url, md5, sha256, depends } = one
  if (url === null || (md5 === null && sha256 === null)) {
    warnings.push(`${one.dist} is not in the lock: its record does not say where it came from, or no hash of it`)
    return null
  }
  const dependencies = depends
    .map((text) => text.trim())
    .filter((text) => !text.startsWith('__'))
    .map((text) => [text.split(/\s/)[0] ?? text, text.replace(/^\S+\s*/, '')])
  const hash = { ...(md5 === null ? {} : { md5 }), ...(sha256 === null ? {} : { sha256 }) }
  return {
    ...{ name, version: v, manager: 'conda', platform, dependencies: Object.fromEntries(dependencies) as object },
    ...{ url, hash, category: 'main', optional: false },
  } as LockEntry
}

function lockedPip({ name, version: v, pip }: ListedPackage, platform: string, warnings: string[]): LockEntry | null {
  if (pip === null) return null
  const { source } = pip
  if (source === null || source.editable || source.sha256 === null) {
    warnings.push(`${name} ${v} of pip is not in the lock: pip noted no archive of it with a hash`)
    return null
  }
  return {
    ...{ name, version: v, manager: 'pip', platform, dependencies: {}, url: publicUrl(source.url) },
    ...{ hash: { sha256: source.sha256 }, category: 'main', optional: false },
  } as LockEntry
}
