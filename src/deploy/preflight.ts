/** What can be known before the first byte: whether a place takes a deployment. Every refusal is an EnvError; nothing is written. */
import { access, constants, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import { checkFits } from '../prefix/plan.js'
import type { Entry } from '../tree/entry.js'
import { type FileSystem, fileSystemOf, nearestExisting } from '../tree/file-system.js'

/** What is known of an archive's content before it is read. */
export interface Content {
  /** Names the content; deployments with the same digest are equal. Of an archive made by others it costs a reading. */
  readonly digest: () => Promise<string>
  /** null: the archive does not tell (made by others). */
  readonly size: { readonly entries: number; readonly files: number; readonly bytes: number } | null
  /** Bytes that are needed in any case. */
  readonly leastBytes: number
  /** Bytes; null: no limit, or not known. */
  readonly longestPrefix: number | null
  /** Of the environment; null: the archive does not tell. */
  readonly name: string | null
  /** All entries; called only when the sums above do not decide. */
  readonly list: () => Promise<readonly Entry[]>
}

/** Bytes of the entry table to an entry, with two SHA-256 and a few spots; measured on Python environments: 60 to 130. */
const tableBytes = 256

/** What a file system would have besides what it tells to be free. */
export interface Room {
  readonly bytes: number
  readonly entries: number
}

/** What a deployment takes: its files end in the middle of a block each. */
export function roomOf({ bytes = 0, entries = 0 }: { readonly bytes?: number; readonly entries?: number }): Room {
  return { bytes: bytes + entries * 2048, entries }
}

/** Throws TARGET_SHARED, TARGET_NOEXEC, PERMISSION, PREFIX_TOO_LONG, NO_SPACE, IO. */
export async function preflight(
  prefix: string,
  content: Content,
  allowShared: boolean,
  more: Room = { bytes: 0, entries: 0 },
): Promise<FileSystem> {
  const parent = dirname(prefix)
  const { at, fileSystem } = await look(parent)
  const place = at === parent ? parent : `${parent} (${at})`
  const on = `${place} is on ${fileSystem.type}`
  const refuse = (code: 'TARGET_SHARED' | 'TARGET_NOEXEC', message: string): never => {
    throw new EnvError(code, message, { path: parent })
  }
  if (fileSystem.locality === 'shared' && !allowShared)
    refuse('TARGET_SHARED', `${on}, a network or parallel file system`)
  if (fileSystem.noexec) refuse('TARGET_NOEXEC', `${on}, mounted noexec: no program could run there`)
  try {
    await access(at, constants.W_OK | constants.X_OK)
  } catch (error) {
    throw fromSystem(error, 'cannot write to', at)
  }
  await checkLength(prefix, content)
  await checkRoom(place, fileSystem, content, more)
  return fileSystem
}

async function look(parent: string): Promise<{ at: string; fileSystem: FileSystem }> {
  try {
    const at = await nearestExisting(parent)
    if (!(await stat(at)).isDirectory()) throw new EnvError('IO', `${at} is not a directory`, { path: at })
    return { at, fileSystem: await fileSystemOf(at) }
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot use', parent)
  }
}

/** The sum decides for most prefixes; the list names the files, and counts characters where encodings differ. */
async function checkLength(prefix: string, { longestPrefix, list }: Content): Promise<void> {
  if (longestPrefix !== null && Buffer.byteLength(prefix) > longestPrefix) checkFits(await list(), prefix)
}

async function checkRoom(place: string, fileSystem: FileSystem, content: Content, more: Room): Promise<void> {
  const { type } = fileSystem
  const freeBytes = fileSystem.freeBytes + more.bytes
  const freeFiles = fileSystem.freeFiles === null ? null : fileSystem.freeFiles + more.entries
  const refuse = (free: string, needed: string): never => {
    throw new EnvError('NO_SPACE', `${place} has ${free} on ${type}; ${needed} are needed`, { path: place })
  }
  const needed =
    freeBytes < content.leastBytes ? content.leastBytes : await bytesNeeded({ ...fileSystem, freeBytes }, content)
  if (freeBytes < needed) refuse(`${amount(freeBytes)} free`, amount(needed))
  const files = content.size?.entries ?? 1
  if (freeFiles !== null && freeFiles < files) refuse(`${freeFiles} free inodes`, `${files}`)
}

/** Only where the sums do not decide, the sizes are looked at one by one. */
async function bytesNeeded({ block, freeBytes }: FileSystem, { size, leastBytes, list }: Content): Promise<number> {
  if (size === null) return leastBytes
  const table = size.entries * tableBytes
  const most = size.bytes + size.entries * block + table
  return freeBytes >= most ? most : inBlocks(await list(), block) + table
}

/** Bytes that the entries take: files in whole blocks, one block to a directory; links stand in their inodes. */
export function inBlocks(list: readonly Entry[], block: number): number {
  let blocks = 0
  for (const { kind, size } of list) blocks += kind === 'file' ? Math.ceil(size / block) : kind === 'directory' ? 1 : 0
  return blocks * block
}

const amount = (bytes: number): string =>
  bytes < 10_000_000 ? `${Math.ceil(bytes / 1000)} kB` : `${Math.ceil(bytes / 1_000_000)} MB`
