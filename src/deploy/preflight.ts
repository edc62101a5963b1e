/** What can be known before the first byte: whether a place takes a deployment. Every refusal is an EnvError; nothing is written. */
import { access, constants } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import type { Entry } from '../tree/entry.js'
import { type FileSystem, fileSystemOf, nearestExisting } from './file-system.js'

/** What is known of an archive's content before it is read. */
export interface Content {
  /** Names the content; deployments with the same digest are equal. */
  readonly digest: string
  /** null: the archive does not tell (made by others). */
  readonly size: { readonly entries: number; readonly files: number; readonly bytes: number } | null
  /** Bytes; null: no limit, or not known. */
  readonly longestPrefix: number | null
  /** All entries; called only when the sums above do not decide. */
  readonly list: () => Promise<readonly Entry[]>
}

/** Bytes of the entry table to an entry, with two SHA-256 and a few spots; measured on Python environments: 60 to 130. */
const tableBytes = 256

/** Throws TARGET_SHARED, TARGET_NOEXEC, PERMISSION, PREFIX_TOO_LONG, NO_SPACE, IO. */
export async function preflight(prefix: string, content: Content, allowShared: boolean): Promise<FileSystem> {
  const parent = dirname(prefix)
  const { at, fileSystem } = await look(parent)
  const place = at === parent ? parent : `${parent} (${at})`
  const on = `${place} is on ${fileSystem.type}`
  const refuse = (code: 'TARGET_SHARED' | 'TARGET_NOEXEC', message: string): never => {
    throw new EnvError(code, message, { path: parent })
  }
  if (fileSystem.locality === 'shared' && !allowShared) refuse('TARGET_SHARED', `${on}, a network or parallel file system`)
  if (fileSystem.noexec) refuse('TARGET_NOEXEC', `${on}, mounted noexec: no program could run there`)
  try {
    await access(at, constants.W_OK | constants.X_OK)
  } catch (error) {
    throw fromSystem(error, 'cannot write to', at)
  }
  await checkLength(prefix, content)
  await checkRoom(place, fileSystem, content)
  return fileSystem
}

async function look(parent: string): Promise<{ at: string; fileSystem: FileSystem }> {
  try {
    const at = await nearestExisting(parent)
    return { at, fileSystem: await fileSystemOf(at) }
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot use', parent)
  }
}

async function checkLength(prefix: string, content: Content): Promise<void> {
  const length = Buffer.byteLength(prefix)
  if (content.longestPrefix === null || length <= content.longestPrefix) return
  const files = tightest(await content.list()).filter(({ slot }) => slot < length)
  const named = files.slice(0, 3).map(({ path, slot }) => `${path} (${slot})`)
  const more = files.length > named.length ? `, and ${files.length - named.length} more` : ''
  const message = `${prefix} has ${length} bytes; at most ${content.longestPrefix} fit into ${named.join(', ')}${more}`
  throw new EnvError('PREFIX_TOO_LONG', message, { path: prefix, paths: files.map(({ path }) => path) })
}

/** Files by the longest prefix they can take, shortest first; those without a limit are left out. */
export function tightest(list: readonly Entry[]): { readonly path: string; readonly slot: number }[] {
  return list
    .flatMap(({ path, spots = [] }) => {
      const slots = spots.filter((spot) => spot.slot > 0).map((spot) => spot.slot)
      return slots.length === 0 ? [] : [{ path, slot: slots.reduce((a, b) => Math.min(a, b)) }]
    })
    .sort((a, b) => a.slot - b.slot || (a.path < b.path ? -1 : 1))
}

async function checkRoom(place: string, fileSystem: FileSystem, content: Content): Promise<void> {
  if (content.size === null) return
  const { entries, bytes } = content.size
  const { block, freeBytes, freeFiles, type } = fileSystem
  const table = entries * tableBytes
  const atMost = bytes + entries * block + table
  // Only where the sums do not decide, the sizes are looked at one by one.
  const needed = freeBytes >= atMost || freeBytes < bytes ? atMost : inBlocks(await content.list(), block) + table
  const least = freeBytes < bytes ? bytes : needed
  if (freeBytes < needed) {
    const message = `${place} has ${amount(freeBytes)} free on ${type}; ${amount(least)} are needed`
    throw new EnvError('NO_SPACE', message, { path: place })
  }
  if (freeFiles !== null && freeFiles < entries) {
    const message = `${place} has ${freeFiles} free inodes on ${type}; ${entries} are needed`
    throw new EnvError('NO_SPACE', message, { path: place })
  }
}

/** Bytes that the entries take: files in whole blocks, one block to a directory; links stand in their inodes. */
export function inBlocks(list: readonly Entry[], block: number): number {
  let blocks = 0
  for (const { kind, size } of list) blocks += kind === 'file' ? Math.ceil(size / block) : kind === 'directory' ? 1 : 0
  return blocks * block
}

const amount = (bytes: number): string =>
  bytes < 10_000_000 ? `${Math.ceil(bytes / 1000)} kB` : `${Math.ceil(bytes / 1_000_000)} MB`
