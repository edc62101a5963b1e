/** Activating and deactivating, written for whoever takes it: a shell, a program that reads JSON, or Slurm's task prolog. */
import type { Activation } from './activation.js'
import type { Variables } from './find.js'
import { changesOf, type Recorded, record, recordActivating } from './recorded.js'
import { lackedBy, shellCode } from './shell-code.js'
import { slurmLines } from './slurm-lines.js'
import { activating, deactivating } from './steps.js'
import type { Taker } from './takers.js'

export interface Taking {
  /** The environment that is changed; `process.env` unless it is another one. */
  readonly now?: Variables
  /** How conda-deploy is called, for the `deactivate` of a shell. */
  readonly command?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
}

export interface Told {
  readonly text: string
  /** What could not be activated, and what scripts said that were run to record them. In JSON and for Slurm they are in `text` too. */
  readonly warnings: readonly string[]
}

/** Throws CANCELLED, IO. */
export async function tellActivating(activation: Activation, taker: Taker, taking: Taking = {}): Promise<Told> {
  const { now = process.env, command, signal } = taking
  if (taker === 'json' || taker === 'slurm') {
    const recorded = await recordActivating(activation, now, { signal })
    return changesFor(taker, activation.prefix, now, recorded, activation.warnings)
  }
  const lacking = lackedBy(taker)
  const plain = lacking(activation.scripts).length === 0
  const { steps, warnings } = plain
    ? { steps: activating(activation, now), warnings: [] }
    : await recordActivating(activation, now, { lacking, signal })
  return { text: shellCode(steps, taker, { command }), warnings: [...activation.warnings, ...warnings] }
}

/** Leaves the environment that was activated last. Throws ENV_NOT_FOUND when there is none, CANCELLED, IO, PERMISSION. */
export async function tellDeactivating(taker: Taker, taking: Taking = {}): Promise<Told> {
  const { now = process.env, signal } = taking
  const { prefix, steps } = await deactivating(now)
  if (taker === 'json' || taker === 'slurm')
    return changesFor(taker, prefix, now, await record(steps, now, { signal }), [])
  const recorded = await record(steps, now, { lacking: lackedBy(taker), signal })
  return { text: shellCode(recorded.steps, taker), warnings: recorded.warnings }
}

function changesFor(
  taker: 'json' | 'slurm',
  prefix: string,
  now: Variables,
  recorded: Recorded,
  read: readonly string[],
): Told {
  const changes = changesOf(now, recorded.variables)
  const warnings = [...read, ...recorded.warnings]
  if (taker === 'slurm') return { text: slurmLines(changes, warnings), warnings }
  const variables = Object.fromEntries(changes.flatMap((one) => (one.is === 'set' ? [[one.name, one.value]] : [])))
  const unset = changes.flatMap((one) => (one.is === 'unset' ? [one.name] : []))
  return { text: `${JSON.stringify({ prefix, variables, unset, warnings }, null, 2)}\n`, warnings }
}
