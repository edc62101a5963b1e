/** From an environment to one archive, and the hashing of a deployed one. */
import { atMost, faster, type Trial } from '../contender.js'
import { pack, verify } from '../contenders/ours.js'
import { condaPack, sha256sum, tarPipeZstd } from '../contenders/tar.js'
import { race } from '../race.js'

export const packTrial: Trial = {
  name: 'pack',
  title: 'from the environment to one archive',
  corpora: ['jupyter', 'large'],
  run(lab) {
    const rows = race(lab, [pack, tarPipeZstd, condaPack])
    const bytes = (name: string): number => rows.find((row) => row.contender === name)?.bytes ?? Number.NaN
    const size = bytes(pack.name) / bytes(condaPack.name)
    return {
      rows,
      bars: [
        ...faster(rows, pack.name, condaPack.name, 3),
        ...(Number.isNaN(size)
          ? []
          : [{ text: `size ÷ that of ${condaPack.name}`, value: size, limit: 0.88, is: 'at most' as const }]),
        ...atMost(rows, pack.name, [tarPipeZstd.name], 1, tarPipeZstd.name),
      ],
    }
  },
}

export const verifyTrial: Trial = {
  name: 'verify',
  title: 'hashing a deployed environment again',
  corpora: ['jupyter', 'large'],
  run(lab) {
    const rows = race(lab, [verify, sha256sum])
    return { rows, bars: atMost(rows, verify.name, [sha256sum.name], 1, sha256sum.name) }
  },
}
