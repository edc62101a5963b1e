/** Names of members as archives have them, turned into those of entries. Pure. */
import { EnvError } from '../errors.js'
import { isSafePath } from '../tree/safe-path.js'

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** UTF-8; bytes that are not stand as U+DC80..U+DCFF, as in `Entry`. */
export function nameOfBytes(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes)
  } catch {
    let name = ''
    for (let i = 0; i < bytes.length; ) {
      const length = sequenceAt(bytes, i)
      name +=
        length === 0 ? String.fromCharCode(0xdc00 + (bytes[i] as number)) : strict.decode(bytes.subarray(i, i + length))
      i += length || 1
    }
    return name
  }
}

/**
 * Length of the valid UTF-8 sequence at `i`; 0: none. By hand (RFC 3629, §4), because asking the decoder costs an error for every byte:
 * a second for a name of ten thousand.
 */
function sequenceAt(bytes: Uint8Array, i: number): number {
  const lead = bytes[i] as number
  if (lead < 0x80) return 1
  const length = lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0
  if (length === 0 || i + length > bytes.length) return 0
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  const second = bytes[i + 1] as number
  if (second < least || second > most) return 0
  for (let k = 2; k < length; k++) if (((bytes[i + k] as number) & 0xc0) !== 0x80) return 0
  return length
}

/**
 * The name of a member, or of what a hard link shares, as a relative path without empty and `.` parts; `''`: the root of the archive.
 * Throws UNSAFE_PATH for what is absolute or climbs.
 */
export function memberPath(raw: string, archive: string): string {
  if (isSafePath(raw)) return raw
  const parts = raw.split('/')
  if (raw.startsWith('/') || parts.includes('..') || raw.includes('\0')) {
    const expected = "expected a relative path without '..'"
    throw new EnvError('UNSAFE_PATH', `${archive} names ${JSON.stringify(raw)}: ${expected}; nothing was deployed`, {
      path: raw,
    })
  }
  return parts.filter((part) => part !== '' && part !== '.').join('/')
}

/** `path` seen from the folder `root` (`''`: the archive itself); null: it lies outside. */
export function beneath(root: string, path: string): string | null {
  if (root === '') return path
  if (path === root || root.startsWith(`${path}/`)) return ''
  return path.startsWith(`${root}/`) ? path.slice(root.length + 1) : null
}
