/**
 * The verb: an environment becomes one archive. This folder decides what goes in and what is said about it; plan.ts holds the policy,
 * the native core reads, proves and compresses. Nothing here deploys, and nothing changes the environment.
 */
import { readdir } from 'node:fs/promises'
import { basename, relative } from 'node:path'
import { packTarZst, sealTarZst, type Writing } from '../archive/tar-zst.js'
import { type Environment, openEnvironment } from '../conda/environment.js'
import { findPrefix } from '../conda/find.js'
import { fromSystem } from '../errors.js'
import { native, type Outcome, type PackEntry, runJob, type Scanned, type Sealed } from '../native.js'
import { longestPrefix } from '../prefix/plan.js'
import type { Filter } from '../tree/filter.js'
import { version } from '../version.js'
import { editableError, editablePackages, missingError } from './checks.js'
import { contentsOf } from './contents.js'
import { metaEntries, remadePaths, unpackFiles } from './generate.js'
import { type Findings, findingsOf, identityJson, warningsOf } from './identity.js'
import { type PackOptions, settle } from './options.js'
import { checkOutput, discard, makeFolder, outputPath, partOf, publish } from './output.js'
import { ignored, type Plan, planPack } from './plan.js'
import { activationScripts, unpackScript } from './scripts/index.js'

export type { PackOptions } from './options.js'

export interface PackResult extends Findings {
  /** Path of the archive, and the SHA-256 by which its content is known; null with `dryRun`. */
  readonly output: string | null
  readonly digest: string | null
  readonly name: string
  readonly prefix: string
  readonly platform: string
  readonly python: string | null
  readonly packages: number
  readonly entries: number
  readonly files: number
  /** Of the files, as stored. */
  readonly bytes: number
  /** Size of the archive, and how many times larger its files are; null with `dryRun`. */
  readonly packedBytes: number | null
  readonly ratio: number | null
  /** Files that deploying changes. */
  readonly rewritten: number
  /** The longest prefix, in bytes, to which the archive can be deployed; null: no limit. */
  readonly longestPrefix: number | null
  /** `read`: the records, while the scan runs; `scan`: its rest, and planning. */
  readonly seconds: {
    readonly read: number
    readonly scan: number
    readonly pack: number
    readonly seal: number
    readonly total: number
  }
  readonly warnings: readonly string[]
}

/**
 * Packs an environment into one archive. Throws EnvError: ENV_NOT_FOUND, NOT_AN_ENV, ENV_DAMAGED, EDITABLE_PACKAGES, MISSING_FILES,
 * OUTPUT_EXISTS, UNSUPPORTED (format), INVALID_OPTION, PERMISSION, SOURCE_CHANGED, NO_SPACE, IO, CANCELLED. On any of them nothing is left.
 */
export async function pack(options: PackOptions = {}): Promise<PackResult> {
  const { force, dryRun, reporter, writing } = settle(options)
  const clock = new Clock()
  const prefix = findPrefix(named(options))
  const output = outputPath(options.output, options.format ?? 'infer', basename(prefix))
  if (!dryRun) checkOutput(output, force)

  reporter.phase('scan')
  const scanJob = { root: prefix, skip: ignored, threads: writing.threads }
  // The core's threads scan while the records are read here.
  const [opened, seen] = await Promise.allSettled([
    openEnvironment(prefix).finally(() => clock.lap('read')),
    runJob((counters) => native().scan(scanJob, counters), writing),
  ])
  const [environment, scanned] = [settledValue(opened), settledValue(seen)]
  const editable = await editablePackages(environment, scanned)
  if (editable.length > 0 && !options.ignoreEditablePackages) throw editableError(editable)
  const plan = await planOf(environment, scanned, output, options.filters ?? [])
  if (plan.missing.length > 0 && !options.ignoreMissingFiles) throw missingError(plan.missing)
  clock.lap('scan')

  const planned = plan.entries.reduce((sum, entry) => sum + entry.size, 0)
  reporter.phase('pack', planned, 'bytes')
  const part = dryRun ? null : partOf(output)
  const showing: Writing = { ...writing, progress: (bytes) => reporter.progress(bytes) }
  try {
    if (part !== null && force) makeFolder(output)
    const done = await write(environment, plan, editable, part, showing, clock)
    if (part !== null) publish(part, output, force)
    clock.lap('seal')
    const warnings = warningsOf(done.findings, remadePaths(environment).add(unpackPath))
    for (const warning of warnings) reporter.warn(warning)
    return {
      output: part === null ? null : output,
      name: environment.name,
      prefix,
      platform: environment.platform,
      python: environment.python?.version ?? null,
      packages: environment.packages.length,
      ...done.totals,
      ...done.findings,
      seconds: clock.seconds(),
      warnings,
    }
  } finally {
    if (part !== null) discard(part)
  }
}

type Totals = Pick<
  PackResult,
  'digest' | 'entries' | 'files' | 'bytes' | 'packedBytes' | 'ratio' | 'rewritten' | 'longestPrefix'
