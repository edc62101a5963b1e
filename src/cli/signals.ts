/**
 * SIGINT, SIGTERM and SIGHUP ask the running verb to stop: it ends its threads, takes its half-made things away and rejects. The
 * same again ends the process at once.
 */
import { constants } from 'node:os'

export interface Interruption {
  readonly signal: AbortSignal
  /** 128 + the number of the first signal; undefined: none came. */
  status(): number | undefined
}

export function watchSignals(): Interruption {
  const controller = new AbortController()
  let status: number | undefined
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (status !== undefined) process.exit(status)
      status = 128 + constants.signals[name]
      controller.abort()
    })
  }
  return { signal: controller.signal, status: () => status }
}
