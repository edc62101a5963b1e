/**
 * The archive formats, one row each: how a file of that format is recognised, and how the members inside it are reached. The fast format
 * is our own (FORMAT.md): the native core reads it, and nothing here does. This folder decodes archives made by others, as plain data:
 * names, kinds and bytes. What they mean for an environment is decided in the verbs; nothing here writes into a tree.
 */
import { open } from 'node:fs/promises'
import { EnvError, fromSystem } from '../errors.js'
import type { Container } from '../jobs.js'

export type FormatName = 'tar' | 'tar.gz' | 'tar.zst' | 'tar.bz2' | 'tar.xz' | 'zip' | 'squashfs'

/** How the native core reaches the members. */
export interface Packing {
  readonly container: Container
  /** For the container `tool`: bzip2 and xz are rare for environments, and the system's own tools are the best decoders there are. */
  readonly command: readonly string[]
}

export interface Format {
  readonly name: FormatName
  readonly extensions: readonly string[]
  /** A file is of this format when one of these stands in it. */
  readonly magic: readonly { readonly offset: number; readonly bytes: readonly number[] }[]
  /** null: a program of the system extracts it. */
  readonly packing: Packing | null
}

const core = (container: Container): Packing => ({ container, command: [] })
const tool = (...command: string[]): Packing => ({ container: 'tool', command })

const text = (word: string): number[] => [...Buffer.from(word, 'latin1')]

/** Magic numbers first in a file before those further in: a tar whose first name looks like another format is no tar we meet. */
export const formats: readonly Format[] = [
  {
    name: 'tar.zst',
    extensions: ['.tar.zst', '.tzst'],
    magic: [{ offset: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd] }],
    packing: core('zstd'),
  },
  {
    name: 'tar.gz',
    extensions: ['.tar.gz', '.tgz'],
    magic: [{ offset: 0, bytes: [0x1f, 0x8b] }],
    packing: core('gzip'),
  },
  {
    name: 'tar.bz2',
    extensions: ['.tar.bz2', '.tbz2'],
    magic: [{ offset: 0, bytes: text('BZh') }],
    packing: tool('bzip2', '-dc'),
  },
  {
    name: 'tar.xz',
    extensions: ['.tar.xz', '.txz'],
    magic: [{ offset: 0, bytes: [0xfd, ...text('7zXZ'), 0] }],
    packing: tool('xz', '-dc', '--threads=0'),
  },
  {
    name: 'zip',
    extensions: ['.zip'],
    magic: [text('PK\x03\x04'), text('PK\x05\x06')].map((bytes) => ({ offset: 0, bytes })),
    packing: core('zip'),
  },
  { name: 'squashfs', extensions: ['.squashfs', '.sqsh'], magic: [{ offset: 0, bytes: text('hsqs') }], packing: null },
  // Tars from before POSIX have no magic number: see isTarHeader.
  { name: 'tar', extensions: ['.tar'], magic: [{ offset: 257, bytes: text('ustar') }], packing: core('plain') },
]

/** Bytes from the beginning of a file that decide its format: a header of tar. */
const headBytes = 512

/** By the first bytes of a file, never by its name; null: none of them. */
export function detectFormat(head: Uint8Array): Format | null {
  const has = ({ offset, bytes }: Format['magic'][number]): boolean =>
    bytes.every((byte, i) => head[offset + i] === byte)
  const named = formats.find((format) => format.magic.some(has))
  return named ?? (isTarHeader(head) ? (formats.find(({ name }) => name === 'tar') ?? null) : null)
}

/** By its checksum: the sum of its bytes, those of the checksum itself counted as blanks. */
function isTarHeader(head: Uint8Array): boolean {
  if (head.length < headBytes || head[0] === 0) return false
  const [from, to] = [148, 156]
  const claimed = /^ *([0-7]+)[ \0]/.exec(Buffer.from(head.subarray(from, to)).toString('latin1'))?.[1]
  const sum = head.subarray(0, headBytes).reduce((all, byte, i) => all + (i >= from && i < to ? 0x20 : byte), 0)
  return claimed !== undefined && Number.parseInt(claimed, 8) === sum
}

/** The format of the file at `path`. Throws ARCHIVE_NOT_FOUND, and ARCHIVE_UNKNOWN for what is no archive. */
export async function formatOf(path: string): Promise<Format> {
  const head = await headOf(path)
  const format = detectFormat(head)
  if (format !== null) return format
  const got = head.length === 0 ? 'is empty' : `begins with ${head.subarray(0, 4).toString('hex')}`
  throw new EnvError('ARCHIVE_UNKNOWN', `${path} is no archive that conda-deploy knows: it ${got}`, { path })
}

async function headOf(path: string): Promise<Buffer> {
  try {
    const file = await open(path)
    try {
      if (!(await file.stat()).isFile())
        throw new EnvError('ARCHIVE_UNKNOWN', `${path} is not a regular file`, { path })
      const { buffer, bytesRead } = await file.read(Buffer.alloc(headBytes), 0, headBytes, 0)
      return buffer.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof EnvError) throw error
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new EnvError('ARCHIVE_NOT_FOUND', `there is no archive at ${path}`, { path, cause: error })
    }
    throw fromSystem(error, 'cannot read', path)
  }
}
