/**
 * The archives of packages, verified: those of folders where they stand, those of the cache, and the rest downloaded into the cache. A
 * download that was cut goes on where it ended; what does not have the hash that the channel names never gets its name.
 */
import { createHash, type Hash } from 'node:crypto'
import { createReadStream, writeSync } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Secret, withoutSecret } from '../conda/channel.js'
import { EnvError, few, fromSystem } from '../errors.js'
import { native, runJob } from '../native.js'
import { type Reporter, silent } from '../report.js'
import { get, type HttpOptions } from './http.js'
import { type Archive, noteUrls, sizeOf } from './packages.js'
import type { RepoRecord } from './repodata.js'

export interface FetchOptions {
  /** Where archives may lie already, in their order. */
  readonly caches: readonly string[]
  /** Where downloads are put. */
  readonly cache: string
  /** Nothing is downloaded; what is missing is DOWNLOAD_FAILED, all of it named. */
  readonly offline?: boolean | undefined
  /** Downloads at a time; default 5, as conda. */
  readonly parallel?: number | undefined
  /** Credentials of a channel, by its address. */
  readonly secrets?: ReadonlyMap<string, Secret> | undefined
  readonly http?: HttpOptions | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

export interface Fetched {
  /** In the order of the records. */
  readonly archives: readonly Archive[]
  readonly downloaded: number
  /** Bytes that came over the network. */
  readonly downloadedBytes: number
}

/** Throws DOWNLOAD_FAILED, PACKAGE_DAMAGED, CANCELLED, NO_SPACE; archives that were finished by then stay in the cache. */
export async function fetchPackages(records: readonly RepoRecord[], options: FetchOptions): Promise<Fetched> {
  const { cache, offline = false, parallel = 5, signal, reporter = silent } = options
  const found = await present(records, options)
  const missing = records.filter((_, i) => found[i] === null)
  if (offline && missing.length > 0) {
    const message = `${missing.length} packages are not in the cache, and nothing may be downloaded: ${few(missing.map(({ fn }) => fn))}`
    throw new EnvError('DOWNLOAD_FAILED', message, { hint: 'run once without --offline' })
  }
  const total = missing.reduce((sum, { size }) => sum + (size ?? 0), 0)
  if (missing.length > 0) reporter.phase('download', total, 'bytes')
  const stop = new AbortController()
  const signals = AbortSignal.any(signal === undefined ? [stop.signal] : [signal, stop.signal])
  const meter = { bytes: 0, network: 0 }
  const progress = (bytes: number, network: number): void => {
    meter.bytes += bytes
    meter.network += network
    reporter.progress(meter.bytes)
  }
  const queue = [...missing]
  const crew = Array.from({ length: Math.min(parallel, queue.length) }, async () => {
    for (let record = queue.shift(); record !== undefined; record = queue.shift())
      await download(record, { ...options, signal: signals }, progress)
  })
  // The first failure ends the others, which keep what they have for the next time.
  const ends = await Promise.allSettled(crew.map((one) => one.catch((error: unknown) => fail(stop, error))))
  const failed = ends.find((end) => end.status === 'rejected')
  if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
  if (failed !== undefined) throw stop.signal.reason
  await noteUrls(
    cache,
    missing.map(({ url }) => url),
  )
  const archives = records.map((record, i) => ({ record, file: found[i] ?? join(cache, record.fn) }))
  return { archives, downloaded: missing.length, downloadedBytes: meter.network }
}

function fail(stop: AbortController, error: unknown): never {
  if (!stop.signal.aborted) stop.abort(error)
  throw error
}

/** Verified archives on this machine; null: it must be downloaded. */
async function present(records: readonly RepoRecord[], { caches, signal }: FetchOptions): Promise<(string | null)[]> {
  const files = await Promise.all(records.map((record) => standing(record, caches)))
  const strong = [...records.keys()].filter((i) => files[i] !== null && records[i]?.sha256 !== null)
  const job = { root: null, paths: strong.map((i) => files[i] ?? ''), threads: availableParallelism() }
  const hashes = strong.length === 0 ? [] : await runJob((counters) => native().hash(job, counters), { signal })
  const faults = await Promise.all(
    records.map((record, i) => (record.sha256 === null ? fault(files[i] ?? null, record) : null)),
  )
  for (const [at, i] of strong.entries()) {
    const { sha256 = null } = records[i] ?? {}
    if (hashes[at]?.sha256 !== sha256?.toLowerCase()) faults[i] = `expected sha256 ${sha256}, got ${hashes[at]?.sha256}`
  }
  return files.map((file, i) => {
    const wrong = faults[i] ?? null
    if (wrong === null || file === null) return file
    if (records[i]?.url.startsWith('file:')) throw new EnvError('PACKAGE_DAMAGED', `${file}: ${wrong}`, { path: file })
    return null
  })
}

/** Where a file of this name and size stands. */
async function standing(record: RepoRecord, caches: readonly string[]): Promise<string | null> {
  if (!record.url.startsWith('file:')) {
    for (const cache of caches) {
      const file = join(cache, record.fn)
      const size = await sizeOf(file)
      if (size !== null && (record.size === null || size === record.size)) return file
    }
    return null
  }
  const file = fileURLToPath(record.url)
  const size = await sizeOf(file)
  if (size === null)
    throw new EnvError('DOWNLOAD_FAILED', `${file} is not there, but its channel lists it`, { path: file })
  if (record.size === null || size === record.size) return file
  throw new EnvError('PACKAGE_DAMAGED', `${file}: expected ${record.size} bytes, got ${size}`, { path: file })
}

interface Sums {
  sha256: Hash
  md5: Hash
  size: number
}

const sums = (): Sums => ({ sha256: createHash('sha256'), md5: createHash('md5'), size: 0 })

/** What of a file is not as its channel says; null: nothing. */
async function fault(file: string | null, record: RepoRecord): Promise<string | null> {
  if (file === null) return null
  const all = sums()
  await read(file, all, record)
  return disagreement(all, record)
}

async function read(file: string, all: Sums, record: RepoRecord): Promise<void> {
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) add(all, chunk as Buffer, record)
  } catch (error) {
    throw fromSystem(error, 'cannot read', file)
  }
}

