/** Where an environment was installed, by the first lines of its scripts. Pure. */

/** Prefixes of systems: a script that names a python there does not speak of the environment. */
const system = new Set(['', '/usr', '/usr/local', '/opt', '/bin'])

/** Can `path` be the prefix of an environment? */
export const isPrefix = (path: string): boolean => path.startsWith('/') && !system.has(path) && !path.includes('\0')

/**
 * The prefix of the environment by the beginnings of its scripts: what most of those that call a python in `bin` have before it. Empty:
 * no script says.
 */
export function originByScripts(heads: Iterable<string>): string[] {
  const votes = new Map<string, number>()
  for (const head of heads) {
    const prefix = /^#!(?:[ \t]*|\/bin\/sh\n'''exec' "?)(\/[^\n"]*?)\/bin\/python[\d.]*(?=[\s"]|$)/.exec(head)?.[1]
    if (prefix !== undefined && isPrefix(prefix)) votes.set(prefix, (votes.get(prefix) ?? 0) + 1)
  }
  const [most] = [...votes].sort((a, b) => b[1] - a[1])
  return most === undefined ? [] : [most[0]]
}
