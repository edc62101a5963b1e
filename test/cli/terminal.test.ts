/** Signals, closed readers and terminals: what a transcript of plain streams does not show. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, truncateSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { cliFile, runCli } from '../support/run-cli.js'
import { makeSample, must, packed } from './sample.js'

const sample = makeSample()
const large = makeSample()
const target = join(large.folder, 'node/env')
const parent = join(large.folder, 'node')

beforeAll(async () => {
  // Enough to write that a signal comes while it is written; holes are packed and read fast.
  for (let i = 0; i < 8; i++) {
    writeFileSync(join(large.prefix, `large-${i}`), '')
    truncateSync(join(large.prefix, `large-${i}`), 32 << 20)
  }
  await packed(sample)
  await packed(large)
  mkdirSync(parent)
})

describe('signals', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s while it deploys ends with %d and leaves nothing', async (signal, status) => {
    let sent = false
    const done = await runCli([large.archive, '--to', target], {
      during: (child) => {
        const watcher = watch(parent, (_, name) => {
          if (name?.endsWith('.stage') && !sent) sent = child.kill(signal)
        })
        child.once('close', () => watcher.close())
      },
    })
    expect(sent).toBe(true)
    expect(done).toMatchObject({ status, signal: null, stdout: '' })
    expect(readdirSync(parent)).toEqual([])
  })

  test("a signal for a program that runs is the program's", async () => {
    const deployed = join(sample.folder, 'run')
    const script = 'trap "echo stopped; exit 9" TERM; echo ready; while :; do sleep 0.05; done'
    const done = await runCli(['run', sample.archive, '--to', deployed, '--', 'sh', '-c', script], {
      during: (child) => {
        child.stdout?.once('data', () => child.kill('SIGTERM'))
      },
    })
    expect(done).toMatchObject({ status: 9, stdout: 'ready\nstopped\n' })
  })
})

describe.skipIf(!existsSync('/dev/full'))('a full disk', () => {
  const onFull = (redirected: string) =>
    spawnSync(
      'bash',
      ['-c', `"${process.execPath}" "${cliFile}" inspect "${sample.archive}" ${redirected} /dev/full`],
      {
        encoding: 'utf8',
      },
    )

  test('beneath stdout fails plainly: the result is lost', () => {
    const { status, stderr } = onFull('>')
    expect(status).toBe(75)
    expect(stderr).toMatch(/^conda-deploy: cannot write the result to stdout: no space left on device/)
    expect(stderr).not.toMatch(/^ {4}at /m)
  })

  test('beneath stderr ends no work', () => {
    const deployed = join(sample.folder, 'quiet')
    const command = `"${process.execPath}" "${cliFile}" "${sample.archive}" --to "${deployed}" 2> /dev/full`
    expect(spawnSync('bash', ['-c', command], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stdout: `${deployed}\n`,
    })
  })
})

describe('readers that go away', () => {
  test('are no error', () => {
    const command = `"${process.execPath}" "${cliFile}" inspect "${sample.archive}" --json | true; echo "\${PIPESTATUS[0]}"`
    const done = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
    expect(done).toMatchObject({ stdout: '0\n', stderr: '' })
  })
})

/** Runs the CLI with both streams on a terminal of 80 columns. */
function onTerminal(args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const program = `
import os, pty, sys, fcntl, termios, struct
pid, master = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
out = b''
while True:
    try:
        data = os.read(master, 65536)
    except OSError:
        break
    if not data:
        break
    out += data
os.waitpid(pid, 0)
sys.stdout.buffer.write(out)
`
  const { PATH, HOME } = process.env
  const done = spawnSync('python3', ['-c', program, process.execPath, cliFile, ...args], {
    encoding: 'utf8',
    env: { PATH, HOME, TERM: 'xterm', ...env },
  })
  expect(done.status, done.stderr).toBe(0)
  return done.stdout
}

const hasPython = spawnSync('python3', ['--version']).status === 0
if (!hasPython) console.warn('skipped: test/cli/terminal: no python3 to make a terminal with')

describe.skipIf(!hasPython)('on a terminal', () => {
  test('progress is one line that is gone at the end', () => {
    const out = onTerminal([large.archive, '--to', join(large.folder, 'shown')])
    expect(out).toMatch(/\rextract +\d+ % {2}[\d.]+ \w+ of 268 MB/)
    const clear = '\x1b[K'
    for (const drawn of out.split('\r').filter((line) => line.startsWith('extract'))) {
      expect(drawn.endsWith(clear)).toBe(true)
      expect(drawn.length).toBeLessThan(80 + clear.length)
    }
    // After the last drawing the line is cleared before anything else is printed.
    expect(out.slice(out.lastIndexOf('\rextract') + 1)).toContain(`\r${clear}`)
  })

  test('there is none with --quiet or on a dumb terminal', () => {
    const quiet = onTerminal([sample.archive, '--to', join(sample.folder, 'hushed'), '--quiet'])
    expect(quiet).toBe(`${join(sample.folder, 'hushed')}\r\n`)
    const dumb = onTerminal([sample.archive, '--to', join(sample.folder, 'dumb')], { TERM: 'dumb' })
    expect(dumb).not.toContain('\x1b')
  })

  test('JSON is indented, and errors have colour unless NO_COLOR', () => {
    expect(onTerminal(['verify', '--json', '-q', sample.archive])).toContain('{\r\n  "path": ')
    expect(onTerminal(['inspect', 'nowhere.tar.zst'])).toContain('\x1b[31mconda-deploy:\x1b[0m')
    expect(onTerminal(['inspect', 'nowhere.tar.zst'], { NO_COLOR: '1' })).not.toContain('\x1b')
  })
})

test('--verbose tells the phases', async () => {
  const { stderr } = await must([sample.archive, '--to', join(sample.folder, 'verbose'), '--verbose'])
  expect(stderr).toMatch(/^plan: [\d.]+ s\nextract: [\d.]+ s\npublish: [\d.]+ s\ndeployed /)
})
