/**
 * Archives made by others, decoded by the native core and handed over in batches of bounded memory, whatever the size of the archive;
 * what is admitted of a batch is written while the next are decoded. Names are checked here and turned into those of entries, seen from
 * the folder that holds the environment.
 */
import { EnvError } from '../errors.js'
import { type BatchAnswer, type DecodedBatch, type Materialized, native, runJob } from '../native.js'
import type { Kind } from '../tree/entry.js'
import type { Packing } from './format.js'
import type { Limits } from './limits.js'
import { beneath, memberPath } from './names.js'
import { guessRoot, isUsual, recordRoot } from './root.js'

/** Files up to this size are written from memory. */
export const batchBytes: number = 32 << 20

/**
 * All that a foreign archive needs, whatever its size: blocks that are decoded into, so many that decoding goes on while JavaScript reads
 * the records of an environment, and two for large files, which would be written, hashed and read twice by way of a file. Memory that is
 * not used is not touched.
 */
const bufferSizes: readonly number[] = [...Array.from({ length: 24 }, () => 5 << 20), batchBytes, batchBytes]

/** A member whose names are checked and seen from the folder of the environment. */
export interface Member {
  /** Its number in the batch. */
  readonly number: number
  readonly path: string
  readonly kind: Exclude<Kind, 'other'>
  /** With setuid and its like. */
  readonly mode: number
  readonly mtime: number
  readonly size: number
  readonly target?: string
  /** A hard link that brought content of its own. */
  readonly detached?: true
  /** Where the content of a file begins in the buffer of its batch. */
  readonly at: number
  /** Or the file that holds it. */
  readonly source?: string
}

export interface Batch {
  readonly members: readonly Member[]
  readonly buffer: Uint8Array
  /** Some of them have other paths here than in the archive: the answer has to name them. */
  readonly renamed: boolean
}

/**
 * Called for one batch after another; the answer may leave paths out unless the batch is `renamed`. Views of its buffer are invalid once the
 * promise is fulfilled.
 */
export type Receive = (batch: Batch) => Promise<BatchAnswer>

/** Where the files go, and as what. */
export interface Into {
  /** An existing directory. */
  readonly root: string
  /** The prefix to write. */
  readonly prefix: string
  readonly readOnly: boolean
  readonly threads: number
}

