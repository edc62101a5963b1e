/** A contender: one way to get a job done, as a command line that a trial measures as a whole process. */
import type { Lab } from './lab.js'

export interface Contender {
  readonly name: string
  /** What is measured; `target` does not exist before, and is cleared after, outside of the measurement. */
  command(lab: Lab, target: string): string
  /** Why it cannot take part here; undefined: it can. */
  missing?(lab: Lab): string | undefined
}

export interface Trial {
  readonly name: string
  readonly title: string
  readonly contenders: readonly Contender[]
  /** Names of contenders whose medians add up to the machine's floor. */
  readonly floor: readonly string[]
  /** Before every run, outside of the measurement. */
  before?(lab: Lab, target: string): void
  /** Throws when a contender's result is not what it should be; after the first run of each contender. */
  check?(lab: Lab, contender: Contender, target: string): void
}
