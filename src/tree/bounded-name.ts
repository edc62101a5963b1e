/** Names that are put together of a user's name: file systems take 255 bytes, and what stands around it needs some of them. */
import { native } from '../native.js'

/** The name, or 32 digits that stand for it where it leaves less than `around` bytes; default 35. Pure. */
export const boundedName = (name: string, around = 35): string =>
  Buffer.byteLength(name) <= 255 - around ? name : native().sha256(Buffer.from(name)).slice(0, 32)
