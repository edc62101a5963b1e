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

/** Of the tree that a delta starts from: it cannot be faster, and has files with the prefix to write besides. */
export const bareLinking: Contender = {
  name: 'floor: bare hard-linking of the tree',
  command: (lab, target) =>
    `exec '${lab.floor}' link '${lab.need('base.blob')}' '${target}' ${lab.threads} '${lab.need('base')}'`,
}

export const node: Contender = { name: 'node -e 0', command: () => 'exec node -e 0' }

export const floor: readonly Contender[] = [bareCreation, bareDecoding, node]
