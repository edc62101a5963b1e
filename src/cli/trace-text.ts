/** A trace as people read it. Pure. */
import type { Comparison } from '../trace/compare.js'
import type { Explained } from '../trace/explain.js'
import { kinds } from '../trace/kinds.js'
import { directoriesOf, type TraceReport } from '../trace/report.js'
import { bytes, count, counted, duration, printable } from './text.js'

/** The line that says it all: `4,041 of 4,043 file accesses were on local disk; 2 on /shared (lustre)`. */
export function verdict(report: TraceReport): string {
  const { accesses, servers, fileSystems } = report
  const where = (server: 'shared' | 'unknown'): string =>
    fileSystems
      .filter((one) => one.server === server)
      .map(({ mount, type, calls }) => `${count(calls)} on ${printable(mount)} (${type})`)
      .join(', ')
  const rest = [
    servers.shared.calls > 0 ? where('shared') : 'none on shared storage',
    ...(servers.unknown.calls > 0 ? [`${where('unknown')}, of which it is not known`] : []),
  ]
  const kernel = servers.kernel.calls > 0 ? ` (${count(servers.kernel.calls)} more were answered by the kernel)` : ''
  return `${count(servers.local.calls)} of ${count(accesses)} file accesses were on local disk; ${rest.join('; ')}${kernel}`
}

/** The verdict, the table role × kind, and the worst folders and files. */
export function traceText(report: TraceReport, top: number): string {
  const processes = counted(report.processes, 'process', 'processes')
  const parts = [verdict(report), roleTable(report), worst(report, top), readBytes(report)]
  return [...parts.filter((part) => part !== ''), `${processes}, ${duration(report.seconds)}`].join('\n\n')
}

function roleTable({ roles }: TraceReport): string {
  const shown = kinds.filter((kind) => roles.some((role) => role.kinds[kind] !== undefined))
  const rows = roles.map((role) => [
    role.role,
    ...[role.calls, role.files, role.misses].map(count),
    ...shown.map((kind) => count(role.kinds[kind]?.calls ?? 0)),
  ])
  return columns([['', 'calls', 'files', 'missed', ...shown], ...rows])
}

function worst(report: TraceReport, top: number): string {
  if (top === 0) return ''
  const directories = directoriesOf(report).slice(0, top)
  const rank = (server: string): number => (server === 'local' ? 1 : 0)
  const files = report.files
    .filter(({ server, calls }) => server !== 'kernel' && calls > 0)
    .sort((a, b) => rank(a.server) - rank(b.server) || b.calls - a.calls)
    .slice(0, top)
  const table = (rows: readonly { calls: number; misses: number; server: string; name: string }[]): string =>
    columns(
      rows.map((row) => [
        count(row.calls),
        row.misses > 0 ? `${count(row.misses)} missed` : '',
        row.server,
        printable(row.name),
      ]),
      [2, 3],
    )
  return [
    `folders, shared ones first:\n${table(directories.map((one) => ({ ...one, name: one.directory })))}`,
    `files, shared ones first:\n${table(files.map((one) => ({ ...one, name: one.at === undefined ? one.path : `${one.path} → ${one.at}` })))}`,
  ].join('\n\n')
}

function readBytes({ bytes: all }: TraceReport): string {
  if (all === undefined) return ''
  return columns([
    ['', 'read', 'mapped'],
    ...Object.entries(all).map(([server, { read, mapped }]) => [server, bytes(read), bytes(mapped)]),
  ])
}

export function explainText(explained: readonly Explained[]): string {
  if (explained.length === 0) return 'nothing to explain: no access went to shared storage'
  return explained
    .map(({ calls, misses, files, cause, remedy, example }) => {
      const missed = misses > 0 ? `, ${count(misses)} of them missed` : ''
      return `${cause}\n  ${counted(calls, 'access', 'accesses')} to ${counted(files, 'file')}${missed}, such as ${printable(example)}\n  removed by: ${remedy}`
    })
    .join('\n')
}

export function comparisonText({ a, b, rows, onlyA, onlyB }: Comparison): string {
  const number = (name: string, value: number): string =>
    name === 'seconds' ? value.toFixed(3) : name.startsWith('bytes') ? bytes(value) : count(value)
  const table = columns([
    ['', 'A', 'B', 'B/A'],
    ...rows.map((row) => [
      row.name,
      number(row.name, row.a),
      number(row.name, row.b),
      row.a === 0 ? '' : (row.b / row.a).toFixed(2),
    ]),
  ])
  const only = (name: string, paths: readonly string[]): string[] =>
    paths.length === 0
      ? []
      : [`shared files of ${name} only: ${counted(paths.length, 'file')}, first ${printable(paths[0] ?? '')}`]
  return [
    `A: ${printable(a.join(' '))}`,
    `B: ${printable(b.join(' '))}`,
    '',
    table,
    ...only('A', onlyA),
    ...only('B', onlyB),
  ].join('\n')
}

/** Cells in columns: texts to the left, numbers to the right. */
function columns(rows: readonly (readonly string[])[], texts: readonly number[] = [0]): string {
  const most = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: most }, (_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)))
  const cell = (text: string, i: number): string =>
    texts.includes(i) ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0)
  return rows.map((row) => row.map(cell).join('  ').trimEnd()).join('\n')
}
