/** Tokens that are given apart from the addresses they are for: `--token` and CONDA_TOKEN. Kept in memory, and written nowhere. Pure. */
import { type Secret, withoutSecret } from '../conda/channel.js'
import { EnvError } from '../errors.js'

/**
 * `TOKEN`, for the one server that the channels are on, or, of several, that of `alias`; or `HOST=TOKEN`, which may be repeated. Credentials
 * that a channel brought itself are kept. Throws INVALID_OPTION where it is not clear whom a token is for.
 */
export function tokenSecrets(
  tokens: readonly string[],
  bases: readonly string[],
  known: ReadonlyMap<string, Secret>,
  alias: string,
): Map<string, Secret> {
  const secrets = new Map(known)
  const open = bases.filter((base) => /^https?:/.test(base) && !known.has(base))
  const hosts = [...new Set(open.map(hostOf))]
  for (const text of tokens) {
    const [, named, value = ''] = /^(?:([A-Za-z0-9.-]+(?::\d+)?)=)?(.+)$/s.exec(text.trim()) ?? []
    const host = named ?? (hosts.length <= 1 ? hosts[0] : hosts.find((one) => one === hostOf(alias)))
    if (value === '' || /[\s/?#]/.test(value))
      throw new EnvError('INVALID_OPTION', 'a token is a word without blanks and slashes, or HOST=TOKEN')
    if (host === undefined && hosts.length > 1) {
      const servers = hosts.map(withoutSecret).join(', ')
      throw new EnvError(
        'INVALID_OPTION',
        `channels are on several servers (${servers}): which one is the token for?`,
        {
          hint: 'write it as HOST=TOKEN',
        },
      )
    }
    for (const base of open) if (hostOf(base) === host) secrets.set(base, { kind: 'token', token: value })
  }
  return secrets
}

const hostOf = (url: string): string => (URL.canParse(url) ? new URL(url).host : '')
