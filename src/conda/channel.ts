/**
 * Where packages come from: names of channels turned into addresses. A channel is a folder with one subfolder per platform, at a URL or
 * on disk. https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/channels.html
 */
import { resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { EnvError } from '../errors.js'

export interface Channel {
  /** As people call it: `conda-forge`, or its address. */
  readonly name: string
  /** Address without a slash at its end, and without credentials: `https://…` or `file:///…`. */
  readonly base: string
  /** `user:password` or `t/TOKEN` that the address brought with it; never written anywhere. */
  readonly secret: Secret | null
}

export type Secret =
  | { readonly kind: 'basic'; readonly user: string; readonly password: string }
  | { readonly kind: 'token'; readonly token: string }

/** What of conda's configuration decides about channels. */
export interface ChannelConfig {
  readonly alias: string
  /** What `defaults` stands for. */
  readonly defaults: readonly string[]
  /** Names that stand for several channels. */
  readonly multichannels: ReadonlyMap<string, readonly string[]>
  /** Addresses beneath which the channels of these names are, instead of `alias`. */
  readonly customs: ReadonlyMap<string, string>
}

/** The channels that one name means, in their order. Throws CHANNEL_NOT_FOUND for what can be none. */
export function channelsOf(text: string, config: ChannelConfig): Channel[] {
  const several = text === 'defaults' ? config.defaults : config.multichannels.get(text)
  return several === undefined ? [channelOf(text, config)] : several.map((one) => channelOf(one, config))
}

function channelOf(text: string, { alias, customs }: ChannelConfig): Channel {
  const name = text.trim()
  if (/^(https?|file):\/\//.test(name)) return fromUrl(name, name)
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(name)) {
    throw new EnvError(
      'CHANNEL_NOT_FOUND',
      `channel ${withoutSecret(name)}: expected file, http or https, got ${name.split(':')[0]}`,
    )
  }
  if (/^(\/|\.\.?(\/|$)|~(\/|$))/.test(name)) {
    const path = name.startsWith('~') ? resolve(process.env['HOME'] ?? '/', `.${name.slice(1)}`) : resolve(name)
    return fromUrl(pathToFileURL(path).href, name)
  }
  if (!/^[A-Za-z0-9_][A-Za-z0-9_./-]*$/.test(name))
    throw new EnvError('CHANNEL_NOT_FOUND', `'${withoutSecret(text)}' is no name, path or URL of a channel`)
  // The longest that `name` begins with, as conda does: `team` is for `team/label/dev` too.
  const [custom] = [...customs.keys()]
    .filter((key) => name === key || name.startsWith(`${key}/`))
    .sort((a, b) => b.length - a.length)
  const beneath = (custom === undefined ? undefined : customs.get(custom)) ?? alias
  return fromUrl(`${beneath.replace(/\/+$/, '')}/${name}`, name)
}

function fromUrl(text: string, name: string): Channel {
  let url: URL
  try {
    url = new URL(text)
  } catch (error) {
    throw new EnvError('CHANNEL_NOT_FOUND', `${withoutSecret(text)} is no URL of a channel`, { cause: error })
  }
  const token = /^\/t\/([^/]+)(?=\/|$)/.exec(url.pathname)
  const secret: Secret | null =
    url.username !== ''
      ? { kind: 'basic', user: decodeURIComponent(url.username), password: decodeURIComponent(url.password) }
      : token === null
        ? null
        : { kind: 'token', token: decodeURIComponent(token[1] as string) }
  url.username = ''
  url.password = ''
  url.search = ''
  url.hash = ''
  if (token !== null) url.pathname = url.pathname.slice(token[0].length)
  const base = url.href.replace(/\/+$/, '')
  return { name: name === text ? base : name, base, secret }
}

export interface ChannelNames {
  /** Without platform and credentials; null: not known. */
  readonly base: string | null
  /** As `conda list` shows it: a name where the configuration has one for the address (`defaults`, `conda-forge`), else the address. */
  readonly shown: string
  /** The last part, without the server: `conda-forge`, `pkgs/main`. */
  readonly name: string
}

const unknown: ChannelNames = { base: null, shown: '<unknown>', name: '<unknown>' }

/** What a record's channel is called: `text` is an address or a name, with or without a platform at its end. */
export function channelNames(text: string, config: ChannelConfig): ChannelNames {
  const plain = text.trim().replace(/\/(?:noarch|(?:linux|osx|win|freebsd|zos|emscripten|wasi)-[a-z0-9]+)\/?$/, '')
  if (plain === '' || plain.startsWith('<') || (!plain.includes('://') && !/^[A-Za-z0-9_]/.test(plain))) return unknown
  let base: string
  try {
    base = channelOf(plain, config).base
  } catch (error) {
    // Whatever wrote such a record: it can be listed all the same.
    if (error instanceof EnvError) return unknown
    throw error
  }
  const lists = [['defaults', config.defaults] as const, ...config.multichannels]
  const several = lists.find(([, list]) => list.some((one) => one.includes('://') && publicUrl(one) === base))?.[0]
  const roots = [...[...config.customs.values()], config.alias, 'https://conda.anaconda.org']
  const root = roots.map(publicUrl).find((one) => base.startsWith(`${one}/`))
  const path = decodeURI(new URL(base).pathname).slice(1)
  // The path beneath the address where it is known which that is; of folders conda takes the last part.
  const name =
    root === undefined ? (base.startsWith('file:') ? path.replace(/^.*\//, '') : path) : base.slice(root.length + 1)
  return { base, shown: several ?? (root === undefined ? base : name), name }
}

/** An address without credentials of any kind: the form that may be written anywhere. */
export function publicUrl(url: string): string {
  return url
    .replace(/(\/\/)[^/\s]*@/, '$1')
    .replace(/(:\/\/[^/]+)\/t\/[^/]+(?=\/|$)/, '$1')
    .replace(/\/+$/, '')
}

/** An address as it may be shown. */
export function withoutSecret(url: string): string {
  return url.replace(/(\/\/)[^/\s]*@/, '$1').replace(/\/t\/[^/]+/, '/t/<TOKEN>')
}

/** The folder of a channel on disk; null: it is elsewhere. */
export function folderOf(base: string): string | null {
  return base.startsWith('file:') ? fileURLToPath(base) : null
}
