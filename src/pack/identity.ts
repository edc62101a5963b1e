/** Fills the identity of an archive, and the counts and lists of a pack's result, from what the core found. Pure. */
import type { Environment } from '../conda/environment.js'
import type { Outcome, PackEntry } from '../native.js'
import type { Counts, Identity, Kept, LeftOut, Listed, OutsideLink } from '../tree/manifest.js'
import { version } from '../version.js'
import type { Plan } from './plan.js'

/** What a pack found, whole. */
export interface Findings {
  readonly counts: Counts
  /** Managed files that were changed after installation; their bytes are packed as they are. */
  readonly modified: readonly string[]
  /** Files that keep the prefix of the source environment: nothing can be said to fit there. */
  readonly kept: readonly Kept[]
  /** Files that keep a placeholder of the machine their package was built on. */
  readonly placeholders: readonly Kept[]
  readonly outsideLinks: readonly OutsideLink[]
  readonly leftOut: readonly LeftOut[]
  /** Compiled Python left out because deploying changes its source. */
  readonly droppedPyc: readonly string[]
  /** Managed files that are not there; only when that is to be ignored. */
  readonly missing: readonly string[]
  /** Packages in editable form; only when that is to be ignored. */
  readonly editable: readonly string[]
}

/** `unpack`: entries beside those of the plan; `remade`: paths of conda-meta whose content is made anew. */
export function findingsOf(
  plan: Plan,
  unpack: readonly PackEntry[],
  outcomes: ReadonlyMap<string, Outcome>,
  remade: ReadonlySet<string>,
  editable: readonly string[],
): Findings {
  const counts = { proven: 0, installed: 0, modified: 0, unhashed: 0, unmanaged: 0, generated: 0 }
  for (const list of [plan.entries, unpack, plan.meta])
    for (const { path, kind, data, expect } of list) {
      if (kind !== 'file') continue
      const outcome = outcomes.get(path)
      if (outcome?.dropped) continue
      const state = outcome?.state ?? (expect?.sha256 === undefined ? 'unknown' : 'proven')
      if (data !== undefined || remade.has(path)) counts.generated++
      else if (state !== 'unknown') counts[state]++
      else counts[plan.ownerOf(path) ? 'unhashed' : 'unmanaged']++
    }
  const said = [...outcomes.values()]
  const kept = said.filter((outcome) => !outcome.dropped)
  return {
    counts,
    modified: kept.filter((outcome) => outcome.state === 'modified').map((outcome) => outcome.path),
    kept: kept.filter((one) => one.kept.prefix > 0).map((one) => ({ path: one.path, count: one.kept.prefix })),
    placeholders: kept
      .filter((one) => one.kept.placeholder > 0)
      .map((one) => ({ path: one.path, count: one.kept.placeholder })),
    outsideLinks: plan.outsideLinks,
    leftOut: plan.leftOut,
    droppedPyc: said.filter((outcome) => outcome.dropped).map((outcome) => outcome.path),
    missing: plan.missing.flatMap((one) => one.paths),
    editable,
  }
}

/** Bytes of JSON that a summary may take, well below the MiB at which readers refuse it. */
const roomy = 900_000

/** The identity as JSON. Lists are cut, all at the same length, when it would grow too large; their totals stay true. */
export function identityJson(environment: Environment, findings: Findings): string {
  for (let most = 20_000; ; most = Math.floor(most / 2)) {
    const json = JSON.stringify(identityOf(environment, findings, most))
    if (Buffer.byteLength(json) <= roomy || most === 0) return json
  }
}

function identityOf(environment: Environment, findings: Findings, most: number): Identity {
  const cut = <T>(list: readonly T[]): Listed<T> => ({ total: list.length, list: list.slice(0, most) })
  return {
    name: environment.name,
    platform: environment.platform,
    python: environment.python?.version ?? null,
    packages: environment.packages.length,
    producer: `conda-deploy ${version}`,
    counts: findings.counts,
    modified: cut(findings.modified),
    kept: cut(findings.kept),
    placeholders: cut(findings.placeholders),
    outsideLinks: cut(findings.outsideLinks),
    leftOut: cut(findings.leftOut),
    droppedPyc: cut(findings.droppedPyc),
    missing: cut(findings.missing),
    editable: findings.editable,
  }
}

/**
 * What the user should know although packing goes on, a sentence each. `generated`: paths that hold old prefixes by their nature.
 * Compiled Python that names an old path is in the lists and not warned about: Python corrects the name on import.
 */
export function warningsOf(findings: Findings, generated: ReadonlySet<string>): string[] {
  const { kept, placeholders, outsideLinks, leftOut, missing, editable } = findings
  const isCompiled = (path: string): boolean => path.endsWith('.pyc')
  const own = (list: readonly Kept[]): string[] =>
    list.map((one) => one.path).filter((path) => !generated.has(path) && !isCompiled(path))
  const special = leftOut.filter((one) => one.why === 'socket, fifo or device')
  const texts: (readonly [paths: readonly string[], text: string])[] = [
    [own(kept), 'files that keep the prefix of this environment'],
    [own(placeholders), 'files that keep the placeholder of their package'],
    [outsideLinks.map((one) => one.path), 'links that lead out of the environment'],
    [special.map((one) => one.path), 'sockets, fifos and devices, left out'],
    [missing, 'files of conda packages that are missing'],
    [editable, 'packages in editable form, whose code is not in the archive'],
  ]
  return texts.filter(([paths]) => paths.length > 0).map(([paths, text]) => `${text}: ${few(paths)}`)
}

const few = (paths: readonly string[]): string =>
  `${paths.length} (${paths.length > 4 ? `${paths.slice(0, 3).join(', ')} and ${paths.length - 3} more` : paths.join(', ')})`
