/** The verb: hashes everything again. A deployed tree against its own index; an archive against its table, frame by frame. */
import { realpath, stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { openTarZst } from '../archive/tar-zst.js'
import { Clock } from '../clock.js'
import { inUpdate, isUpdating } from '../conda/changing.js'
import { EnvError, fromSystem } from '../errors.js'
import { type Fault, native, runJob, type Verified } from '../native.js'
import { checkOptions, type Shape } from '../options.js'
import { type Reporter, silent } from '../report.js'
import { indexOf, type Ready, readReady } from './ready.js'

export interface VerifyOptions {
  /** Default: all cores. */
  readonly threads?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

export interface VerifyResult {
  /** Absolute. */
  readonly path: string
  readonly kind: 'deployment' | 'archive'
  /** Of the content. */
  readonly digest: string
  /** Everything that is not as it should be; empty: all is well. `path` is relative to the tree, `.` the tree itself. */
  readonly faults: readonly Fault[]
  readonly entries: number
  /** Bytes that were hashed. */
  readonly bytes: number
  readonly seconds: number
}

const shape: Shape<VerifyOptions> = { threads: 'number', signal: 'object', reporter: 'object' }

/**
 * Checks a deployed directory or an archive of ours. Faults are in the result, not thrown: missing, extra and changed entries, and a tree
 * that was moved away from the prefix its files name. Throws NOT_A_DEPLOYMENT, ARCHIVE_NOT_FOUND, ARCHIVE_CORRUPT (an archive whose
 * index itself is broken), UNSUPPORTED (an archive of others has no hashes), PERMISSION, IO, CANCELLED.
 */
export async function verify(path: string, options: VerifyOptions = {}): Promise<VerifyResult> {
  checkOptions<VerifyOptions>('verify', options, shape)
  const { threads = availableParallelism(), signal, reporter = silent } = options
  if (!Number.isInteger(threads) || threads < 1)
    throw new EnvError('INVALID_OPTION', `verify: option 'threads' must be a whole number from 1, got ${threads}`)
  const at = resolve(path)
  const clock = new Clock(['verify'])
  const hash = async (root: string | null, index: string, total: number): Promise<Verified> => {
    reporter.phase('verify', total, 'bytes')
    const progress = (bytes: number): void => reporter.progress(bytes)
    return await runJob((counters) => native().verify({ root, index, threads }, counters), { signal, progress })
  }
  const found = (await isDirectory(at)) ? await verifyTree(at, hash) : await verifyArchive(at, hash)
  return { path: at, ...found, seconds: clock.seconds().total }
}

type Found = Omit<VerifyResult, 'path' | 'seconds'>
type Hash = (root: string | null, index: string, total: number) => Promise<Verified>

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw fromSystem(error, 'cannot look at', path)
    throw new EnvError('ARCHIVE_NOT_FOUND', `there is no archive and no directory at ${path}`, { path, cause: error })
  }
}

async function verifyTree(root: string, hash: Hash): Promise<Found> {
  const ready = await readReady(root)
  const index = ready === null ? null : await native().index(indexOf(root), false).catch(absent)
  if (isUpdating(root)) throw inUpdate(root)
  if (ready === null || index === null) {
    const lacks = ready === null ? 'a complete .conda-deploy/ready' : 'its .conda-deploy/index'
    throw new EnvError('NOT_A_DEPLOYMENT', `${root} is no deployment: it lacks ${lacks}`, { path: root })
  }
  // The core opens no root through a link.
  const { entries, bytes, faults } = await hash(await realpath(root), indexOf(root), index.bytes)
  return {
    kind: 'deployment',
    digest: ready.digest,
    entries,
    bytes,
    faults: [...(await moved(root, ready)), ...faults],
  }
}

interface Reading {
  readonly threads: number
  readonly signal: AbortSignal | undefined
  readonly reporter: Reporter
}

/** The faults of a tree against its own index, wherever it stands, and by whatever way it is reached. */
export async function faultsIn(root: string, { threads, signal, reporter }: Reading): Promise<readonly Fault[]> {
  reporter.phase('verify')
  const job = { root, index: indexOf(root), threads }
  return (await runJob((counters) => native().verify(job, counters), { signal })).faults
}

/** Reads a stage back before it is published. Throws VERIFY_FAILED. */
export async function checkStage(stage: string, reading: Reading): Promise<void> {
  const faults = await faultsIn(stage, reading)
  if (faults.length > 0) throw faulty(stage, 'what was written reads back differently', faults)
}

/** Reads a deployment that is there already. Throws VERIFY_FAILED. */
export async function checkAdopted(prefix: string, reading: Reading): Promise<void> {
  const faults = await faultsIn(prefix, reading)
  const hint = 'remove it (conda-deploy cache remove, where it is in a cache), and deploy again'
  if (faults.length > 0) throw faulty(prefix, `${prefix} was deployed earlier, and changed since`, faults, hint)
}

/** `what`, and the first faults of a tree. */
export function faulty(root: string, what: string, faults: readonly Fault[], hint?: string): EnvError {
  const named = faults
    .slice(0, 3)
    .map(({ path, kind, expected, found }) => `${path} (${kind}: expected ${expected}, found ${found})`)
  const message = `${what}: ${faults.length === 1 ? '1 fault' : `${faults.length} faults`}, ${named.join(', ')}`
  const paths = faults.map(({ path }) => path)
  return new EnvError('VERIFY_FAILED', message, { path: root, paths, ...(hint === undefined ? {} : { hint }) })
}

function absent(error: unknown): null {
  if (error instanceof EnvError && error.code === 'ARCHIVE_NOT_FOUND') return null
  throw error
}

/** A tree works only where its files say it is. */
async function moved(root: string, { prefix }: Ready): Promise<Fault[]> {
  const resolved = (path: string): Promise<string | null> => realpath(path).catch(() => null)
  const [here, there] = await Promise.all([resolved(root), resolved(prefix)])
  return here === there ? [] : [{ path: '.', kind: 'target', expected: prefix, found: root }]
}

async function verifyArchive(archive: string, hash: Hash): Promise<Found> {
  const opened = await openTarZst(archive, false)
  if (opened === null) {
    const hint = 'deploy it, and verify what was deployed'
    throw new EnvError('UNSUPPORTED', `${archive} was not made by conda-deploy: it holds no hashes to verify`, {
      path: archive,
      hint,
    })
  }
  const { digest, bytes: total } = opened
  const { entries, bytes, faults } = await hash(null, archive, total)
  return { kind: 'archive', digest, entries, bytes, faults }
}
