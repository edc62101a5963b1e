/** The task of the solver's thread: indexes are read, cut down and solved here, and their memory goes with the thread. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { parseMatchSpec } from '../conda/match-spec.js'
import { EnvError, type ErrorCode, fromSystem } from '../errors.js'
import { setV8Flag } from '../v8-flag.js'
import {
  candidates,
  checkNames,
  isFromChannel,
  isNamed,
  type Offer,
  type Priority,
  type Rules,
  unique,
} from './candidates.js'
import { inOrder } from './order.js'
import { Repodata, type RepoRecord } from './repodata.js'
import { Solver, type VirtualPackage } from './solver.js'

// The optimizing compiler of WebAssembly gets to work later than it would: what it compiles in the background for one question of a hundred
// packages (0.2 s of CPU) comes too late to be run, and is in the way of what follows. An index of 200,000 records still reaches it.
setV8Flag('wasm-tiering-budget=90000000')
// What is compiled when it is first called is checked then, too: most of the 3 MB never is (15 ms).
setV8Flag('wasm-lazy-validation')

// Not at the first question, but while it is prepared. CommonJS: half the time of its other form, and its panics reach the thread's owner.
const rattler = createRequire(import.meta.url)('@conda-org/rattler') as typeof import('@conda-org/rattler')

export interface SolveTask {
  readonly specs: readonly string[]
  /** In the order of their priority; `file`: a repodata.json on this machine. */
  readonly indexes: readonly {
    readonly base: string
    readonly name: string
    readonly subdir: string
    readonly file: string
  }[]
  readonly platform: string
  readonly virtual: readonly VirtualPackage[]
  readonly installed: readonly RepoRecord[]
  readonly free: readonly RepoRecord[]
  readonly alone: boolean
  readonly pins: readonly string[]
  readonly wishes: readonly string[]
  readonly excludeNewer: number | null
  readonly priority: Priority
}

export type SolveAnswer =
  | { readonly records: readonly RepoRecord[]; readonly relaxed: boolean; readonly unmet: readonly string[] }
  | { readonly failed: { readonly code: ErrorCode; readonly message: string; readonly hint: string | undefined } }

export default async function solve(task: SolveTask): Promise<SolveAnswer> {
  try {
    return await run(task)
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    const { code, message, hint } = error
    return { failed: { code, message, hint } }
  }
}

async function run(task: SolveTask): Promise<{ records: RepoRecord[]; relaxed: boolean; unmet: readonly string[] }> {
  const wanted = task.specs.map(parseMatchSpec)
  const pins = task.pins.map(parseMatchSpec)
  const offers: Offer[] = task.indexes.map(({ file, ...offer }) => ({
    ...offer,
    repodata: new Repodata(bytesOf(file), file),
  }))
  const here = [...task.installed, ...task.free].filter((record) =>
    wanted.every((spec) => spec.name !== record.name || (isFromChannel(spec, record, offers) && isNamed(spec, record))),
  )
  const [held, free] = [task.installed, task.free].map((some) => here.filter((record) => some.includes(record)))
  const names = new Set(here.map(({ name }) => name))
  checkNames(
    offers,
    wanted.filter(({ name }) => !names.has(name)),
  )
  const solver = new Solver(rattler)
  const { excludeNewer } = task
  const attempt = async (strict: boolean, loose: Partial<Rules> = {}): Promise<RepoRecord[] | string> => {
    const rules = { strict, pins, excludeNewer, ...loose }
    const records = unique([...candidates(offers, wanted, here, rules, solver.matches), ...(free ?? [])])
    try {
      return await solver.solve(wanted, records, held ?? [], task)
    } catch (error) {
      if (typeof error === 'string') return error
      throw error
    }
  }
  const first = await attempt(task.priority !== 'disabled')
  const relaxed = typeof first === 'string' && task.priority === 'flexible'
  const answer = relaxed ? await attempt(false) : first
  if (typeof answer === 'string') {
    const why = await rulesAgainst(task, (loose) => attempt(task.priority === 'strict', loose))
    throw new EnvError('UNSATISFIABLE', `there is no environment with all of this:\n${answer.trimEnd()}${why}`)
  }
  const unmet = task.wishes.filter((wish) => {
    const spec = parseMatchSpec(wish)
    return !answer.some((record) => solver.matches(spec, record))
  })
  return { records: inOrder(answer), relaxed, unmet }
}

type Trial = (loose: Partial<Rules>) => Promise<RepoRecord[] | string>

/** The solver knows nothing of pins and dates: what they rule out it was not offered. Told where it would have an answer without them. */
async function rulesAgainst({ pins, excludeNewer }: SolveTask, trial: Trial): Promise<string> {
  const newest = excludeNewer === null ? '' : new Date(excludeNewer).toISOString().replace(/(T00:00:00)?\.000Z$/, '')
  const rules: [boolean, Partial<Rules>, string][] = [
    [pins.length > 0, { pins: [] }, `\npinned: ${pins.join(', ')}`],
    [excludeNewer !== null, { excludeNewer: null }, `\nnothing newer than ${newest} may be taken`],
    [
      pins.length > 0 && excludeNewer !== null,
      { pins: [], excludeNewer: null },
      `\npinned: ${pins.join(', ')}; newest: ${newest}`,
    ],
  ]
  for (const [given, loose, told] of rules) if (given && typeof (await trial(loose)) !== 'string') return told
  return ''
}

function bytesOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw fromSystem(error, 'cannot read', file)
  }
}
