/**
 * The verb: an environment becomes one archive. This folder decides what goes in and what is said about it; plan.ts holds the policy,
 * the native core reads, proves and compresses. Nothing here deploys, and nothing changes the environment.
 */
import { readdir } from 'node:fs/promises'
import { basename, relative, resolve } from 'node:path'
import type { Target } from '../archive/sink.js'
import type { WritableName } from '../archive/write-formats.js'
import { Clock } from '../clock.js'
import { type Environment, openEnvironment } from '../conda/environment.js'
import { findPrefix } from '../conda/find.js'
import type { Layout, Resolved } from '../conda/layout.js'
import { fromSystem } from '../errors.js'
import type { List } from '../list.js'
import { native, runJob, type Scanned } from '../native.js'
import { editableError, editablePackages, missingError, withUnreadable } from './checks.js'
import { checkZip, dereference } from './dereference.js'
import { remadePaths } from './generate.js'
import { type Findings, warningsOf } from './identity.js'
import { destOf, type PackOptions, type Settled, settle } from './options.js'
import { checkOutput, discard, makeFolder, partOf, publish, sweep } from './output.js'
import { type Parcel, parcelOf, parcelScripts } from './parcel.js'
import { ignored, type Plan, planPack } from './plan.js'
import { activationScripts } from './scripts/index.js'
import { beginArchive, settledValue, type Totals, unpackPath } from './write.js'

export type { PackOptions } from './options.js'

