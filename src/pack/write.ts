/** Runs the core's jobs for one archive: what was planned, then what can only be made once it is known what was found. */
import type { Target } from '../archive/sink.js'
import { packTarZst, type Writing } from '../archive/tar-zst.js'
import type { Environment } from '../conda/environment.js'
import { EnvError } from '../errors.js'
import { many } from '../list.js'
import type { Outcome, PackEntry, Packed, Sealed } from '../native.js'
import { checkFits, longestPrefix } from '../prefix/plan.js'
import { collectGarbage } from '../v8-flag.js'
import { version } from '../version.js'
import { metaEntries, remadePaths, unpackFiles } from './generate.js'
import { type Findings, findingsOf, identityJson } from './identity.js'
import type { Settled } from './options.js'
import type { Plan } from './plan.js'
import { unpackScript } from './scripts/index.js'
import { type Rest, Writer } from './writer.js'

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

/** An archive that is whole but for its end. It holds nothing of the plan, which takes as much memory as sealing does. */
export interface Begun {
  readonly findings: Findings
  readonly byPath: readonly string[]
  /** Has to be called. Throws NO_SPACE, IO, CANCELLED; then nothing is left but the target, which the caller removes. */
  seal(): Promise<Totals>
}

/** Throws what pack throws; then nothing is left but the target, which the caller removes. */
export async function beginArchive(task: Task): Promise<Begun> {
  const { environment, plan, arcroot, settled, target } = task
  const packing = { root: task.root, entries: plan.entries, prefixes: environment.spellings }
  await checkDest(task)
  if (target === null) {
    const packed = await packTarZst(packing, null, { ...quiet(task), progress: task.progress })
    task.packed()
    const rest = await remainder(task, packed, ({ data: _, ...entry }) => entry)
    return begun(rest, studyTotals(plan, packed.bytes, rest.generated, rest.outcomes), async (totals) => totals)
  }
  const time = settled.format.via === 'squashfs' ? newest(plan) : 0
  const writer = new Writer({ target, writing: quiet(task), arcroot, settled, time })
  return await writer.attempt(async () => {
    tidy(plan.entries.length)
    const job = writer.pack(packing, task.progress)
    setImmediate(tidy, plan.entries.length)
    const later = setTimeout(tidy, calm, plan.entries.length)
    const packed = await job.finally(() => clearTimeout(later))
    task.packed()
    const rest = await remainder(task, packed, (entry) => writer.keep(entry))
    const json = identityJson(environment, rest.findings)
    const named = settled.format.name === 'tar.zst'
    const generated = rest.generated.map(uncut)
    const { prefixes } = packing
    return begun(rest, { writer, packed, generated, prefixes, json, named }, sealed)
  })
}

/** A function of its own: what `seal` holds on to is what is given here. */
function begun<T>(rest: Pick<Begun, 'findings' | 'byPath'>, given: T, seal: (given: T) => Promise<Totals>): Begun {
  return { findings: uncut(rest.findings), byPath: rest.byPath, seal: () => seal(given) }
}

/** A copy: a path that was cut from the text of all paths would hold on to that. Contents stay. */
function uncut<T extends object & Partial<Pick<PackEntry, 'data'>>>({ data, ...rest }: T): T {
  return { ...structuredClone(rest), ...(data === undefined ? {} : { data }) } as T
}

async function sealed({ writer, named, ...rest }: Rest & { writer: Writer; named: boolean }): Promise<Totals> {
  tidy(rest.packed.entries)
  const { sealed, packedBytes } = await writer.attempt(() => writer.seal(rest))
  return totalsOf(sealed, named, packedBytes)
}

/** Milliseconds: after five seconds in which hardly an object was made, a collection gives back the 30 MB for young ones. */
const calm = 6000

/** Before the core takes memory: V8 would keep all of its own until it needs some itself. */
function tidy(entries: number): void {
  if (entries >= many) collectGarbage()
}

const quiet = ({ dest, settled: { level, threads, signal } }: Task): Writing => ({
  ...{ level, threads, signal },
  ...(dest === undefined ? {} : { dest }),
})

