/**
 * Changing what is installed in an environment: all of it at once, or nothing. What comes is fetched, unpacked and linked into a stage; then
 * names change places (journal.ts). The verbs decide which packages shall be there.
 */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Clock } from '../clock.js'
import { whileWhole } from '../conda/environment.js'
import type { ChosenPackage } from '../conda/layout.js'
import type { There } from '../install-jobs.js'
import { native, runJob } from '../native.js'
import type { Change } from '../tree/change.js'
import { pathsOf, stepsOf } from '../tree/steps.js'
import { usingCaches } from './cache-lock.js'
import { packageOf } from './choose.js'
import { compilePackages, compilerOf } from './compile.js'
import { noteEnvironment, requestedAnew } from './conda-meta.js'
import { type Difference, derivedOf, differenceOf, notesOf, type Shares, sharesOf, type Target } from './difference.js'
import { fillStage, linkParts, type Place, writeInto } from './fill.js'
import { revisionText } from './history.js'
import { type Present, readPresent, specIn } from './installed.js'
import { changing } from './journal.js'
import { type Clobber, type LinkPlan, only, pathsIn, planLink, type Wanted, warnOfClobbers } from './link.js'
import { linkScript, linkScripts, postLinks } from './link-scripts.js'
import { type Obtained, obtain } from './obtain.js'
import { inOrder } from './order.js'
import { distOf, packageCaches, unpackedIn } from './packages.js'
import { type Python, pythonOf } from './python.js'
import type { RepoRecord } from './repodata.js'
import type { Request } from './request.js'
import { readUnpacked } from './unpacked.js'

const phases = ['solve', 'fetch', 'unpack', 'link', 'compile', 'change'] as const
type Phase = (typeof phases)[number]

export interface ChangeResult {
  readonly prefix: string
  /** In the order of linking. */
  readonly added: readonly ChosenPackage[]
  readonly removed: readonly ChosenPackage[]
  /** Python packages that stay and were installed again, because python changed. */
  readonly relinked: readonly ChosenPackage[]
  /** Null with `dryRun`, and where nothing had to be done. */
  readonly installed: {
    readonly downloaded: number
    readonly downloadedBytes: number
    readonly unpacked: number
    readonly linked: number
    readonly cloned: number
    readonly copied: number
    readonly rewritten: number
    readonly compiled: number
    /** Names that changed places: whole new directories count once. */
    readonly steps: number
    /** Files that were not there for a moment, for want of hard links. */
    readonly moments: number
  } | null
  readonly clobbered: readonly Clobber[]
  /** Files of nobody that were replaced. */
  readonly replaced: readonly string[]
  readonly warnings: readonly string[]
  readonly seconds: { readonly [phase in Phase | 'total']: number }
}

export interface Changing {
  readonly prefix: string
  readonly request: Request
  /** For the history. */
  readonly command: string
  /** Files of nobody may be replaced. */
  readonly clobber?: boolean
}

/**
 * Changes an environment to what `decide` makes of what is there. Throws what it throws, what obtaining and linking do, and TARGET_EXISTS for
 * files of nobody in the way: then the environment is as it was, or ENV_DAMAGED says why not.
 */
export async function changeEnvironment(
  what: Changing,
  decide: (present: Present) => Promise<Target>,
): Promise<ChangeResult> {
  const { prefix, request } = what
  const clock = new Clock<Phase>(phases)
  const begin = async (change: Change | null): Promise<ChangeResult> => {
    if (existsSync(join(prefix, '.conda-deploy/ready')))
      request.warn(`${prefix} was deployed from an archive: afterwards verify finds that it is not as it was`)
    const read = (): Promise<Present> => readPresent(prefix, request.config)
    const present = await (change === null ? whileWhole(prefix, read) : read())
    const target = await decide(present)
    clock.lap('solve')
    const difference = differenceOf(present, target.records)
    const result = { ...resultOf(what, difference), seconds: clock.seconds() }
    const task = new Transaction(what, present, target, difference, clock)
    if (change === null || task.isNothing) return result
    const { scripts, ...changed } = await task.run(change)
    await linkScripts(prefix, scripts, request)
    return { ...result, ...changed, warnings: request.warnings, seconds: clock.seconds() }
  }
  if (request.dryRun) return await begin(null)
  return await usingCaches(packageCaches(request.config), request.signal, () => changing(prefix, request, begin))
}

