/** Flags of V8: hints for speed and memory that it promises nothing about. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Major versions of Node in which they were tried: a flag that V8 does not know it would name on stderr. */
const tried: ReadonlySet<string | undefined> = new Set(['20'])

/** Sets a flag for the whole process, where it was tried; elsewhere V8 does as it does. */
export function setV8Flag(
  flag:
    | `${'interrupt' | 'wasm-tiering'}-budget=${number}`
    | 'wasm-lazy-validation'
    | 'no-allocation-site-pretenuring'
    | 'expose-gc'
    | 'no-expose-gc',
): void {
  if (tried.has(process.versions.node.split('.')[0])) setFlagsFromString(`--${flag}`)
}

/** Collects garbage before the process waits for the core, during which V8 would keep all of it. */
export function collectGarbage(): void {
  setV8Flag('expose-gc')
  const collect = runInNewContext('globalThis.gc') as (() => void) | undefined
  setV8Flag('no-expose-gc')
  collect?.()
}
