/** A bar for each run: accesses on shared and on local storage, as SVG that any page shows. Pure. */

export interface Bar {
  readonly label: string
  readonly shared: number
  readonly local: number
  readonly unknown: number
}

const width = 760
const left = 260
const right = 70
const height = 26
const gap = 12
const top = 46
const colours = { shared: '#c8442e', unknown: '#b9a233', local: '#4a8f5d' } as const

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

const short = (text: string, most: number): string => (text.length <= most ? text : `${text.slice(0, most - 1)}…`)

/** Lengths are proportional to the calls; shared ones that exist are at least a visible sliver. */
export function chart(title: string, bars: readonly Bar[]): string {
  const longest = Math.max(1, ...bars.map(({ shared, local, unknown }) => shared + local + unknown))
  const scale = (width - left - right) / longest
  const rows = bars.flatMap((bar, row) => {
    const y = top + row * (height + gap)
    let x = left
    const pieces = (['shared', 'unknown', 'local'] as const).flatMap((part) => {
      const value = bar[part]
      if (value <= 0) return []
      const length = Math.max(2, value * scale)
      const at = x
      x += length
      const tip = `<title>${value.toLocaleString('en-US')} ${part}</title>`
      return [
        `<rect x="${at.toFixed(1)}" y="${y}" width="${length.toFixed(1)}" height="${height}" fill="${colours[part]}">${tip}</rect>`,
      ]
    })
    const middle = y + height / 2 + 5
    const numbers = `${bar.shared.toLocaleString('en-US')} shared`
    return [
      `<text x="${left - 10}" y="${middle}" text-anchor="end">${escaped(short(bar.label, 34))}</text>`,
      ...pieces,
      `<text x="${(x + 8).toFixed(1)}" y="${middle}" font-size="12">${numbers}</text>`,
    ]
  })
  const bottom = top + bars.length * (height + gap) + 26
  const legend = (Object.keys(colours) as (keyof typeof colours)[]).flatMap((part, i) => {
    const x = left + i * 110
    return [
      `<rect x="${x}" y="${bottom - 22}" width="12" height="12" fill="${colours[part]}"/>`,
      `<text x="${x + 18}" y="${bottom - 12}" font-size="12">${part}</text>`,
    ]
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${bottom}" viewBox="0 0 ${width} ${bottom}" font-family="sans-serif" font-size="14">`,
    `<rect width="${width}" height="${bottom}" fill="#ffffff"/>`,
    `<text x="16" y="26" font-size="16" font-weight="bold">${escaped(title)}</text>`,
    ...rows,
    ...legend,
    '</svg>',
    '',
  ].join('\n')
}
