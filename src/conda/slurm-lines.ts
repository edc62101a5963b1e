/**
 * Changes of variables in the words of Slurm's task prolog, which knows `export NAME=value`, `unset NAME` and `print text` and passes
 * over everything else. A value goes to the end of its line as it is, without quotes; so one with a line break cannot be said. Pure.
 */
import { isName } from './activation.js'
import type { Assigning } from './recorded.js'

/** `warnings` are printed to the task's standard output: Slurm passes on nothing else that a task prolog says. */
export function slurmLines(changes: readonly Assigning[], warnings: readonly string[]): string {
  const lines = changes.map((change) => {
    const shown = change.name.replaceAll(/[^\x20-\x7e]/g, '?')
    if (!isName(change.name)) return printed(`variable ${shown} cannot be set by Slurm: it stays as it was`)
    if (change.is === 'unset') return `unset ${change.name}`
    if (/[\n\0]/.test(change.value))
      return printed(`${shown} has a line break, which Slurm cannot set: it stays as it was`)
    return `export ${change.name}=${change.value}`
  })
  return [...warnings.map(printed), ...lines].map((line) => `${line}\n`).join('')
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: a line is what they would end, or a terminal what they would change
const printed = (text: string): string => `print conda-deploy: ${text.replaceAll(/[\0-\x1f\x7f]+/g, ' ')}`
