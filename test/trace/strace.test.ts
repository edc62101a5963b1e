/**
 * The tracer counts what `strace -f` counts: the same calls, paths and misses. Differences by design: fstat by another name
 * (newfstatat with an empty path) is no access to a path, getcwd names none, and a rename is an access to both of its paths.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { native, runJob } from '../../src/native.js'
import type { Traced } from '../../src/traced.js'
import { type Counted, countByStrace, normal, withoutStrace } from '../support/strace.js'
import { temporaryFolder } from '../support/temp.js'

const env = {
  PATH: process.env['PATH'] ?? '/usr/bin:/bin',
  LC_ALL: 'C',
  PYTHONDONTWRITEBYTECODE: '1',
  HOME: temporaryFolder('home'),
}
const reason = withoutStrace()
if (reason !== undefined) console.log(`skipped: test/trace/strace.test.ts: ${reason}`)

function counted(traced: Traced): Counted {
  const all: Counted = new Map()
  for (const { path, counts } of traced.paths)
    for (let i = 0; i + 2 < counts.length; i += 3) {
      const [call = 0, calls = 0, misses = 0] = counts.slice(i, i + 3)
      const key = `${traced.calls[call]} ${normal(path)}`
      const [c, m] = all.get(key) ?? [0, 0]
      all.set(key, [c + calls, m + misses])
    }
  return all
}

const plain = (all: Counted): Record<string, readonly number[]> => Object.fromEntries([...all].sort())

/** Traces twice with each, so that what only a first run does (caches) is seen by neither. */
async function compare(
  argv: readonly string[],
  cwd: string,
): Promise<{ readonly traced: Traced; readonly fstats: number }> {
  const job = { argv, env: Object.entries(env).map(([k, v]) => `${k}=${v}`), cwd, bytes: false, foreground: false }
  const run = (): Promise<Traced> => runJob((counters) => native().trace(job, counters))
  await run()
  const traced = await run()
  const { counted: expected, fstats, status } = countByStrace(argv, cwd, env)
  expect(traced.status).toBe(status)
  expect(plain(counted(traced))).toEqual(plain(expected))
  expect(expected.size).toBeGreaterThan(0)
  return { traced, fstats }
}

const python = ((): string | undefined => {
  try {
    return execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim()
  } catch {
    return undefined
  }
})()

function compiled(folder: string, source: string, ...flags: string[]): string | undefined {
  writeFileSync(join(folder, 'program.c'), source)
  try {
    execFileSync('cc', ['-O1', '-o', join(folder, 'program'), join(folder, 'program.c'), ...flags], { stdio: 'pipe' })
    return join(folder, 'program')
  } catch {
    return undefined
  }
}

describe.skipIf(reason !== undefined)('as strace -f counts', () => {
  test.skipIf(python === undefined)('python importing many modules', async () => {
    const { traced, fstats } = await compare(
      [python ?? '', '-c', 'import json, email, asyncio, unittest, xml.dom, http.server'],
      '/',
    )
    expect(traced.paths.length).toBeGreaterThan(200)
    // What is left out, and why it is worth it: a large part of all calls.
    expect(fstats).toBeGreaterThan(100)
  })

  test('a shell script that forks', async () => {
    const folder = temporaryFolder('strace')
    writeFileSync(join(folder, 'list'), 'a\nb\nc\n')
    const script =
      'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do cat list | sort | head -1 > /dev/null; test -e absent; [ -d / ]; done; ' +
      '(cd / && ls > /dev/null); ls sub/../list absent 2>/dev/null; exit 6'
    mkdirSync(join(folder, 'sub'))
    const { traced } = await compare(['sh', '-c', script], folder)
    expect(traced.status).toBe(6)
    expect(traced.processes).toBeGreaterThan(36)
  })

  test('a program with threads', async (context) => {
    const folder = temporaryFolder('strace')
    const program = compiled(
      folder,
      `#include <pthread.h>
       #include <sys/stat.h>
       #include <fcntl.h>
       #include <unistd.h>
       static void* work(void* path) { struct stat s; for (int i = 0; i < 200; i++) { stat(path, &s); access("/absent", 0); } return 0; }
       int main(void) { pthread_t t[8]; for (int i = 0; i < 8; i++) pthread_create(&t[i], 0, work, i % 2 ? "/etc" : "/etc/absent");
         for (int i = 0; i < 8; i++) pthread_join(t[i], 0); return 0; }`,
      '-pthread',
    )
    if (program === undefined) return context.skip('there is no C compiler')
    const { traced } = await compare([program], folder)
    expect(traced.threads).toBe(8)
  })

  test('a static program', async (context) => {
    const folder = temporaryFolder('strace')
    const program = compiled(
      folder,
      `#include <unistd.h>
       #include <fcntl.h>
       #include <sys/stat.h>
       int main(void) { struct stat s; char b[99]; for (int i = 0; i < 10; i++) close(open("program.c", O_RDONLY)); stat("absent/x", &s);
         lstat("/etc", &s); readlink("/proc/self/exe", b, 99); mkdir("made", 0700); rmdir("made"); return open("program.c/x", 0) < 0 ? 0 : 1; }`,
      '-static',
    )
    if (program === undefined) return context.skip('there is no C compiler, or no static libc')
    const { traced } = await compare([program], folder)
    expect(traced.paths.length).toBeLessThan(10)
  })

  test.skipIf(python === undefined)('a program that changes folders and uses descriptors of folders', async () => {
    const folder = temporaryFolder('strace')
    mkdirSync(join(folder, 'd/sub'), { recursive: true })
    writeFileSync(join(folder, 'd/file'), 'x')
    symlinkSync('sub', join(folder, 'd/link'))
    const code = `
import os
d = os.open('d', os.O_RDONLY)
os.stat('sub', dir_fd=d); os.stat('link', dir_fd=d, follow_symlinks=False); os.readlink('link', dir_fd=d)
os.chdir('d'); os.stat('file'); open('sub/f', 'w').close(); os.rename('sub/f', 'g'); os.link('g', 'h', src_dir_fd=d)
os.unlink('g'); os.unlink('h', dir_fd=d); os.symlink('nothing', 'dangling', dir_fd=d); os.unlink('dangling', dir_fd=d)
for missing in ('absent', 'file/x'):
    try: os.stat(missing)
    except OSError: pass
os.mkdir('m'); os.chmod('m', 0o700); os.utime('m'); os.rmdir('m'); os.truncate('file', 1); os.statvfs('file')
if os.fork() == 0:
    os.chdir('sub'); os.access('../file', os.R_OK); os._exit(0)
os.wait(); os.fchdir(d); os.stat('file')
list(os.fwalk('.')); list(os.scandir('sub')); os.listdir(d)
os.chdir('..'); os.stat('d')
`
    await compare([python ?? '', '-S', '-c', code], folder)
  })
})
