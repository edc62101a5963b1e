/** What is installed in an environment, as `conda list` and `conda export` see it: conda's records, and what pip brought. Reading only. */
import { type ChannelNames, channelNames, publicUrl } from '../conda/channel.js'
import type { Config } from '../conda/config.js'
import { readRecords, whileWhole } from '../conda/environment.js'
import { defaultSitePackages } from '../conda/noarch.js'
import { type PythonPackage, pythonPackages } from '../conda/python-packages.js'
import type { PrefixRecord } from '../conda/record.js'
import { inOrder } from './order.js'

export interface ListedPackage {
  readonly name: string
  readonly version: string
  readonly build: string
  readonly buildNumber: number
  /** As conda shows it: `conda-forge`, `defaults`, an address, `pypi`, `<unknown>`. */
  readonly channel: string
  /** Its last part, without the server, as `conda list --json` has it. */
  readonly channelName: string
  /** Without credentials; null: not recorded. */
  readonly channelUrl: string | null
  readonly subdir: string
  /** `name-version-build`. */
  readonly dist: string
  readonly fn: string
  /** Without credentials; null: not recorded. */
  readonly url: string | null
  readonly md5: string | null
  readonly sha256: string | null
  readonly depends: readonly string[]
  /** Null: a package of conda. */
  readonly pip: PythonPackage | null
}

export interface Listing {
  /** By their names, each once: what pip brought stands in place of the conda package that it replaced. */
  readonly packages: readonly ListedPackage[]
  /** What conda recorded, in the order of installing, whatever pip did. */
  readonly recorded: readonly ListedPackage[]
}

/** `pip`: packages of pip too. Throws ENV_DAMAGED naming the record that is none, or where a change is half done; IO. */
export async function listing(prefix: string, config: Config, pip: boolean): Promise<Listing> {
  return await whileWhole(prefix, () => listed(prefix, config, pip))
}

async function listed(prefix: string, config: Config, pip: boolean): Promise<Listing> {
  const records = await readRecords(prefix, true)
  const packages = new Map<string, ListedPackage>()
  const byRecord = new Map(records.map((record) => [record, ofConda(record, config)]))
  for (const one of byRecord.values()) packages.set(one.name, one)
  const python = records.find(({ name }) => name === 'python')
  if (pip && python !== undefined) {
    const sitePackages = python.sitePackages ?? defaultSitePackages(python.version)
    const owned = new Set(records.flatMap(({ files }) => files))
    const found = await pythonPackages(prefix, sitePackages, owned)
    const lost = new Set(found.lost)
    for (const { name, files } of records) if (files.some((path) => lost.has(path))) packages.delete(name)
    for (const one of found.packages) packages.set(one.name, ofPip(one))
  }
  const sortable = [...byRecord.values()].map((one) => ({ ...one, noarch: null }))
  return {
    packages: [...packages.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
    recorded: inOrder(sortable).map(({ noarch: _, ...one }) => one),
  }
}

function ofConda({ name, version, build, subdir, raw, file }: PrefixRecord, config: Config): ListedPackage {
  const word = (key: string): string | null => (typeof raw[key] === 'string' && raw[key] !== '' ? raw[key] : null)
  const number = raw['build_number']
  const depends = raw['depends']
  const url = word('url')
  const fn = word('fn') ?? `${file.replace(/^.*\/|\.json$/g, '')}.conda`
  return {
    ...{ name, version, build, buildNumber: typeof number === 'number' ? number : 0 },
    ...channelIn(word('channel'), word('schannel'), url, config),
    ...{
      subdir,
      dist: `${name}-${version}-${build}`,
      fn,
      url: url === null || url.startsWith('<') ? null : publicUrl(url),
    },
    ...{ md5: word('md5'), sha256: word('sha256'), pip: null },
    depends: Array.isArray(depends) ? depends.filter((one): one is string => typeof one === 'string') : [],
  }
}

type Channel = Pick<ListedPackage, 'channel' | 'channelName' | 'channelUrl'>

function channelIn(channel: string | null, old: string | null, url: string | null, config: Config): Channel {
  const text = channel ?? old ?? (url === null ? '' : url.replace(/\/[^/]+\/[^/]+$/, ''))
  const { base, shown, name }: ChannelNames = channelNames(text, config)
  return { channel: shown, channelName: name, channelUrl: base }
}

/** As conda records it in memory. */
function ofPip(pip: PythonPackage): ListedPackage {
  const { name, version } = pip
  const build = 'pypi_0'
  return {
    ...{ name, version, build, buildNumber: 0, channel: 'pypi', channelName: 'pypi' },
    ...{ channelUrl: 'https://conda.anaconda.org/pypi', subdir: 'pypi', dist: `${name}-${version}-${build}` },
    ...{ fn: pip.folder, url: null, md5: null, sha256: null, depends: [], pip },
  }
}

/** The head of lists that environments are made from. */
export const listHead = (platform: string, program: string): string[] => [
  '# This file may be used to create an environment using:',
  `# $ conda-deploy create --name <env> --file <this file>`,
  `# platform: ${platform}`,
  `# created-by: ${program}`,
]

/** An explicit list's lines, without its head. */
export function explicitLines(packages: readonly ListedPackage[], hash: 'md5' | 'sha256' | null): string[] {
  return packages.map(({ url, fn, ...one }) => {
    if (url === null) return `# no URL for: ${fn}`
    const sum = hash === null ? null : one[hash]
    return sum === null ? url : `${url}#${sum}`
  })
}
