/** Seconds by phase: each lap counts the time since the one before. */
export class Clock<Phase extends string> {
  readonly #start = performance.now()
  #last = this.#start
  readonly #laps: Record<Phase, number>

  constructor(phases: readonly Phase[]) {
    this.#laps = Object.fromEntries(phases.map((phase) => [phase, 0])) as Record<Phase, number>
  }

  lap(phase: Phase): void {
    const now = performance.now()
    this.#laps[phase] += (now - this.#last) / 1000
    this.#last = now
  }

  seconds(): Record<Phase | 'total', number> {
    return { ...this.#laps, total: (performance.now() - this.#start) / 1000 } as Record<Phase | 'total', number>
  }
}
