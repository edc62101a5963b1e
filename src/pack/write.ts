/** Runs the core's jobs for one archive: what was planned, then what can only be made once it is known what was found. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openSink, type Target } from '../archive/sink.js'
import { packTarZst, sealTarZst, type Writing } from '../archive/tar-zst.js'
import type { Environment } from '../conda/environment.js'
import { EnvError, fromSystem } from '../errors.js'
import { native, type Outcome, type PackEntry, type Packed, runJob, type Sealed } from '../native.js'
import { checkFits, longestPrefix } from '../prefix/plan.js'
import { version } from '../version.js'
import { metaEntries, remadePaths, unpackFiles } from './generate.js'
import { type Findings, findingsOf, identityJson } from './identity.js'
import type { Settled } from './options.js'
import { discard } from './output.js'
import type { Plan } from './plan.js'
import { unpackScript } from './scripts/index.js'

export const unpackPath = 'bin/conda-unpack'

export interface Totals {
  /** The SHA-256 by which the content is known; null with `dryRun`, and for formats other than tar.zst. */
  readonly digest: string | null
  readonly entries: number
  readonly files: number
  /** Of the files, as stored. */
  readonly bytes: number
  /** Size of the archive, and how many times larger its files are; null with `dryRun`, and for a directory. */
  readonly packedBytes: number | null
  readonly ratio: number | null
  /** Files that deploying changes. */
  readonly rewritten: number
  /** The longest prefix, in bytes, to which the archive can be deployed; null: no limit. */
  readonly longestPrefix: number | null
}

export interface Task {
  readonly environment: Environment
  /** Where paths of entries begin. */
  readonly root: string
  readonly plan: Plan
  readonly editable: readonly string[]
  /** A partial file, or directory, or a stream; null: find out everything and write nothing. */
  readonly target: Target | null
  /** Prefix to write into the files; undefined: conda-unpack does it later. */
  readonly dest: string | undefined
  readonly arcroot: string
  readonly settled: Settled
  readonly progress: (bytes: number) => void
  /** Called between the two halves. */
  readonly packed: () => void
}

/** Throws what pack throws; then nothing is left but the target, which the caller removes. */
export async function writeArchive(task: Task): Promise<{ findings: Findings; totals: Totals; byPath: string[] }> {
  const { environment, plan, dest, settled, target } = task
  const { format, level, threads, signal } = settled
  const packing = { root: task.root, prefixes: environment.spellings }
  const quiet: Writing = { level, threads, signal, ...(dest === undefined ? {} : { dest }) }
  await checkDest(task, packing)
  if (target === null) {
    const studying = { ...quiet, progress: task.progress }
    const packed = await packTarZst({ ...packing, entries: plan.entries }, null, studying)
    task.packed()
    const rest = await remainder(task, packed, quiet)
    return { ...rest, totals: studyTotals(plan, packed.bytes, rest.generated, rest.outcomes), byPath: rest.byPath }
  }
  const directory = format.via === 'directory' && 'path' in target ? target.path : null
  // A directory is unpacked from an archive: what it is made of is looked at, and rewritten, but once.
  const writing: Writing =
    directory === null
      ? { ...quiet, codec: format.codec, ...(task.arcroot === '' ? {} : { arcroot: task.arcroot }) }
      : { ...quiet, codec: format.codec, level: 1 }
  const archive = `${directory}.tar.zst`
  const to = directory === null ? target : { path: archive }
  const time = [...plan.entries, ...plan.meta].reduce((newest, { mtime }) => Math.max(newest, mtime), plan.mtime)
  const sink = openSink(format, to, { ...settled, time })
  try {
    const showing = { ...writing, progress: task.progress }
    const packed = await packTarZst({ ...packing, entries: plan.entries }, sink.output, showing)
    task.packed()
    const { generated, ...rest } = await remainder(task, packed, quiet)
    const json = identityJson(environment, rest.findings)
    const sealing = { entries: generated, prefixes: environment.spellings }
    const sealed = await sealTarZst(packed.draft, sealing, json, sink.output, writing)
    const packedBytes = (await sink.end()) ?? sealed.packedBytes
    if (directory === null) return { ...rest, totals: totalsOf(sealed, format.name === 'tar.zst', packedBytes) }
    await unpack(archive, join(directory, task.arcroot), settled)
    return { ...rest, totals: totalsOf(sealed, false, null) }
  } catch (error) {
    throw await sink.abandon(error)
  } finally {
    if (directory !== null) discard(archive)
  }
}

