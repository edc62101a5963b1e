/** Members of a tar, one after another, through tar-stream; whatever wrapped the tar is taken off by decode.ts. */
import type { ReadStream } from 'node:fs'
import { type Extract, extract, type Header } from 'tar-stream'
import { EnvError, fromSystem } from '../errors.js'
import type { Kind } from '../tree/entry.js'
import type { Decode } from './decode.js'
import { openPacked } from './decode.js'
import { memberPath, nameOfBytes } from './names.js'

export interface TarMember {
  /** Relative; `''`: the root of the archive itself. */
  readonly path: string
  readonly kind: Kind
  /** As it stands in the header, setuid and its like too. */
  readonly mode: number
  readonly mtime: number
  /** Bytes of content. */
  readonly size: number
  /** Text of a symlink; for a hard link the path of the member it shares. */
  readonly target?: string
  /** A hard link that brought content of its own, which older readers do not expect: conda-pack makes them. */
  readonly detached?: true
  /** May be left unread. */
  readonly content: AsyncIterable<Buffer>
}

export interface Tar {
  readonly members: AsyncIterable<TarMember>
  /** Bytes of the archive file read so far. */
  packedBytes(): number
  close(): void
}

/**
 * Opens the archive at `path`. Reading its members throws ARCHIVE_CORRUPT for what does not decode or ends early, UNSAFE_PATH for
 * names that lead out of the tree, UNSUPPORTED for members that are no part of an environment.
 */
export function openTar(path: string, decode: Decode): Tar {
  const packed = openPacked(path)
  return { members: members(path, packed, decode), packedBytes: () => packed.bytesRead, close: () => packed.destroy() }
}

async function* members(path: string, packed: ReadStream, decode: Decode): AsyncGenerator<TarMember> {
  // Names are bytes; latin1 keeps them. (The option is not among tar-stream's types.)
  const options: object = { filenameEncoding: 'latin1' }
  const parser = extract(options)
  const room = { fed: 0, most: headerBytes }
  const fed = feed(decode(packed), parser, room)
  // Reported by the parser, whose reader is told of it.
  fed.catch(() => undefined)
  try {
    for await (const entry of parser) {
      room.most = room.fed + (entry.header.size ?? 0) + headerBytes
      yield member(path, entry.header, guarded(path, entry as unknown as AsyncIterable<Buffer>))
      // Content that nobody read would hold up all that follows.
      entry.resume()
    }
    await fed
  } catch (error) {
    throw asFailure(error, path)
  } finally {
    parser.destroy()
    packed.destroy()
  }
}

/** What goes wrong with the archive is thrown to whoever reads the content. No generator: this is passed for every chunk. */
function guarded(path: string, content: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const fail = (error: unknown): never => {
    throw asFailure(error, path)
  }
  return {
    [Symbol.asyncIterator]() {
      const chunks = content[Symbol.asyncIterator]()
      const leave = (): Promise<IteratorResult<Buffer>> =>
        chunks.return?.() ?? Promise.resolve({ done: true, value: undefined })
      return { next: () => chunks.next().catch(fail), return: leave }
    },
  }
}

/** A tar ends with two blocks of zeros; without them it was cut off, perhaps between two members. */
const endBytes = 1024

/**
 * What may stand before one member: long names, attributes, and what was fed ahead. The parser keeps all of it in memory, and a header
 * can claim any size.
 */
const headerBytes = 16 << 20

async function feed(tar: AsyncIterable<Buffer>, parser: Extract, room: { fed: number; most: number }): Promise<void> {
  let tail: Buffer = Buffer.alloc(0)
  try {
    for await (const chunk of tar) {
      room.fed += chunk.length
      if (room.fed > room.most)
        throw new Error(`one header, or what stands behind the end, is longer than ${headerBytes} bytes`)
      tail = chunk.length >= endBytes ? chunk.subarray(-endBytes) : Buffer.concat([tail, chunk]).subarray(-endBytes)
      if (parser.destroyed) return
      if (!parser.write(chunk)) await drained(parser)
    }
    if (tail.length < endBytes || tail.some((byte) => byte !== 0)) throw new Error('the end of the tar is missing')
    parser.end(undefined)
  } catch (error) {
    parser.destroy(error as Error)
    throw error
  }
}

