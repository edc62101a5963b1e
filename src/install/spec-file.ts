/** Files that say what an environment is made of: `environment.yml`, lists of specs, explicit lists, lock files. Reading only. */
import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { ChannelConfig, Secret } from '../conda/channel.js'
import { channelsOf, withoutSecret } from '../conda/channel.js'
import { firstLine } from '../conda/config.js'
import { parseMatchSpec } from '../conda/match-spec.js'
import { EnvError, fromSystem } from '../errors.js'
import { lockedPackages } from './lock-file.js'
import { nameOf, type RepoRecord, repoRecord } from './repodata.js'

export interface SpecFile {
  /** Name it gives the environment; null: none. */
  readonly name: string | null
  readonly channels: readonly string[]
  /** It wants no channels but its own. */
  readonly nodefaults: boolean
  readonly specs: readonly string[]
  /** Packages by their addresses, with nothing left to solve; null: `specs` are to be solved. */
  readonly explicit: readonly RepoRecord[] | null
  /** Credentials that the addresses brought, by channel. */
  readonly secrets: ReadonlyMap<string, Secret>
  /** For the environment's own pip; null: nothing. */
  readonly pip: PipSection | null
  /** To be set when the environment is activated. */
  readonly variables: Readonly<Record<string, string>>
  /** What the user should know about how it was read. */
  readonly notes: readonly string[]
}

export interface PipSection {
  /** Lines of a requirements file. */
  readonly lines: readonly string[]
  /** Where relative paths in them begin. */
  readonly folder: string
  /** What is needed is all in the list already. */
  readonly noDeps: boolean
}

const empty: SpecFile = {
  ...{ name: null, channels: [], nodefaults: false, specs: [], explicit: null, secrets: new Map() },
  ...{ pip: null, variables: {}, notes: [] },
}

/** Throws INVALID_SPEC naming the file and what is wrong in it, UNSUPPORTED for lock files of other tools. `platform`: of a lock file. */
export async function readSpecFile(file: string, config: ChannelConfig, platform: string): Promise<SpecFile> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw fromSystem(error, 'cannot read', file)
  }
  const isYaml = /\.(ya?ml|lock)$/.test(file) && !/^@EXPLICIT\s*$/m.test(text)
  return isYaml ? fromYaml(text, file, config, platform) : fromLines(text, file, config)
}

