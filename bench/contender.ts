/** A contender: one way to get a job done, as a command line that a trial measures as a whole process. */
import type { CorpusName } from './corpus/corpus.js'
import type { Lab } from './lab.js'

export interface Contender {
  readonly name: string
  /** What is measured; `target` does not exist before, and is cleared after, outside of the measurement. */
  command(lab: Lab, target: string): string
  /** Why it cannot take part here; undefined: it can. */
  missing?(lab: Lab): string | undefined
  /** What it leaves at the target: a tree with its prefixes rewritten, one as it was stored, or something else (default). */
  readonly leaves?: 'relocated' | 'stored'
  /** Held to every file, where others may have a few wrong. */
  readonly ours?: true
  /** Before every run, outside of the measurement. */
  before?(lab: Lab, target: string): void
}

export interface Row {
  readonly contender: string
  /** Seconds: median, and the range. */
  readonly wall: number
  readonly fastest: number
  readonly slowest: number
  /** User and system seconds, median. */
  readonly cpu: number
  /** Peak resident bytes of the largest process. */
  readonly memory: number
  /** Size of the file it made, if it made one. */
  readonly bytes?: number
  /** Files and links that are not what they should be. */
  readonly wrong?: number
  /** Anything else that was counted. */
  readonly counted?: Readonly<Record<string, number>>
}

/** What a trial asks of this product: a number, and what it has to reach. */
export interface Bar {
  readonly text: string
  readonly value: number
  readonly limit: number
  readonly is: 'at most' | 'at least'
}

export interface Outcome {
  readonly rows: readonly Row[]
  readonly bars: readonly Bar[]
  /** The machine's floor in seconds, where there is one. */
  readonly floor?: number
  /** What rows cannot say, in markdown. */
  readonly text?: string
}

export interface Trial {
  readonly name: string
  readonly title: string
  readonly corpora: readonly CorpusName[]
  /** Left out of `-- quick`. */
  readonly slow?: boolean
  run(lab: Lab): Outcome
}

const wallOf = (rows: readonly Row[], names: readonly string[]): number =>
  names.reduce((sum, name) => sum + (rows.find((row) => row.contender === name)?.wall ?? Number.NaN), 0)

/** Seconds of `ours` to those of others together. No bar when one of them did not take part. */
export function atMost(
  rows: readonly Row[],
  ours: string,
  others: readonly string[],
  limit: number,
  what: string,
): Bar[] {
  const value = wallOf(rows, [ours]) / wallOf(rows, others)
  return Number.isNaN(value) ? [] : [{ text: `${ours} ÷ ${what}`, value, limit, is: 'at most' }]
}

/** How many times as fast as another. */
export function faster(rows: readonly Row[], ours: string, other: string, limit: number): Bar[] {
  const value = wallOf(rows, [other]) / wallOf(rows, [ours])
  return Number.isNaN(value) ? [] : [{ text: `${ours}, times as fast as ${other}`, value, limit, is: 'at least' }]
}

/** A limit that depends on the corpus. */
export const by = (lab: Lab, jupyter: number, large: number): number => (lab.corpus === 'jupyter' ? jupyter : large)
