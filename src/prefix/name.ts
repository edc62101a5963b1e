/** What a prefix may be called, and what its name makes difficult. Pure. */
import { EnvError } from '../errors.js'

/** Bytes of a file name on every file system that Linux has. */
const longestName = 255

/** A prefix is written into scripts and texts line by line, and is a name of the file system. Throws INVALID_OPTION. */
export function checkPrefix(verb: string, prefix: string): string {
  const refuse = (why: string): never => {
    throw new EnvError('INVALID_OPTION', `${verb}: ${why}`, { path: prefix })
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(prefix))
    refuse(`${JSON.stringify(prefix)} has control characters; a prefix cannot have any`)
  // Node turns bytes of the command line that are not UTF-8 into U+FFFD: what was named cannot be known any more.
  if (/\ufffd|\p{Surrogate}/u.test(prefix)) refuse(`${prefix} is not UTF-8; a prefix must be`)
  const name = prefix.split('/').find((part) => Buffer.byteLength(part) > longestName)
  if (name !== undefined)
    refuse(`'${name.slice(0, 40)}…' has ${Buffer.byteLength(name)} bytes; a name can have ${longestName}`)
  if (prefix === '/') refuse('/ cannot be a prefix')
  return prefix
}

/** What a prefix makes difficult, though it is allowed. Pure. */
export function remarksOnPrefix(prefix: string): string[] {
  const said: string[] = []
  if (prefix.includes(':')) said.push(`${prefix} has a colon: it cannot stand in PATH, so it cannot be activated`)
  const quote = /['"\\]/.exec(prefix)?.[0]
  if (quote !== undefined)
    said.push(`${prefix} has a ${quote}: texts that quote the prefix, such as Python's sysconfig data, break there`)
  return said
}