export interface PackResult extends Findings, Totals {
  /** Path of the archive; null with `dryRun` and `stream`. */
  readonly output: string | null
  readonly format: WritableName
  readonly name: string
  /** Null: it was nowhere on disk. */
  readonly prefix: string | null
  /** How it was made of packages; null: it was there. */
  readonly resolved: Resolved | null
  /** The prefix that stands in the files; null: they are relocated where they are deployed. */
  readonly destPrefix: string | null
  readonly platform: string
  readonly python: string | null
  readonly packages: number
  /** That worked on it. */
  readonly threads: number
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
 * OUTPUT_EXISTS, UNSUPPORTED (a tool or a name that a format cannot do with or without), PREFIX_TOO_LONG (`destPrefix`), INVALID_OPTION,
 * PERMISSION, SOURCE_CHANGED, NO_SPACE, IO, CANCELLED. On any of them nothing is left.
 */
export async function pack(options: PackOptions = {}): Promise<PackResult> {
  const settled = settle(options)
  const { format, force, dryRun, reporter, threads } = settled
  const clock = new Clock(['read', 'scan', 'pack', 'seal'])
  const { layout } = options
  const prefix = layout === undefined ? findPrefix(named(options)) : null
  const place = placeOf(options, settled, layout?.environment.name ?? basename(prefix ?? ''))
  const { output, arcroot } = place
  if (!dryRun && output !== null) checkOutput(output, force, format.via === 'directory' ? arcroot : undefined)

  const part = dryRun || output === null ? null : partOf(output)
  let takeBack = (): void => undefined
  const ready = (): Target | null => {
    if (output !== null && part !== null) {
      if (force) takeBack = makeFolder(output)
      sweep(output)
      return { path: part }
    }
    return dryRun || options.stream === undefined ? null : { stream: options.stream }
  }
  try {
    const { archive, notices, name, platform, python, packages } = await begin(options, {
      settled,
      place,
      prefix,
      clock,
      ready,
    })
    const totals = await archive.seal()
    if (output !== null && part !== null) publish(part, output, force)
    takeBack = () => undefined
    clock.lap('seal')
    for (const warning of notices) reporter.warn(warning)
    return {
      output: part === null ? null : output,
      format: format.name,
      name,
      prefix,
      resolved: layout?.resolved ?? null,
      destPrefix: place.dest ?? null,
      ...{ platform, python, packages },
      ...totals,
      ...archive.findings,
      threads,
      seconds: clock.seconds(),
      warnings: [...(layout?.warnings ?? []), ...notices],
    }
  } finally {
    if (part !== null) discard(part)
    takeBack()
  }
}

interface Start {
  readonly settled: Settled
  readonly place: Place
  /** Null: of a layout. */
  readonly prefix: string | null
  readonly clock: Clock<'read' | 'scan' | 'pack'>
  /** Called once all is planned: where the archive goes. */
  readonly ready: () => Target | null
}

/** All but the end of the archive. What was found and planned is let go with this function, and not before. */
async function begin(options: PackOptions, { settled, place, prefix, clock, ready }: Start) {
  const { reporter } = settled
  reporter.phase('scan')
  const found = prefix === null ? foundIn(options.layout) : await foundAt(prefix, settled, clock)
  const { environment, scanned } = found
  const editable = await editablePackages(environment, scanned)
  if (editable.length > 0 && !options.ignoreEditablePackages) throw editableError(editable)
  const plan = planOf(found, place, settled, options)
  if (plan.missing.length > 0 && !options.ignoreMissingFiles) throw missingError(plan.missing)
  clock.lap('scan')

  reporter.phase('pack', plan.bytes, 'bytes')
  const target = ready()
  try {
    const archive = await beginArchive({
      ...{ environment, root: prefix ?? '/', plan, editable, target, arcroot: place.arcroot, settled },
      dest: place.dest,
      progress: (bytes) => reporter.progress(bytes),
      packed: () => clock.lap('pack'),
    })
    const { name, platform, python, packages } = environment
    const { findings, byPath } = archive
    const notices = [
      ...movedWarning(environment),
      ...warningsOf(findings, remadePaths(environment).add(unpackPath)),
      ...(byPath.length > 0 ? [`scripts that find their interpreter by PATH: ${byPath.join(', ')}`] : []),
    ]
    return { archive, notices, name, platform, python: python?.version ?? null, packages: packages.length }
  } catch (error) {
    throw prefix === null ? error : withUnreadable(error, prefix, plan.entries)
  }
}

function movedWarning({ prefix, movedFrom }: Environment): string[] {
  if (movedFrom === null) return []
  return [
    `the scripts of the environment name ${movedFrom}: it was moved or copied from there to ${prefix}, and what names that place is relocated too`,
  ]
}

interface Place {
  /** Absolute; null: a stream. */
  readonly output: string | null
  /** Folder in the archive; empty: none. */
  readonly arcroot: string
  /** Prefix to write into the files; undefined: none. */
  readonly dest: string | undefined
  readonly parcel: Parcel | null
}

function placeOf(options: PackOptions, { format, arcroot }: Settled, name: string): Place {
  const parcel = format.name === 'parcel' ? parcelOf(options, name, new Date()) : null
  const fallback = parcel?.file ?? `${name}.${givenName(options, format.name)}`
  return {
    output: options.stream === undefined ? resolve(options.output ?? fallback) : null,
    arcroot: parcel?.arcroot ?? arcroot,
    dest: destOf(parcel?.dest ?? options.destPrefix),
    parcel,
  }
}

/** As the format was called: `--format tgz` makes `env.tgz`. */
const givenName = ({ format = 'infer' }: PackOptions, name: string): string => (format === 'infer' ? name : format)

/** What is to be packed. */
interface Found {
  readonly environment: Environment
  /** Without what is ignored. */
  readonly scanned: List<Scanned>
  /** Names directly beneath the prefix that are ignored. */
  readonly skipped: readonly string[]
  readonly onDisk: boolean
}

async function foundAt(prefix: string, settled: Settled, clock: Clock<'read'>): Promise<Found> {
  const scanJob = { root: prefix, skip: ignored, threads: settled.threads }
  // The core's threads scan while the records are read here.
  const [opened, seen] = await Promise.allSettled([
    openEnvironment(prefix).finally(() => clock.lap('read')),
    runJob((counters) => native().scan(scanJob, counters), settled),
  ])
  const [environment, scanned] = [settledValue(opened), settledValue(seen)]
  const names = await readdir(prefix).catch((error: unknown) => {
    throw fromSystem(error, 'cannot read', prefix)
  })
  return { environment, scanned, skipped: names.filter((name) => ignored.includes(name)).sort(), onDisk: true }
}

function foundIn(layout: Layout | undefined): Found {
  const { environment, nodes } = layout as Layout
  const topOf = ({ path }: Scanned): string => path.split('/', 1)[0] ?? ''
  const skipped = new Set(nodes.map(topOf).filter((name) => ignored.includes(name)))
  const scanned = skipped.size === 0 ? nodes : nodes.filter((node) => !skipped.has(topOf(node)))
  return { environment, scanned, skipped: [...skipped].sort(), onDisk: false }
}

function planOf(
  { environment, scanned, skipped, onDisk }: Found,
  { output, dest, parcel }: Place,
  { format, zipSymlinks, zip64 }: Settled,
  options: PackOptions,
): Plan {
  const isZip = format.name === 'zip'
  // An environment with conda in it has its own activation: it works where it is told that it will stand.
  const hasConda = environment.packages.some(({ record }) => record.name === 'conda')
  const scripts = dest !== undefined && hasConda ? [] : activationScripts()
  const tree = isZip ? dereference(environment, scanned, { links: zipSymlinks, onDisk }) : scanned
  const plan = planPack(environment, tree, {
    filters: options.filters ?? [],
    scripts: parcel === null ? scripts : parcelScripts(parcel, environment),
    reserved: dest === undefined ? [unpackPath] : [],
    skipped,
    ...(output === null || !onDisk ? {} : { output: relative(environment.prefix, output) }),
  })
  if (isZip) checkZip(plan, { zipSymlinks, zip64 })
  return plan
}

const named = ({ name, prefix }: PackOptions): { name?: string; prefix?: string } => ({
  ...(name === undefined ? {} : { name }),
  ...(prefix === undefined ? {} : { prefix }),
})
