/** The lease of a program that runs in a deployment: first of the process that starts it, then of the program too, which may outlive that. */
import { EnvError } from '../../errors.js'
import type { Claim } from './claim.js'
import { processHolder } from './holder.js'

export class ProgramLease {
  readonly #holders: string[] = []
  readonly #warn: (message: string) => void
  #claim: Claim | null = null
  #added: Promise<void> = Promise.resolve()

  constructor(warn: (message: string) => void) {
    this.#warn = warn
    this.#note(process.pid)
  }

  /** For whom a deployment is to be claimed. */
  get holders(): readonly string[] {
    return [...this.#holders]
  }

  of(claim: Claim | null): void {
    this.#claim = claim
  }

  /** The program has started. */
  passTo(number: number): void {
    const holder = this.#note(number)
    if (holder !== undefined) this.#added = this.#tried(async (claim) => claim.add(holder))
  }

  /** The program has ended. */
  async end(): Promise<void> {
    await this.#added
    for (const holder of this.#holders) await this.#tried(async (claim) => claim.drop(holder))
    await this.#tried(async (claim) => claim.tidy())
  }

  #note(number: number): string | undefined {
    const holder = processHolder(number)
    if (holder !== undefined) this.#holders.push(holder)
    return holder
  }

  /** What the program did to its environment, or how it ended, must not be hidden by a lease. */
  async #tried(what: (claim: Claim) => Promise<void>): Promise<void> {
    if (this.#claim === null) return
    try {
      await what(this.#claim)
    } catch (error) {
      if (!(error instanceof EnvError)) throw error
      this.#warn(error.message)
    }
  }
}
