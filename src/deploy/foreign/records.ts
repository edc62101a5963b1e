/**
 * When the records of an archive are read. Those that name placeholders at once: what comes after them is written with the prefix in it.
 * All others, two thirds of the bytes, between batches or at the end: their archive is decoded and written meanwhile.
 */
import type { Knowledge } from './knowledge.js'

/** Bytes of records that wait; more are read at once. */
const mostWaiting = 64 << 20

export class Records {
  private readonly known: Knowledge
  private readonly waiting = new Map<string, string>()
  private bytes = 0
  private isScheduled = false

  constructor(known: Knowledge) {
    this.known = known
  }

  /** Throws ENV_DAMAGED for what is no record; or `finish` does. */
  add(path: string, text: string): void {
    // Named again: in their order, the last counts.
    if (this.waiting.has(path)) this.finish()
    if (text.includes('"prefix_placeholder"') || this.bytes + text.length > mostWaiting) this.known.add(path, text)
    else {
      this.waiting.set(path, text)
      this.bytes += text.length
      this.schedule()
    }
  }

  /** Reads what waits. Throws ENV_DAMAGED. */
  finish(): void {
    while (this.readNext());
  }

  /** Nobody asks any more. */
  drop(): void {
    this.waiting.clear()
  }

  private schedule(): void {
    if (this.isScheduled || this.waiting.size === 0) return
    this.isScheduled = true
    setImmediate(() => {
      this.isScheduled = false
      try {
        this.readNext()
      } catch {
        return // It still waits: who asks for all is told.
      }
      this.schedule()
    })
  }

  private readNext(): boolean {
    for (const [path, text] of this.waiting) {
      this.known.add(path, text)
      this.waiting.delete(path)
      this.bytes -= text.length
      return true
    }
    return false
  }
}
