/** From packages that are there to packages that shall be there: what comes, what goes, what is installed again, and who has which file. Pure. */
import type { Secret } from '../conda/channel.js'
import { noteOf } from './conda-meta.js'
import { type Installed, isSamePackage, type Present } from './installed.js'
import type { Clobber, LinkPlan, Wanted } from './link.js'
import { distOf } from './packages.js'
import { pycOf, pythonOf } from './python.js'
import type { RepoRecord } from './repodata.js'

/** What a verb wants of an environment. */
export interface Target {
  /** All packages that shall be there. */
  readonly records: readonly RepoRecord[]
  readonly secrets: ReadonlyMap<string, Secret>
  /** Specs by which packages are asked for now, by their names. */
  readonly asked: ReadonlyMap<string, string>
  /** Specs for the history: that hold from now on, that no longer do, that hold only by their names. */
  readonly update: readonly string[]
  readonly remove: readonly string[]
  readonly neutered: readonly string[]
}

/** Packages by what becomes of them. */
export interface Difference {
  readonly added: readonly RepoRecord[]
  readonly removed: readonly Installed[]
  /** Python packages that stay, but where another python looks. */
  readonly relinked: readonly Installed[]
  readonly kept: readonly Installed[]
}

export function differenceOf({ packages }: Present, records: readonly RepoRecord[]): Difference {
  const wanted = new Map(records.map((record) => [record.name, record]))
  const all = [...packages.values()]
  const stays = ({ record }: Installed): boolean => {
    const other = wanted.get(record.name)
    return other !== undefined && isSamePackage(record, other)
  }
  const [before, after] = [pythonOf(all.map(({ record }) => record)), pythonOf(records)]
  const moves = before?.version !== after?.version || before?.sitePackages !== after?.sitePackages
  const isMoved = (one: Installed): boolean => moves && one.record.noarch === 'python'
  const staying = all.filter(stays)
  const names = new Set(staying.map(({ record }) => record.name))
  return {
    added: records.filter(({ name }) => !names.has(name)),
    removed: all.filter((one) => !stays(one)),
    relinked: staying.filter(isMoved),
    kept: staying.filter((one) => !isMoved(one)),
  }
}

/** Lines of the history; what goes is named as it was when it came. */
export function notesOf(
  { history }: Present,
  { added, removed }: Difference,
): { readonly added: readonly string[]; readonly removed: readonly string[] } {
  const known = new Map([...history.packages].map((note) => [note.slice(note.lastIndexOf('::') + 2), note]))
  return {
    added: added.map(noteOf),
    removed: removed.map(({ record }) => known.get(distOf(record.fn)) ?? noteOf(record)),
  }
}

/** Files that several packages have, of which some stay. */
export interface Shares {
  /** Of what is to be linked: another package that stays comes after it, and has the file. */
  readonly skipped: ReadonlySet<string>
  readonly clobbered: readonly Clobber[]
  /** Files of packages that stay which lay under those of packages that go. */
  readonly restores: ReadonlyMap<Installed, ReadonlySet<string>>
}

/** `order`, `before`: numbers of packages in the order of linking, now and before. The last one's file counts, however it came to be there. */
export function sharesOf(
  wanted: readonly Wanted[],
  { placed }: Pick<LinkPlan, 'placed'>,
  { kept, removed, relinked }: Difference,
  order: ReadonlyMap<string, number>,
  before: ReadonlyMap<string, number>,
): Shares {
  const number = (names: ReadonlyMap<string, number>, { name }: RepoRecord): number => names.get(name) ?? -1
  const owners = new Map<string, Installed>()
  for (const one of [...kept].sort((a, b) => number(order, a.record) - number(order, b.record)))
    for (const path of one.meta.files) owners.set(path, one)
  const skipped = new Set<string>()
  const clobbered: Clobber[] = []
  const comes = new Set<string>()
  for (const [i, { record }] of wanted.entries())
    for (const { path } of placed[i] ?? []) {
      comes.add(path)
      const owner = owners.get(path)?.record
      if (owner === undefined) continue
      const loses = number(order, owner) > number(order, record)
      if (loses) skipped.add(path)
      clobbered.push({ path, packages: loses ? [record.fn, owner.fn] : [owner.fn, record.fn] })
    }
  const restores = new Map<Installed, Set<string>>()
  for (const { record, meta } of [...removed, ...relinked])
    for (const path of meta.files) {
      const owner = owners.get(path)
      if (owner === undefined || comes.has(path) || number(before, owner.record) > number(before, record)) continue
      const paths = restores.get(owner) ?? new Set()
      restores.set(owner, paths.add(path))
    }
  return { skipped, clobbered, restores }
}

const optimizations = ['', '.opt-1', '.opt-2']

/** What Python may have made of the files of packages that go. */
export function derivedOf(gone: readonly Installed[], { packages }: Present): Set<string> {
  const python = pythonOf([...packages.values()].map(({ record }) => record))
  const sources = gone.flatMap(({ meta }) => meta.files.filter((path) => path.endsWith('.py')))
  return new Set(
    python === null ? [] : sources.flatMap((path) => optimizations.map((more) => pycOf(path, python.version, more))),
  )
}
