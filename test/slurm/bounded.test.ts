/** A program that has only so much time, and what it starts. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { runBounded } from '../../src/slurm/bounded.js'
import { temporaryFolder } from '../support/temp.js'

const work = temporaryFolder('bounded')
const env = { PATH: '/usr/bin:/bin' }
const sh = (code: string) => ['/bin/sh', '-c', code]

/** Empty: it is gone, or nobody has asked for its status yet. */
function stateOf(pid: string): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3).replace('Z', '')
  } catch {
    return ''
  }
}

describe('a program with a limit', () => {
  test('ends by itself: its status, and what it said', async () => {
    const ended = await runBounded(sh('pwd; echo "$LEAK" >&2; exit 3'), { env: { ...env, LEAK: 'x' }, timeout: 20 })
    expect(ended).toEqual({ status: 3, stdout: '/\n', stderr: 'x\n', cut: null })
  })

  test('that says more than can be kept: the end of it', async () => {
    const { stdout } = await runBounded(sh('head -c 5000000 /dev/zero | tr "\\0" a; echo end'), { env, timeout: 20 })
    expect(stdout.length).toBe(1 << 20)
    expect(stdout.endsWith('aend\n')).toBe(true)
  })

  test('is asked to end, and takes its own away', async () => {
    const file = join(work, 'half')
    const code = `touch ${file}; trap 'rm ${file}; exit 7' TERM; while :; do sleep 0.05; done`
    const ended = await runBounded(sh(code), { env, timeout: 0.5 })
    expect(ended).toMatchObject({ status: 7, cut: 'timeout' })
    expect(() => readFileSync(file)).toThrow()
  })

  test.skipIf(process.platform !== 'linux')('is made to end with all that it started, if it does not', async () => {
    const file = join(work, 'pids')
    const stubborn = `trap '' TERM; sh -c 'trap "" TERM; echo $$ >> ${file}; while :; do sleep 0.1; done' & echo $$ >> ${file}; wait; wait`
    const start = performance.now()
    const ended = await runBounded(sh(stubborn), { env, timeout: 0.5 })
    expect(ended.cut).toBe('timeout')
    expect(performance.now() - start).toBeLessThan(8000)
    const pids = readFileSync(file, 'utf8').trim().split('\n')
    expect(pids).toHaveLength(2)
    expect(pids.map(stateOf)).toEqual(['', ''])
  })

  test('one that leaves something behind which holds its output is not waited for', async () => {
    const code = 'sleep 60 & exit 0'
    const start = performance.now()
    expect(await runBounded(sh(code), { env, timeout: 1 })).toMatchObject({ cut: 'timeout' })
    expect(performance.now() - start).toBeLessThan(8000)
  })

  test('ends when it is cancelled, also before it has begun', async () => {
    for (const delay of [0, 300]) {
      const controller = new AbortController()
      if (delay === 0) controller.abort()
      else setTimeout(() => controller.abort(), delay)
      const ended = await runBounded(sh('sleep 30'), { env, timeout: 20, signal: controller.signal })
      expect(ended).toMatchObject({ status: null, cut: 'cancelled' })
    }
  })

  test('that is not there', async () => {
    await expect(runBounded(['/no/such/program'], { env, timeout: 1 })).rejects.toThrow(
      /cannot run \/no\/such\/program/,
    )
  })
})
