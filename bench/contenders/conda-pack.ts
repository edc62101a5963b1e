import type { Contender } from '../contender.js'

const missing: Contender['missing'] = (lab) => (lab.condaPack ? undefined : 'CONDA_PACK names no conda-pack command')

export const condaPackGzip: Contender = {
  name: 'conda-pack tar.gz -j 2',
  command: (lab, target) => `${lab.condaPack} -p '${lab.env}' -o '${target}.tar.gz' -q -j ${lab.threads}`,
  missing,
}
