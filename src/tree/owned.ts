/**
 * Names of unfinished things that tell whose they are: the host, the process, and when that began. What a killed process left can so be
 * removed by the next one, and never what may still be made.
 */
import { hostname } from 'node:os'
import { native } from '../native.js'
import { boot, pidSpace, startOf } from './process.js'

/** The end of a free name; at most 56 characters of letters, digits and hyphens. */
export const ownedName = (): string => `${host()}-${process.pid}-${startOf(process.pid) ?? 0}-${anyDigits()}`

/** Six. No secret: what tells names of one process apart. */
const anyDigits = (): string =>
  Math.floor(Math.random() * 0x1000000)
    .toString(16)
    .padStart(6, '0')

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
  known = native()
    .sha256(Buffer.from(`${hostname()}\n${boot()}\n${pidSpace()}`))
    .slice(0, 12)
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
