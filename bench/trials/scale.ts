/** A national centre's largest: 289,524 files, 10 GB. Made, packed and deployed at a quarter, a half and the whole of that size. */
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Bar, Contender, Row, Trial } from '../contender.js'
import { growEnvironment } from '../corpus/corpus.js'
import { clear, type Lab } from '../lab.js'
import { race } from '../race.js'

const whole = { files: 289_524, bytes: 10e9 }
/** Peak resident memory that packing and deploying may each take. */
const memory = 400e6

interface Part {
  readonly packed: Row
  readonly deployed: Row
}

/** Packs and deploys one part of the whole; the environment is gone before its target is written, so that one of the two at a time takes room. */
function part(lab: Lab, share: number): Part {
  const { threads, grow, folder, ours } = lab
  const archive = join(folder, 'part.tar.zst')
  const made = join(folder, 'part')
  const size = { files: Math.round(whole.files * share), bytes: whole.bytes * share }
  const about = `${size.files.toLocaleString('en-US')} files, ${(size.bytes / 1e9).toFixed(1)} GB`
  const { env } = growEnvironment(made, { ...size, holes: true, threads, grow })
  const packing: Contender = {
    name: `pack: ${about}`,
    command: () => `exec ${ours} pack -p '${env}' -o '${archive}' --force --threads ${threads} -q`,
  }
  const deploying: Contender = {
    name: `deploy: ${about}`,
    command: (_, target) => `exec ${ours} '${archive}' --to '${target}' --threads ${threads} -q`,
  }
  try {
    const [packed] = race(lab, [packing], { rounds: 1 })
    clear(made)
    const [deployed] = race(lab, [deploying], { rounds: Math.min(3, lab.rounds) })
    if (packed === undefined || deployed === undefined) throw new Error(`scale: ${about} was not measured`)
    return { packed, deployed }
  } finally {
    if (existsSync(archive)) rmSync(archive)
  }
}

/** Of a quarter, a half and the whole. */
function barsOf(what: string, rows: readonly Row[]): Bar[] {
  const growth = (rows.at(-1)?.wall ?? Number.NaN) / (4 * (rows[0]?.wall ?? Number.NaN))
  const peak = Math.max(...rows.map((row) => row.memory)) / 1e6
  return [
    { text: `${what}: time ÷ 4 × that of a quarter`, value: growth, limit: 1.15, is: 'at most' },
    { text: `${what}: peak MB`, value: peak, limit: memory / 1e6, is: 'at most' },
  ]
}

export const scaleTrial: Trial = {
  name: 'scale',
  title: 'the largest, and parts of it',
  corpora: ['scale'],
  slow: true,
  run(lab) {
    const parts = [0.25, 0.5, 1].map((share) => part(lab, share))
    const packed = parts.map((one) => one.packed)
    const deployed = parts.map((one) => one.deployed)
    return { rows: [...packed, ...deployed], bars: [...barsOf('pack', packed), ...barsOf('deploy', deployed)] }
  },
}
