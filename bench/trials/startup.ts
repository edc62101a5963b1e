import { atMost, type Trial } from '../contender.js'
import { node } from '../contenders/floor.js'
import { version } from '../contenders/ours.js'
import { race } from '../race.js'

export const startupTrial: Trial = {
  name: 'startup',
  title: 'starting at all',
  corpora: ['jupyter'],
  run(lab) {
    const rows = race(lab, [version, node], { rounds: 3 * lab.rounds })
    return { rows, bars: atMost(rows, version.name, [node.name], 1.3, node.name) }
  },
}