/** With a prefix that is longer than one in the files it is known only afterwards where it fits: then everything is read twice. */
async function checkDest({ environment, plan, dest, settled }: Task, packing: Packing): Promise<void> {
  const shortest = Math.min(...environment.spellings.map((prefix) => Buffer.byteLength(prefix)))
  if (dest === undefined || Buffer.byteLength(dest) <= shortest) return
  const { level, threads, signal } = settled
  const { outcomes } = await packTarZst({ ...packing, entries: plan.entries }, null, { level, threads, signal })
  try {
    checkFits(outcomes, dest)
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    const { code, message, paths } = error
    throw new EnvError(code, message, { path: dest, paths, hint: 'choose a shorter --dest-prefix' })
  }
}

type Packing = Omit<Parameters<typeof packTarZst>[0], 'entries'>

/** Of two that had to end before either may fail the whole. */
export function settledValue<T>(settled: PromiseSettledResult<T>): T {
  if (settled.status === 'rejected') throw settled.reason
  return settled.value
}

const reservedFor = (dest: string | undefined): string[] => (dest === undefined ? [unpackPath] : [])

/** The entries that are made once the rest is packed, and what is known about all of them. */
async function remainder({ environment, root, plan, editable, dest }: Task, packed: Packed, writing: Writing) {
  const packing = { root, prefixes: environment.spellings }
  const outcomes = byPath(packed.outcomes)
  const meta = await metaEntries(environment, plan, outcomes, reservedFor(dest))
  // Studied by the core too, so that there is one judgement of where a prefix stands in a text.
  const texts = meta.filter((entry) => entry.kind === 'file').map(({ digests: _, ...entry }) => entry)
  const studied = await packTarZst({ ...packing, entries: texts }, null, writing)
  for (const outcome of studied.outcomes) outcomes.set(outcome.path, outcome)
  const unpack =
    dest === undefined
      ? [unpackEntry(unpackScript({ producer: version, files: unpackFiles(plan, meta, outcomes) }), plan.mtime)]
      : []
  const said = await packTarZst({ ...packing, entries: unpack }, null, writing)
  for (const outcome of said.outcomes) outcomes.set(outcome.path, outcome)
  const remade = remadePaths(environment).add(unpackPath)
  const findings = findingsOf({ ...plan, entries: [...plan.entries, ...unpack] }, outcomes, remade, editable)
  return { findings, outcomes, generated: [...unpack, ...meta], byPath: [...packed.byPath] }
}

/** Its table holds the prefixes that it replaces in other files: they have to stay. */
function unpackEntry(text: string, mtime: number): PackEntry {
  const data = Buffer.from(text)
  return { path: unpackPath, kind: 'file', mode: 0o755, mtime, size: data.length, data, policy: 'report' }
}

const byPath = (outcomes: readonly Outcome[]): Map<string, Outcome> =>
  new Map(outcomes.map((outcome) => [outcome.path, outcome]))

/** The files of an archive as they stand in it, at `root`. */
async function unpack(archive: string, root: string, { threads, signal }: Settled): Promise<void> {
  try {
    mkdirSync(root, { recursive: true })
  } catch (error) {
    throw fromSystem(error, 'cannot make', root)
  }
  const job = { archive, root, prefix: null, readOnly: false, threads }
  await runJob((counters) => native().extract(job, counters), { signal })
}

function totalsOf(sealed: Sealed, named: boolean, packedBytes: number | null): Totals {
  const { digest, entries, files, bytes, rewritten, longestPrefix } = sealed
  const ratio = packedBytes === null ? null : bytes / packedBytes
  return { digest: named ? digest : null, entries, files, bytes, packedBytes, ratio, rewritten, longestPrefix }
}

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
