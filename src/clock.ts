import { now } from './report.js'

/** Seconds by phase: each lap counts the time since the one before. */
export class Clock<Phase extends string> {
  readonly #start = now()
  #last = this.#start
  readonly #laps: Record<Phase, number>

  constructor(phases: readonly Phase[]) {
    this.#laps = Object.fromEntries(phases.map((phase) => [phase, 0])) as Record<Phase, number>
  }

  lap(phase: Phase): void {
    const at = now()
    this.#laps[phase] += (at - this.#last) / 1000
    this.#last = at
  }

  seconds(): Record<Phase | 'total', number> {
    return { ...this.#laps, total: (now() - this.#start) / 1000 } as Record<Phase | 'total', number>
  }
}
