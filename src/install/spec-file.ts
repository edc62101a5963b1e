/** Files that say what an environment is made of: `environment.yml`, lists of specs, explicit lists. Reading only. */
import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import type { ChannelConfig, Secret } from '../conda/channel.js'
import { channelsOf } from '../conda/channel.js'
import { EnvError, fromSystem } from '../errors.js'
import { nameOf, type RepoRecord, repoRecord } from './repodata.js'

export interface SpecFile {
  /** Name it gives the environment; null: none. */
  readonly name: string | null
  readonly channels: readonly string[]
  readonly specs: readonly string[]
  /** Packages by their addresses, with nothing left to solve; null: `specs` are to be solved. */
  readonly explicit: readonly RepoRecord[] | null
  /** Credentials that the addresses brought, by channel. */
  readonly secrets: ReadonlyMap<string, Secret>
}

/** Throws INVALID_SPEC naming the line, UNSUPPORTED for what is not done yet: pip sections and lock files. */
export async function readSpecFile(file: string, config: ChannelConfig): Promise<SpecFile> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw fromSystem(error, 'cannot read', file)
  }
  if (/\.ya?ml$/.test(file)) return fromYaml(text, file)
  const lines = text
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '')
  if (lines[0] !== '@EXPLICIT') return { name: null, channels: [], specs: lines, explicit: null, secrets: new Map() }
  return explicitList(lines.slice(1), file, config)
}

async function fromYaml(text: string, file: string): Promise<SpecFile> {
  const { parse } = await import('yaml')
  let value: unknown
  try {
    value = parse(text)
  } catch (error) {
    throw bad(file, (error as Error).message, error)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(file, 'expected an environment')
  const { name = null, channels = [], dependencies = [], ...others } = value as Record<string, unknown>
  if ('package' in others || 'metadata' in others || /-lock\.ya?ml$/.test(basename(file)))
    throw new EnvError('UNSUPPORTED', `${file} is a lock file: these are not read yet`, { path: file })
  const specs = listOf(dependencies, 'dependencies', file).map((item) => {
    if (typeof item === 'string') return item
    if (typeof item === 'object' && item !== null && 'pip' in item)
      throw new EnvError('UNSUPPORTED', `${file} asks for pip packages: these are not installed yet`, {
        path: file,
        hint: "take the 'pip:' section out, and run the environment's own pip afterwards",
      })
    throw bad(file, `expected a match spec in dependencies, got ${JSON.stringify(item)}`)
  })
  return {
    name: typeof name === 'string' ? name : null,
    channels: listOf(channels, 'channels', file)
      .map(String)
      .filter((channel) => channel !== 'nodefaults'),
    specs,
    explicit: null,
    secrets: new Map(),
  }
}

function listOf(value: unknown, key: string, file: string): unknown[] {
  if (value === null) return []
  if (Array.isArray(value)) return value
  throw bad(file, `expected a list '${key}'`)
}

/** Addresses, each with `#md5` or `#sha256:…` of its archive. */
function explicitList(lines: readonly string[], file: string, config: ChannelConfig): SpecFile {
  const secrets = new Map<string, Secret>()
  const explicit = lines.map((line) => {
    const [address = '', sum = ''] = line.split('#')
    const at = /^(.+)\/([^/]+)\/([^/]+)$/.exec(address)
    const [, where = '', subdir = '', fn = ''] = at ?? []
    const name = nameOf(fn)
    if (name === null || !/^(https?|file):/.test(where))
      throw bad(file, `expected the address of a package, got '${line}'`)
    const [channel] = channelsOf(where, config)
    if (channel === undefined) throw bad(file, `expected the address of a package, got '${line}'`)
    if (channel.secret !== null) secrets.set(channel.base, channel.secret)
    const [version = '', build = ''] = fn
      .replace(/(\.conda|\.tar\.bz2)$/, '')
      .slice(name.length + 1)
      .split('-')
    return repoRecord(channel.base, subdir, fn, { name, version, build, ...hashOf(sum, line, file) })
  })
  return { name: null, channels: [], specs: [], explicit, secrets }
}

function hashOf(sum: string, line: string, file: string): { md5?: string; sha256?: string } {
  const plain = sum.replace(/^(sha256|md5):/, '')
  if (/^[0-9a-f]{32}$/i.test(plain)) return { md5: plain }
  if (/^[0-9a-f]{64}$/i.test(plain)) return { sha256: plain }
  if (sum === '') return {}
  throw bad(file, `expected an md5 or a sha256 behind '#', got '${line}'`)
}

const bad = (path: string, what: string, cause?: unknown): EnvError =>
  new EnvError('INVALID_SPEC', `${path}: ${what}`, { path, cause })
