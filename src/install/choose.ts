/** From what is asked to packages: channels found, their indexes brought, the solver asked. Nothing is written but the cache of indexes. */
import { type Channel, channelsOf, type Secret } from '../conda/channel.js'
import type { Config } from '../conda/config.js'
import { EnvError } from '../errors.js'
import { indexesOf } from './indexes.js'
import type { RepoRecord } from './repodata.js'
import type { Request } from './request.js'
import { solve } from './solve.js'
import { thisPlatform, virtualPackages } from './virtual-packages.js'

/** A package as results tell of it. */
export interface ChosenPackage {
  readonly name: string
  readonly version: string
  readonly build: string
  readonly channel: string
  readonly subdir: string
  readonly url: string
  readonly size: number | null
}

export const packageOf = ({ name, version, build, channel, subdir, url, size }: RepoRecord): ChosenPackage => ({
  ...{ name, version, build, channel, subdir, url, size },
})

export interface Choice {
  readonly records: readonly RepoRecord[]
  /** Credentials of channels, by their addresses. */
  readonly secrets: ReadonlyMap<string, Secret>
}

/** Throws UNSATISFIABLE, CHANNEL_NOT_FOUND, CHANNEL_DAMAGED, DOWNLOAD_FAILED, INVALID_SPEC, CANCELLED. */
export async function choose(request: Request): Promise<Choice> {
  const { explicit, specs, files, config } = request
  const secrets = new Map(files.flatMap((file) => [...file.secrets]))
  if (explicit !== null) return { records: explicit, secrets }
  const channels = channelList(request.channels, request.overrideChannels, config)
  for (const { base, secret } of channels) if (secret !== null) secrets.set(base, secret)
  if (specs.length === 0) return { records: [], secrets }
  const { offline, signal, warn, reporter } = request
  reporter.phase('solve')
  const platform = thisPlatform()
  const indexes = await indexesOf(channels, [platform, 'noarch'], { offline, http: { signal } })
  const { priority, pinned: pins } = config
  const virtual = virtualPackages(platform)
  const { records, relaxed } = await solve({ specs, indexes, platform, virtual, pins, priority, signal })
  if (relaxed) warn('there was no answer with the first channel that has each package: later channels were allowed')
  return { records, secrets }
}

function channelList(channels: readonly string[], override: boolean, config: Config): Channel[] {
  const configured = override ? [] : config.channels.length > 0 || channels.length > 0 ? config.channels : ['defaults']
  const all = [...channels, ...configured].flatMap((name) => channelsOf(name, config))
  if (all.length === 0) throw new EnvError('INVALID_OPTION', 'no channel is named', { hint: 'name one with --channel' })
  const seen = new Set<string>()
  return all.filter(({ base }) => !seen.has(base) && seen.add(base))
}
