/** Contenders in turn: within a round each runs once, so that a machine whose speed drifts drifts for all. Medians are compared. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { checkTree } from './check.js'
import type { Contender, Row } from './contender.js'
import { clear, type Lab } from './lab.js'
import { type Measurement, measure, median } from './measure.js'

export interface Race {
  readonly rounds?: number
  /** Where targets are made; default: the lab's folder. */
  readonly folder?: string
}

const suffixes = ['', '.tar.zst', '.tar.gz']

/** One round is a warm-up, in which results are checked; a contender whose result is wrong is told, and not counted. */
export function race(lab: Lab, contenders: readonly Contender[], options: Race = {}): Row[] {
  const target = join(options.folder ?? lab.folder, 'target')
  const runs = new Map<Contender, Measurement[]>()
  const sizes = new Map<Contender, number>()
  for (const contender of contenders) {
    const reason = contender.missing?.(lab) ?? warmUp(lab, contender, target, sizes)
    if (reason === undefined) runs.set(contender, [])
    else console.error(`not counted: ${contender.name}: ${reason}`)
  }
  for (let round = 0; round < (options.rounds ?? lab.rounds); round++)
    for (const [contender, measured] of runs) measured.push(once(lab, contender, target))
  return [...runs].map(([contender, measured]) => rowOf(contender.name, measured, sizes.get(contender)))
}

function once(lab: Lab, contender: Contender, target: string, look: () => void = () => {}): Measurement {
  contender.before?.(lab, target)
  const command = contender.command(lab, target)
  try {
    const measured = measure(lab.root, command)
    look()
    return measured
  } finally {
    for (const suffix of suffixes) clear(target + suffix)
  }
}

/** Why the contender does not count; undefined: its result is right. */
function warmUp(lab: Lab, contender: Contender, target: string, sizes: Map<Contender, number>): string | undefined {
  let reason: string | undefined
  once(lab, contender, target, () => {
    const size = suffixes.slice(1).map((suffix) => statSync(target + suffix, { throwIfNoEntry: false })?.size)
    const made = size.find((bytes) => bytes !== undefined)
    if (made !== undefined) sizes.set(contender, made)
    if (contender.leaves !== undefined) reason = checkTree(lab, target, contender.leaves === 'relocated')
  })
  return reason
}

export function rowOf(contender: string, measured: readonly Measurement[], bytes?: number): Row {
  const walls = measured.map((m) => m.wall)
  return {
    contender,
    wall: median(walls),
    fastest: Math.min(...walls),
    slowest: Math.max(...walls),
    cpu: median(measured.map((m) => m.user + m.system)),
    memory: Math.max(...measured.map((m) => m.memory)),
    ...(bytes === undefined ? {} : { bytes }),
  }
}
