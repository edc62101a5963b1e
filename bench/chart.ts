/** Bar charts of results. */
import { bars } from '../src/trace/bars.js'
import type { Result } from './report.js'

const colours = { ours: ['#2da44e', '#3fb950'], theirs: ['#afb8c1', '#484f58'] } as const
const shown = (seconds: number): string => `${seconds.toFixed(2)} s`

const titles: Readonly<Record<string, string>> = {
  deploy: 'From the archive to a working environment',
  foreign: "From conda-pack's own .tar.gz to a working environment",
  pack: 'From the environment to one archive',
}

/** File names and charts of the results that are worth a picture. */
export function charts(results: readonly Result[], about: Readonly<Record<string, string>>): [string, string][] {
  return results
    .filter(({ trial, rows }) => trial in titles && rows.length > 0)
    .map(({ trial, corpus, rows, floor }) => {
      const drawn = rows
        .filter(({ contender }) => !contender.startsWith('floor') && contender !== 'node -e 0')
        .map(({ contender, wall }) => {
          const strong = contender.startsWith('conda-deploy')
          const pieces = [{ value: wall, kind: strong ? 'ours' : 'theirs' }]
          return { label: contender, pieces, text: shown(wall), strong }
        })
      const subtitle = `${about[corpus] ?? corpus}; medians of whole processes; shorter is better`
      const mark = floor === undefined ? undefined : { value: floor, text: `the machine's floor: ${shown(floor)}` }
      const svg = bars({ title: titles[trial] ?? trial, subtitle, rows: drawn, colours, mark })
      return [`${trial}-${corpus}.svg`, svg]
    })
}
