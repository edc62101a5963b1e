/** Puts right what a change left behind that was killed, as every other change of the environment does before it begins. */
import { checkOptions } from '../options.js'
import type { Recovered } from '../tree/change.js'
import { changing } from './journal.js'
import { type EnvironmentOptions, environmentOf, type RequestOptions, readRequest, requestShape } from './request.js'

export interface RepairOptions extends Pick<RequestOptions, 'threads' | 'signal' | 'reporter'>, EnvironmentOptions {}

export interface RepairResult {
  readonly prefix: string
  /** `cleared`: nothing had changed yet, and what was made ready is removed; `taken back`; `finished`: all had changed but the clearing away. */
  readonly recovered: Recovered
  readonly warnings: readonly string[]
}

const { threads, signal, reporter } = requestShape
const shape = { ...{ threads, signal, reporter }, prefix: 'string', name: 'string' } as const

/** Throws ENV_NOT_FOUND, PERMISSION, NO_SPACE, ENV_DAMAGED where it cannot be put right: then the journal stays. */
export async function repair(options: RepairOptions): Promise<RepairResult> {
  checkOptions('repair', options, shape)
  const prefix = environmentOf(options)
  const request = await readRequest(options, prefix)
  const recovered = await changing(prefix, request, async (_, done) => done)
  return { prefix, recovered, warnings: request.warnings }
}
