/**
 * The archive formats, one row each: how a file of that format is recognised, and how the tar inside it is reached. The fast format
 * is our own (FORMAT.md): the native core reads it, and nothing here does. This folder decodes archives made by others, as plain data:
 * names, kinds and bytes. What they mean for an environment is decided in the verbs; nothing here writes into a tree.
 */
import { open } from 'node:fs/promises'
import { EnvError, fromSystem } from '../errors.js'
import { bunzip2, type Decode, gunzip, plain, unxz, unzstd } from './decode.js'

export type FormatName = 'tar' | 'tar.gz' | 'tar.zst' | 'tar.bz2' | 'tar.xz' | 'zip' | 'squashfs'

export interface Format {
  readonly name: FormatName
  readonly extensions: readonly string[]
  /** A file is of this format when one of these stands in it. */
  readonly magic: readonly { readonly offset: number; readonly bytes: readonly number[] }[]
  /** The packed bytes as a tar; null: recognised, so that the message can say what it is, but not read. */
  readonly read: Decode | null
}

const text = (word: string): number[] => [...Buffer.from(word, 'latin1')]

/** Magic numbers first in a file before those further in: a tar whose first name looks like another format is no tar we meet. */
export const formats: readonly Format[] = [
  {
    name: 'tar.zst',
    extensions: ['.tar.zst', '.tzst'],
    magic: [{ offset: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd] }],
    read: unzstd,
  },
  { name: 'tar.gz', extensions: ['.tar.gz', '.tgz'], magic: [{ offset: 0, bytes: [0x1f, 0x8b] }], read: gunzip },
  { name: 'tar.bz2', extensions: ['.tar.bz2', '.tbz2'], magic: [{ offset: 0, bytes: text('BZh') }], read: bunzip2 },
  {
    name: 'tar.xz',
    extensions: ['.tar.xz', '.txz'],
    magic: [{ offset: 0, bytes: [0xfd, ...text('7zXZ'), 0] }],
    read: unxz,
  },
  {
    name: 'zip',
    extensions: ['.zip'],
    magic: [text('PK\x03\x04'), text('PK\x05\x06')].map((bytes) => ({ offset: 0, bytes })),
    read: null,
  },
  { name: 'squashfs', extensions: ['.squashfs', '.sqsh'], magic: [{ offset: 0, bytes: text('hsqs') }], read: null },
  { name: 'tar', extensions: ['.tar'], magic: [{ offset: 257, bytes: text('ustar') }], read: plain },
]

/** Bytes from the beginning of a file that decide its format. */
const headBytes = 262

/** By the first bytes of a file, never by its name; null: none of them. */
export function detectFormat(head: Uint8Array): Format | null {
  const has = ({ offset, bytes }: Format['magic'][number]): boolean =>
    bytes.every((byte, i) => head[offset + i] === byte)
  return formats.find((format) => format.magic.some(has)) ?? null
}

/**
 * The format of the file at `path`, one that can be read. Throws ARCHIVE_NOT_FOUND, ARCHIVE_UNKNOWN for what is no archive, and
 * UNSUPPORTED for formats that are only recognised.
 */
export async function formatOf(path: string): Promise<Format & { readonly read: Decode }> {
  const head = await headOf(path)
  const format = detectFormat(head)
  if (format === null) {
    const got = head.length === 0 ? 'is empty' : `begins with ${head.subarray(0, 4).toString('hex')}`
    throw new EnvError('ARCHIVE_UNKNOWN', `${path} is no archive that conda-deploy knows: it ${got}`, { path })
  }
  if (format.read === null) {
    const hint = 'pack the environment with conda-deploy pack, or with conda-pack as .tar.gz'
    throw new EnvError('UNSUPPORTED', `${path} is a ${format.name} archive, which is not read yet`, { path, hint })
  }
  return { ...format, read: format.read }
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