function drained(parser: Extract): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      parser.off('drain', go)
      parser.off('close', go)
      resolve()
    }
    parser.on('drain', go)
    parser.on('close', go)
  })
}

function member(archive: string, header: Header, content: AsyncIterable<Buffer>): TarMember {
  const pax = header.pax as Readonly<Record<string, string>> | null
  const raw = named(archive, pax?.['path'], header.name)
  const path = memberPath(raw, archive)
  if (pax && Object.keys(pax).some((key) => key.startsWith('GNU.sparse.')))
    throw unsupported(archive, raw, 'a sparse file')
  const time = Number(pax?.['mtime'] ?? Number.NaN)
  const common = {
    path,
    mode: header.mode,
    mtime: Math.floor(Number.isFinite(time) ? time : header.mtime.getTime() / 1000),
  }
  const none = { size: 0, content }
  const { size } = header
  const target = (): string => named(archive, pax?.['linkpath'], header.linkname ?? '')
  switch (header.type) {
    case 'file':
    case 'contiguous-file':
      return { ...common, kind: 'file', size, content }
    case 'directory':
      return { ...common, kind: 'directory', ...none }
    case 'symlink':
      return { ...common, kind: 'symlink', ...none, target: target() }
    case 'link':
      if (size > 0) return { ...common, kind: 'file', size, detached: true, content: ownContent(archive, raw, content) }
      return { ...common, kind: 'hardlink', ...none, target: memberPath(target(), archive) }
    default:
      throw unsupported(archive, raw, typeName(header.type as string | null))
  }
}

const typeName = (type: string | null): string =>
  type === null ? 'of a type that is not known' : `a ${type.replace('-', ' ')}`

/** PATH_MAX without its NUL. */
const longestName = 4095

function named(archive: string, pax: string | undefined, field: string): string {
  if ((pax ?? field).length > longestName) {
    const start = (pax ?? field).slice(0, 40)
    const message = `${archive} names ${JSON.stringify(start)}… of ${(pax ?? field).length} characters, at most ${longestName} are possible`
    throw new EnvError('UNSAFE_PATH', message, { path: start })
  }
  if (pax === undefined) return nameOfBytes(Buffer.from(field, 'latin1'))
  // Where bytes that are not UTF-8 stood, tar-stream has put this character.
  if (pax.includes('\uFFFD')) throw unsupported(archive, pax, 'a name that is not UTF-8 in a pax header')
  return pax
}

const unsupported = (archive: string, name: string, what: string): EnvError =>
  new EnvError('UNSUPPORTED', `${archive}: ${JSON.stringify(name)} is ${what}; an environment holds none`, {
    path: name,
  })

/** Some old tars note the size of the shared file in a hard link without bringing it: then a header follows, not content. */
async function* ownContent(archive: string, name: string, content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let head: Buffer | null = Buffer.alloc(0)
  for await (const chunk of content) {
    if (head === null) yield chunk
    else {
      head = Buffer.concat([head, chunk])
      if (head.length < 512) continue
      if (isHeader(head)) {
        const message = `${archive}: the hard link ${JSON.stringify(name)} claims content, but another member follows`
        throw new EnvError('ARCHIVE_CORRUPT', message, { path: name })
      }
      yield head
      head = null
    }
  }
  if (head !== null) yield head
}

function isHeader(block: Buffer): boolean {
  if (block.toString('latin1', 257, 262) !== 'ustar') return false
  const sum = block.subarray(0, 512).reduce((all, byte, i) => all + (i >= 148 && i < 156 ? 0x20 : byte), 0)
  return sum === Number.parseInt(block.toString('latin1', 148, 156), 8)
}

function asFailure(error: unknown, path: string): EnvError {
  if (error instanceof EnvError) return error
  const { message, syscall } = error as NodeJS.ErrnoException
  if (syscall !== undefined) return fromSystem(error, 'cannot read', path)
  if (/requires too much memory/.test(message)) {
    const hint = 'compress it again without --long'
    return new EnvError('UNSUPPORTED', `${path}: its zstd window is larger than 128 MiB`, { path, hint, cause: error })
  }
  return new EnvError('ARCHIVE_CORRUPT', `${path} does not hold a whole tar: ${message}`, { path, cause: error })
}
