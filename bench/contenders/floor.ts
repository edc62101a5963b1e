import type { Contender } from '../contender.js'

export const bareCreation: Contender = {
  name: 'floor: bare creation of the tree',
  command: (lab, target) => `'${lab.floor}' create '${lab.blob}' '${target}' ${lab.threads}`,
}

export const bareDecoding: Contender = {
  name: 'floor: decoding the frames',
  command: (lab) => `'${lab.floor}' decode '${lab.archive}' ${lab.threads}`,
}

export const node: Contender = { name: 'floor: node -e 0', command: () => 'node -e 0' }
