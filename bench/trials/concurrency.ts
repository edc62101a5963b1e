/** Many jobs that start on a node at the same moment and want the same environment. */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Bar, Row, Trial } from '../contender.js'
import { clear, type Lab } from '../lab.js'
import { type Measurement, measure } from '../measure.js'
import { rowOf } from '../race.js'

const crowds = [1, 8, 64] as const

/** `n` processes at once, each of a job of its own; fails when one of them does. */
const together = (n: number, command: string): string =>
  `pids=; for i in $(seq ${n}); do SLURM_JOB_ID=$i ${command} & pids="$pids $!"; done; for p in $pids; do wait $p; done`

interface Crowd {
  readonly row: Row
  /** Of one round, the most. */
  readonly extractions: number
}

/** `warm`: the environment is there already. */
function starts(lab: Lab, n: number, warm: boolean): Crowd {
  const root = join(lab.folder, 'target')
  const told = join(lab.folder, 'told')
  const command = `${lab.ours} '${lab.need('ours.tar.zst')}' --root '${root}' --json --quiet`
  const measured: Measurement[] = []
  let extractions = 0
  for (let round = 0; round < Math.min(lab.rounds, n > 8 ? 3 : 7); round++) {
    mkdirSync(root)
    mkdirSync(told)
    if (warm) measure(lab.root, `${command} > /dev/null`)
    measured.push(measure(lab.root, together(n, `${command} > '${told}'/$i`)))
    const methods = readdirSync(told).map((name) => JSON.parse(readFileSync(join(told, name), 'utf8')).method as string)
    if (methods.length !== n) throw new Error(`${methods.length} of ${n} starts told what they did`)
    extractions = Math.max(extractions, methods.filter((method) => method === 'deployed').length)
    rmSync(told, { recursive: true })
    clear(root)
  }
  const name = `${n} at once, ${warm ? 'warm' : 'cold'}`
  return { row: { ...rowOf(name, measured), counted: { extractions } }, extractions }
}

function bare(lab: Lab, n: number): Row {
  const runs = Array.from({ length: 3 }, () => measure(lab.root, together(n, 'node -e 0')))
  return rowOf(`node -e 0, ${n} at once`, runs)
}

export const concurrencyTrial: Trial = {
  name: 'concurrency',
  title: 'jobs that start on a node at the same moment, each with a lease of its own',
  corpora: ['jupyter'],
  slow: true,
  run(lab) {
    const all = crowds.flatMap((n) => [
      { n, warm: false, ...starts(lab, n, false) },
      { n, warm: true, ...starts(lab, n, true) },
    ])
    const most = crowds[crowds.length - 1] ?? 1
    const node = bare(lab, most)
    const cpu = all.find(({ n, warm }) => n === most && warm)?.row.cpu ?? Number.NaN
    const bars: Bar[] = [
      ...all.map(({ n, warm, extractions }): Bar => {
        const text = `extractions, ${n} ${warm ? 'warm' : 'cold'} starts`
        return { text, value: extractions, limit: warm ? 0 : 1, is: 'at most' }
      }),
      {
        text: `CPU milliseconds of one of ${most} warm starts beyond node -e 0`,
        value: ((cpu - node.cpu) / most) * 1000,
        ...{ limit: 40, is: 'at most' },
      },
    ]
    return { rows: [...all.map(({ row }) => row), node], bars }
  },
}
