/** The revisions of an environment as `conda list --revisions` tells them, from `conda-meta/history`. Pure. */

export interface Revision {
  /** As it stands there, e.g. `2024-01-31 12:00:00`. */
  readonly date: string
  readonly rev: number
  /** `name-version-build-channel` each, as conda writes it. */
  readonly install: readonly string[]
  readonly remove: readonly string[]
  readonly upgrade: readonly Change[]
  readonly downgrade: readonly Change[]
}

export interface Change {
  readonly old: string
  readonly new: string
}

interface Section {
  readonly date: string
  /** `+…` and `-…`, each once; of very old files whole states, without signs. */
  readonly lines: readonly string[]
}

/** Lines before the first date are passed over, as conda does. */
function sectionsOf(text: string): Section[] {
  const sections: { date: string; lines: Set<string> }[] = []
  for (const line of text.split(/\r?\n/).map((one) => one.trim())) {
    const date = /^==>\s*(.+?)\s*<==/.exec(line)?.[1]
    if (date !== undefined) sections.push({ date, lines: new Set() })
    else if (line !== '' && !line.startsWith('#')) sections.at(-1)?.lines.add(line)
  }
  return sections.map(({ date, lines }) => ({ date, lines: [...lines] }))
}

interface Dist {
  readonly name: string
  readonly version: string
  readonly build: string
  readonly channel: string
}

function distOf(line: string): Dist {
  const plain = line.slice(1).replace(/(\.conda|\.tar\.bz2)$/, '')
  const at = plain.indexOf('::')
  const channel = at < 0 ? '<unknown>' : plain.slice(0, at)
  const words = plain.slice(at < 0 ? 0 : at + 2).split('-')
  const [version = '', build = ''] = words.splice(-2)
  return { name: words.join('-').toLowerCase(), version, build, channel }
}

interface Changes {
  readonly added: ReadonlyMap<string, Dist>
  readonly removed: ReadonlyMap<string, Dist>
  /** In both. */
  readonly changed: readonly string[]
}

/** Null: a state, and no changes. */
function changesOf({ lines }: Section): Changes | null {
  if (!lines.some((line) => /^[+-]/.test(line))) return null
  const of = (sign: string): Map<string, Dist> =>
    new Map(lines.filter((line) => line.startsWith(sign)).map((line) => [distOf(line).name, distOf(line)]))
  const [added, removed] = [of('+'), of('-')]
  return { added, removed, changed: [...added.keys()].filter((name) => removed.has(name)).sort() }
}

const textOf = ({ name, version, build, channel }: Dist): string => [name, version, build, channel].join('-')

/** Whether conda calls it an upgrade: it compares texts. */
const isUpgrade = (old: Dist, now: Dist): boolean => {
  for (const key of ['version', 'build', 'channel'] as const) if (now[key] !== old[key]) return now[key] > old[key]
  return false
}

/** As `conda list --revisions --json` has them. */
export function revisionsOf(history: string): Revision[] {
  return sectionsOf(history).map((section, rev) => {
    const { date, lines } = section
    const none = { install: [], remove: [], upgrade: [], downgrade: [] }
    const changes = changesOf(section)
    if (changes === null) return { date, rev, ...none, install: [...lines].sort() }
    const { added, removed, changed } = changes
    const pairs = changed.map((name) => [removed.get(name) as Dist, added.get(name) as Dist] as const)
    const only = (some: ReadonlyMap<string, Dist>, others: ReadonlyMap<string, Dist>): string[] =>
      [...some.keys()]
        .filter((name) => !others.has(name))
        .sort()
        .map((name) => textOf(some.get(name) as Dist))
    const told = (upgrade: boolean): Change[] =>
      pairs
        .filter(([old, now]) => isUpgrade(old, now) === upgrade)
        .map(([old, now]) => ({ old: textOf(old), new: textOf(now) }))
    return {
      ...{ date, rev, install: only(added, removed), remove: only(removed, added) },
      ...{ upgrade: told(true), downgrade: told(false) },
    }
  })
}

/** As `conda list --revisions` prints them. */
export function revisionsText(history: string): string {
  const lines = sectionsOf(history).flatMap((section, rev) => {
    const changes = changesOf(section)
    const told = changes === null ? [...section.lines].sort() : changeLines(changes)
    return [`${section.date}  (rev ${rev})`, ...told.map((line) => `    ${line}`), '']
  })
  return lines.join('\n')
}

function changeLines({ added, removed, changed }: Changes): string[] {
  const version = (dist: Dist | undefined): string =>
    dist === undefined ? '' : dist.channel === 'defaults' ? dist.version : `${dist.version} (${dist.channel})`
  const only = (sign: string, some: ReadonlyMap<string, Dist>): string[] =>
    [...some.keys()]
      .filter((name) => !changed.includes(name))
      .sort()
      .map((name) => `${sign}${name}-${version(some.get(name))}`)
  return [
    ...changed.map((name) => ` ${name}  {${version(removed.get(name))} -> ${version(added.get(name))}}`),
    ...only('-', removed),
    ...only('+', added),
  ]
}
