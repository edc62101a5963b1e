/** A directory that nobody may touch, and the process that would have it touched. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'

export interface Victim {
  readonly folder: string
  /** Fails when anything in it, or its modes, changed. */
  intact(): void
}

/** Has what a stage has, so that whoever is led there finds the names it looks for. */
export function makeVictim(folder: string): Victim {
  for (const one of ['', '.conda-deploy', 'lib', 'conda-meta']) mkdirSync(join(folder, one), { mode: 0o700 })
  for (const one of ['file', '.conda-deploy/other']) writeFileSync(join(folder, one), 'untouched', { mode: 0o600 })
  const seen = (): unknown => {
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()
    return ['', ...names].map((name) => {
      const stat = statSync(join(folder, name))
      return [name, stat.mode, stat.uid, stat.mtimeMs, stat.isFile() ? readFileSync(join(folder, name), 'utf8') : '']
    })
  }
  chmodSync(folder, 0o700)
  const before = seen()
  return { folder, intact: () => expect(seen()).toEqual(before) }
}

const script = join(import.meta.dirname, 'swapper.mjs')

/** Runs `work` while another process swaps directories for links. `as`: a user id. */
export async function whileSwapped(
  args: { folder: string; depth: number; pattern: string; victim: string; as?: number },
  work: () => Promise<void>,
): Promise<void> {
  const { folder, depth, pattern, victim, as } = args
  const child: ChildProcess = spawn(process.execPath, [script, folder, String(depth), pattern, victim], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...(as === undefined ? {} : { uid: as, gid: as }),
  })
  try {
    await once(child.stdout as NodeJS.ReadableStream, 'data')
    await work()
  } finally {
    child.kill('SIGKILL')
    await once(child, 'close')
  }
}
