/**
 * `conda-meta/history`: one revision after another, each with what came (`+`), what went (`-`) and what was asked for. conda takes the specs
 * that hold in an environment from it, and so does this program.
 */
import { withoutSecret } from '../conda/channel.js'
import { parseMatchSpec } from '../conda/match-spec.js'

export interface History {
  /** What was asked for and not taken back: specs by names. */
  readonly requested: ReadonlyMap<string, string>
  /** Packages as the last revision has them: `channel/subdir::name-version-build`. */
  readonly packages: ReadonlySet<string>
}

/** Lines that are none of it, and specs that nobody can read, are passed over: conda does so. */
export function parseHistory(text: string): History {
  const requested = new Map<string, string>()
  const packages = new Set<string>()
  for (const line of text.split('\n')) {
    if (/^[+][^+]/.test(line)) packages.add(line.slice(1))
    else if (/^-[^-]/.test(line)) packages.delete(line.slice(1))
    const [, action = '', specs = ''] = /^#\s*(\w+)\s*specs:\s*(.*)$/.exec(line) ?? []
    for (const spec of specsIn(specs)) {
      const name = nameOf(spec)
      if (name === null) continue
      if (/^(remove|uninstall)$/.test(action)) requested.delete(name)
      else if (/^(update|install|create|neutered)$/.test(action)) requested.set(name, spec)
    }
  }
  return { requested, packages }
}

/** A list as Python or JSON writes it, or as conda once did: separated by commas. */
function specsIn(text: string): string[] {
  if (!text.startsWith('['))
    return text
      .split(/,(?![<>=!~])/)
      .map((spec) => spec.trim())
      .filter((spec) => spec !== '')
  const texts = text.matchAll(/'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"/g)
  return [...texts].map(([, single, double]) => (single ?? double ?? '').replace(/\\(['"\\])/g, '$1'))
}

function nameOf(spec: string): string | null {
  try {
    return parseMatchSpec(spec).name
  } catch {
    // Not every conda wrote specs that another one can read; the package is then one that nobody asked for.
    return null
  }
}

export interface Revision {
  /** As it was typed; credentials in it are left out. */
  readonly command: string
  /** `channel/subdir::name-version-build`. */
  readonly added?: readonly string[]
  readonly removed?: readonly string[]
  /** Specs that hold from now on, that no longer do, and that hold only by their names. */
  readonly update?: readonly string[]
  readonly remove?: readonly string[]
  readonly neutered?: readonly string[]
}

/** One revision, as conda writes it. */
export function revisionText(revision: Revision, date: Date = new Date()): string {
  const { command, added = [], removed = [], update = [], remove = [], neutered = [] } = revision
  const stamp = date.toISOString().slice(0, 19).replace('T', ' ')
  const specs = Object.entries({ remove, update, neutered }).filter(([, list]) => list.length > 0)
  return [
    `==> ${stamp} <==`,
    `# cmd: ${command.replace(/\S+:\/\/\S+/g, withoutSecret).replaceAll('\n', ' ')}`,
    ...[...removed].sort().map((one) => `-${one}`),
    ...[...added].sort().map((one) => `+${one}`),
    ...specs.map(([action, list]) => `# ${action} specs: ${JSON.stringify(list)}`),
    '',
  ].join('\n')
}
