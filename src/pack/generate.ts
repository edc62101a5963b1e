/** What only exists once the core has packed the environment: the content of conda-meta, and the table of conda-unpack. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from '../conda/environment.js'
import { historyText, recordText } from '../conda/record-text.js'
import { fromSystem } from '../errors.js'
import type { Outcome, PackEntry } from '../native.js'
import type { Spot } from '../tree/entry.js'
import { contentsOf, fateOf } from './contents.js'
import type { Plan } from './plan.js'
import type { UnpackFile } from './scripts/index.js'

const history = 'conda-meta/history'

/** Paths whose content is made anew. */
export function remadePaths(environment: Environment): Set<string> {
  return new Set(environment.packages.map(({ record }) => record.file)).add(history)
}

/**
 * The entries of conda-meta with their content: records and the history for another prefix, everything else as it is. `outcomes`: of what is
 * packed already; `reserved`: paths that are made later.
 */
export async function metaEntries(
  environment: Environment,
  plan: Plan,
  outcomes: ReadonlyMap<string, Outcome>,
  reserved: readonly string[],
): Promise<PackEntry[]> {
  const records = new Map(environment.packages.map(({ record }) => [record.file, record]))
  const dropped = [...outcomes.values()].filter((outcome) => outcome.dropped).map(({ path }) => path)
  const contents = contentsOf(plan, dropped, (entry) => fateOf(entry, outcomes.get(entry.path)), reserved)
  const sitePackages = environment.python?.sitePackages ?? ''
  return Promise.all(
    plan.meta.map(async ({ path, kind, mode, mtime, size, target, data: known, source }): Promise<PackEntry> => {
      if (kind !== 'file') return { path, kind, mode, mtime, size, ...(target === undefined ? {} : { target }) }
      const record = records.get(path)
      if (!record) {
        const bytes = known ?? (await read(source ?? join(environment.prefix, path)))
        if (path !== history) return { path, kind, mode, mtime, size: bytes.length, data: bytes }
        const data = Buffer.from(historyText(Buffer.from(bytes).toString('latin1')), 'latin1')
        return { path, kind, mode, mtime: plan.mtime, size: data.length, data }
      }
      const { text, digests } = recordText(record, contents, sitePackages)
      const data = Buffer.from(text, 'latin1') // it is ASCII
      return { path, kind, mode, mtime: plan.mtime, size: data.length, data, digests }
    }),
  )
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    throw fromSystem(error, 'cannot read', path)
  }
}

/** The files that conda-unpack has to complete. `meta`: with content; `outcomes`: of all of them. */
export function unpackFiles(
  plan: Plan,
  meta: readonly PackEntry[],
  outcomes: ReadonlyMap<string, Outcome>,
): UnpackFile[] {
  const links = new Map<string, string[]>()
  for (const [path, target] of plan.shared) links.set(target, [...(links.get(target) ?? []), path])
  const files: UnpackFile[] = []
  for (const list of [plan.entries, meta])
    for (const { path, kind, digests = [] } of list) {
      const outcome = kind === 'file' ? outcomes.get(path) : undefined
      if (!outcome || outcome.dropped) continue
      const found = outcome.spots ?? []
      if (found.length + digests.length === 0) continue
      const hashes = digests.map(({ offset, path: refers }): Spot => ({ encoding: 'digest', offset, refers, slot: 0 }))
      const spots = [...found, ...hashes].sort((a, b) => a.offset - b.offset)
      files.push({ path, size: outcome.size, sha256: outcome.sha256, spots, links: links.get(path) ?? [] })
    }
  return files
}
