/** A program that gets no more than its time: it and all that it started end with it. */
import { spawn } from 'node:child_process'
import { fromSystem } from '../errors.js'

export interface Bounds {
  readonly env: Readonly<Record<string, string>>
  /** Seconds. */
  readonly timeout: number
  /** Aborting it ends the program as the timeout does. */
  readonly signal?: AbortSignal | undefined
}

export interface Ended {
  /** Null: a signal ended it, or nothing could. */
  readonly status: number | null
  /** The last `mostOutput` bytes of each. */
  readonly stdout: string
  readonly stderr: string
  /** Why it did not end by itself. */
  readonly cut: 'timeout' | 'cancelled' | null
}

const mostOutput = 1 << 20
/** Milliseconds between asking a program to end, upon which it takes away what it half made, and making it. */
const grace = 3000
/** Milliseconds after which one that waits for a dead file server, which no signal ends, is left to itself. */
const patience = 1000

/** Runs a program in a process group of its own. Throws IO, PERMISSION where it cannot be started. */
export function runBounded([program = '', ...args]: readonly string[], bounds: Bounds): Promise<Ended> {
  const { env, timeout, signal } = bounds
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, cwd: '/', detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
    const texts = [collect(child.stdout), collect(child.stderr)]
    let cut: Ended['cut'] = null
    let hard: NodeJS.Timeout | undefined
    let last: NodeJS.Timeout | undefined
    const soft = setTimeout(() => end('timeout'), timeout * 1000)
    const cancel = (): void => end('cancelled')
    const stop = (): void => {
      for (const timer of [soft, hard, last]) clearTimeout(timer)
      signal?.removeEventListener('abort', cancel)
    }
    const done = (status: number | null): void => {
      stop()
      const [stdout = '', stderr = ''] = texts.map((text) => text())
      resolve({ status, stdout, stderr, cut })
    }
    const leave = (): void => {
      child.stdout.destroy()
      child.stderr.destroy()
      child.unref()
      done(null)
    }
    function end(why: NonNullable<Ended['cut']>): void {
      if (cut !== null) return
      cut = why
      killGroup(child.pid, 'SIGTERM')
      hard = setTimeout(() => {
        killGroup(child.pid, 'SIGKILL')
        last = setTimeout(leave, patience)
      }, grace)
    }
    signal?.addEventListener('abort', cancel, { once: true })
    child.once('error', (error) => {
      stop()
      reject(fromSystem(error, 'cannot run', program))
    })
    // What it started may outlive it, and hold its pipes.
    child.once('exit', () => cut !== null && killGroup(child.pid, 'SIGKILL'))
    child.once('close', done)
    if (signal?.aborted) cancel()
  })
}

/** The last line that a program said, where it is JSON; null: it is none, as it died before it could say it. */
export function lastJson(text: string): unknown {
  try {
    return JSON.parse(text.trim().split('\n').at(-1) ?? '')
  } catch {
    return null
  }
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let kept = Buffer.alloc(0)
  stream.on('data', (chunk: Buffer) => {
    kept = Buffer.concat([kept, chunk]).subarray(-mostOutput)
  })
  return () => kept.toString('utf8')
}

function killGroup(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
