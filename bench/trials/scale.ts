/** A national centre's largest: 289,524 files, 10 GB. Made, packed and deployed at a quarter, a half and the whole of that size. */
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Contender, Row, Trial } from '../contender.js'
import { growEnvironment } from '../corpus/corpus.js'
import { clear, type Lab, sh } from '../lab.js'
import { race } from '../race.js'

const whole = { files: 289_524, bytes: 10e9 }
/** Peak resident memory that a deployment may take. */
const memory = 400e6

/** Deploys one part of the whole; the environment is gone before its target is written, so that one of the two at a time takes room. */
function part(lab: Lab, share: number): Row[] {
  const { threads, grow, folder, ours } = lab
  const archive = join(folder, 'part.tar.zst')
  const made = join(folder, 'part')
  const size = { files: Math.round(whole.files * share), bytes: whole.bytes * share }
  const { env } = growEnvironment(made, { ...size, holes: true, threads, grow })
  sh(`${ours} pack -p '${env}' -o '${archive}' -q`)
  clear(made)
  const contender: Contender = {
    name: `${size.files.toLocaleString('en-US')} files, ${(size.bytes / 1e9).toFixed(1)} GB`,
    command: (_, target) => `exec ${ours} '${archive}' --to '${target}' --threads ${threads} -q`,
  }
  try {
    return race(lab, [contender], { rounds: Math.min(3, lab.rounds) })
  } finally {
    if (existsSync(archive)) rmSync(archive)
  }
}

export const scaleTrial: Trial = {
  name: 'scale',
  title: 'the largest, and parts of it',
  corpora: ['scale'],
  slow: true,
  run(lab) {
    const shares = [0.25, 0.5, 1]
    const rows = shares.flatMap((share) => part(lab, share))
    const [first, , last] = rows
    if (first === undefined || last === undefined) throw new Error('scale: a part was not measured')
    return {
      rows,
      bars: [
        { text: 'time ÷ 4 × that of a quarter', value: last.wall / (4 * first.wall), limit: 1.15, is: 'at most' },
        {
          text: 'peak MB',
          value: Math.max(...rows.map((row) => row.memory)) / 1e6,
          limit: memory / 1e6,
          is: 'at most',
        },
      ],
    }
  },
}