/** Asked for only where it is noted, because it takes a look at every entry. */
function newest(plan: Plan): number {
  let time = plan.mtime
  for (const list of [plan.entries, plan.meta]) for (const { mtime } of list) time = Math.max(time, mtime)
  return time
}

/** With a prefix that is longer than one in the files it is known only afterwards where it fits: then everything is read twice. */
async function checkDest({ environment, root, plan, dest, settled }: Task): Promise<void> {
  const { spellings: prefixes } = environment
  const shortest = Math.min(...prefixes.map((prefix) => Buffer.byteLength(prefix)))
  if (dest === undefined || Buffer.byteLength(dest) <= shortest) return
  const { level, threads, signal } = settled
  const { outcomes } = await packTarZst({ root, entries: plan.entries, prefixes }, null, { level, threads, signal })
  try {
    checkFits(outcomes, dest)
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    const { code, message, paths } = error
    throw new EnvError(code, message, { path: dest, paths, hint: 'choose a shorter --dest-prefix' })
  }
}

/** Of two that had to end before either may fail the whole. */
export function settledValue<T>(settled: PromiseSettledResult<T>): T {
  if (settled.status === 'rejected') throw settled.reason
  return settled.value
}

const reservedFor = (dest: string | undefined): string[] => (dest === undefined ? [unpackPath] : [])

/** The entries that are made once the rest is packed, and what is known about all of them. `keep`: what is kept of one of conda-meta. */
async function remainder(task: Task, packed: Packed, keep: (entry: PackEntry) => PackEntry) {
  const { environment, root, plan, editable, dest } = task
  const writing = quiet(task)
  const packing = { root, prefixes: environment.spellings }
  const outcomes = byPath(packed.outcomes)
  const meta: PackEntry[] = []
  for await (const some of metaEntries(environment, plan, outcomes, reservedFor(dest))) {
    // Studied by the core too, so that there is one judgement of where a prefix stands in a text.
    const texts = some.filter((entry) => entry.kind === 'file').map(({ digests: _, ...entry }) => entry)
    const studied = await packTarZst({ ...packing, entries: texts }, null, writing)
    for (const outcome of studied.outcomes) outcomes.set(outcome.path, outcome)
    for (const entry of some) meta.push(keep(entry))
    tidy(plan.entries.length)
  }
  const unpack =
    dest === undefined
      ? [unpackEntry(unpackScript({ producer: version, files: unpackFiles(plan, meta, outcomes) }), plan.mtime)]
      : []
  const said = await packTarZst({ ...packing, entries: unpack }, null, writing)
  for (const outcome of said.outcomes) outcomes.set(outcome.path, outcome)
  const remade = remadePaths(environment).add(unpackPath)
  const findings = findingsOf(plan, unpack, outcomes, remade, editable)
  return { findings, outcomes, generated: [...unpack, ...meta], byPath: [...packed.byPath] }
}

/** Its table holds the prefixes that it replaces in other files: they have to stay. */
function unpackEntry(text: string, mtime: number): PackEntry {
  const data = Buffer.from(text)
  return { path: unpackPath, kind: 'file', mode: 0o755, mtime, size: data.length, data, policy: 'report' }
}

const byPath = (outcomes: readonly Outcome[]): Map<string, Outcome> =>
  new Map(outcomes.map((outcome) => [outcome.path, outcome]))

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
  const dropped = [...outcomes.values()].filter((outcome) => outcome.dropped).length
  let regular = 0
  for (const list of [plan.entries, generated]) for (const { kind } of list) regular += kind === 'file' ? 1 : 0
  const files = [...outcomes.values()].filter((outcome) => !outcome.dropped)
  const hashed = new Set(generated.filter(({ digests = [] }) => digests.length > 0).map(({ path }) => path))
  return {
    digest: null,
    entries: plan.entries.length + generated.length - dropped,
    files: regular - dropped,
    bytes: bytes + generated.reduce((sum, entry) => sum + entry.size, 0),
    packedBytes: null,
    ratio: null,
    rewritten: files.filter(({ path, spots = [] }) => spots.length > 0 || hashed.has(path)).length,
    longestPrefix: longestPrefix(files),
  }
}
