/** Results as markdown tables. */
import type { Bar, Row } from './contender.js'

export interface Result {
  readonly trial: string
  readonly title: string
  readonly corpus: string
  readonly rows: readonly Row[]
  readonly bars: readonly Bar[]
  readonly floor?: number
  readonly text?: string
}

export const isMet = ({ value, limit, is }: Bar): boolean => (is === 'at most' ? value <= limit : value >= limit)

export function table({ trial, title, corpus, rows, bars, floor, text = '' }: Result): string {
  const timed = rows.filter((row) => !Number.isNaN(row.wall))
  const parts = [
    `### ${trial}, ${corpus}: ${title}`,
    timed.length > 0 ? times(timed, floor) : '',
    ...rows.filter((row) => row.counted !== undefined).map(counts),
    floor === undefined ? '' : `The floor: ${floor.toFixed(3)} s.`,
    text,
    bars.map(verdict).join('\n'),
  ]
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

function times(rows: readonly Row[], floor: number | undefined): string {
  const first = rows[0]?.wall ?? Number.NaN
  const sized = rows.some((row) => row.bytes !== undefined)
  const head = [
    '',
    'seconds (median)',
    'fastest–slowest',
    'of the first',
    'of the floor',
    'CPU s',
    'peak MB',
    'file MB',
  ]
  const lines = rows.map((row) => [
    row.wrong === undefined ? row.contender : `${row.contender} (${row.wrong} files wrong)`,
    row.wall.toFixed(3),
    `${row.fastest.toFixed(3)}–${row.slowest.toFixed(3)}`,
    (row.wall / first).toFixed(2),
    floor === undefined ? '' : (row.wall / floor).toFixed(2),
    // Of a phase only the time is known.
    Number.isNaN(row.cpu) ? '' : row.cpu.toFixed(2),
    Number.isNaN(row.memory) ? '' : (row.memory / 1e6).toFixed(0),
    row.bytes === undefined ? '' : (row.bytes / 1e6).toFixed(1),
  ])
  const shown = head.map((_, i) => (i !== 4 || floor !== undefined) && (i !== 7 || sized))
  return [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.filter((_, i) => shown[i]).join(' | ')} |`)
    .join('\n')
}

const counts = ({ contender, counted = {} }: Row): string =>
  `${contender}: ${Object.entries(counted)
    .map(([name, count]) => `${name} ${count.toLocaleString('en-US')}`)
    .join(', ')}`

const verdict = (bar: Bar): string =>
  `- ${isMet(bar) ? 'met' : 'MISSED'}: ${bar.text}: ${bar.value.toFixed(2)} (${bar.is} ${bar.limit})`
