/** `--fail-on 'shared>0'`: limits that a report must keep. */
import { EnvError } from '../errors.js'
import { roles } from './classify.js'
import type { TraceReport } from './report.js'

export type Operator = '>' | '>=' | '<' | '<=' | '==' | '!='

export interface Limit {
  readonly text: string
  readonly subject: string
  readonly part: 'calls' | 'misses' | 'files'
  readonly operator: Operator
  readonly number: number
}

export interface Breach {
  readonly limit: string
  readonly found: number
}

const operators: Readonly<Record<Operator, (a: number, b: number) => boolean>> = {
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
}

const servers = ['local', 'shared', 'unknown', 'kernel'] as const
const subjects: readonly string[] = [...servers, ...roles.filter((role) => role !== 'kernel'), 'accesses']

/** `shared>0`, `home.misses >= 10`, `target.files<1`. Throws INVALID_OPTION. */
export function parseLimit(text: string): Limit {
  const match = /^\s*([a-z]+)(?:\.(calls|misses|files))?\s*(>=|<=|==|!=|>|<)\s*(\d{1,15})\s*$/.exec(text)
  const [, subject = '', part = 'calls', operator = '', number = ''] = match ?? []
  if (match === null || !subjects.includes(subject) || (subject === 'accesses' && match[2] !== undefined))
    throw new EnvError('INVALID_OPTION', `'${text}' is no limit: expected a name, a comparison and a number`, {
      hint: `for example shared>0 or home.misses>=10; names are ${subjects.join(', ')}`,
    })
  return { text, subject, part: part as Limit['part'], operator: operator as Operator, number: Number(number) }
}

/** The limits that hold, which is what they are to fail on. */
export function breaches(report: TraceReport, limits: readonly Limit[]): Breach[] {
  return limits.flatMap((limit) => {
    const found = measured(report, limit)
    return operators[limit.operator](found, limit.number) ? [{ limit: limit.text, found }] : []
  })
}

function measured(report: TraceReport, { subject, part }: Limit): number {
  if (subject === 'accesses') return report.accesses
  const server = servers.find((one) => one === subject)
  if (server !== undefined) return report.servers[server][part]
  return report.roles.find(({ role }) => role === subject)?.[part] ?? 0
}
