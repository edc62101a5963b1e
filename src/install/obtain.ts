/** Chosen packages, unpacked in the cache and read: what is missing there is downloaded and unpacked. */
import { dirname, join } from 'node:path'
import type { Clock } from '../clock.js'
import type { Choice } from './choose.js'
import { type Fetched, fetchPackages } from './fetch.js'
import type { Wanted } from './link.js'
import { inOrder } from './order.js'
import { type Noted, noted, packageCaches, unpackedIn, unpackPackages, writableCache } from './packages.js'
import { type RepoRecord, repoRecord } from './repodata.js'
import type { Request } from './request.js'
import { readUnpacked } from './unpacked.js'

export interface Obtained {
  /** In the order of linking. */
  readonly wanted: readonly Wanted[]
  readonly downloaded: number
  readonly downloadedBytes: number
  readonly unpacked: number
}

/**
 * Throws DOWNLOAD_FAILED, PACKAGE_DAMAGED, UNSAFE_PATH, NO_SPACE, PERMISSION, CANCELLED; what was fetched and unpacked by then stays in the
 * cache. `clock` counts the phases.
 */
export async function obtain(
  { records, secrets, asked, ahead }: Omit<Choice, 'unmet'>,
  request: Request,
  clock: Clock<'fetch' | 'unpack'>,
): Promise<Obtained> {
  const { offline, signal, reporter, explicit, network } = request
  const caches = packageCaches(request.config)
  const cache = await writableCache(caches)
  const at = (folder: string): Noted | null => ahead.get(folder)?.noted ?? noted(folder)
  const there = records.map((record) => unpackedIn(caches, record, at))
  const missing = records.filter((_, i) => there[i] === null)
  const fetched = await fetchPackages(missing, {
    ...{ caches, cache, offline, secrets, signal, reporter },
    http: { network },
  })
  clock.lap('fetch')
  const folders = await unpack(fetched, cache, request)
  clock.lap('unpack')
  const archives = new Map(fetched.archives.map(({ record, file }) => [record, file]))
  const read = records.map((record, i) => {
    const folder = there[i] ?? folders.get(record) ?? ''
    const unpacked = (there[i] === null ? undefined : ahead.get(folder)?.unpacked) ?? readUnpacked(folder)
    const archive = archives.get(record) ?? join(dirname(unpacked.folder), record.fn)
    const { channel, subdir, fn } = record
    const whole = explicit === null ? record : repoRecord(channel, subdir, fn, { ...unpacked.index, ...record.raw })
    return { record: whole, unpacked, archive, spec: asked.get(record.name) ?? null }
  })
  // Of an explicit list it is known only now what depends on what.
  const order = new Map(inOrder(read.map(({ record }) => record)).map((record, number) => [record, number]))
  const wanted: Wanted[] = read.sort((a, b) => (order.get(a.record) ?? 0) - (order.get(b.record) ?? 0))
  const { downloaded, downloadedBytes } = fetched
  return { wanted, downloaded, downloadedBytes, unpacked: folders.size }
}

async function unpack(
  { archives }: Fetched,
  cache: string,
  { threads, signal, reporter }: Request,
): Promise<ReadonlyMap<RepoRecord, string>> {
  if (archives.length > 0) reporter.phase('unpack')
  const progress = (bytes: number): void => reporter.progress(bytes)
  const folders = await unpackPackages(archives, cache, { threads, signal, progress })
  return new Map(archives.map(({ record }, i) => [record, folders[i] ?? '']))
}
