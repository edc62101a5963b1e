/**
 * SIGINT, SIGTERM and SIGHUP ask the running verb to stop: it ends its threads, takes its half-made things away and rejects. One more
 * ends the process at once.
 */
import { constants } from 'node:os'

export interface Interruption {
  readonly signal: AbortSignal
  /** 128 + the number of the first signal; undefined: none came. */
  status(): number | undefined
  /** Stops acting on signals: from now on they are for a program that was started. */
  release(): void
}

const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export function watchSignals(): Interruption {
  const controller = new AbortController()
  let status: number | undefined
  const caught = (name: NodeJS.Signals): void => {
    if (status !== undefined) process.exit(status)
    status = 128 + constants.signals[name]
    controller.abort()
  }
  for (const name of names) process.on(name, caught)
  return {
    signal: controller.signal,
    status: () => status,
    release: () => {
      for (const name of names) process.off(name, caught)
    },
  }
}
