/**
 * Requests to channels: the client of all downloads. Asks mirrors in their order, retries what may pass (connections, 408, 429, 5xx) with
 * growing pauses, follows redirects without taking credentials to another host. The way to a server is network.ts's. Nothing here writes
 * files.
 */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import { type Secret, withoutSecret } from '../conda/channel.js'
import { EnvError } from '../errors.js'
import { type Network, networkOf } from './network.js'

export interface HttpOptions {
  /** Default: the proxies and certificates of the environment, no mirrors. */
  readonly network?: Network | undefined
  /** Of the channel's address; otherwise `~/.netrc` is asked. */
  readonly secret?: Secret | null
  readonly headers?: Readonly<Record<string, string>>
  /** Attempts in all; default 4. */
  readonly attempts?: number
  /** Milliseconds before the second attempt, doubled after each; default 500. */
  readonly pause?: number
  readonly signal?: AbortSignal | undefined
}

/** 2xx, 304 and 404 and 416 are answers; everything else is DOWNLOAD_FAILED after the last attempt. */
export type Answer = Dispatcher.ResponseData

const answers = new Set([200, 206, 304, 404, 416])
const passing = new Set([408, 425, 429, 500, 502, 503, 504])
const redirects = new Set([301, 302, 303, 307, 308])

/** Throws DOWNLOAD_FAILED, CANCELLED, CONFIG_DAMAGED. What is not read of the body is kept in memory. */
export async function get(url: string, options: HttpOptions = {}): Promise<Answer> {
  const network = options.network ?? plain()
  const places = network.places(url)
  for (const [i, place] of places.entries()) {
    const last = i === places.length - 1
    // Where there is another place to ask, it is asked before this one is waited for.
    const patience = last ? {} : { attempts: 1 }
    const secret = place.secret ?? (place.mirror ? null : (options.secret ?? null))
    try {
      const answer = await getFrom(place.url, { ...options, ...patience, secret, network })
      if (last || answer.statusCode !== 404) return answer
      await answer.body.dump()
    } catch (error) {
      if (last || !(error instanceof EnvError) || error.code !== 'DOWNLOAD_FAILED') throw error
      network.failed(place.url)
    }
  }
  throw new EnvError('CONFIG_DAMAGED', `mirrored_channels names no address for ${withoutSecret(url)}`)
}

let plainNetwork: Network | undefined
const plain = (): Network => {
  const none = { proxies: new Map(), mirrors: new Map(), sslVerify: true, defaults: [], multichannels: new Map() }
  plainNetwork ??= networkOf({ ...none, alias: '', customs: new Map() })
  return plainNetwork
}

type Going = HttpOptions & { readonly network: Network }

async function getFrom(url: string, options: Going): Promise<Answer> {
  const { attempts = 4, pause: first = 500, signal } = options
  for (let attempt = 1; ; attempt++) {
    const last = attempt >= attempts
    let wait = first * 2 ** (attempt - 1)
    try {
      const response = await once(url, options)
      if (answers.has(response.statusCode)) return response
      await response.body.dump()
      if (last || !passing.has(response.statusCode)) throw refused(url, response.statusCode)
      const asked = Number(response.headers['retry-after'])
      if (Number.isFinite(asked)) wait = Math.min(asked * 1000, 60_000)
    } catch (error) {
      if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
      if (error instanceof EnvError) throw error
      const lasting = lastingHint(error as Error)
      if (last || lasting !== null) {
        const cause = (error as Error).cause ?? error
        const message = `cannot download ${withoutSecret(url)}: ${(cause as Error).message || (cause as NodeJS.ErrnoException).code} (${counted(attempt)})`
        throw new EnvError('DOWNLOAD_FAILED', message, {
          cause: error,
          hint: lasting ?? 'is the network there? --offline uses what is cached',
        })
      }
    }
    await pause(wait, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      throw new EnvError('CANCELLED', 'cancelled', { cause: error })
    })
  }
}

const counted = (attempts: number): string => (attempts === 1 ? '1 attempt' : `${attempts} attempts`)

/** For what another attempt does not change; null: it may pass. */
function lastingHint(error: Error): string | null {
  const { code = '', message } = (error.cause ?? error) as NodeJS.ErrnoException
  if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/.test(code))
    return "name the authority's certificates with ssl_verify in .condarc, or with SSL_CERT_FILE"
  if (/\b407\b/.test(message)) return "give the proxy's credentials in its address, http://user:password@host:port"
  return null
}

function refused(url: string, status: number): EnvError {
  const hint = status === 401 || status === 403 ? 'give credentials by ~/.netrc or --token' : undefined
  const message = `cannot download ${withoutSecret(url)}: the server answered ${status}`
  return new EnvError('DOWNLOAD_FAILED', message, hint === undefined ? {} : { hint })
}

/**
 * Bytes. An answer is never paused: where a server closes its connections (HTTP/1.0, many proxies), undici ends the process by an assertion
 * when the end of one comes while it is paused (undici issue 5360; all of 6 and 7). So who reads a body must keep up with it.
 */
const neverPaused = 2 ** 50

async function once(url: string, { network, secret = null, headers = {}, signal }: Going): Promise<Answer> {
  const { request } = await import('undici')
  const origin = new URL(url).origin
  let at = url
  for (let hops = 0; hops < 10; hops++) {
    const own = new URL(at).origin === origin
    const response = await request(own ? withToken(at, secret) : at, {
      dispatcher: await network.dispatcher(at),
      headers: { 'user-agent': 'conda-deploy', ...headers, ...authorization(at, own ? secret : null) },
      ...(signal === undefined ? {} : { signal }),
      highWaterMark: neverPaused,
      headersTimeout: 30_000,
      bodyTimeout: 60_000,
    })
    const { location } = response.headers
    if (!redirects.has(response.statusCode) || typeof location !== 'string') return response
    await response.body.dump()
    at = new URL(location, at).href
  }
  throw new EnvError('DOWNLOAD_FAILED', `cannot download ${withoutSecret(url)}: it is redirected without end`)
}

function withToken(url: string, secret: Secret | null): string {
  if (secret?.kind !== 'token') return url
  const to = new URL(url)
  // A server may redirect to an address with the token in it.
  if (to.pathname.startsWith('/t/')) return url
  to.pathname = `/t/${encodeURIComponent(secret.token)}${to.pathname}`
  return to.href
}

function authorization(url: string, secret: Secret | null): Record<string, string> {
  const known = secret?.kind === 'basic' ? secret : fromNetrc(new URL(url).hostname)
  if (known === null) return {}
  return { authorization: `Basic ${Buffer.from(`${known.user}:${known.password}`).toString('base64')}` }
}

/** `machine HOST login USER password WORD`, as curl and conda read it. */
export function fromNetrc(
  host: string,
  file: string = process.env['NETRC'] ?? join(homedir(), '.netrc'),
): { readonly user: string; readonly password: string } | null {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    // Most people have none.
    return null
  }
  const words = text.replace(/^\s*#.*$/gm, '').split(/\s+/)
  let entry: { user?: string; password?: string } | null = null
  for (let i = 0; i < words.length; i++) {
    const word = words[i]
    if (word === 'machine' || word === 'default') {
      if (entry?.user !== undefined) break
      entry = word === 'default' || words[++i] === host ? {} : null
    } else if (entry !== null && word === 'login') entry.user = words[++i] ?? ''
    else if (entry !== null && word === 'password') entry.password = words[++i] ?? ''
  }
  return entry?.user === undefined ? null : { user: entry.user, password: entry.password ?? '' }
}
