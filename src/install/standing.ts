/** What a solver is told of an environment that is there: which specs hold, which packages it should keep, what is pinned. */
import { parseMatchSpec, printMatchSpec } from '../conda/match-spec.js'
import { EnvError } from '../errors.js'
import { nameIn } from './candidates.js'
import { type Choice, choose, type Standing } from './choose.js'
import type { Target } from './difference.js'
import { type Present, rootsOf } from './installed.js'
import { pythonOf } from './python.js'
import type { RepoRecord } from './repodata.js'
import type { Request } from './request.js'

export const recordsOf = ({ packages }: Present): RepoRecord[] => [...packages.values()].map(({ record }) => record)

/** Those that are there, but where others of the name are wanted. */
export function replaced(present: Present, records: readonly RepoRecord[]): RepoRecord[] {
  const names = new Set(records.map(({ name }) => name))
  return [...recordsOf(present).filter(({ name }) => !names.has(name)), ...records]
}

/** Of `conda-meta/pinned`; and python stays what it is up to its minor version, unless it is asked for: everything else depends on it. */
export function pinsOf(present: Present, specs: readonly string[]): string[] {
  const python = pythonOf(recordsOf(present))
  const isAsked = specs.some((spec) => nameIn(spec) === 'python' && parseMatchSpec(spec).version !== null)
  return [...present.pinned, ...(python === null || isAsked ? [] : [`python ${python.version}.*`])]
}

/** Specs that hold: those of the roots, where none of `specs` is about the same package, and `specs`. */
export function specsWith(present: Present, specs: readonly string[]): string[] {
  const names = new Set(specs.map(nameIn))
  return [...[...rootsOf(present)].filter(([name]) => !names.has(name)).map(([, spec]) => spec), ...specs]
}

/** Specs that allow nothing but the very packages that are there, except those of these names. */
export const exactly = (present: Present, names: ReadonlySet<string>): string[] =>
  recordsOf(present)
    .filter(({ name }) => !names.has(name))
    .map(({ name, version, build }) =>
      printMatchSpec({ name, version: `==${version}`, build, channel: null, subdir: null, fields: {} }),
    )

/**
 * Chooses with the specs that were asked for earlier; where there is no answer, with their names alone, and says so: what is asked for now
 * goes before what was asked for once.
 */
export async function chooseBeside(
  request: Request,
  present: Present,
  standing: Standing,
): Promise<{ readonly choice: Choice; readonly neutered: readonly string[] }> {
  try {
    return { choice: await choose(request, standing), neutered: [] }
  } catch (error) {
    const now = new Set(request.specs)
    const earlier = new Map([...present.history.requested].filter(([, spec]) => !now.has(spec)))
    const loosened = standing.specs.map((spec) => (earlier.get(nameIn(spec)) === spec ? nameIn(spec) : spec))
    const wishes = standing.specs.filter((spec, i) => spec !== loosened[i])
    if (!(error instanceof EnvError) || error.code !== 'UNSATISFIABLE' || wishes.length === 0) throw error
    // What cannot be had in any way is explained by the first answer: it has all specs in it.
    const choice = await choose(request, { ...standing, specs: loosened, wishes }).catch((other: unknown) => {
      throw other instanceof EnvError && other.code === 'UNSATISFIABLE' ? error : other
    })
    const versions = new Map(choice.records.map(({ name, version }) => [name, version]))
    const lost = choice.unmet.map((spec) => `${spec} (now ${versions.get(nameIn(spec)) ?? 'gone'})`)
    request.warn(`asked for earlier, and no longer held to: ${lost.join(', ')}`)
    return { choice, neutered: choice.unmet.map(nameIn) }
  }
}

/** What a choice is as a target. */
export const targetOf = (choice: Choice, more: Partial<Target> = {}): Target => ({
  ...choice,
  ...{ update: [], remove: [], neutered: [] },
  ...more,
})