export interface Decoding {
  readonly archive: string
  readonly packing: Packing
  readonly into: Into
  readonly limits: Limits
  readonly receive: Receive
  /** Called while it runs, with the bytes written so far. */
  readonly progress?: ((bytes: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

export interface Decoded {
  /** The folder of the archive that holds the environment; `''`: the archive itself. */
  readonly root: string
  /** Bytes of the archive file read. */
  readonly packedBytes: number
  /** The sums of the contents of all members. */
  readonly bytes: number
  /** What became of the files that were admitted, in their order. */
  readonly written: Materialized
}

/**
 * Decodes the archive. Throws what `receive` throws, ARCHIVE_CORRUPT for what does not decode or ends early, UNSAFE_PATH for names that
 * lead out of the tree, UNSUPPORTED for members that are no part of an environment, LIMIT_EXCEEDED, NOT_AN_ENV, NO_SPACE, IO, CANCELLED.
 */
export async function decode(decoding: Decoding): Promise<Decoded> {
  const { archive, receive } = decoding
  let root: string | null = null
  const first = await run(decoding, async (batch) => {
    root ??= guessRoot(batch.members)
    return root === null ? null : await receive(seenFrom(root, batch, archive))
  })
  if (root !== null) return { root, ...(first as Totals) }
  root = await findRoot(decoding)
  const found = root
  const totals = await run(decoding, async (batch) => await receive(seenFrom(found, batch, archive)))
  return { root, ...(totals as Totals) }
}

/**
 * Of an archive whose beginning does not tell: it is decoded up to its first record, and then again. A long one only until two things at
 * its top have been met, which no one folder holds, and one of them is usual in an environment. What is none is so refused before anything
 * is written, unless it looks like one: then nothing tells before its end.
 */
async function findRoot(decoding: Decoding): Promise<string> {
  let first: string | null = null
  let root: string | null = null
  let batches = 0
  const tops = new Map<string, string>()
  await run(decoding, async ({ members }) => {
    for (const { path, kind } of members)
      if (path !== '' && kind !== 'directory') {
        first ??= path
        tops.set(topOf(path), path)
      }
    root = recordRoot(members, first)
    for (const [top, path] of tops) if (root && top !== topOf(root)) throw outside(decoding.archive, root, path)
    if (root === null && batches++ > 0 && tops.size > 1 && [...tops.keys()].some(isUsual)) root = ''
    return root === null ? nothing : null
  })
  if (root !== null) return root
  const message = `${decoding.archive} holds no conda environment: no conda-meta folder is in it`
  throw new EnvError('NOT_AN_ENV', message, { path: decoding.archive })
}

const outside = (archive: string, root: string, path: string): EnvError => {
  const message = `${archive} holds an environment in ${root}/, but ${JSON.stringify(path)} lies outside of it`
  return new EnvError('NOT_AN_ENV', message, { path: archive })
}

const topOf = (path: string): string => path.split('/', 1)[0] as string

const nothing: BatchAnswer = { files: new Uint32Array(), paths: null, rewrites: [], alone: false }

type Totals = Omit<Decoded, 'root'>

/** Hands batches to `use` until it answers null; null: it did. */
async function run(decoding: Decoding, use: (batch: Batch) => Promise<BatchAnswer | null>): Promise<Totals | null> {
  const { archive, packing, into, limits, progress, signal } = decoding
  const job = { archive, ...packing, ...into, mostBytes: limits.maxBytes, mostMembers: limits.maxFiles }
  const lent = bufferSizes.map((size) => Buffer.allocUnsafeSlow(size))
  let failure: { readonly cause: unknown } | null = null
  let enough = false
  let last: Promise<void> = Promise.resolve()
  const work = async (found: DecodedBatch): Promise<BatchAnswer | null> => {
    if (failure !== null || enough) return null
    try {
      const answer = await use(batchOf(found, lent[found.buffer] as Uint8Array, archive))
      enough = answer === null
      return answer
    } catch (cause) {
      failure = { cause }
      return null
    }
  }
  try {
    return await runJob(
      (counters) =>
        native().decode(job, counters, lent, (batch, done) => {
          last = last.then(async () => done(await work(batch)))
        }),
      { signal, progress },
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

const kinds = ['directory', 'file', 'symlink', 'hardlink'] as const

function batchOf({ names, ends, numbers, detached, parts }: DecodedBatch, buffer: Uint8Array, archive: string): Batch {
  const members: Writable<Member>[] = []
  let renamed = false
  let done = 0
  const name = (end: number): string => {
    const begin = done
    done = end
    return checked(names.slice(begin, end), archive)
  }
  for (let i = 0; 2 * i < ends.length; i++) {
    const at = 5 * i
    const kind = numbers[at] as number
    const raw = name(ends[2 * i] as number)
    const path = memberPath(raw, archive)
    if (path !== raw) renamed = true
    const member: Writable<Member> = {
      number: i,
      path,
      kind: kinds[kind] as Member['kind'],
      mode: numbers[at + 1] as number,
      mtime: numbers[at + 2] as number,
      size: numbers[at + 3] as number,
      at: numbers[at + 4] as number,
    }
    if (kind >= 2) {
      const target = name(ends[2 * i + 1] as number)
      member.target = kind === 3 ? memberPath(target, archive) : target
    }
    members.push(member)
  }
  for (const i of detached) (members[i] as Writable<Member>).detached = true
  for (const { member, path } of parts) (members[member] as Writable<Member>).source = path
  return { members, buffer, renamed }
}

function checked(name: string, archive: string): string {
  if (name.length <= longestName) return name
  const start = name.slice(0, 40)
  const message = `${archive} names ${JSON.stringify(start)}… of ${name.length} characters, at most ${longestName} are possible`
  throw new EnvError('UNSAFE_PATH', message, { path: start })
}

const isRoot = ({ path }: Member): boolean => path === ''

function seenFrom(root: string, batch: Batch, archive: string): Batch {
  if (root === '')
    return batch.members.some(isRoot) ? { ...batch, members: batch.members.filter((one) => !isRoot(one)) } : batch
  const members: Member[] = []
  for (const member of batch.members) {
    const path = beneath(root, member.path)
    const target = member.kind === 'hardlink' ? beneath(root, member.target ?? '') : member.target
    if (path === null || target === null) throw outside(archive, root, member.path)
    if (path !== '') members.push({ ...member, path, ...(target === undefined ? {} : { target }) })
  }
  return { ...batch, members, renamed: true }
}
