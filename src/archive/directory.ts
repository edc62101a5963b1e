/** A directory as a source: the members of a tree on disk, named and hashed as those of an archive are. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { EnvError } from '../errors.js'
import { native, runJob, type Scanned } from '../native.js'
import type { Decoded, Into, Member, Receive } from './decode.js'

export interface Listed {
  readonly root: string
  readonly found: readonly Scanned[]
}

/** What is beneath `root`, without a deployment's own folder. */
export async function listDirectory(root: string, threads: number, signal?: AbortSignal): Promise<Listed> {
  const job = { root, skip: ['.conda-deploy'], threads }
  return { root, found: [...(await runJob((counters) => native().scan(job, counters), { signal }))] }
}

/** Names the tree: SHA-256 over names, kinds, modes, times, links and the SHA-256 of all contents. Reads every file. */
export async function digestDirectory({ root, found }: Listed, threads: number, signal?: AbortSignal): Promise<string> {
  const files = found.filter(({ kind }) => kind === 'file')
  const job = { root, paths: files.map(({ path }) => path), threads }
  const hashes = await runJob((counters) => native().hash(job, counters), { signal })
  const contents = new Map(files.map(({ path }, i) => [path, hashes[i]?.sha256]))
  const digest = createHash('sha256')
  for (const { path, kind, mode, mtime, target } of found)
    digest.update(JSON.stringify([path, kind, mode, kind === 'directory' ? 0 : mtime, target, contents.get(path)]))
  return digest.digest('hex')
}

/** Throws SOURCE_CHANGED unless the tree is as it was listed. */
export async function checkDirectory({ root, found }: Listed, threads: number, signal?: AbortSignal): Promise<void> {
  const now = await listDirectory(root, threads, signal)
  const line = ({ path, kind, mode, mtime, size, target }: Scanned): string =>
    JSON.stringify([path, kind, mode, mtime, size, target])
  const changed = now.found.find((one, i) => line(one) !== (found[i] === undefined ? '' : line(found[i])))
  if (changed === undefined && now.found.length === found.length) return
  const path = join(root, changed?.path ?? '')
  throw new EnvError('SOURCE_CHANGED', `${path} changed while ${root} was read`, { path })
}

export interface Reading {
  readonly into: Into
  readonly receive: Receive
  readonly progress?: ((bytes: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Hands the members of a tree on, in one batch, and writes what is admitted. Throws UNSUPPORTED for devices, sockets and fifos, and what
 * `receive` throws.
 */
export async function readDirectory({ root, found }: Listed, reading: Reading): Promise<Decoded> {
  const shared = new Map<string, string>()
  const members = found.map((entry, number) => member(root, entry, number, shared))
  const bytes = found.reduce((sum, { kind, size }) => (kind === 'file' ? sum + size : sum), 0)
  const { files, rewrites } = await reading.receive({ members, buffer: new Uint8Array(0), renamed: false })
  const searched = new Map(rewrites.map((one) => [one.file, one.rewrites]))
  const entries = Array.from({ length: files.length / 2 }, (_, i) => {
    const { path, mtime, source = '' } = members[files[2 * i] as number] as Member
    return {
      path,
      kind: 'file' as const,
      mode: files[2 * i + 1] as number,
      mtime,
      source,
      rewrites: searched.get(i) ?? [],
    }
  })
  const job = { ...reading.into, entries }
  const written = await runJob((counters) => native().materialize(job, counters), reading)
  return { root: '', packedBytes: bytes, bytes, written }
}

/** `shared`: the first path of each inode that has several. */
function member(root: string, entry: Scanned, number: number, shared: Map<string, string>): Member {
  const { path, kind, mode, mtime, size, target, inode } = entry
  if (kind === 'other') {
    const message = `${join(root, path)} is a device, socket or fifo; an environment holds none`
    throw new EnvError('UNSUPPORTED', message, { path: join(root, path) })
  }
  const common = { number, path, mode, mtime, at: 0 }
  if (kind === 'symlink') return { ...common, kind, size: 0, target: target ?? '' }
  if (kind === 'directory') return { ...common, kind, size: 0 }
  const first = inode === undefined ? undefined : shared.get(inode)
  if (first !== undefined) return { ...common, kind: 'hardlink', size: 0, target: first }
  if (inode !== undefined) shared.set(inode, path)
  return { ...common, kind, size, source: join(root, path) }
}
