/** Horizontal bars as SVG, readable on a light and a dark page that shows it. Pure. */

export interface Piece {
  readonly value: number
  readonly kind: string
  /** What a pointer over it is told. */
  readonly tip?: string
}

export interface Row {
  readonly label: string
  /** One beside the other. */
  readonly pieces: readonly Piece[]
  /** Behind the bar. */
  readonly text: string
  readonly strong?: boolean
}

export interface Bars {
  readonly title: string
  readonly subtitle?: string
  readonly rows: readonly Row[]
  /** Of every kind: on a light page, and on a dark one. */
  readonly colours: Readonly<Record<string, readonly [light: string, dark: string]>>
  /** Names the kinds beneath the bars; default false. */
  readonly legend?: boolean
  /** A dashed line across all bars. */
  readonly mark?: { readonly value: number; readonly text: string } | undefined
}

const size = { width: 760, labels: 300, numbers: 110, row: 26, bar: 18 } as const
/** Characters of a label that have room. */
const longest = 40

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
const short = (text: string): string => (text.length <= longest ? text : `${text.slice(0, longest - 1)}…`)
const px = (value: number): string => value.toFixed(1)

/** Lengths are in proportion to the values; what is more than nothing is at least a visible sliver. */
export function bars({ title, subtitle, rows, colours, legend = false, mark }: Bars): string {
  const { width, labels, row } = size
  const totals = rows.map(({ pieces }) => pieces.reduce((sum, { value }) => sum + value, 0))
  const scale = (width - labels - size.numbers) / (Math.max(...totals, mark?.value ?? 0) || 1)
  const head = subtitle === undefined ? 33 : 52
  const end = head + rows.length * row
  const height = end + 12 + (mark === undefined ? 0 : 18) + (legend ? 22 : 0)
  const lines = [
    `<text class="title" x="10" y="20">${escaped(title)}</text>`,
    ...(subtitle === undefined ? [] : [`<text x="10" y="39">${escaped(subtitle)}</text>`]),
    ...rows.flatMap((one, i) => drawn(one, head + i * row, scale)),
    ...(mark === undefined ? [] : marked(labels + mark.value * scale, mark.text, head, end)),
    ...(legend ? Object.keys(colours).flatMap((kind, i) => named(kind, labels + i * 110, height - 22)) : []),
  ]
  const fills = (dark: 0 | 1): string =>
    Object.entries(colours)
      .map(([kind, pair]) => `rect.${kind} { fill: ${pair[dark]} }`)
      .join('\n')
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(title)}">
<style>
text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #57606a }
text.title { font-size: 15px }
text.title, text.strong { font-weight: 600; fill: #24292f }
line.mark { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 4 3 }
text.mark { font-size: 12px; fill: #cf222e }
${fills(0)}
@media (prefers-color-scheme: dark) {
text { fill: #8b949e }
text.title, text.strong { fill: #e6edf3 }
line.mark { stroke: #ff7b72 }
text.mark { fill: #ff7b72 }
${fills(1)}
}
</style>
${lines.join('\n')}
</svg>
`
}

function drawn({ label, pieces, text, strong = false }: Row, y: number, scale: number): string[] {
  let x: number = size.labels
  const rects = pieces
    .filter(({ value }) => value > 0)
    .map(({ value, kind, tip }) => {
      const [at, length] = [x, Math.max(2, value * scale)]
      x += length
      const rect = `<rect class="${kind}" x="${px(at)}" y="${y + 3}" width="${px(length)}" height="${size.bar}"`
      return tip === undefined ? `${rect}/>` : `${rect}><title>${escaped(tip)}</title></rect>`
    })
  return [
    `<text${strong ? ' class="strong"' : ''} x="${size.labels - 10}" y="${y + 16}" text-anchor="end">${escaped(short(label))}</text>`,
    ...rects,
    `<text x="${px(x + 6)}" y="${y + 16}">${escaped(text)}</text>`,
  ]
}

const marked = (x: number, text: string, head: number, end: number): string[] => [
  `<line class="mark" x1="${px(x)}" x2="${px(x)}" y1="${head - 4}" y2="${end + 4}"/>`,
  `<text class="mark" x="${px(x)}" y="${end + 18}">${escaped(text)}</text>`,
]

const named = (kind: string, x: number, y: number): string[] => [
  `<rect class="${kind}" x="${x}" y="${y}" width="12" height="12"/>`,
  `<text x="${x + 18}" y="${y + 11}">${escaped(kind)}</text>`,
]
