/** An environment of which one package was updated, on a node that has it as it was before: where it stands, or beside it. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import type { DeployResult } from '../../src/deploy/deploy.js'
import { type Bar, type Contender, faster, type Trial } from '../contender.js'
import { bareLinking, node } from '../contenders/floor.js'
import { clear, type Lab, sh, updatedBytes } from '../lab.js'
import { race } from '../race.js'

const command = (lab: Lab, target: string): string =>
  `${lab.ours} '${lab.need('after.tar.zst')}' --to '${target}' --threads ${lab.threads}`

const whole: Contender = { name: 'conda-deploy', command: (lab, target) => `exec ${command(lab, target)} --quiet` }

const update: Contender = {
  name: 'conda-deploy --update',
  command: (lab, target) => `exec ${command(lab, target)} --update --quiet`,
  before: (lab, target) => sh(`${lab.ours} '${lab.need('before.tar.zst')}' --to '${target}' --quiet`),
}

const delta: Contender = {
  name: 'conda-deploy --base',
  command: (lab, target) => `exec ${command(lab, target)} --base '${lab.need('base')}' --quiet`,
}

/** What a run of it read; its tree is held against its own index. */
function readBytes(lab: Lab, { before, command }: Contender): number {
  const target = join(lab.folder, 'target')
  before?.(lab, target)
  const words = command(lab, target).replace(/^exec (.*) --quiet$/, '$1 --json')
  const result = JSON.parse(
    execFileSync('sh', ['-ec', words], { encoding: 'utf8', maxBuffer: 1 << 30 }),
  ) as DeployResult
  sh(`${lab.ours} verify '${target}' --quiet`)
  clear(target)
  return result.readBytes
}

const floor = [bareLinking, node]
const floorNames = floor.map(({ name }) => name)

export const deltaTrial: Trial = {
  name: 'delta',
  title: 'one package updated, on a node that has the environment as it was before',
  corpora: ['jupyter'],
  run(lab) {
    const changed = updatedBytes(lab)
    const read = new Map([update, delta].map((one) => [one.name, readBytes(lab, one)]))
    const rows = race(lab, [whole, update, delta, ...floor]).map((row) => {
      const bytes = read.get(row.contender)
      return bytes === undefined ? row : { ...row, counted: { 'bytes read': bytes, 'bytes changed': changed } }
    })
    return {
      rows,
      floor: rows.filter(({ contender }) => floorNames.includes(contender)).reduce((sum, { wall }) => sum + wall, 0),
      bars: [
        ...faster(rows, update.name, whole.name, 5),
        ...[...read].map(([name, bytes]): Bar => {
          return { text: `${name}: bytes read ÷ bytes changed`, value: bytes / changed, limit: 2, is: 'at most' }
        }),
      ],
    }
  },
}
