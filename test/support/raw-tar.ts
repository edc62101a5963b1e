/** Tar archives block by block, for what well-behaved writers refuse to write. */

export interface RawMember {
  readonly name: string | Buffer
  /** Type flag: '0' file, '1' hard link, '2' symbolic link, '3' device, '5' directory. */
  readonly type?: string
  readonly mode?: number
  readonly mtime?: number
  readonly link?: string
  readonly data?: Buffer | string
  /** What the header claims; default: the length of `data`. */
  readonly size?: number
}

export const tarEnd: Buffer = Buffer.alloc(1024)

/** Members, and the two blocks that end a tar. */
export function rawTar(members: readonly RawMember[]): Buffer {
  return Buffer.concat([...members.map(rawMember), tarEnd])
}

export function rawMember(member: RawMember): Buffer {
  const { name, type = '0', mode = 0o644, mtime = 1_600_000_000, link = '', data = '' } = member
  const content = Buffer.from(data)
  const header = Buffer.alloc(512)
  const octal = (value: number, at: number, length: number): void => {
    header.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1')
  }
  Buffer.from(name).copy(header, 0, 0, 100)
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(member.size ?? content.length, 124, 12)
  octal(mtime, 136, 12)
  header.fill(' ', 148, 156)
  header.write(type, 156, 'latin1')
  header.write(link, 157, 'utf8')
  header.write('ustar\x0000', 257, 'latin1')
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
    'latin1',
  )
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)])
}

/** A pax header for the member that follows. */
export function rawPax(values: Readonly<Record<string, string>>): RawMember {
  const lines = Object.entries(values).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`)
    const length = rest + String(rest + String(rest).length).length
    return `${length} ${key}=${value}\n`
  })
  return { name: 'pax', type: 'x', data: lines.join('') }
}
