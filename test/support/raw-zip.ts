/** Zip archives field by field, for what well-behaved writers refuse to write. */
import { deflateRawSync } from 'node:zlib'

export interface RawZipMember {
  readonly name: string
  readonly data?: Buffer | string
  /** Unix mode with its type; default: a regular file, 0644. 0: none, as on systems without modes. */
  readonly mode?: number
  /** Default: deflate. */
  readonly method?: number
  readonly flags?: number
  /** What the directory says instead of the truth. */
  readonly claims?: {
    readonly size?: number
    readonly packed?: number
    readonly crc?: number
    readonly header?: number
  }
  /** The name in the local header. */
  readonly localName?: string
}

export function rawZip(members: readonly RawZipMember[], count: number = members.length): Buffer {
  const parts: Buffer[] = []
  const directory: Buffer[] = []
  let at = 0
  for (const { name, data = '', mode = 0o100644, method = 8, flags = 0, claims = {}, localName = name } of members) {
    const content = Buffer.from(data)
    const packed = method === 8 ? deflateRawSync(content) : content
    const common = Buffer.alloc(26)
    common.writeUInt16LE(20, 0)
    common.writeUInt16LE(flags, 2)
    common.writeUInt16LE(method, 4)
    common.writeUInt32LE(0x50215000, 6)
    common.writeUInt32LE(claims.crc ?? checksum(content), 10)
    common.writeUInt32LE(claims.packed ?? packed.length, 14)
    common.writeUInt32LE(claims.size ?? content.length, 18)
    const named = (text: string): Buffer => {
      const out = Buffer.from(common)
      out.writeUInt16LE(Buffer.byteLength(text), 22)
      return out
    }
    const rest = Buffer.alloc(14)
    rest.writeUInt32LE((mode << 16) >>> 0, 6)
    rest.writeUInt32LE(claims.header ?? at, 10)
    const version = Buffer.from([20, mode === 0 ? 0 : 3])
    directory.push(Buffer.from('PK\x01\x02'), version, named(name), rest, Buffer.from(name))
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), named(localName), Buffer.from(localName), packed])
    parts.push(local)
    at += local.length
  }
  const listed = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(count, 8)
  end.writeUInt16LE(count, 10)
  end.writeUInt32LE(listed.length, 12)
  end.writeUInt32LE(at, 16)
  return Buffer.concat([...parts, listed, end])
}

function checksum(data: Buffer): number {
  let crc = ~0
  for (const byte of data) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}
