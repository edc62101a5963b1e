import type { Trial } from '../contender.js'
import { node } from '../contenders/floor.js'
import { deploy } from '../contenders/ours.js'
import { sh } from '../lab.js'

export const againTrial: Trial = {
  name: 'again',
  title: 'deploying what is there already (the second job on a node)',
  contenders: [{ ...deploy, name: 'conda-deploy, again' }, node],
  floor: [node.name],
  before(lab, target) {
    sh(deploy.command(lab, target))
  },
}
