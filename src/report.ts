/** How verbs tell what they do while they do it. The CLI shows it; the library is silent unless given one. */
export interface Reporter {
  /** A phase begins; `total` in units of `unit`, when known. */
  phase(name: string, total?: number, unit?: 'files' | 'bytes' | 'nodes'): void
  /** Work done so far in the current phase; `waiting`: who or what is waited for. */
  progress(done: number, waiting?: string): void
  /** Something the user should know although the verb goes on. Every warning is also in the verb's result. */
  warn(message: string): void
}

export const silent: Reporter = {
  phase() {},
  progress() {},
  warn() {},
}

/** Milliseconds of a clock that only goes forward. Not `performance.now`, whose first use loads what fetches measure: 1.5 ms. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
