/** What being traced costs, beside strace counting the same calls. */
import type { Bar, Contender, Row, Trial } from '../contender.js'
import { has, type Lab } from '../lab.js'
import { race } from '../race.js'

/** Twenty starts of Python: enough for the start of the tracers themselves not to matter much. */
const work = (lab: Lab): string =>
  `sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do "$0" -B -c "import json, email, asyncio, unittest"; done' '${lab.env}/bin/python'`

const calls = 'trace=%file,getdents64'
const missing = (): string | undefined => (has('strace') ? undefined : 'strace is not installed')

const untraced: Contender = { name: 'not traced', command: (lab) => `exec ${work(lab)}` }
const ours: Contender = { name: 'conda-deploy trace', command: (lab) => `exec ${lab.ours} trace -q -- ${work(lab)}` }
const strace: Contender = {
  name: 'strace -f',
  command: (lab) => `exec strace -f -o /dev/null -e ${calls} ${work(lab)}`,
  missing,
}
const straceBpf: Contender = {
  name: 'strace -f --seccomp-bpf',
  command: (lab) => `exec strace -f --seccomp-bpf -o /dev/null -e ${calls} ${work(lab)}`,
  missing,
}

export const tracingTrial: Trial = {
  name: 'tracing',
  title: 'twenty starts of Python, traced',
  corpora: ['jupyter'],
  run(lab) {
    const rows = race(lab, [ours, straceBpf, strace, untraced])
    return { rows, bars: [...added(rows, straceBpf.name, 0.5), ...added(rows, strace.name, 0.5)] }
  },
}

/** Fastest runs: they say what the programs cost, the others what else the machine was doing. CPU seconds stand in the table. */
function added(rows: readonly Row[], other: string, limit: number): Bar[] {
  const fastest = (name: string): number => rows.find((row) => row.contender === name)?.fastest ?? Number.NaN
  const plain = fastest(untraced.name)
  const value = (fastest(ours.name) - plain) / (fastest(other) - plain)
  const text = `time added by conda-deploy trace ÷ by ${other}`
  return Number.isNaN(value) ? [] : [{ text, value, limit, is: 'at most' }]
}
