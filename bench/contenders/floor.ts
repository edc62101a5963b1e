/** What the machine can do at best; see floor/floor.cc. */
import type { Contender } from '../contender.js'

export const bareCreation: Contender = {
  name: 'floor: bare creation of the tree',
  command: (lab, target) => `exec '${lab.floor}' create '${lab.need('blob')}' '${target}' ${lab.threads}`,
}

export const bareDecoding: Contender = {
  name: 'floor: decoding the frames',
  command: (lab) => `exec '${lab.floor}' decode '${lab.need('ours.tar.zst')}' ${lab.threads}`,
}

export const node: Contender = { name: 'node -e 0', command: () => 'exec node -e 0' }

export const floor: readonly Contender[] = [bareCreation, bareDecoding, node]
