/**
 * Requests to channels: the client of all downloads. Retries what may pass (connections, 408, 429, 5xx) with growing pauses, follows
 * redirects without taking credentials to another host, uses the proxies of the environment. Nothing here writes files.
 */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import { type Secret, withoutSecret } from '../conda/channel.js'
import { EnvError } from '../errors.js'

export interface HttpOptions {
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

export async function get(url: string, options: HttpOptions = {}): Promise<Answer> {
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
      if (last) {
        const cause = (error as Error).cause ?? error
        const message = `cannot download ${withoutSecret(url)}: ${(cause as Error).message || (cause as NodeJS.ErrnoException).code} (${attempts} attempts)`
        throw new EnvError('DOWNLOAD_FAILED', message, {
          cause: error,
          hint: 'is the network there? --offline uses what is cached',
        })
      }
    }
    await pause(wait, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      throw new EnvError('CANCELLED', 'cancelled', { cause: error })
    })
  }
}

function refused(url: string, status: number): EnvError {
  const hint = status === 401 || status === 403 ? 'give credentials by ~/.netrc or --token' : undefined
  const message = `cannot download ${withoutSecret(url)}: the server answered ${status}`
  return new EnvError('DOWNLOAD_FAILED', message, hint === undefined ? {} : { hint })
}

async function once(url: string, { secret = null, headers = {}, signal }: HttpOptions): Promise<Answer> {
  const { request, Agent, EnvHttpProxyAgent } = await import('undici')
  // The one that knows proxies is called experimental on stderr: only where there are some.
  agent ??= proxies.some((name) => process.env[name]) ? new EnvHttpProxyAgent() : new Agent()
  const origin = new URL(url).origin
  let at = url
  for (let hops = 0; hops < 10; hops++) {
    const own = new URL(at).origin === origin
    const response = await request(own ? withToken(at, secret) : at, {
      dispatcher: agent,
      headers: { 'user-agent': 'conda-deploy', ...headers, ...authorization(at, own ? secret : null) },
      ...(signal === undefined ? {} : { signal }),
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

const proxies = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY']
let agent: Dispatcher | undefined

function withToken(url: string, secret: Secret | null): string {
  if (secret?.kind !== 'token') return url
  const to = new URL(url)
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