>

async function write(
  environment: Environment,
  plan: Plan,
  editable: readonly string[],
  part: string | null,
  writing: Writing,
  clock: Clock,
): Promise<{ findings: Findings; totals: Totals }> {
  const packing = { root: environment.prefix, prefixes: environment.spellings }
  const packed = await packTarZst({ ...packing, entries: plan.entries }, part, writing)
  clock.lap('pack')
  const outcomes = byPath(packed.outcomes)
  const meta = await metaEntries(environment, plan, contentsOf(plan, outcomes, [unpackPath]))
  // Studied by the core too, so that there is one judgement of where a prefix stands in a text.
  const texts = meta.filter((entry) => entry.kind === 'file').map(({ digests: _, ...entry }) => entry)
  const quiet = { ...writing, progress: undefined }
  const studied = await packTarZst({ ...packing, entries: texts }, null, quiet)
  for (const outcome of studied.outcomes) outcomes.set(outcome.path, outcome)

  const unpack = unpackEntry(unpackScript({ producer: version, files: unpackFiles(plan, meta, outcomes) }), plan.mtime)
  const said = await packTarZst({ ...packing, entries: [unpack] }, null, quiet)
  for (const outcome of said.outcomes) outcomes.set(outcome.path, outcome)
  const generated = [unpack, ...meta]
  const remade = remadePaths(environment).add(unpackPath)
  const found = findingsOf({ ...plan, entries: [...plan.entries, unpack] }, outcomes, remade, editable)
  if (part === null) return { findings: found, totals: studyTotals(plan, packed.bytes, generated, outcomes) }
  const json = identityJson(environment, found)
  const sealed = await sealTarZst(
    packed.draft,
    { entries: generated, prefixes: environment.spellings },
    json,
    part,
    quiet,
  )
  return { findings: found, totals: sealedTotals(sealed) }
}

const unpackPath = 'bin/conda-unpack'

/** Its table holds the prefixes that it replaces in other files: they have to stay. */
function unpackEntry(text: string, mtime: number): PackEntry {
  const data = Buffer.from(text)
  return { path: unpackPath, kind: 'file', mode: 0o755, mtime, size: data.length, data, policy: 'report' }
}

const byPath = (outcomes: readonly Outcome[]): Map<string, Outcome> =>
  new Map(outcomes.map((outcome) => [outcome.path, outcome]))

const sealedTotals = ({ digest, entries, files, bytes, packedBytes, rewritten, longestPrefix }: Sealed): Totals => ({
  ...{ digest, entries, files, bytes, packedBytes, rewritten, longestPrefix },
  ratio: bytes / packedBytes,
})

function studyTotals(
  plan: Plan,
  bytes: number,
  generated: readonly PackEntry[],
  outcomes: ReadonlyMap<string, Outcome>,
): Totals {
  const all = [...plan.entries, ...generated].filter(({ path }) => !outcomes.get(path)?.dropped)
  const files = [...outcomes.values()].filter((outcome) => !outcome.dropped)
  const hashed = new Set(generated.filter(({ digests = [] }) => digests.length > 0).map(({ path }) => path))
  return {
    digest: null,
    entries: all.length,
    files: all.filter((entry) => entry.kind === 'file').length,
    bytes: bytes + generated.reduce((sum, entry) => sum + entry.size, 0),
    packedBytes: null,
    ratio: null,
    rewritten: files.filter(({ path, spots = [] }) => spots.length > 0 || hashed.has(path)).length,
    longestPrefix: longestPrefix(files),
  }
}

/** Of two that had to end before either may fail the whole. */
function settledValue<T>(settled: PromiseSettledResult<T>): T {
  if (settled.status === 'rejected') throw settled.reason
  return settled.value
}

async function planOf(
  environment: Environment,
  scanned: readonly Scanned[],
  output: string,
  filters: readonly Filter[],
): Promise<Plan> {
  const names = await readdir(environment.prefix).catch((error: unknown) => {
    throw fromSystem(error, 'cannot read', environment.prefix)
  })
  return planPack(environment, scanned, {
    filters,
    scripts: activationScripts(),
    reserved: [unpackPath],
    skipped: names.filter((name) => ignored.includes(name)).sort(),
    output: relative(environment.prefix, output),
  })
}

const named = ({ name, prefix }: PackOptions): { name?: string; prefix?: string } => ({
  ...(name === undefined ? {} : { name }),
  ...(prefix === undefined ? {} : { prefix }),
})

/** Seconds by phase. */
class Clock {
  readonly #start = performance.now()
  #last = this.#start
  readonly #laps = { read: 0, scan: 0, pack: 0, seal: 0 }

  lap(phase: 'read' | 'scan' | 'pack' | 'seal'): void {
    const now = performance.now()
    this.#laps[phase] += (now - this.#last) / 1000
    this.#last = now
  }

  seconds(): PackResult['seconds'] {
    return { ...this.#laps, total: (performance.now() - this.#start) / 1000 }
  }
}
