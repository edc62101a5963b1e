/**
 * Archives made by others, decoded by the native core and handed over in batches of bounded memory, whatever the size of the archive.
 * Names are checked here and turned into those of entries, seen from the folder that holds the environment.
 */
import { EnvError } from '../errors.js'
import type { DecodedMember } from '../jobs.js'
import { native, runJob } from '../native.js'
import type { Packing } from './format.js'
import type { Limits } from './limits.js'
import { beneath, memberPath } from './names.js'
import { guessRoot, recordRoot } from './root.js'

/** Three of these are all that a foreign archive needs, whatever its size. From 4 to 64 MiB deploying takes equally long. */
export const batchBytes: number = 8 << 20

/** One buffer is filled while one is worked on and one waits: more would only cost memory. */
const buffers = 3

/** A member whose names are checked and seen from the folder of the environment. */
export interface Member extends Omit<DecodedMember, 'part'> {
  /** Or the file that holds it. */
  readonly source?: string
}

export interface Batch {
  readonly members: readonly Member[]
  readonly buffer: Uint8Array
  /** The sources of its members are to be removed once used. */
  readonly temporary: boolean
}

/** Called for one batch after another. Views of its buffer are invalid once the promise is fulfilled. */
export type Receive = (batch: Batch) => Promise<void>

export interface Decoding {
  readonly archive: string
  readonly packing: Packing
  /** An existing directory: files larger than a batch are handed over in it. */
  readonly parts: string
  readonly threads: number
  readonly limits: Limits
  readonly receive: Receive
  readonly signal?: AbortSignal | undefined
}

export interface Decoded {
  /** The folder of the archive that holds the environment; `''`: the archive itself. */
  readonly root: string
  /** Bytes of the archive file read. */
  readonly packedBytes: number
  /** The sums of the contents of all members. */
  readonly bytes: number
}

/**
 * Decodes the archive. Throws what `receive` throws, ARCHIVE_CORRUPT for what does not decode or ends early, UNSAFE_PATH for names that
 * lead out of the tree, UNSUPPORTED for members that are no part of an environment, LIMIT_EXCEEDED, NOT_AN_ENV, IO, CANCELLED.
 */
export async function decode(decoding: Decoding): Promise<Decoded> {
  const { archive, receive } = decoding
  let root: string | null = null
  const first = await run(decoding, async (batch) => {
    root ??= guessRoot(batch.members)
    if (root === null) return false
    await receive(seenFrom(root, batch, archive))
    return true
  })
  if (root !== null) return { root, ...(first as Totals) }
  root = await findRoot(decoding)
  const found = root
  const totals = await run(decoding, async (batch) => {
    await receive(seenFrom(found, batch, archive))
    return true
  })
  return { root, ...(totals as Totals) }
}

/** Of an archive whose beginning does not tell: it is decoded up to its first record, and then again. */
async function findRoot(decoding: Decoding): Promise<string> {
  let first: string | null = null
  let root: string | null = null
  await run(decoding, async ({ members }) => {
    first ??= members.find(({ path, kind }) => path !== '' && kind !== 'directory')?.path ?? null
    root = recordRoot(members, first)
    return root === null
  })
  if (root !== null) return root
  const message = `${decoding.archive} holds no conda environment: no conda-meta folder is in it`
  throw new EnvError('NOT_AN_ENV', message, { path: decoding.archive })
}

type Totals = Omit<Decoded, 'root'>

/** Hands batches to `use` until it answers false; null: it did. */
async function run(decoding: Decoding, use: (batch: Batch) => Promise<boolean>): Promise<Totals | null> {
  const { archive, packing, parts, threads, limits, signal } = decoding
  const job = { archive, ...packing, parts, threads, mostBytes: limits.maxBytes, mostMembers: limits.maxFiles }
  const lent = Array.from({ length: buffers }, () => new Uint8Array(batchBytes))
  let failure: { readonly cause: unknown } | null = null
  let enough = false
  let last: Promise<void> = Promise.resolve()
  const work = async (found: readonly DecodedMember[], buffer: Uint8Array): Promise<boolean> => {
    if (failure !== null || enough) return false
    try {
      const members = found.map((member) => checked(member, archive))
      enough = !(await use({ members, buffer, temporary: true }))
      return !enough
    } catch (cause) {
      failure = { cause }
      return false
    }
  }
  try {
    return await runJob(
      (counters) =>
        native().decode(job, counters, lent, ({ members, buffer }, done) => {
          last = last.then(async () => done(await work(members, lent[buffer] as Uint8Array)))
        }),
      { signal, feedsOthers: true },
    )
  } catch (error) {
    await last
    // Why the receiver gave up says more than that the job was stopped.
    if (failure !== null) throw (failure as { readonly cause: unknown }).cause
    if (enough) return null
    throw error
  } finally {
    await last
  }
}

/** PATH_MAX without its NUL. */
const longestName = 4095

type Writable<T> = { -readonly [K in keyof T]: T[K] }

function checked(found: DecodedMember, archive: string): Member {
  const { kind, mode, mtime, size, at, part, target } = found
  checkLength(found.path, archive)
  // Filled in place: of the thousands of members few have more.
  const member: Writable<Member> = { path: memberPath(found.path, archive), kind, mode, mtime, size, at }
  if (target !== undefined) {
    checkLength(target, archive)
    member.target = kind === 'hardlink' ? memberPath(target, archive) : target
  }
  if (found.detached) member.detached = true
  if (part !== undefined) member.source = part
  return member
}

function checkLength(name: string, archive: string): void {
  if (name.length <= longestName) return
  const start = name.slice(0, 40)
  const message = `${archive} names ${JSON.stringify(start)}… of ${name.length} characters, at most ${longestName} are possible`
  throw new EnvError('UNSAFE_PATH', message, { path: start })
}

function seenFrom(root: string, batch: Batch, archive: string): Batch {
  if (root === '') return { ...batch, members: batch.members.filter(({ path }) => path !== '') }
  const members: Member[] = []
  for (const member of batch.members) {
    const path = beneath(root, member.path)
    const target = member.kind === 'hardlink' ? beneath(root, member.target ?? '') : member.target
    if (path === null || target === null) {
      const message = `${archive} holds an environment in ${root}/, but ${JSON.stringify(member.path)} lies outside of it`
      throw new EnvError('NOT_AN_ENV', message, { path: archive })
    }
    if (path !== '') members.push({ ...member, path, ...(target === undefined ? {} : { target }) })
  }
  return { ...batch, members }
}
