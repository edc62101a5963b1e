/** `conda-deploy trace`: streams, exit statuses, files. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { TraceReport } from '../../src/trace/report.js'
import { cliFile, runCli } from '../support/run-cli.js'
import { temporaryFolder } from '../support/temp.js'

const lastLine = (text: string): string => text.trimEnd().split('\n').at(-1) ?? ''

test('stdout and the exit status are those of the program, the report is on stderr', async () => {
  const folder = temporaryFolder('trace')
  writeFileSync(join(folder, 'file'), 'content\n')
  const { status, stdout, stderr } = await runCli(['trace', '--shared', folder, '--', 'sh', '-c', 'cat file; exit 5'], {
    cwd: folder,
  })
  expect(stdout).toBe('content\n')
  expect(status).toBe(5)
  expect(stderr).toMatch(/^\d+ of \d+ file accesses were on local disk; 1 on \S+ \(\w+, declared shared\)/)
  expect(stderr).toMatch(/^declared +1 +1 +0/m)
})

test('--json is the report as the last line of stderr; --quiet says nothing', async () => {
  const { stdout, stderr } = await runCli(['trace', '--json', '--', 'sh', '-c', 'echo out; echo err >&2'])
  expect(stdout).toBe('out\n')
  expect(stderr.startsWith('err\n')).toBe(true)
  const report = JSON.parse(lastLine(stderr)) as TraceReport
  expect(report).toMatchObject({ version: 1, status: 0, command: ['sh', '-c', 'echo out; echo err >&2'] })
  expect((await runCli(['trace', '-q', '--', 'true'])).stderr).toBe('')
})

test('--fail-on ends with 3, but not in place of the status of the program', async () => {
  const folder = temporaryFolder('trace')
  const limited = (script: string, limit: string) =>
    runCli(['trace', '-q', '--shared', folder, '--fail-on', limit, '--', 'sh', '-c', script], { cwd: folder })
  const broke = await limited('test -e absent; true', 'shared>0')
  expect(broke.status).toBe(3)
  expect(broke.stderr).toContain('shared>0: it is 1')
  expect((await limited('true', 'shared>0')).status).toBe(0)
  expect((await limited('test -e absent; exit 9', 'shared>0')).status).toBe(9)
  const wrong = await limited('true', 'shard>0')
  expect(wrong.status).toBe(2)
  expect(wrong.stderr).toContain("'shard>0' is no limit")
})

test('--explain names cause and remedy', async () => {
  const home = temporaryFolder('trace')
  const script = 'test -e ~/.local/lib/python3.11/site-packages; test -e ~/.jupyter/settings.json; true'
  const { stderr } = await runCli(['trace', '--explain', '--top', '0', '--shared', home, '--', 'sh', '-c', script], {
    env: { HOME: home },
  })
  expect(stderr).toContain('removed by: PYTHONNOUSERSITE=1')
  expect(stderr).toContain('Jupyter reads its settings')
  expect(stderr).not.toContain('folders, shared ones first')
})

test('reports are written, compared and drawn', async () => {
  const folder = temporaryFolder('trace')
  const at = (name: string): string => join(folder, name)
  const traced = (output: string, script: string) =>
    runCli(['trace', '-q', '-o', output, '--shared', folder, '--', 'sh', '-c', script], { cwd: folder })
  await traced(at('a.json'), 'test -e one; test -e two; true')
  await traced(at('b.json'), 'test -e one; true')
  const { status, stdout } = await runCli(['trace', '--compare', at('a.json'), at('b.json'), '--chart', at('c.svg')])
  expect(status).toBe(0)
  expect(stdout).toMatch(/^on shared +2 +1 +0\.50$/m)
  expect(stdout).toContain(`shared files of A only: 1 file, first ${at('two')}`)
  expect(readFileSync(at('c.svg'), 'utf8')).toContain('2 shared')
  const wrong = await runCli(['trace', '--compare', at('a.json')])
  expect(wrong.status).toBe(2)
  const failed = await runCli(['trace', '-q', '-o', at('no/such/folder'), '--', 'true'])
  expect(failed.status).toBe(1)
  expect(failed.stderr).toContain('cannot write')
})

test('a signal to the program ends the trace with 128 + n, and the report still comes', async () => {
  const { status, stderr } = await runCli(['trace', '--', 'sh', '-c', 'kill -TERM $$; sleep 5'])
  expect(status).toBe(143)
  expect(stderr).toContain('file accesses were on local disk')
})

test('signals to conda-deploy are for the program', async () => {
  const folder = temporaryFolder('trace')
  const script = "trap 'echo got; exit 4' TERM; touch ready; while :; do sleep 0.05; done"
  const { status, stdout } = await runCli(['trace', '-q', '--', 'sh', '-c', script], {
    cwd: folder,
    during(child) {
      const wait = setInterval(() => {
        if (!existsSync(join(folder, 'ready'))) return
        clearInterval(wait)
        child.kill('SIGTERM')
      }, 20)
    },
  })
  expect({ status, stdout }).toEqual({ status: 4, stdout: 'got\n' })
})

test('a killed tracer takes the program with it', async () => {
  const folder = temporaryFolder('trace')
  const script = 'echo $$ > pid; while :; do sleep 0.05; done'
  await runCli(['trace', '-q', '--', 'sh', '-c', script], {
    cwd: folder,
    during(child) {
      const wait = setInterval(() => {
        if (!existsSync(join(folder, 'pid')) || readFileSync(join(folder, 'pid'), 'utf8') === '') return
        clearInterval(wait)
        child.kill('SIGKILL')
      }, 20)
    },
  })
  const pid = readFileSync(join(folder, 'pid'), 'utf8').trim()
  const isRunning = (): boolean => {
    try {
      return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  }
  for (let i = 0; i < 50 && isRunning(); i++) await new Promise((done) => setTimeout(done, 20))
  expect(isRunning()).toBe(false)
})

test('usage', async () => {
  expect(await runCli(['trace'])).toMatchObject({ status: 2, stderr: expect.stringContaining('no program is named') })
  expect(await runCli(['trace', '--', 'no-such-program'])).toMatchObject({ status: 127 })
  expect(await runCli(['trace', '--', '/etc/passwd'])).toMatchObject({ status: 126 })
  const forgotten = await runCli(['trace', 'ls', '--all'])
  expect(forgotten).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('options of the program come after --'),
  })
})

test('an interactive program has the terminal', async (context) => {
  // script(1) gives it one.
  const inner = `'${process.execPath}' '${join(import.meta.dirname, '../../dist/conda-deploy.cjs')}' trace -q -- sh -c 'test -t 0 && test -t 1 && echo terminal; exit 6'`
  const child = spawn('script', ['-qec', inner, '/dev/null'], { stdio: ['ignore', 'pipe', 'ignore'] })
  let text = ''
  child.stdout.on('data', (chunk) => (text += String(chunk)))
  const status = await new Promise<number | null>((done) => {
    child.on('error', () => done(null))
    child.on('close', done)
  })
  if (status === null) return context.skip('script(1) is not installed')
  expect({ status, text: text.trim() }).toEqual({ status: 6, text: 'terminal' })
})

test('an output that cannot be written does not hide what was counted', async () => {
  const folder = temporaryFolder('trace')
  const output = join(folder, 'absent/report.json')
  const { status, stderr } = await runCli(['trace', '-o', output, '--', 'true'])
  expect(status).toBe(1)
  expect(stderr).toMatch(/^\d+ of \d+ file accesses were on local disk/)
  expect(lastLine(stderr)).toBe(`conda-deploy: cannot write ${output}: no such file or directory`)
  const json = await runCli(['trace', '--json', '-o', output, '--', 'true'])
  const [report, error] = json.stderr.trimEnd().split('\n')
  expect([JSON.parse(report ?? ''), JSON.parse(error ?? '')]).toMatchObject([{ version: 1 }, { error: { code: 'IO' } }])
})

test('a name with a line end is one line of the report', async () => {
  const folder = temporaryFolder('trace')
  const { stderr } = await runCli(['trace', '--shared', folder, '--', 'test', '-e', join(folder, 'a\nshared  /b')])
  expect(stderr).toContain(`${folder}/a\\x0ashared  /b\n`)
})

test('an argument that is not UTF-8 is refused: the program would be told another one', () => {
  const shell = (verb: string): string => `exec "$0" "$1" ${verb} -- cat "$(printf 'caf\\351')"`
  for (const verb of ['trace', 'run x.tar.zst']) {
    const done = spawnSync('/bin/sh', ['-c', shell(verb), process.execPath, cliFile], { encoding: 'utf8' })
    expect([done.status, done.stdout]).toEqual([2, ''])
    expect(done.stderr).toContain('is not UTF-8')
  }
})
