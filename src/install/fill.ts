/** Files of packages into a stage, compiled and recorded: what becomes an environment, or a part of one, by renaming. */
import type { Clock } from '../clock.js'
import type { LinkEntry, Linked, LinkJob } from '../install-jobs.js'
import { type JobOptions, native, runJob } from '../native.js'
import { sharing } from './bring.js'
import { compilePython } from './compile.js'
import { prefixRecord } from './conda-meta.js'
import type { LinkPlan, Part, Wanted } from './link.js'
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
  reporter.phase('link', filesIn(plan), 'files')
  const progress = (_: number, entries: number): void => reporter.progress(entries)
  const linked = await linkParts({ root: stage, prefix, threads }, plan.parts, { signal, progress })
  const hashes = new Map(linked.written.map(({ path, sha256 }) => [path, sha256]))
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

export const filesIn = ({ parts }: Pick<LinkPlan, 'parts'>): number =>
  parts.reduce((sum, { shared, entries }) => sum + shared.paths.length + entries.length, 0)

export async function linkParts(
  where: Pick<LinkJob, 'root' | 'prefix' | 'threads'>,
  parts: readonly Part[],
  watching: JobOptions,
): Promise<Linked> {
  const job = { ...where, parts: parts.map(({ shared: { columns }, ...part }) => ({ ...part, shared: columns })) }
  return await runJob((counters) => native().link(job, counters), watching)
}

/** Documents into a stage, by the core too: no link that a package brought may lead them elsewhere. */
export async function writeInto(stage: string, documents: ReadonlyMap<string, string>): Promise<void> {
  const entries = [...documents].map(
    ([path, text]): LinkEntry => ({ path, how: 'write', data: Buffer.from(text), mode: 0o666 }),
  )
  await linkParts({ root: stage, prefix: stage, threads: 1 }, [{ source: '', shared: sharing([], []), entries }], {})
}
