/** An environment of which one package was updated, on a node that has it as it was before. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import type { DeployResult } from '../../src/deploy/deploy.js'
import { type Contender, faster, type Trial } from '../contender.js'
import { bareLinking, node } from '../contenders/floor.js'
import { clear, type Lab, updatedBytes } from '../lab.js'
import { race } from '../race.js'

const command = (lab: Lab, target: string): string =>
  `${lab.ours} '${lab.need('after.tar.zst')}' --to '${target}' --threads ${lab.threads}`

const whole: Contender = { name: 'conda-deploy', command: (lab, target) => `exec ${command(lab, target)} --quiet` }

const delta: Contender = {
  name: 'conda-deploy --base',
  command: (lab, target) => `exec ${command(lab, target)} --base '${lab.need('base')}' --quiet`,
}

/** What a run of the second one read; its tree is held against one without a base, by its own index. */
function readBytes(lab: Lab): number {
  const target = join(lab.folder, 'target')
  const run = (words: string): string => execFileSync('sh', ['-ec', words], { encoding: 'utf8', maxBuffer: 1 << 30 })
  const result = JSON.parse(run(`${delta.command(lab, target).replace('exec ', '')} --json`)) as DeployResult
  run(`${lab.ours} verify '${target}' --quiet`)
  clear(target)
  return result.readBytes
}

const floor = [bareLinking, node]
const floorNames = floor.map(({ name }) => name)

export const deltaTrial: Trial = {
  name: 'delta',
  title: 'one package updated, the rest taken from the deployment before it',
  corpora: ['jupyter'],
  run(lab) {
    const [changed, read] = [updatedBytes(lab), readBytes(lab)]
    const rows = race(lab, [whole, delta, ...floor]).map((row) =>
      row.contender === delta.name ? { ...row, counted: { 'bytes read': read, 'bytes changed': changed } } : row,
    )
    return {
      rows,
      floor: rows.filter(({ contender }) => floorNames.includes(contender)).reduce((sum, { wall }) => sum + wall, 0),
      bars: [
        ...faster(rows, delta.name, whole.name, 5),
        { text: 'bytes read ÷ bytes changed', value: read / changed, limit: 2, is: 'at most' },
      ],
    }
  },
}
