/** The solver on a channel as large as conda-forge's: the index read, cut down and solved, by one process. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Contender, Trial } from '../contender.js'
import { node } from '../contenders/floor.js'
import { growChannel } from '../corpus/channel.js'
import type { Lab } from '../lab.js'
import { race } from '../race.js'

const records = 200_000
const specs = 'python=3.11 package-100 package-9000 package-15000'

function channelOf(lab: Lab): string {
  const channel = join(lab.folder, 'channel')
  if (!existsSync(channel)) growChannel(channel, records)
  return channel
}

const ours: Contender = {
  name: 'conda-deploy create --dry-run',
  command: (lab, target) =>
    `${lab.ours} create -p '${target}' --dry-run --override-channels -c '${channelOf(lab)}' -q ${specs}`,
}

/** What reading such an index costs anyone who parses all of it. */
const parsed: Contender = {
  name: 'JSON.parse of the index',
  command: (lab) => `node -e 'JSON.parse(require("fs").readFileSync("${channelOf(lab)}/linux-64/repodata.json"))'`,
}

export const solveTrial: Trial = {
  name: 'solve',
  title: `choosing 245 packages from an index of ${records.toLocaleString('en')} records`,
  corpora: ['jupyter'],
  run(lab) {
    const rows = race(lab, [ours, parsed, node])
    const own = rows.find(({ contender }) => contender === ours.name)
    if (own === undefined) return { rows, bars: [] }
    const bars = [
      { text: `${ours.name}, seconds`, value: own.wall, limit: 2, is: 'at most' as const },
      { text: `${ours.name}, MB at its peak`, value: own.memory / 1e6, limit: 600, is: 'at most' as const },
    ]
    return { rows, bars }
  },
}
