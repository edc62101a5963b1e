/** The verb: options, results, and that it leaves the rest of the process alone. */
import { spawn } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readReport } from '../../src/trace/compare.js'
import { type TraceOptions, trace } from '../../src/trace/trace.js'
import { temporaryFolder } from '../support/temp.js'

const run = (script: string, options: Partial<TraceOptions> = {}): ReturnType<typeof trace> =>
  trace({ argv: ['sh', '-c', script], ...options })

test('roles: target, source, declared and home, also through links', async () => {
  const folder = temporaryFolder('trace')
  for (const name of ['target', 'source', 'declared', 'home']) {
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, 'file'), 'x')
  }
  symlinkSync('../source/file', join(folder, 'target/link'))
  symlinkSync('target', join(folder, 'alias'))
  const report = await run('cat target/file source/file declared/file home/file target/link; test -e home/absent', {
    ...{
      cwd: folder,
      target: 'alias',
      source: join(folder, 'source'),
      shared: ['declared'],
      home: join(folder, 'home'),
    },
    env: { PATH: process.env['PATH'] },
  })
  const opens = (role: string): number | undefined => report.roles.find((one) => one.role === role)?.kinds.open?.calls
  expect(['target', 'source', 'declared', 'home'].map(opens)).toEqual([1, 2, 1, 1])
  expect(report.roles.find(({ role }) => role === 'home')?.misses).toBe(1)
  expect(report.servers.shared).toEqual({ calls: 1, misses: 0, files: 1 })
  expect(report.files.find(({ path }) => path === join(folder, 'target/link'))).toMatchObject({
    at: join(folder, 'source/file'),
    programs: [expect.stringMatching(/cat$/)],
  })
  expect(report.status).toBe(1)
})

test('bytes are counted where they are asked for', async () => {
  const folder = temporaryFolder('trace')
  writeFileSync(join(folder, 'file'), 'x'.repeat(100_000))
  const options = { cwd: folder, shared: [folder] }
  const without = await run('cat file > /dev/null', options)
  const having = await run('cat file > /dev/null', { ...options, bytes: true })
  expect(without.bytes).toBeUndefined()
  // cat may copy in the kernel or read: each is seen.
  expect(having.bytes?.shared.read).toBe(100_000)
  expect(having.accesses).toBe(without.accesses)
})

test('ends as the program ends', async () => {
  expect(await run('exit 9')).toMatchObject({ status: 9, signal: null })
  expect(await run('kill -USR1 $$')).toMatchObject({ status: null, signal: 'SIGUSR1' })
})

test('takes no child of this process but its own', async () => {
  const others = Array.from({ length: 5 }, (_, i) => spawn('sh', ['-c', `sleep 0.1; exit ${i}`], { stdio: 'ignore' }))
  const ends = others.map((child) => new Promise((done) => child.on('exit', done)))
  const report = await run('for i in 1 2 3 4 5 6 7 8; do (sleep 0.02); done; true')
  expect(report.status).toBe(0)
  expect(await Promise.all(ends)).toEqual([0, 1, 2, 3, 4])
})

test('two traces at a time do not see each other', async () => {
  const folder = temporaryFolder('trace')
  const both = await Promise.all(
    ['one', 'two'].map((name) =>
      run(`for i in 1 2 3 4 5 6 7 8 9; do test -e ${name}; sleep 0.01; done; true`, { cwd: folder }),
    ),
  )
  both.forEach((report, i) => {
    const seen = report.files
      .filter(({ path }) => /\/(?:one|two)$/.test(path) && path.startsWith(folder))
      .map(({ path }) => path)
    expect(seen).toEqual([join(folder, ['one', 'two'][i] ?? '')])
  })
})

test('aborting kills the whole tree', async () => {
  const controller = new AbortController()
  const started = Date.now()
  const running = run("trap '' TERM INT HUP; (sleep 60 & sleep 60); sleep 60", { signal: controller.signal })
  setTimeout(() => controller.abort(), 150)
  await expect(running).rejects.toMatchObject({ code: 'CANCELLED' })
  expect(Date.now() - started).toBeLessThan(10_000)
  await expect(run('true', { signal: controller.signal })).rejects.toMatchObject({ code: 'CANCELLED' })
})

test('wrong options and absent programs are named', async () => {
  await expect(trace({ argv: [] })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  await expect(trace({ argv: ['true'], targt: 'x' } as TraceOptions)).rejects.toThrow("unknown option 'targt'")
  await expect(trace({ argv: ['no-such-program-anywhere'] })).rejects.toMatchObject({ code: 'COMMAND_NOT_FOUND' })
  await expect(trace({ argv: ['true'], cwd: '/no/such/folder' })).rejects.toMatchObject({ code: 'IO' })
  const folder = temporaryFolder('trace')
  writeFileSync(join(folder, 'no.json'), '{"version":1}')
  await expect(readReport(join(folder, 'no.json'))).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  await expect(readReport(join(folder, 'absent'))).rejects.toMatchObject({ code: 'IO' })
})

test('a program that replaces itself a thousand times', async () => {
  const folder = temporaryFolder('trace')
  writeFileSync(join(folder, 'again.sh'), '[ "$1" -eq 0 ] && exit 11\nexec /bin/sh again.sh $(($1 - 1))\n')
  const report = await trace({ argv: ['/bin/sh', 'again.sh', '1000'], cwd: folder })
  expect(report).toMatchObject({ status: 11, executions: 1001, processes: 1 })
  expect(report.calls['execve']).toEqual({ calls: 1001, misses: 0 })
})

test('a traced program cannot be traced again, and it says so', async () => {
  const inner = `const { trace } = await import(${JSON.stringify(join(import.meta.dirname, '../../dist/index.js'))})
    await trace({ argv: ['true'] }).then(() => process.exit(0), (error) => process.exit(error.code === 'UNSUPPORTED' ? 42 : 1))`
  const report = await trace({ argv: [process.execPath, '--input-type=module', '-e', inner] })
  expect(report.status).toBe(42)
})
