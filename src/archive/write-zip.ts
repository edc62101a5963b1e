/** zip by yazl, from a plain tar without hard links. The same bytes in every time zone and with any number of threads. */
import type { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { Header } from 'tar-stream'
import type { ZipFile } from 'yazl'
import { EnvError } from '../errors.js'
import type { FilterOptions, Put } from './write-formats.js'

/** Entries and bytes that a zip can hold without ZIP64. */
export const mostEntries = 0xfffe
const mostBytes = 0xffffffff

export const largeZip = (): EnvError =>
  new EnvError('UNSUPPORTED', 'Large Zip File: ZIP64 extensions required but were disabled', {
    hint: 'leave out --no-zip-64, or choose another format',
  })

/** zip keeps local times: these are those of UTC, everywhere. */
class UtcDate extends Date {
  override getFullYear = (): number => this.getUTCFullYear()
  override getMonth = (): number => this.getUTCMonth()
  override getDate = (): number => this.getUTCDate()
  override getHours = (): number => this.getUTCHours()
  override getMinutes = (): number => this.getUTCMinutes()
  override getSeconds = (): number => this.getUTCSeconds()
}

type Member = Readable & { readonly header: Header }

export async function writeZip(tar: Readable, put: Put, options: FilterOptions): Promise<void> {
  const { level, zip64 } = options
  // Read only now: they are sixty looks at files, which no other format needs.
  const [{ extract }, { ZipFile }] = await Promise.all([import('tar-stream'), import('yazl')])
  const zip = new ZipFile()
  const failed = new Promise<never>((_, reject) => zip.on('error', reject))
  failed.catch(() => undefined)
  const packed = pump(zip.outputStream as Readable, put, zip64)
  packed.catch(() => undefined)
  const parser = extract()
  const broken = (error: Error): void => parser.destroy(error)
  tar.on('error', broken)
  tar.pipe(parser as unknown as Writable)
  try {
    await Promise.race([failed, packed, add(zip, parser as unknown as AsyncIterable<Member>, level, zip64)])
    zip.end()
    await Promise.race([failed, packed])
  } finally {
    tar.off('error', broken)
    tar.unpipe()
    parser.destroy()
  }
}

async function add(zip: ZipFile, members: AsyncIterable<Member>, level: number, zip64: boolean): Promise<void> {
  for await (const member of members) {
    const { name, type, mode = 0o644, mtime, size = 0, linkname } = member.header
    // yazl cannot say a time before 1970, and zip none before 1980.
    const options = { mtime: new UtcDate(Math.max(0, mtime?.getTime() ?? 0)), compressionLevel: level }
    if (type === 'directory') {
      zip.addEmptyDirectory(name, { mtime: options.mtime, mode: 0o040000 | mode })
      member.resume()
    } else if (type === 'symlink') {
      zip.addBuffer(Buffer.from(linkname ?? ''), name, { ...options, mode: 0o120777, compressionLevel: 0 })
      member.resume()
    } else if (type === 'file') {
      if (!zip64 && size > mostBytes) throw largeZip()
      const stream = { ...options, mode: 0o100000 | mode, size }
      // One at a time, each through a stream: of what is added as a whole yazl keeps the content until the end.
      zip.addReadStreamLazy(name, stream, (ready) => ready(null, member))
      await finished(member)
    } else throw new Error(`zip: a member of type ${type}: ${name}`)
  }
}

async function pump(zip: Readable, put: Put, zip64: boolean): Promise<void> {
  let bytes = 0
  for await (const chunk of zip) {
    bytes += (chunk as Buffer).length
    if (!zip64 && bytes > mostBytes) throw largeZip()
    await put(chunk as Buffer)
  }
}
