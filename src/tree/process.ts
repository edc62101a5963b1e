/** What names a process for longer than its number does: its start, the boot of the machine, and the space that numbers count in. */
import { readFileSync, readlinkSync } from 'node:fs'

/** What a file of /proc says; null: the process has ended, or there is no /proc. */
function told(read: () => string): string | null {
  try {
    return read()
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).errno === 'number') return null
    throw error
  }
}

/** Clock ticks from the machine's boot to the start of a process: field 22 of its stat; null: there is no such process, or no way to know. */
export function startOf(pid: number): string | null {
  const stat = told(() => readFileSync(`/proc/${pid}/stat`, 'latin1'))
  // The name of the program, in parentheses, may hold anything.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
}

/** Differs after every boot; empty: not known. */
export const boot = (): string => told(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1'))?.trim() ?? ''

/** The namespace of process numbers that this process is in: its container; empty: not known. */
export const pidSpace = (): string => told(() => readlinkSync('/proc/self/ns/pid')) ?? ''
