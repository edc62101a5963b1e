/** Where the packed environment stood, found out from what an archive says. Pure. */
import type { PrefixNote } from '../../archive/conda-pack.js'
import type { Knowledge } from './knowledge.js'

/**
 * The prefixes of the source environment by the notes of its packer: those that are no package's placeholder. `proven`: whether the
 * content of a file is that of its package, so that what stands in it is a placeholder.
 */
export function originsByNotes(
  notes: readonly PrefixNote[],
  known: Knowledge,
  proven: (path: string) => boolean,
): string[] {
  const placeholders = known.placeholders()
  const origins = new Set<string>()
  for (const { path, placeholder } of notes) {
    if (placeholders.has(placeholder) || !isPrefix(placeholder)) continue
    if (proven(path)) placeholders.add(placeholder)
    else origins.add(placeholder)
  }
  for (const placeholder of placeholders) origins.delete(placeholder)
  return longestFirst(origins)
}

/** Prefixes of systems: a script that names a python there does not speak of the environment. */
const system = new Set(['', '/usr', '/usr/local', '/opt', '/bin'])

/**
 * The prefix of the source environment by the first lines of its scripts: what most of those that call a python in `bin` have before
 * it. Empty: no script says.
 */
export function originByScripts(heads: ReadonlyMap<string, string>): string[] {
  const votes = new Map<string, number>()
  for (const head of heads.values()) {
    const prefix = /^#!(?:[ \t]*|\/bin\/sh\n'''exec' "?)(\/[^\n"]*?)\/bin\/python[\d.]*(?=[\s"]|$)/.exec(head)?.[1]
    if (prefix !== undefined && isPrefix(prefix)) votes.set(prefix, (votes.get(prefix) ?? 0) + 1)
  }
  const [most] = [...votes].sort((a, b) => b[1] - a[1])
  return most === undefined ? [] : [most[0]]
}

const isPrefix = (path: string): boolean => path.startsWith('/') && !system.has(path) && !path.includes('\0')

/** So that none hides in another. */
const longestFirst = (prefixes: Iterable<string>): string[] =>
  [...prefixes].sort((a, b) => b.length - a.length || (a < b ? -1 : 1))
