/** From what is asked to packages: channels found, their indexes brought, the solver asked. Nothing is written but the cache of indexes. */
import { type Channel, channelsOf, type Secret } from '../conda/channel.js'
import type { Config } from '../conda/config.js'
import type { ChosenPackage } from '../conda/layout.js'
import { parseMatchSpec } from '../conda/match-spec.js'
import { EnvError } from '../errors.js'
import { type Read, readAhead } from './ahead.js'
import { tokenSecrets } from './credentials.js'
import { indexesOf } from './indexes.js'
import { packageCaches } from './packages.js'
import type { RepoRecord } from './repodata.js'
import type { Request } from './request.js'
import { startSolver } from './solve.js'
import { thisPlatform, virtualPackages } from './virtual-packages.js'

export const packageOf = ({ name, version, build, channel, subdir, url, size }: RepoRecord): ChosenPackage => ({
  ...{ name, version, build, channel, subdir, url, size },
})

export interface Choice {
  readonly records: readonly RepoRecord[]
  /** Credentials of channels, by their addresses. */
  readonly secrets: ReadonlyMap<string, Secret>
  /** The specs by which packages were asked for, by their names. */
  readonly asked: ReadonlyMap<string, string>
  /** Of the wishes, those that do not hold. */
  readonly unmet: readonly string[]
  /** What was read of the caches meanwhile, by folders. */
  readonly ahead: ReadonlyMap<string, Read>
}

/** What is asked of an environment that is there already; without it, of one to be made. */
export interface Standing {
  /** Specs that hold, instead of those of the request alone. */
  readonly specs: readonly string[]
  readonly installed: readonly RepoRecord[]
  /** Installed as well, but free to change. */
  readonly free: readonly RepoRecord[]
  readonly pins: readonly string[]
  /** Specs that need not hold. */
  readonly wishes?: readonly string[]
  /** Only what the specs name, whatever it needs. */
  readonly alone: boolean
}

/** Throws UNSATISFIABLE, CHANNEL_NOT_FOUND, CHANNEL_DAMAGED, DOWNLOAD_FAILED, INVALID_SPEC, CANCELLED. */
export async function choose(request: Request, standing?: Standing): Promise<Choice> {
  const { explicit, files, config, tokens, network, excludeNewer } = request
  const { specs } = standing ?? request
  const asked = new Map(request.specs.map((spec) => [parseMatchSpec(spec).name, spec]))
  const own = new Map(files.flatMap((file) => [...file.secrets]))
  const given = (bases: readonly string[]): Map<string, Secret> => tokenSecrets(tokens, bases, own, config.alias)
  if (explicit !== null) {
    const bases = [...new Set(explicit.map(({ channel }) => channel))]
    return { records: explicit, secrets: given(bases), asked, unmet: [], ahead: new Map() }
  }
  const channels = channelList(request.channels, request.overrideChannels, config)
  for (const { base, secret } of channels) if (secret !== null) own.set(base, secret)
  const secrets = given(channels.map(({ base }) => base))
  if (specs.length === 0) return { records: [], secrets, asked, unmet: [], ahead: new Map() }
  const { offline, signal, warn, reporter, copy } = request
  reporter.phase('solve')
  const solver = await startSolver()
  try {
    const platform = thisPlatform()
    const known = channels.map((channel) => ({ ...channel, secret: secrets.get(channel.base) ?? null }))
    const indexes = await indexesOf(known, [platform, 'noarch'], { offline, http: { signal, network } })
    const { priority, pinned } = config
    const { installed = [], free = [], alone = false, wishes = [] } = standing ?? {}
    const here = { installed, free, alone, wishes, pins: [...pinned, ...(standing?.pins ?? [])] }
    const virtual = virtualPackages(platform)
    const answer = solver.solve({ specs, indexes, platform, virtual, ...here, priority, excludeNewer, signal })
    // Of an environment that is there, most packages stay.
    const { stop } = readAhead(standing === undefined ? packageCaches(config) : [], asked.keys(), copy)
    const { records, relaxed, unmet } = await answer.finally(stop)
    if (relaxed) warn('there was no answer with the first channel that has each package: later channels were allowed')
    return { records, secrets, asked, unmet, ahead: stop() }
  } finally {
    // Not waited for: it takes 10 ms, and what follows does not depend on it.
    void solver.end()
  }
}

function channelList(channels: readonly string[], override: boolean, config: Config): Channel[] {
  const configured = override ? [] : config.channels.length > 0 || channels.length > 0 ? config.channels : ['defaults']
  const all = [...channels, ...configured].flatMap((name) => channelsOf(name, config))
  if (all.length === 0) throw new EnvError('INVALID_OPTION', 'no channel is named', { hint: 'name one with --channel' })
  const seen = new Set<string>()
  return all.filter(({ base }) => !seen.has(base) && seen.add(base))
}
