/** Faults at a chosen system call of a process, by `inject.c`, which says what each setting means. Linux with a C compiler only. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { constants } from 'node:os'
import { join, resolve } from 'node:path'

export interface Fault {
  /** Only calls on what lies beneath these folders count. */
  readonly beneath: readonly string[]
  /** Names of calls; default: all that change a file system. */
  readonly calls?: readonly string[]
  /** The call it comes at, from 1; default 0: none. */
  readonly at?: number
  readonly how?: 'kill' | 'torn' | 'fill' | 'crowd' | `signal ${number}` | keyof typeof constants.errno
  /** Every call from there on fails. */
  readonly sticky?: boolean
  /** For `fill` and `crowd`: where the files of the other process are made. */
  readonly fill?: string
  readonly log?: string
}

/** Why nothing can be injected here; null: it can. */
export const noInjection: string | null =
  process.platform !== 'linux'
    ? 'needs LD_PRELOAD of Linux'
    : spawnSync('cc', ['--version']).status !== 0
      ? 'needs a C compiler (cc)'
      : null

export class Injector {
  readonly #library: string
  readonly #log: string

  /** Compiles the library into `folder`, which must not be writable by others. */
  constructor(folder: string) {
    this.#library = join(folder, 'inject.so')
    this.#log = join(folder, 'inject.log')
    const source = resolve(import.meta.dirname, 'inject.c')
    if (existsSync(this.#library)) return
    execFileSync('cc', ['-O1', '-shared', '-fPIC', '-o', this.#library, source, '-ldl', '-pthread'])
  }

  /** Variables for the process that is to meet the fault. */
  env({ beneath, calls, at = 0, how = 'kill', sticky, fill, log }: Fault): Record<string, string> {
    return {
      LD_PRELOAD: this.#library,
      FAULT_BENEATH: beneath.join(':'),
      FAULT_AT: String(at),
      FAULT_HOW: /^E[A-Z0-9]+$/.test(how) ? String(constants.errno[how as keyof typeof constants.errno]) : how,
      ...(calls === undefined ? {} : { FAULT_CALLS: calls.join(',') }),
      ...(sticky ? { FAULT_STICKY: '1' } : {}),
      ...(fill === undefined ? {} : { FAULT_FILL: fill }),
      ...(log === undefined ? {} : { FAULT_LOG: log }),
    }
  }

  /** The calls that count in one undisturbed run, in their order: `name path`. */
  async trace(fault: Fault, run: (env: Record<string, string>) => Promise<unknown>): Promise<string[]> {
    rmSync(this.#log, { force: true })
    await run(this.env({ ...fault, at: 0, log: this.#log }))
    return readFileSync(this.#log, 'utf8').trimEnd().split('\n')
  }
}
