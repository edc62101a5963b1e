/** Flags of V8: hints for speed that it promises nothing about. */
import { setFlagsFromString } from 'node:v8'

/** Major versions of Node in which they were tried: a flag that V8 does not know it would name on stderr. */
const tried: ReadonlySet<string | undefined> = new Set(['20'])

/** Sets a flag for the whole process, where it was tried; elsewhere V8 does as it does. */
export function setV8Flag(flag: `${'interrupt' | 'wasm-tiering'}-budget=${number}` | 'wasm-lazy-validation'): void {
  if (tried.has(process.versions.node.split('.')[0])) setFlagsFromString(`--${flag}`)
}
