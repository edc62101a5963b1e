import type { Trial } from '../contender.js'
import { condaPackGzip } from '../contenders/conda-pack.js'
import { pack } from '../contenders/ours.js'
import { tarPipeZstd } from '../contenders/tar.js'

export const packTrial: Trial = {
  name: 'pack',
  title: 'from the environment to one archive',
  contenders: [pack, tarPipeZstd, condaPackGzip],
  floor: [],
}
