/**
 * By which way a server is reached, as conda's configuration and the environment say: proxies, certificates, mirrors. One object a verb,
 * made from the configuration; http.ts asks it. https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/settings.html
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import type { Dispatcher } from 'undici'
import { type Channel, channelsOf, publicUrl } from '../conda/channel.js'
import type { Config } from '../conda/config.js'
import { EnvError, fromSystem } from '../errors.js'

export type Variables = Readonly<Record<string, string | undefined>>

export interface Network {
  /** What a request to this address goes through. Throws CONFIG_DAMAGED for a proxy that is none, and for certificates that cannot be read. */
  dispatcher(url: string): Promise<Dispatcher>
  /** Addresses to ask in place of one, first to last, each with the credentials that are its own; of most only itself. */
  places(url: string): readonly Place[]
  /** This server did not answer: its mirrors are asked before it from now on. */
  failed(url: string): void
}

export interface Place {
  readonly url: string
  /** Null: those that the caller has for the address. */
  readonly secret: Channel['secret']
  /** It stands for another one. */
  readonly mirror: boolean
}

type Settings = Pick<Config, 'proxies' | 'sslVerify' | 'mirrors' | 'alias' | 'defaults' | 'multichannels' | 'customs'>

export function networkOf(config: Settings, variables: Variables = process.env): Network {
  const mirrors = mirrorsOf(config)
  const dead = new Set<string>()
  const agents = new Map<string, Promise<Dispatcher>>()
  let tls: Tls | undefined
  return {
    dispatcher(url) {
      const proxy = proxyFor(url, config.proxies, variables)
      tls ??= tlsOf(config.sslVerify, variables)
      const known = agents.get(proxy ?? '')
      if (known !== undefined) return known
      const made = agentFor(proxy, tls)
      agents.set(proxy ?? '', made)
      return made
    },
    places(url) {
      const found = mirrors.find(({ base }) => url === base || url.startsWith(`${base}/`))
      if (found === undefined) return [{ url, secret: null, mirror: false }]
      const all = found.to.map(({ base, secret }) => ({
        ...{ url: `${base}${url.slice(found.base.length)}`, secret, mirror: base !== found.base },
      }))
      const isDead = ({ url: at }: Place): boolean => dead.has(new URL(at).origin)
      return [...all.filter((one) => !isDead(one)), ...all.filter(isDead)]
    },
    failed: (url) => void dead.add(new URL(url).origin),
  }
}

interface Mirrored {
  readonly base: string
  readonly to: readonly Channel[]
}

function mirrorsOf(config: Settings): Mirrored[] {
  return [...config.mirrors].flatMap(([name, to]) =>
    channelsOf(name, config).map(({ base }) => ({ base, to: to.flatMap((one) => channelsOf(one, config)) })),
  )
}

/** Null: none. As requests chooses it for conda: what names the server comes before what names the scheme. */
export function proxyFor(url: string, configured: ReadonlyMap<string, string>, variables: Variables): string | null {
  const { protocol, hostname, port } = new URL(url)
  const scheme = protocol.slice(0, -1)
  const variable = (name: string): string | undefined => variables[name] || variables[name.toUpperCase()] || undefined
  if (isExcepted(hostname, port, variable('no_proxy') ?? '')) return null
  const keys = [`${scheme}://${hostname}`, scheme, `all://${hostname}`, 'all']
  const named = keys.map((key) => configured.get(key)).find((proxy) => proxy !== undefined)
  const proxy = named ?? variable(`${scheme}_proxy`) ?? variable('all_proxy')
  return proxy === undefined || ['', 'null', 'None'].includes(proxy) ? null : proxy
}

/** `NO_PROXY`: names, each with all beneath it, addresses, both perhaps with a port, or `*`. */
function isExcepted(hostname: string, port: string, list: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '')
  return list
    .split(/[\s,]+/)
    .filter((item) => item !== '')
    .some((item) => {
      const [, name = '', only] = /^(.*?)(?::(\d+))?$/.exec(item) ?? []
      if (only !== undefined && only !== port) return false
      const ending = name.replace(/^\*?\./, '').toLowerCase()
      return name === '*' || (ending !== '' && (bare === ending || bare.endsWith(`.${ending}`)))
    })
}

interface Tls {
  readonly rejectUnauthorized?: boolean
  readonly ca?: string[]
}

/** Where distributions keep the certificates that the system trusts. */
const systemBundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/** `true`: as Node does, or by the bundle that REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE names. */
function tlsOf(verify: boolean | string, variables: Variables): Tls {
  if (verify === false) return { rejectUnauthorized: false }
  const named = ['REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'SSL_CERT_FILE'].map((name) => variables[name])
  const bundle = verify === true ? named.find((one) => one) : verify
  if (bundle === undefined) return {}
  if (bundle !== 'truststore') return { ca: certificatesIn(bundle) }
  const system = systemBundles.find((file) => existsSync(file))
  return system === undefined ? {} : { ca: [...rootCertificates, ...certificatesIn(system)] }
}

/** Of a file, or of all files of a folder, as OpenSSL has them. */
function certificatesIn(path: string): string[] {
  try {
    const files = statSync(path).isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [path]
    const texts = files.filter((file) => statSync(file).isFile()).map((file) => readFileSync(file, 'latin1'))
    const found = texts.filter((text) => text.includes('-----BEGIN'))
    if (found.length > 0) return found
  } catch (error) {
    throw fromSystem(error, 'ssl_verify: cannot read', path)
  }
  throw new EnvError('CONFIG_DAMAGED', `ssl_verify: ${path} holds no certificate`, { path })
}

async function agentFor(proxy: string | null, tls: Tls): Promise<Dispatcher> {
  const { Agent, ProxyAgent } = await import('undici')
  if (proxy === null) return new Agent({ connect: { ...tls } })
  const uri = /^[a-z][a-z0-9+.-]*:\/\//i.test(proxy) ? proxy : `http://${proxy}`
  if (!URL.canParse(uri) || !/^https?:/i.test(uri))
    throw new EnvError('CONFIG_DAMAGED', `${publicUrl(uri)} is no proxy that can be used: expected http or https`, {
      hint: 'see proxy_servers in .condarc, and the variables http_proxy, https_proxy and all_proxy',
    })
  const { username, password } = new URL(uri)
  const basic = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  return new ProxyAgent({
    uri,
    // Many proxies allow tunnels to port 443 alone.
    proxyTunnel: false,
    requestTls: { ...tls },
    proxyTls: { ...tls },
    ...(username === '' ? {} : { token: `Basic ${basic}` }),
  })
}