function resultOf({ prefix, request }: Changing, { added, removed, relinked }: Difference) {
  return {
    prefix,
    added: inOrder(added).map(packageOf),
    removed: removed.map(({ record }) => packageOf(record)),
    relinked: relinked.map(({ record }) => packageOf(record)),
    ...{ installed: null, clobbered: [], replaced: [], warnings: request.warnings },
  }
}

class Transaction {
  readonly #what: Changing
  readonly #present: Present
  readonly #target: Target
  readonly #difference: Difference
  readonly #clock: Clock<Phase>
  /** Records that stay but for the spec by which they are asked for now: their texts, by their paths. */
  readonly #anew: readonly (readonly [path: string, text: string])[]

  constructor(what: Changing, present: Present, target: Target, difference: Difference, clock: Clock<Phase>) {
    this.#what = what
    this.#present = present
    this.#target = target
    this.#difference = difference
    this.#clock = clock
    this.#anew = difference.kept.flatMap((one) => {
      const spec = target.asked.get(one.record.name)
      return spec === undefined || spec === specIn(one) ? [] : [[one.meta.file, requestedAnew(one.meta, spec)] as const]
    })
  }

  /** Neither files nor what is asked for would change. */
  get isNothing(): boolean {
    const { added, removed, relinked } = this.#difference
    const known = new Set(this.#present.history.requested.values())
    const { update, remove } = this.#target
    return (
      added.length + removed.length + relinked.length + this.#anew.length + remove.length === 0 &&
      update.every((spec) => known.has(spec))
    )
  }

  async run(change: Change) {
    const { prefix, request } = this.#what
    const { warn, copy } = request
    const { wanted: found, ...obtained } = await this.#obtain()
    const whole = new Map(found.map(({ record }) => [record.name, record]))
    const final = inOrder(this.#target.records.map((record) => whole.get(record.name) ?? record))
    const order = numbers(final)
    const wanted = [...found].sort((a, b) => (order.get(a.record.name) ?? 0) - (order.get(b.record.name) ?? 0))
    const python = pythonOf(final)
    this.#clock.lap('link')
    const made = await compilePackages(wanted, compilerOf(wanted, final, prefix), request)
    this.#clock.lap('compile')
    const plan = planLink(wanted, { prefix, copy, python, compiled: made.packages })
    const before = numbers(inOrder([...this.#present.packages.values()].map(({ record }) => record)))
    const shares = sharesOf(wanted, plan, this.#difference, order, before)
    const clobbered = [...plan.clobbers, ...shares.clobbered]
    warnOfClobbers(clobbered, warn)
    const { removed, relinked } = this.#difference
    const going = [...removed, ...relinked].map(({ record, meta }) =>
      linkScript(record, 'pre-unlink', (path) => meta.files.includes(path)),
    )
    await linkScripts(prefix, going.flat(), request)
    await change.begin()
    try {
      const place = { stage: change.stage, prefix, beside: change.root }
      const { linked, compiled } = await fillStage(place, wanted, plan, request, this.#clock)
      const restored = await restore(place, shares.restores, request, python)
      const steps = await this.#steps(change, wanted, plan, shares, restored)
      for (const line of steps.left) warn(line)
      for (const path of steps.replaced) warn(`${path} belonged to no package, and is replaced`)
      request.reporter.phase('change')
      const { steps: count, moments } = await change.commit(steps, request)
      if (moments > 0)
        warn(`${moments} files were gone for a moment while they were replaced: this file system has no hard links`)
      const scripts = postLinks(wanted, plan)
      await noteEnvironment(prefix, process.env['HOME'] || homedir()).catch((error: Error) => warn(error.message))
      this.#clock.lap('change')
      const { cloned, copied, written } = linked
      const counts = { linked: linked.linked, cloned, copied, rewritten: written.length }
      const installed = { ...obtained, ...counts, compiled: made.compiled + compiled }
      return { scripts, installed: { ...installed, steps: count, moments }, clobbered, replaced: steps.replaced }
    } catch (error) {
      await change.end(request)
      throw error
    } finally {
      await made.dispose()
    }
  }

  async #obtain(): Promise<Obtained> {
    const { added, relinked } = this.#difference
    const records = [...added, ...relinked.map(({ record }) => record)]
    if (records.length === 0) return { wanted: [], downloaded: 0, downloadedBytes: 0, unpacked: 0 }
    const recorded = relinked.flatMap((one) => {
      const spec = specIn(one)
      return spec === null ? [] : [[one.record.name, spec] as const]
    })
    const asked = new Map([...recorded, ...this.#present.history.requested, ...this.#target.asked])
    const choice = { records, secrets: this.#target.secrets, asked, ahead: new Map() }
    return await obtain(choice, this.#what.request, this.#clock)
  }

  /** Writes the documents into the stage, and lays what is there against what stands in the prefix. */
  async #steps(change: Change, wanted: readonly Wanted[], plan: LinkPlan, shares: Shares, restored: readonly string[]) {
    const { request, command, clobber = false, prefix } = this.#what
    const { removed, relinked, kept } = this.#difference
    const { update, remove, neutered } = this.#target
    const revision = { command, ...notesOf(this.#present, this.#difference), update, remove, neutered }
    const history = this.#present.historyText.replace(/([^\n])$/, '$1\n') + revisionText(revision)
    const written = new Map([...this.#anew, ['conda-meta/history', history]])
    await writeInto(change.stage, written)
    const records = wanted.map(({ record }) => `conda-meta/${distOf(record.fn)}.json`)
    const compiled = plan.placed.flat().flatMap(({ path, type }) => (type === 'pyc_file' ? [path] : []))
    const made = await look(change.stage, compiled, request)
    const files = [...plan.parts.flatMap(pathsIn), ...compiled.filter((path) => made.get(path) === 'file')]
    const incoming = new Set([
      ...files.filter((path) => !shares.skipped.has(path)),
      ...restored,
      ...written.keys(),
      ...records,
    ])
    const gone = [...removed, ...relinked]
    const shared = new Set(kept.flatMap(({ meta }) => meta.files))
    const outgoing = gone.flatMap(({ meta }) => meta.files.filter((path) => !shared.has(path) || incoming.has(path)))
    const derived = [...derivedOf(gone, this.#present)].filter((path) => !shared.has(path))
    const old = gone.map(({ meta }) => meta.file)
    const shape = {
      ...{ incoming, outgoing: new Set([...outgoing, ...old, ...written.keys()]), derived: new Set(derived) },
      ...{ shared, documents: new Set([...written.keys(), ...records, ...old]), clobber },
      hint: 'move them away, or replace them with --clobber',
    }
    return stepsOf(shape, await look(change.root, pathsOf(shape), request), prefix)
  }
}

const numbers = (records: readonly RepoRecord[]): ReadonlyMap<string, number> =>
  new Map(records.map(({ name }, number) => [name, number]))

async function look(
  root: string,
  paths: readonly string[],
  { threads, signal }: Request,
): Promise<ReadonlyMap<string, There>> {
  const kinds = await runJob((counters) => native().look({ root, paths, threads }, counters), { signal })
  return new Map(paths.map((path, i) => [path, kinds[i] ?? 'nothing']))
}

/** Links files again that others had covered, into the stage; answers with their paths. Without the package, what is there stays. */
async function restore(
  { stage, prefix }: Place,
  restores: Shares['restores'],
  { config, copy, threads, signal, warn }: Request,
  python: Python | null,
): Promise<string[]> {
  const restored: string[] = []
  for (const [{ record }, paths] of restores) {
    const folder = unpackedIn(packageCaches(config), record)
    if (folder === null) {
      warn(`${[...paths].join(', ')}: not as ${record.fn} has it, which is in no package cache; install that again`)
      continue
    }
    const one: Wanted = { record, unpacked: readUnpacked(folder), archive: '', spec: null }
    const parts = planLink([one], { prefix, copy, python }).parts.map((part) => only(part, (path) => paths.has(path)))
    await linkParts({ root: stage, prefix, threads }, parts, { signal })
    restored.push(...parts.flatMap(pathsIn))
  }
  return restored
}
