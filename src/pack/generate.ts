/** What only exists once the core has packed the environment: the content of conda-meta, and the table of conda-unpack. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from '../conda/environment.js'
import { type PrefixRecord, parseRecord } from '../conda/record.js'
import { historyText, recordText } from '../conda/record-text.js'
import { fromSystem } from '../errors.js'
import type { Outcome, PackEntry } from '../native.js'
import type { Spot } from '../tree/entry.js'
import { contentsOf, fateOf } from './contents.js'
import type { Plan } from './plan.js'
import type { UnpackFile } from './scripts/index.js'

const history = 'conda-meta/history'
/** Documents that are read at a time: few, because each takes ten times its size while it is parsed and written. */
const readAhead = 8
/** Bytes, about, of those that are made at a time. */
const batch = 16 << 20

/** Paths whose content is made anew. */
export function remadePaths(environment: Environment): Set<string> {
  return new Set(environment.packages.map(({ record }) => record.file)).add(history)
}

/**
 * The entries of conda-meta with their content, some at a time: records and the history for another prefix, everything else as it is. `outcomes`: of what is
 * packed already; `reserved`: paths that are made later.
 */
export async function* metaEntries(
  environment: Environment,
  plan: Plan,
  outcomes: ReadonlyMap<string, Outcome>,
  reserved: readonly string[],
): AsyncGenerator<PackEntry[]> {
  const records = new Map(environment.packages.map(({ record, whole }) => [record.file, whole]))
  const dropped = [...outcomes.values()].filter((outcome) => outcome.dropped).map(({ path }) => path)
  const contents = contentsOf(plan, dropped, (entry) => fateOf(entry, outcomes.get(entry.path)), reserved)
  const sitePackages = environment.python?.sitePackages ?? ''
  const make = ({ path, kind, mode, mtime, size, target }: PackEntry, content: Content): PackEntry => {
    if (kind !== 'file') return { path, kind, mode, mtime, size, ...(target === undefined ? {} : { target }) }
    if (!Buffer.isBuffer(content) || records.has(path)) {
      const record = Buffer.isBuffer(content) ? parseRecord(path, content.toString()) : content
      const { text, digests } = recordText(record, contents, sitePackages)
      const data = Buffer.from(text, 'latin1') // it is ASCII
      return { path, kind, mode, mtime: plan.mtime, size: data.length, data, digests }
    }
    if (path !== history) return { path, kind, mode, mtime, size: content.length, data: content }
    const data = Buffer.from(historyText(content.toString('latin1')), 'latin1')
    return { path, kind, mode, mtime: plan.mtime, size: data.length, data }
  }
  const contentOf = async ({ path, kind, data, source }: PackEntry): Promise<Content> => {
    if (kind !== 'file') return Buffer.alloc(0)
    if (data !== undefined) return Buffer.from(data)
    if (source !== undefined) return await read(source)
    return records.get(path) ?? (await read(join(environment.prefix, path)))
  }
  let made: PackEntry[] = []
  for (let first = 0; first < plan.meta.length; first += readAhead) {
    const some = plan.meta.slice(first, first + readAhead)
    const read = await Promise.all(some.map(contentOf))
    for (const [i, entry] of some.entries()) made.push(make(entry, read[i] as Content))
    const bytes = made.reduce((sum, { size }) => sum + size, 0)
    if (bytes < batch && first + readAhead < plan.meta.length) continue
    yield made
    made = []
  }
}

/** A record that was kept, or the bytes of any file. */
type Content = Buffer | PrefixRecord

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (error) {
    throw fromSystem(error, 'cannot read', path)
  }
}

/** The files that conda-unpack has to complete. `meta`: with content; `outcomes`: of all of them, in the order of the archive. */
export function unpackFiles(
  plan: Plan,
  meta: readonly PackEntry[],
  outcomes: ReadonlyMap<string, Outcome>,
): UnpackFile[] {
  const links = new Map<string, string[]>()
  for (const [path, target] of plan.shared) links.set(target, [...(links.get(target) ?? []), path])
  const files: UnpackFile[] = []
  const waiting = new Map(meta.map(({ path, digests = [] }) => [path, digests]))
  for (const { path, size, sha256, spots: found = [], dropped } of outcomes.values()) {
    const digests = waiting.get(path) ?? []
    if (dropped || found.length + digests.length === 0) continue
    const hashes = digests.map(({ offset, path: refers }): Spot => ({ encoding: 'digest', offset, refers, slot: 0 }))
    const spots = [...found, ...hashes].sort((a, b) => a.offset - b.offset)
    files.push({ path, size, sha256, spots, links: links.get(path) ?? [] })
  }
  return files
}
