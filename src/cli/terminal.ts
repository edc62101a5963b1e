/**
 * All that is printed. stdout is data: the one result of a verb. stderr is talk: progress (only on a terminal), warnings, summaries,
 * errors. A reader that goes away (`conda-deploy … | head`) is not an error: the work is done all the same.
 */
import { fstatSync } from 'node:fs'
import { EnvError, fromSystem } from '../errors.js'
import { now, type Reporter } from '../report.js'
import { put } from './put.js'
import { bytes, count, duration, message, printable } from './text.js'

export interface TalkSettings {
  /** The result as JSON on stdout, errors as JSON on stderr. */
  readonly json?: boolean
  /** No progress, no summary; warnings and errors stay. */
  readonly quiet?: boolean
  /** Phases, and the stack of unexpected errors. */
  readonly verbose?: boolean
}

interface Phase {
  readonly name: string
  readonly total: number | undefined
  readonly unit: 'files' | 'bytes' | 'nodes'
  readonly start: number
}

/** Milliseconds between two drawings of the progress line. */
const interval = 100

export class Terminal implements Reporter {
  readonly #settings: () => TalkSettings
  #phase: Phase | undefined
  #drawn = 0
  #lineShown = false

  /** `settings` is asked each time: flags are known only once they are parsed, and errors may come before. */
  constructor(settings: () => TalkSettings) {
    this.#settings = settings
  }

  /**
   * The result: as `text` for people and shells, or as the JSON of `value`, indented where a person reads it. Throws NO_SPACE or IO when
   * stdout takes nothing: the verb is done, but its result has not reached anyone.
   */
  result(value: object, text: string): void {
    this.close()
    const json = this.#settings().json === true
    const out = json ? JSON.stringify(value, null, isTerminal(1) ? 2 : undefined) : text
    if (out !== '') this.print(`${out}\n`)
  }

  /** Text for stdout as it is: help, the version. */
  print(text: string): void {
    try {
      put(1, text)
    } catch (error) {
      // A reader that has seen enough is no error.
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE')
        throw fromSystem(error, 'cannot write the result to stdout')
    }
  }

  /** The result of a verb that leaves stdout to somebody else: with --json the last line of stderr. */
  aside(value: object): void {
    this.close()
    if (this.#settings().json) this.#line(JSON.stringify(value))
  }

  /** A summary or a remark. */
  say(text: string): void {
    if (this.#settings().quiet || this.#settings().json) return
    this.#line(text.split('\n').map(printable).join('\n'))
  }

  warn(text: string): void {
    this.#line(`${paint('warning:', '33')} ${message(text)}`)
  }

  error(error: unknown): void {
    const told = describe(error)
    if (this.#settings().json) this.#line(JSON.stringify({ error: told }))
    else {
      this.#line(`${paint('conda-deploy:', '31')} ${message(told.message)}`)
      if (told.hint !== undefined) this.#line(`\n${paint('hint:', '36')} ${message(told.hint)}`)
    }
    if (this.#settings().verbose && error instanceof Error) this.#line(message(stackOf(error)))
  }

  phase(name: string, total?: number, unit: 'files' | 'bytes' | 'nodes' = 'files'): void {
    this.#endPhase()
    this.#phase = { name, total, unit, start: now() }
    this.#drawn = 0
    this.#draw(0)
  }

  progress(done: number, waiting?: string): void {
    if (now() - this.#drawn >= interval) this.#draw(done, waiting)
  }

  /** Ends the phase and clears its line. */
  close(): void {
    this.#endPhase()
    this.#phase = undefined
  }

  #line(text: string): void {
    this.#clear()
    talk(`${text}\n`)
  }

  #endPhase(): void {
    this.#clear()
    if (this.#phase === undefined || !this.#settings().verbose || this.#settings().json) return
    this.#line(`${this.#phase.name}: ${duration((now() - this.#phase.start) / 1000)}`)
  }

  #draw(done: number, waiting?: string): void {
    if (this.#phase === undefined || this.#settings().quiet || !isTerminal(2) || process.env.TERM === 'dumb') return
    this.#drawn = now()
    const line = progressLine(this.#phase, done, (this.#drawn - this.#phase.start) / 1000, waiting)
    talk(`\r${line.slice(0, (process.stderr.columns || 80) - 1)}\x1b[K`)
    this.#lineShown = true
  }

  #clear(): void {
    if (!this.#lineShown) return
    talk('\r\x1b[K')
    this.#lineShown = false
  }
}

function talk(text: string): void {
  try {
    put(2, text)
  } catch {
    // There is nowhere left to say it, and the work does not depend on it: a log on a full disk ends no job.
  }
}

/** Looks before it asks Node, which would load its terminals and sockets to answer. */
function isTerminal(descriptor: 1 | 2): boolean {
  if (!fstatSync(descriptor).isCharacterDevice()) return false
  return (descriptor === 1 ? process.stdout : process.stderr).isTTY
}

/** `extract  45 %  12,345 of 27,000 files  3,210/s  4.6 s left`. */
function progressLine(phase: Phase, done: number, seconds: number, waiting?: string): string {
  const amount = phase.unit === 'bytes' ? bytes : count
  const parts = [phase.name]
  if (phase.total !== undefined && phase.total > 0) {
    parts.push(`${String(Math.min(100, Math.floor((done / phase.total) * 100))).padStart(3)} %`)
    parts.push(
      phase.unit === 'bytes'
        ? `${bytes(done)} of ${bytes(phase.total)}`
        : `${count(done)} of ${count(phase.total)} ${phase.unit}`,
    )
  } else if (done > 0) parts.push(phase.unit === 'bytes' ? bytes(done) : `${count(done)} ${phase.unit}`)
  // A rate over less than half a second says nothing.
  if (done > 0 && seconds >= 0.5 && phase.unit !== 'nodes') {
    const rate = done / seconds
    parts.push(`${amount(Math.round(rate))}/s`)
    if (phase.total !== undefined && phase.total > done) parts.push(`${duration((phase.total - done) / rate)} left`)
  }
  if (waiting !== undefined) parts.push(`waiting for ${printable(waiting)}`)
  return parts.join('  ')
}

interface Told {
  readonly code: string
  readonly message: string
  readonly path?: string
  readonly hint?: string
  readonly paths?: readonly string[]
}

function describe(error: unknown): Told {
  if (error instanceof EnvError) {
    return {
      code: error.code,
      message: error.message,
      ...(error.path === undefined ? {} : { path: error.path }),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      ...(error.paths.length === 0 ? {} : { paths: error.paths }),
    }
  }
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
  return {
    code: 'INTERNAL',
    message: `unexpected ${what}`,
    hint: 'this is a bug of conda-deploy; --verbose shows where',
  }
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : ''
  return `${error.stack ?? error.message}${cause}`
}

/** Colour only on a terminal, and not where https://no-color.org is followed. */
function paint(text: string, colour: string): string {
  const plain = !isTerminal(2) || process.env.TERM === 'dumb' || (process.env.NO_COLOR ?? '') !== ''
  return plain ? text : `\x1b[${colour}m${text}\x1b[0m`
}
