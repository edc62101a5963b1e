/** Two panels of curves over the number of nodes, both axes logarithmic, as SVG that any page shows. Pure. */

export interface Curve {
  readonly name: string
  readonly ours: boolean
  readonly points: readonly { readonly nodes: number; readonly seconds: number; readonly operations: number }[]
}

const size = { width: 760, height: 380, left: 62, top: 66, panel: 260, bottom: 46, gap: 86 } as const
const colours = ['#c8442e', '#b9a233', '#8a6d3b', '#7bc48f', '#1a7f37'] as const

export function fanoutChart(title: string, curves: readonly Curve[]): string {
  const { width, height, left, panel, gap } = size
  const panels = [
    panelOf('seconds until all tasks have worked', left, curves, (point) => point.seconds),
    panelOf('operations at the shared file system', left + panel + gap, curves, (point) => point.operations),
  ]
  const legend = curves.map(({ name }, i) => {
    const x = left + i * 138
    return `<rect x="${x}" y="36" width="12" height="4" fill="${colours[i]}"/><text x="${x + 17}" y="42">${name}</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${title}">
<style>text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #57606a }
text.title { font-size: 15px; font-weight: 600 } line { stroke: #afb8c1; stroke-width: 0.5 } polyline { fill: none }
@media (prefers-color-scheme: dark) { text { fill: #8b949e } text.title { fill: #e6edf3 } line { stroke: #484f58 } }</style>
<text class="title" x="10" y="20">${title}</text>
${[...legend, ...panels].join('\n')}
</svg>
`
}

type Point = Curve['points'][number]

function panelOf(name: string, left: number, curves: readonly Curve[], value: (point: Point) => number): string {
  const { height, top, panel, bottom } = size
  const all = curves.flatMap(({ points }) => points)
  const decades = (values: readonly number[]): [number, number] => [
    Math.floor(Math.log10(Math.max(0.1, Math.min(...values)))),
    Math.ceil(Math.log10(Math.max(...values))),
  ]
  const [low, high] = decades(all.map(value))
  const most = Math.log2(Math.max(...all.map(({ nodes }) => nodes)))
  const base = height - bottom
  const x = (nodes: number): number => left + (Math.log2(nodes) / most) * panel
  const y = (amount: number): number =>
    base - ((Math.log10(Math.max(amount, 10 ** low)) - low) / (high - low)) * (base - top - 14)
  const rows = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i))
  const grid = rows.map(
    (amount) =>
      `<line x1="${left}" x2="${left + panel}" y1="${y(amount).toFixed(1)}" y2="${y(amount).toFixed(1)}"/>` +
      `<text x="${left - 6}" y="${(y(amount) + 4).toFixed(1)}" text-anchor="end">${short(amount)}</text>`,
  )
  const ticks = [1, 8, 64, 512].map(
    (nodes) => `<text x="${x(nodes).toFixed(1)}" y="${base + 18}" text-anchor="middle">${nodes}</text>`,
  )
  const lines = curves.map(({ points, ours }, i) => {
    const path = points.map((point) => `${x(point.nodes).toFixed(1)},${y(value(point)).toFixed(1)}`).join(' ')
    return `<polyline points="${path}" stroke="${colours[i]}" stroke-width="${ours ? 2.5 : 1.5}"/>`
  })
  const caption = `<text x="${left}" y="${top}">${name}</text><text x="${left + panel}" y="${base + 34}" text-anchor="end">nodes</text>`
  return [caption, ...grid, ...ticks, ...lines].join('\n')
}

const short = (amount: number): string =>
  amount >= 1e9
    ? `${amount / 1e9}G`
    : amount >= 1e6
      ? `${amount / 1e6}M`
      : amount >= 1e3
        ? `${amount / 1e3}k`
        : String(amount)
