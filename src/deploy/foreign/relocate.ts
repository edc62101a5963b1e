/**
 * The second, small phase: what was written before it could be known that a prefix stands in it. Every file that is not proven to be
 * its package's is searched for the prefix of the source environment, by all threads; only files with something to change are written.
 */
import { readFileSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PrefixNote } from '../../archive/conda-pack.js'
import { fromSystem } from '../../errors.js'
import { type MaterializeEntry, native, type Outcome, type PackEntry, type Rewrite, runJob } from '../../native.js'
import type { Entry } from '../../tree/entry.js'
import { both } from './both.js'
import { isRecord, type Knowledge, tooLong } from './knowledge.js'
import { headBytes, isEnvScript, programOf, restored } from './scripts.js'
import type { ForeignTree } from './tree.js'
import type { Writer } from './writer.js'

export interface Findings {
  readonly tree: ForeignTree
  readonly known: Knowledge
  readonly writer: Writer
  readonly notes: readonly PrefixNote[]
  /** Prefixes of the source environment. */
  readonly origins: readonly string[]
  /** First bytes of the scripts in `bin`. */
  readonly heads: ReadonlyMap<string, string>
  /** The packer replaced the interpreters of scripts. */
  readonly replacedInterpreters: boolean
  readonly signal: AbortSignal | undefined
}

export interface Relocated {
  /** Scripts that have the interpreter of their environment again. */
  readonly restored: readonly string[]
  /** Files that keep the prefix of the source environment, and how often. */
  readonly kept: readonly { readonly path: string; readonly count: number }[]
  /** Compiled Python that keeps it; of `laterPyc` it is not known yet. */
  readonly keptPyc: readonly string[]
  /** Compiled Python that is no package's: it is only counted if it keeps the prefix, which can be found out while other things are done. */
  readonly laterPyc: readonly Entry[]
  /** Files with a placeholder that nothing names. */
  readonly unnamed: readonly string[]
  /** Programs and libraries in `kept` that would take a prefix as short as that of the source environment. */
  readonly unfit: readonly string[]
}

/** Throws PREFIX_TOO_LONG for files that an installer wrote the prefix into and that cannot take the new one. */
export async function relocate(findings: Findings): Promise<Relocated> {
  const { tree, known, writer, origins } = findings
  const { prefix } = writer.job
  const wanted = wantedRewrites(findings)
  const fits = (origin: string): boolean => Buffer.byteLength(prefix) <= Buffer.byteLength(origin)
  const kept: { path: string; count: number }[] = []
  const unfit: string[] = []
  const keptPyc: string[] = []
  const broken: { path: string; slot: number }[] = []
  const noted = new Set(findings.notes.map(({ path }) => path))
  const unproven: Entry[] = []
  const laterPyc: Entry[] = []
  const unnoted: Entry[] = []
  writer.eachFile((number) => {
    const hash = known.onlyHash(number)
    if (hash !== undefined && writer.hasDigest(number, hash)) return
    const path = tree.paths.text(number)
    if (isRecord(path)) return
    if (!isPackages(known, writer, number)) {
      const list = path.endsWith('.pyc') && !wanted.has(path) ? laterPyc : unproven
      list.push(writer.at(number) as Entry)
    } else if (isUnnoted(known, writer, number) && !noted.has(path)) unnoted.push(writer.at(number) as Entry)
  })
  const placeholders = [...new Set(findings.notes.map(({ placeholder }) => placeholder))].filter(
    (one) => !origins.includes(one),
  )
  const unnamed = new Set(unnoted.map(({ path }) => path))
  const [studies, scripts] = await both(
    all([study(findings, unproven, origins), study(findings, unnoted, placeholders)]),
    async () => restoredScripts(findings),
  )
  const outcomes = studies.flat()
  for (const { path, spots = [], kept: stay } of outcomes) {
    if (spots.length > 0) unnamed.delete(path)
    const found = new Map<string, Rewrite>()
    for (const { encoding, refers } of spots) {
      const mode = encoding === 'text' ? 'text' : 'binary'
      found.set(`${mode} ${refers}`, { prefix: refers, mode })
    }
    const able = [...found.values()].filter(({ prefix: origin, mode }) => mode === 'text' || fits(origin))
    if (able.length > 0) wanted.set(path, [...(wanted.get(path) ?? []), ...able])
    if (able.length < found.size) {
      const slots = [...found.values()]
        .filter((rewrite) => !able.includes(rewrite))
        .map((rewrite) => Buffer.byteLength(rewrite.prefix))
      if (known.of(path)?.installed) broken.push({ path, slot: Math.min(...slots) })
      unfit.push(path)
    }
    const stays =
      stay.prefix + (able.length < found.size ? spots.filter(({ encoding }) => encoding !== 'text').length : 0)
    if (stays > 0 && path.endsWith('.pyc')) keptPyc.push(path)
    else if (stays > 0) kept.push({ path, count: stays })
  }
  if (broken.length > 0) throw tooLong(prefix, broken)

  const restored = [...scripts].map(([path, script]) => withMore(script, wanted.get(path)))
  const changes = [...wanted]
    .filter(([path]) => !scripts.has(path))
    .map(([path, rewrites]) => again(writer, path, rewrites))
  await writer.write([...restored, ...changes])
  return {
    restored: [...scripts.keys()].filter((path) => tree.has(path)).sort(),
    kept,
    keptPyc,
    laterPyc,
    unnamed: [...unnamed].sort(),
    unfit,
  }
}