/** MD5 only where there is nothing better. */
function add(all: Sums, chunk: Buffer, record: RepoRecord): void {
  if (record.sha256 === null) all.md5.update(chunk)
  else all.sha256.update(chunk)
  all.size += chunk.length
}

function disagreement({ sha256, md5, size }: Sums, record: RepoRecord): string | null {
  if (record.size !== null && size !== record.size) return `expected ${record.size} bytes, got ${size}`
  for (const [key, hash] of [['sha256', sha256] as const, ['md5', md5] as const]) {
    if (record[key] === null) continue
    const got = hash.digest('hex')
    return got === record[key].toLowerCase() ? null : `expected ${key} ${record[key]}, got ${got}`
  }
  return null
}

type Progress = (bytes: number, network: number) => void

/** Milliseconds between two looks at a download that another process does. */
const interval = 200

async function download(record: RepoRecord, options: FetchOptions, progress: Progress): Promise<void> {
  const { cache, signal } = options
  const file = join(cache, record.fn)
  const part = `${file}.part`
  for (;;) {
    const lock = native().lock(part, 'exclusive')
    if (lock === null) {
      await pause(interval, undefined, { ...(signal === undefined ? {} : { signal }) }).catch((error: unknown) => {
        throw new EnvError('CANCELLED', 'cancelled', { cause: error })
      })
      continue
    }
    try {
      // Another process may have finished it while this one waited.
      if ((await sizeOf(file)) !== null && (await fault(file, record)) === null) {
        if ((await sizeOf(part)) === 0) await rm(part, { force: true })
        return progress(record.size ?? 0, 0)
      }
      await fill(part, record, options, progress)
      await rename(part, file)
      return
    } catch (error) {
      const kept = error instanceof EnvError && ['DOWNLOAD_FAILED', 'CANCELLED'].includes(error.code)
      if (!kept || (await sizeOf(part)) === 0) await rm(part, { force: true })
      throw error instanceof EnvError ? error : fromSystem(error, 'cannot write', part)
    } finally {
      native().unlock(lock)
    }
  }
}

