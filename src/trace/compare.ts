/** Two reports side by side. Reports are read back from files, so what is in them is checked. */
import { readFile } from 'node:fs/promises'
import { EnvError, fromSystem } from '../errors.js'
import { roles } from './classify.js'
import { kinds } from './kinds.js'
import type { TraceReport } from './report.js'

export interface ComparedRow {
  readonly name: string
  readonly a: number
  readonly b: number
}

export interface Comparison {
  readonly a: readonly string[]
  readonly b: readonly string[]
  readonly rows: readonly ComparedRow[]
  /** Shared files of the one run that the other did not ask for, most calls first. */
  readonly onlyA: readonly string[]
  readonly onlyB: readonly string[]
}

/** Pure. Rows that are 0 on both sides are left out. */
export function compareReports(a: TraceReport, b: TraceReport): Comparison {
  const byRole = (report: TraceReport, role: string): number =>
    report.roles.find((one) => one.role === role)?.calls ?? 0
  const byKind = (report: TraceReport, kind: (typeof kinds)[number]): number =>
    report.roles.reduce((sum, role) => sum + (role.role === 'kernel' ? 0 : (role.kinds[kind]?.calls ?? 0)), 0)
  const row = (name: string, of: (report: TraceReport) => number): ComparedRow => ({ name, a: of(a), b: of(b) })
  const rows = [
    row('accesses', (r) => r.accesses),
    row('on shared', (r) => r.servers.shared.calls),
    row('on shared, missed', (r) => r.servers.shared.misses),
    row('on shared, files', (r) => r.servers.shared.files),
    row('on local', (r) => r.servers.local.calls),
    row('on unknown', (r) => r.servers.unknown.calls),
    ...roles.filter((role) => role !== 'kernel').map((role) => row(`of ${role}`, (r) => byRole(r, role))),
    ...kinds.filter((kind) => kind !== 'read').map((kind) => row(kind, (r) => byKind(r, kind))),
    row('bytes read, shared', (r) => r.bytes?.shared.read ?? 0),
    row('seconds', (r) => r.seconds),
  ]
  const shared = (report: TraceReport): string[] =>
    report.files.filter(({ server, calls }) => server === 'shared' && calls > 0).map(({ path }) => path)
  const without = (all: readonly string[], others: ReadonlySet<string>): string[] =>
    all.filter((one) => !others.has(one))
  return {
    a: a.command,
    b: b.command,
    rows: rows.filter((one) => one.a !== 0 || one.b !== 0),
    onlyA: without(shared(a), new Set(shared(b))),
    onlyB: without(shared(b), new Set(shared(a))),
  }
}

/** A report that `trace --output` wrote. Throws IO, PERMISSION, INVALID_OPTION (not a report). */
export async function readReport(path: string): Promise<TraceReport> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw fromSystem(error, 'cannot read', path)
  })
  const value = parse(text)
  if (!isReport(value))
    throw new EnvError('INVALID_OPTION', `${path} is no report of 'conda-deploy trace --output' (version 1)`, { path })
  return value
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isReport(value: unknown): value is TraceReport {
  const report = value as Partial<TraceReport> | null | undefined
  return (
    typeof report === 'object' &&
    report !== null &&
    report.version === 1 &&
    typeof report.accesses === 'number' &&
    typeof report.servers?.shared?.calls === 'number' &&
    typeof report.servers?.local?.calls === 'number' &&
    typeof report.servers?.unknown?.calls === 'number' &&
    Array.isArray(report.roles) &&
    Array.isArray(report.files) &&
    Array.isArray(report.command)
  )
}
