/** File systems of a test's own: mounted in a mount namespace that ends with its process, so that nothing stays whatever happens. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cliFile } from '../support/run-cli.js'

/** Why nothing can be mounted here; null: it can. */
export const noMounts: string | null = (() => {
  if (process.platform !== 'linux') return 'needs mount namespaces of Linux'
  if (process.getuid?.() !== 0) return 'needs root, to mount small file systems'
  const done = spawnSync('unshare', ['-m', 'nsenter', '--version'], { encoding: 'utf8' })
  return done.status === 0 ? null : `needs unshare and nsenter: ${done.error?.message ?? done.stderr.trim()}`
})()

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export class Space {
  readonly #holder: ChildProcess

  private constructor(holder: ChildProcess) {
    this.#holder = holder
  }

  /** `mounts`: lines of shell, run in the namespace. */
  static async open(mounts: string): Promise<Space> {
    const script = `set -e\n${mounts}\necho ready\nexec cat`
    const holder = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const [said] = await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')])
    if (String(said).trim() !== 'ready') throw new Error(`cannot mount: ${mounts}`)
    return new Space(holder)
  }

  /** Runs a program that sees the mounts. */
  run(command: readonly string[], env: Readonly<Record<string, string>> = {}): Ended {
    const all = ['-m', '-t', String(this.#holder.pid), ...command]
    const { status, stdout, stderr } = spawnSync('nsenter', all, {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    })
    return { status, stdout, stderr }
  }

  cli(args: readonly string[], env: Readonly<Record<string, string>> = {}): Ended {
    // Not for nsenter itself.
    const { LD_PRELOAD, ...rest } = env
    const preload = LD_PRELOAD === undefined ? [] : ['env', `LD_PRELOAD=${LD_PRELOAD}`]
    return this.run([...preload, process.execPath, cliFile, ...args], rest)
  }

  /** Where a path of the namespace can be looked at from outside. */
  seen(path: string): string {
    return `/proc/${this.#holder.pid}/root${path}`
  }

  async close(): Promise<void> {
    const ended = once(this.#holder, 'exit')
    this.#holder.stdin?.end()
    await ended
  }
}