/** By the path of the file: what records and notes say and was not looked for yet. */
function wantedRewrites({ tree, known, writer, notes, origins }: Findings): Map<string, Rewrite[]> {
  const wanted = new Map<string, Rewrite[]>()
  const want = (path: string, rewrite: Rewrite): void => {
    const file = tree.fileOf(path)
    if (file === null || isRecord(file)) return
    const list = wanted.get(file) ?? []
    const same = ({ prefix, mode }: Rewrite): boolean => prefix === rewrite.prefix && mode === rewrite.mode
    if (list.some(same) || writer.applied(tree.paths.number(file)).some(same)) return
    wanted.set(file, [...list, rewrite])
  }
  for (const [path, rewrites] of known.relocated()) for (const rewrite of rewrites) want(path, rewrite)
  for (const { path, placeholder, mode } of notes)
    if (!origins.includes(placeholder)) want(path, { prefix: placeholder, mode })
  return wanted
}

/**
 * Of a file that is its package's: it has a placeholder that neither its record nor a note names. conda-pack notes nothing of
 * `bin/python*`, and mamba records no placeholders. It is one of those that other files have.
 */
const isUnnoted = (known: Knowledge, writer: Writer, number: number): boolean =>
  known.isInstalled(number) && known.rewrites(number).length === 0 && writer.applied(number).length === 0

/** Where `prefixes` stand in `files`, and how; files without any are not named. */
export async function study(
  { known, writer, signal }: Pick<Findings, 'known' | 'writer' | 'signal'>,
  files: readonly Entry[],
  prefixes: readonly string[],
): Promise<readonly Outcome[]> {
  if (files.length === 0 || prefixes.length === 0) return []
  const folders = new Set<string>()
  for (const { path } of files)
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const folder = path.slice(0, at)
      if (folders.has(folder)) break
      folders.add(folder)
    }
  const entries = [...folders].map((path): PackEntry => ({ path, kind: 'directory', mode: 0o755, mtime: 0, size: 0 }))
  for (const { path, kind, mode, mtime, size, deployed } of files) {
    const policy = path.endsWith('.pyc') || isRecord(path) ? 'report' : known.of(path)?.installed ? 'any' : 'detect'
    entries.push({ path, kind, mode, mtime, size: deployed?.size ?? size, policy })
  }
  const { root, threads } = writer.job
  const job = {
    ...{ root, threads, prefixes, marker: '', output: null, level: 1, frameBytes: 4 << 20 },
    entries: entries.sort((a, b) => (a.path < b.path ? -1 : 1)),
  }
  return (await runJob((counters) => native().pack(job, counters), { signal })).outcomes
}

/** The file at the path of that number came as it is in its package. */
export const isPackages = (known: Knowledge, writer: Writer, number: number): boolean =>
  known.isProven(number, (sha256) => writer.hasDigest(number, sha256))

function restoredScripts({
  tree,
  known,
  writer,
  notes,
  origins,
  heads,
  replacedInterpreters,
}: Findings): Map<string, MaterializeEntry> {
  const scripts = new Map<string, MaterializeEntry>()
  if (!replacedInterpreters) return scripts
  const noted = new Set(notes.map(({ path }) => path))
  for (const [path, head] of heads) {
    const entry = writer.get(path)
    const candidate = entry?.kind === 'file' && isEnvScript(path, head, known.of(path), noted.has(path))
    if (!candidate || !tree.has(`bin/${programOf(head)}`)) continue
    const { data, placeholder } = restored(readNow(join(writer.job.root, path)), known.of(path), origins)
    const { mode, mtime } = entry
    scripts.set(path, { path, kind: 'file', mode, mtime, data, rewrites: [{ prefix: placeholder, mode: 'text' }] })
  }
  return scripts
}

const withMore = (script: MaterializeEntry, more: readonly Rewrite[] = []): MaterializeEntry => ({
  ...script,
  rewrites: [...more, ...(script.rewrites ?? [])],
})

/** A file that was written just now, to local storage: reading it takes less time than asking another thread to. */
export function readNow(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw fromSystem(error, 'cannot read', path)
  }
}

/** What all of them answer. What fails first in their order is thrown when all have ended. */
async function all<T>(jobs: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(jobs)
  return await Promise.all(jobs)
}

export async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    throw fromSystem(error, 'cannot read', path)
  }
}

/** The first bytes of a file, as many as are looked at in a script. */
export async function readHead(path: string): Promise<Buffer> {
  try {
    const file = await open(path)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(headBytes), 0, headBytes, 0)
      return buffer.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  } catch (error) {
    throw fromSystem(error, 'cannot read', path)
  }
}

/**
 * A file to be rewritten where it stands. What has the new prefix in it already is said to have it, first of all, so that the index
 * knows every place.
 */
function again(writer: Writer, path: string, rewrites: readonly Rewrite[]): MaterializeEntry {
  const { mode, mtime, spots = [] } = writer.get(path) ?? { mode: 0o644, mtime: 0 }
  const modes = new Set(spots.map(({ encoding }) => (encoding === 'text' ? ('text' as const) : ('binary' as const))))
  const own = [...modes].map((as): Rewrite => ({ prefix: writer.job.prefix, mode: as }))
  return { path, kind: 'file', mode, mtime, source: join(writer.job.root, path), rewrites: [...own, ...rewrites] }
}