/** Brings a part to its full length, and checks it. */
async function fill(part: string, record: RepoRecord, options: FetchOptions, progress: Progress): Promise<void> {
  const { attempts = 4, pause: first = 500 } = options.http ?? {}
  const before = (await stat(part)).size
  const all = sums()
  if (before > 0) await read(part, all, record)
  progress(all.size, 0)
  let failures = 0
  while (record.size === null || all.size < record.size) {
    const from = all.size
    try {
      if (await piece(part, all, record, options, progress)) break
    } catch (error) {
      if (options.signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: options.signal.reason })
      // What http.ts says was tried often enough already; the disk is not the network.
      if (error instanceof EnvError || /^(?:write|close)$/.test((error as NodeJS.ErrnoException).syscall ?? ''))
        throw error
      failures = all.size > from ? 1 : failures + 1
      if (failures >= attempts) {
        const message = `cannot download ${withoutSecret(record.url)}: ${(error as Error).message} (${attempts} attempts, ${all.size} bytes so far)`
        throw new EnvError('DOWNLOAD_FAILED', message, {
          cause: error,
          hint: 'run it again: it goes on where it ended',
        })
      }
      await pause(first * 2 ** (failures - 1))
    }
  }
  const wrong = disagreement(all, record)
  if (wrong === null) return
  if (before > 0) {
    // What was there before may have been of another build.
    await restart(part, all, progress)
    return fill(part, record, options, progress)
  }
  throw new EnvError('PACKAGE_DAMAGED', `${withoutSecret(record.url)}: ${wrong}`, { path: part })
}

/** One answer of the server, appended to the part or, where it sends all of it, in its place; false: it is to be asked again, for all. */
async function piece(
  part: string,
  all: Sums,
  record: RepoRecord,
  { secrets, http = {}, signal }: FetchOptions,
  progress: Progress,
): Promise<boolean> {
  const headers = all.size > 0 ? { range: `bytes=${all.size}-` } : {}
  const secret = secrets?.get(record.channel) ?? null
  const answer = await get(record.url, { ...http, secret, signal, headers })
  const { statusCode, body } = answer
  if (statusCode === 404) {
    await body.dump()
    const hint = 'the index may be older than the channel: run it again in a minute'
    throw new EnvError('DOWNLOAD_FAILED', `${withoutSecret(record.url)} is not there, but its channel lists it`, {
      hint,
    })
  }
  const range = /^bytes (\d+)-/.exec(String(answer.headers['content-range'] ?? ''))
  const goesOn = statusCode === 206 && Number(range?.[1] ?? -1) === all.size
  if (all.size > 0 && !goesOn) await restart(part, all, progress)
  if (!goesOn && statusCode !== 200) {
    await body.dump()
    return false
  }
  const out = await open(part, 'a')
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (record.size !== null && all.size + chunk.length > record.size)
        throw new EnvError('PACKAGE_DAMAGED', `${withoutSecret(record.url)}: expected ${record.size} bytes, got more`)
      // A disk slower than the network keeps this process, and so the server, waiting: nothing else bounds what is held in memory.
      if (body.readableLength > mostWaiting) writeAllSync(out.fd, chunk)
      else await out.writeFile(chunk)
      add(all, chunk, record)
      progress(chunk.length, chunk.length)
    }
  } finally {
    await out.close()
  }
  return true
}

/** Bytes that have come and are not written yet. */
const mostWaiting = 32 << 20

function writeAllSync(file: number, chunk: Buffer): void {
  for (let at = 0; at < chunk.length; ) at += writeSync(file, chunk, at)
}

async function restart(part: string, all: Sums, progress: Progress): Promise<void> {
  progress(-all.size, 0)
  Object.assign(all, sums())
  const file = await open(part, 'r+')
  try {
    await file.truncate(0)
  } finally {
    await file.close()
  }
}
