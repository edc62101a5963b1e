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

/**
 * Files to one that may be wrong before a contender does not count. conda-pack 0.9 leaves the prefix of the build in two files of Python
 * itself where a record lacks what it needs; its row says so.
 */
const tolerance = 1000

/** One round is a warm-up, in which results are checked; a contender whose result is wrong is told, and not counted. */
export function race(lab: Lab, contenders: readonly Contender[], options: Race = {}): Row[] {
  const target = join(options.folder ?? lab.folder, 'target')
  const runs = new Map<Contender, Measurement[]>()
  const facts = new Map<Contender, Facts>()
  for (const contender of contenders) {
    const found = contender.missing?.(lab) ?? warmUp(lab, contender, target)
    if (typeof found === 'string') console.error(`not counted: ${contender.name}: ${found}`)
    else {
      facts.set(contender, found)
      runs.set(contender, [])
    }
  }
  for (let round = 0; round < (options.rounds ?? lab.rounds); round++)
    for (const [contender, measured] of runs) measured.push(once(lab, contender, target))
  return [...runs].map(([contender, measured]) => ({ ...rowOf(contender.name, measured), ...facts.get(contender) }))
}

type Facts = Pick<Row, 'bytes' | 'wrong'>

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

/** What the contender made; a text: why it does not count. */
function warmUp(lab: Lab, contender: Contender, target: string): Facts | string {
  let found: Facts | string = {}
  once(lab, contender, target, () => {
    const sizes = suffixes.slice(1).map((suffix) => statSync(target + suffix, { throwIfNoEntry: false })?.size)
    const bytes = sizes.find((size) => size !== undefined)
    if (bytes !== undefined) found = { bytes }
    if (contender.leaves === undefined) return
    const wrong = checkTree(lab, target, contender.leaves === 'relocated')
    if (wrong === undefined) return
    if (contender.ours) throw new Error(`${contender.name}: ${wrong.text}`)
    console.error(`${contender.name}: ${wrong.text}`)
    found = wrong.entries * tolerance <= wrong.of ? { wrong: wrong.entries } : wrong.text
  })
  return found
}

export function rowOf(contender: string, measured: readonly Measurement[]): Row {
  const walls = measured.map((m) => m.wall)
  return {
    contender,
    wall: median(walls),
    fastest: Math.min(...walls),
    slowest: Math.max(...walls),
    cpu: median(measured.map((m) => m.user + m.system)),
    memory: Math.max(...measured.map((m) => m.memory)),
  }
}
