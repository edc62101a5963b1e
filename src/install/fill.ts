/** Files of packages into a stage, compiled and recorded: what becomes an environment, or a part of one, by renaming. */
import type { Clock } from '../clock.js'
import type { LinkEntry, Linked, SharedFiles } from '../install-jobs.js'
import { native, runJob } from '../native.js'
import { compilePython } from './compile.js'
import { prefixRecord } from './conda-meta.js'
import type { LinkPlan, Wanted } from './link.js'
import type { Request } from './request.js'

export interface Filled {
  readonly linked: Linked
  readonly compiled: number
}

export interface Place {
  /** An existing directory. */
  readonly stage: string
  /** Where its files will stand. */
  readonly prefix: string
  /** The environment that it becomes a part of; null: it is a whole one. */
  readonly beside: string | null
}

/**
 * Links what is planned into the stage, compiles it and writes its records. Throws PACKAGE_DAMAGED, PREFIX_TOO_LONG, NO_SPACE, CANCELLED, …:
 * the stage is then the caller's to remove.
 */
export async function fillStage(
  { stage, prefix, beside }: Place,
  wanted: readonly Wanted[],
  plan: LinkPlan,
  request: Request,
  clock: Clock<'link' | 'compile'>,
): Promise<Filled> {
  const { threads, signal, reporter, copy } = request
  reporter.phase('link', plan.entries.length, 'files')
  const { shared, entries } = columnsOf(plan.entries)
  const job = { root: stage, prefix, sources: plan.sources, entries, shared, threads }
  const progress = (_: number, entries: number): void => reporter.progress(entries)
  const linked = await runJob((counters) => native().link(job, counters), { signal, progress })
  const hashes = new Map(linked.written.map(({ entry, sha256 }) => [entries[entry]?.path ?? '', sha256]))
  clock.lap('link')
  if (plan.compile.length > 0) reporter.phase('compile')
  const compiled = await compilePython(stage, beside, plan, request)
  clock.lap('compile')
  const documents = wanted.map((one, number) => {
    const { name, text } = prefixRecord(one, number, plan, hashes, copy)
    return [`conda-meta/${name}`, text] as const
  })
  await writeInto(stage, new Map(documents))
  return { linked, compiled }
}

/** Most entries are files to be shared: those together, by their sources, and the others. */
export function columnsOf(all: readonly LinkEntry[]): {
  readonly shared: SharedFiles[]
  readonly entries: LinkEntry[]
} {
  const shared: SharedFiles[] = []
  const entries: LinkEntry[] = []
  let source = -1
  let paths: string[] = []
  let from: string[] = []
  const flush = (): void => {
    if (paths.length > 0) shared.push({ source, paths: column(paths), from: column(from) })
    paths = []
    from = []
  }
  for (const entry of all) {
    if (entry.how !== 'share') {
      entries.push(entry)
      continue
    }
    if (entry.source !== source) flush()
    source = entry.source
    paths.push(entry.path)
    from.push(entry.from ?? entry.path)
  }
  flush()
  return { shared, entries }
}

const column = (texts: readonly string[]): Uint8Array => Buffer.from(`${texts.join('\0')}\0`)

/** Documents into a stage, by the core too: no link that a package brought may lead them elsewhere. */
export async function writeInto(stage: string, documents: ReadonlyMap<string, string>): Promise<void> {
  const entries = [...documents].map(
    ([path, text]): LinkEntry => ({ path, how: 'write', data: Buffer.from(text), mode: 0o666 }),
  )
  const job = { root: stage, prefix: stage, sources: [], entries, shared: [], threads: 1 }
  await runJob((counters) => native().link(job, counters))
}
