/**
 * Names of unfinished things that tell whose they are: the host, the process, and when that began. What a killed process left can so be
 * removed by the next one, and never what may still be made.
 */
import { createHash } from 'node:crypto'
import { hostname } from 'node:os'
import { boot, pidSpace, startOf } from './process.js'

/** Hexadecimal digits, at most twelve, for a name that is free and no secret: for those Node loads its crypto in 13 ms. */
export const randomName = (digits: number): string =>
  Math.random().toString(16).slice(2).padEnd(12, '0').slice(0, digits)

/** The end of a free name; at most 56 characters of letters, digits and hyphens. */
export const ownedName = (): string => `${host()}-${process.pid}-${startOf(process.pid) ?? 0}-${randomName(6)}`

/** Whether `name`, made by `ownedName` and whatever was put behind it after a dot, is of a process of this host that has ended. */
export function isAbandoned(name: string): boolean {
  const [, at, pid, start] = /^([0-9a-f]{12})-(\d+)-(\d+)-[0-9a-f]{6}(?:\..*)?$/.exec(name) ?? []
  if (pid === undefined || at !== host()) return false
  const now = startOf(Number(pid))
  return !isAlive(Number(pid)) || (now !== null && start !== '0' && now !== start)
}

/** Where a process number means the same process: this machine since it started, and this container. */
let known: string | undefined
function host(): string {
  if (known !== undefined) return known
  known = createHash('sha256').update(`${hostname()}\n${boot()}\n${pidSpace()}`).digest('hex').slice(0, 12)
  return known
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
