/** Bar charts of results as SVG, readable on a light and a dark page. */
import type { Result } from './report.js'

interface BarOf {
  readonly name: string
  readonly seconds: number
}

const width = 760
const labels = 300
const row = 26
const head = 52

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** Horizontal bars, ours in colour; `floor`: a dashed line in seconds. */
export function chart(title: string, subtitle: string, bars: readonly BarOf[], floor?: number): string {
  const longest = Math.max(...bars.map((bar) => bar.seconds))
  const room = width - labels - 70
  const x = (seconds: number): number => labels + (seconds / longest) * room
  const height = head + bars.length * row + (floor === undefined ? 12 : 30)
  const lines = bars.map(({ name, seconds }, i) => {
    const y = head + i * row
    const kind = name.startsWith('conda-deploy') ? 'ours' : 'theirs'
    return [
      `<text class="name ${kind}" x="${labels - 10}" y="${y + 16}" text-anchor="end">${escaped(name)}</text>`,
      `<rect class="${kind}" x="${labels}" y="${y + 3}" width="${Math.max(1, x(seconds) - labels).toFixed(1)}" height="${row - 8}" rx="2"/>`,
      `<text x="${(x(seconds) + 6).toFixed(1)}" y="${y + 16}">${seconds.toFixed(2)} s</text>`,
    ].join('\n')
  })
  const end = head + bars.length * row
  const mark =
    floor === undefined
      ? []
      : [
          `<line class="floor" x1="${x(floor).toFixed(1)}" x2="${x(floor).toFixed(1)}" y1="${head - 4}" y2="${end + 4}"/>`,
          `<text class="floor" x="${x(floor).toFixed(1)}" y="${end + 18}">the machine's floor: ${floor.toFixed(2)} s</text>`,
        ]
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">
<style>
text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #57606a }
text.title { font-size: 15px; font-weight: 600; fill: #24292f }
text.name.ours { font-weight: 600; fill: #24292f }
rect.ours { fill: #2da44e }
rect.theirs { fill: #afb8c1 }
line.floor { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 4 3 }
text.floor { font-size: 12px; fill: #cf222e }
@media (prefers-color-scheme: dark) {
  text { fill: #8b949e }
  text.title, text.name.ours { fill: #e6edf3 }
  rect.ours { fill: #3fb950 }
  rect.theirs { fill: #484f58 }
  line.floor { stroke: #ff7b72 }
  text.floor { fill: #ff7b72 }
}
</style>
<text class="title" x="10" y="20">${escaped(title)}</text>
<text x="10" y="39">${escaped(subtitle)}</text>
${[...lines, ...mark].join('\n')}
</svg>
`
}

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
      const bars = rows
        .filter(({ contender }) => !contender.startsWith('floor') && contender !== 'node -e 0')
        .map(({ contender, wall }) => ({ name: contender, seconds: wall }))
      const subtitle = `${about[corpus] ?? corpus}; medians of whole processes; shorter is better`
      return [`${trial}-${corpus}.svg`, chart(titles[trial] ?? trial, subtitle, bars, floor)]
    })
}
