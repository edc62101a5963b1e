/** A bar for each run: accesses on shared and on local storage, as SVG that any page shows. Pure. */
import { bars } from './bars.js'

export interface Bar {
  readonly label: string
  readonly shared: number
  readonly local: number
  readonly unknown: number
}

const colours = {
  shared: ['#c8442e', '#e5634d'],
  unknown: ['#b9a233', '#cdb646'],
  local: ['#4a8f5d', '#5fa873'],
} as const
const count = (value: number): string => value.toLocaleString('en-US')

/** Lengths are in proportion to the calls. */
export const chart = (title: string, runs: readonly Bar[]): string =>
  bars({
    title,
    colours,
    legend: true,
    rows: runs.map((run) => ({
      label: run.label,
      pieces: (['shared', 'unknown', 'local'] as const).map((kind) => ({
        ...{ kind, value: run[kind], tip: `${count(run[kind])} ${kind}` },
      })),
      text: `${count(run.shared)} shared`,
    })),
  })