function fromLines(text: string, file: string, config: ChannelConfig): SpecFile {
  const written = text.split('\n')
  const lines = written.map((line) => line.replace(/(^|\s)#.*$/, '').trim()).filter((line) => line !== '')
  if (lines[0] !== '@EXPLICIT') return { ...empty, specs: lines }
  const { explicit, secrets } = explicitList(lines.slice(1), file, config)
  // So conda-lock writes what is for pip into its explicit lists.
  const pip = written.flatMap((line) => /^#\s*pip\s+(\S.*)$/.exec(line.trim())?.[1] ?? [])
  const section = pip.length === 0 ? null : { lines: pip, folder: dirname(resolve(file)), noDeps: true }
  return { ...empty, explicit, secrets, pip: section }
}

async function fromYaml(text: string, file: string, config: ChannelConfig, platform: string): Promise<SpecFile> {
  const { parse } = await import('yaml')
  let value: unknown
  try {
    value = parse(text)
  } catch (error) {
    throw bad(file, firstLine(error as Error))
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(file, 'expected an environment')
  const document = value as Readonly<Record<string, unknown>>
  if ('package' in document || 'packages' in document || 'environments' in document) {
    const { urls, pip, notes } = lockedPackages(document, file, platform)
    const { explicit, secrets } = explicitList(urls, file, config)
    const section = pip.length === 0 ? null : { lines: pip, folder: dirname(resolve(file)), noDeps: true }
    return { ...empty, explicit, secrets, pip: section, notes }
  }
  return environment(document, file)
}

const known = new Set(['name', 'prefix', 'channels', 'dependencies', 'variables', 'platforms', 'category'])

function environment(document: Readonly<Record<string, unknown>>, file: string): SpecFile {
  const { name, channels, dependencies, variables } = document
  const specs: string[] = []
  const lines: string[] = []
  for (const item of listOf(dependencies, 'dependencies', file)) {
    const isPip = typeof item === 'object' && item !== null && Object.keys(item).join() === 'pip'
    if (typeof item === 'string') specs.push(item)
    else if (isPip) lines.push(...listOf((item as { pip: unknown }).pip, 'pip', file).map(String))
    else throw bad(file, `expected a match spec in dependencies, got ${JSON.stringify(item)}`)
  }
  const notes = Object.keys(document)
    .filter((key) => !known.has(key))
    .map((key) => `${file}: '${key}' means nothing to conda, nor here`)
  if (lines.length > 0 && !specs.some((spec) => parseMatchSpec(spec).name === 'pip')) {
    specs.push('pip')
    notes.push(`${file} has a 'pip:' section but does not name pip itself: it is added`)
  }
  const places = listOf(channels, 'channels', file).map((one) => expanded(String(one)))
  return {
    ...empty,
    ...{ name: typeof name === 'string' ? name : null, specs, notes },
    channels: places.filter((channel) => channel !== 'nodefaults'),
    nodefaults: places.includes('nodefaults'),
    pip: lines.length === 0 ? null : { lines, folder: dirname(resolve(file)), noDeps: false },
    variables: variablesOf(variables, file),
  }
}

/** As conda does in channels of environment.yml, so that credentials need not stand there. */
const expanded = (text: string): string =>
  text.replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, a?: string, b?: string) => process.env[a ?? b ?? ''] ?? whole)

function variablesOf(value: unknown, file: string): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {}
  if (typeof value !== 'object' || Array.isArray(value)) throw bad(file, "expected 'NAME: value' in variables")
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, String(one)]))
}

function listOf(value: unknown, key: string, file: string): unknown[] {
  if (value === null || value === undefined) return []
  if (Array.isArray(value)) return value
  throw bad(file, `expected a list '${key}'`)
}

interface Explicit {
  readonly explicit: readonly RepoRecord[]
  readonly secrets: ReadonlyMap<string, Secret>
}

/** Addresses, each with `#md5` or `#sha256:…` of its archive, or with both. */
function explicitList(lines: readonly string[], file: string, config: ChannelConfig): Explicit {
  const secrets = new Map<string, Secret>()
  const explicit = lines.map((line) => {
    const [address = '', ...sums] = line.split('#')
    const at = /^(.+)\/([^/]+)\/([^/]+)$/.exec(address)
    const [, where = '', subdir = '', fn = ''] = at ?? []
    const name = nameOf(fn)
    const [channel] = name !== null && /^(https?|file):/.test(where) ? channelsOf(where, config) : []
    if (name === null || channel === undefined)
      throw bad(file, `expected the address of a package, got '${withoutSecret(line)}'`)
    if (channel.secret !== null) secrets.set(channel.base, channel.secret)
    const [version = '', build = ''] = fn
      .replace(/(\.conda|\.tar\.bz2)$/, '')
      .slice(name.length + 1)
      .split('-')
    const hashes = Object.assign({}, ...sums.map((sum) => hashOf(sum, line, file))) as object
    return repoRecord(channel.base, subdir, fn, { name, version, build, ...hashes })
  })
  return { explicit, secrets }
}

function hashOf(sum: string, line: string, file: string): { md5?: string; sha256?: string } {
  const plain = sum.replace(/^(sha256|md5):/, '')
  if (/^[0-9a-f]{32}$/i.test(plain)) return { md5: plain }
  if (/^[0-9a-f]{64}$/i.test(plain)) return { sha256: plain }
  if (sum === '') return {}
  throw bad(file, `expected an md5 or a sha256 behind '#', got '${withoutSecret(line)}'`)
}

const bad = (path: string, what: string): EnvError =>
  new EnvError('INVALID_SPEC', `${path}: ${what}`, { path, hint: 'conda-deploy export writes files that can be read' })
