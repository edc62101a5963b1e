/** What the commands share: the session they run in, the flags that mean the same everywhere, and the reading of numbers. */
import { type Command, InvalidArgumentError } from 'commander'
import { type Spare, spares } from '../conda/spare.js'
import { EnvError } from '../errors.js'
import type { TalkSettings, Terminal } from './terminal.js'

export interface Session {
  readonly terminal: Terminal
  readonly signal: AbortSignal
  /** Stops acting on signals; see `Interruption`. */
  readonly release: () => void
  /** Exit status when nothing was thrown. */
  status: number
}

/** Flags of every command, known before and after its name. */
export interface Globals extends TalkSettings {
  readonly threads?: number
}

export function addGlobals(program: Command): void {
  program
    .option('--json', 'print the result as JSON, and errors as JSON on stderr')
    .option('-q, --quiet', 'no progress and no summary; warnings and errors stay')
    .option('-v, --verbose', 'say what takes how long, and where a bug is')
    .option('--threads <n>', 'threads to use, -1 for all cores (default: all)', threads)
}

export interface SpareFlags {
  readonly spare?: readonly Spare[]
}

export function addSpare(command: Command): Command {
  return command.option(
    '--spare <what>',
    `settings that keep programs out of a shared home folder: ${spares.join(', ')} (separated by commas) or all`,
    spareList,
  )
}

function spareList(text: string): readonly Spare[] {
  const words = text.split(',').map((word) => word.trim())
  const wrong = words.find((word) => word !== 'all' && !spares.some((spare) => spare === word))
  if (wrong !== undefined) throw new InvalidArgumentError(`It knows ${spares.join(', ')} and all, not '${wrong}'.`)
  return spares.filter((spare) => words.includes(spare) || words.includes('all'))
}

/** Values of a flag that may be repeated. */
export const several = (value: string, before: readonly string[] = []): readonly string[] => [...before, value]

export function integer(text: string): number {
  if (!/^[+-]?\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.')
  return Number(text)
}

/** From 1; large enough for bytes. */
export function amount(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1.')
  return Number(text)
}

/** As conda-pack has it; undefined stands for all cores, which is the default of the verbs. */
export function threads(text: string): number | undefined {
  const value = integer(text)
  if (value === -1) return undefined
  if (value < 1) throw new InvalidArgumentError('n-threads must be >= 1, or -1 for all cores.')
  return value
}

/** A span of time; fractions are allowed. */
export function seconds(text: string): number {
  if (!/^\d{1,9}(\.\d{1,3})?$/.test(text)) throw new InvalidArgumentError('It must be a number of seconds from 0.')
  return Number(text)
}

/**
 * The words of a program to start, as they were typed. Throws INVALID_OPTION for one that is not UTF-8: Node has turned bytes of it into
 * U+FFFD, and the program would be told another name than the one that was meant.
 */
export function asTyped(words: readonly string[]): readonly string[] {
  const wrong = words.find((word) => word.includes('\ufffd'))
  if (wrong === undefined) return words
  const hint = 'name it by a pattern that a shell expands: sh -c …'
  throw new EnvError('INVALID_OPTION', `'${wrong}' is not UTF-8: it cannot be handed on to a program`, { hint })
}

/** An example under a command's help. */
export function example(command: Command, ...lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExample:\n${lines.map((line) => `  $ ${line}`).join('\n')}`)
}
