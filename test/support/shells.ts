/** The shells of this machine, and an environment whose activation has every difficulty in it. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

export interface TestShell {
  readonly name: string
  /** Program and arguments before the script's path; none reads a startup file. */
  readonly command: readonly string[]
  readonly family: 'sh' | 'fish' | 'csh'
}

export const shells: readonly TestShell[] = [
  { name: 'bash', command: ['bash', '--norc'], family: 'sh' },
  { name: 'bash --posix', command: ['bash', '--posix'], family: 'sh' },
  { name: 'zsh', command: ['zsh', '-f'], family: 'sh' },
  { name: 'dash', command: ['dash'], family: 'sh' },
  { name: 'ksh', command: ['ksh'], family: 'sh' },
  { name: 'mksh', command: ['mksh'], family: 'sh' },
  { name: 'busybox sh', command: ['busybox', 'sh'], family: 'sh' },
  { name: 'fish', command: ['fish', '--no-config'], family: 'fish' },
  { name: 'tcsh', command: ['tcsh', '-f'], family: 'csh' },
]

export const isInstalled = (program: string): boolean =>
  spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program], { stdio: 'ignore' }).status === 0

export function write(path: string, content: string | Uint8Array, mode?: number): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content, mode === undefined ? {} : { mode })
}

/** A value with everything that some shell might expand. */
export const hostile = 'it\'s "quoted" $HOME `id` \\ ! é😀 %d *'

/** Variables and scripts of an environment at `prefix`. ORDER tells which scripts ran, in which order. */
export function makeActivationFiles(prefix: string): void {
  const file = (path: string, content: string): void => write(join(prefix, path), content)
  file('conda-meta/history', '')
  file(
    'etc/conda/env_vars.d/pkg.json',
    JSON.stringify({ PKG_VAR: hostile, OVER: 'package', MULTI: 'a\nb', GONE: 'x', NUMBER: 1 }),
  )
  const state = { version: 1, env_vars: { OVER: 'state', GONE: '***unset***', 'bad-name': '1', PATH: 'evil' } }
  file('conda-meta/state', JSON.stringify(state))
  for (const [folder, mark] of [
    ['activate.d', '+'],
    ['deactivate.d', '-'],
  ] as const)
    for (const name of ['B', 'a']) {
      // The scripts of others are not written for `set -eu`, and may end with a false condition.
      file(
        `etc/conda/${folder}/${name}.sh`,
        `test -z $NOBODY_SET_THIS\nexport ORDER="\${ORDER-}${mark}${name}"\nfalse\n`,
      )
      file(`etc/conda/${folder}/${name}.fish`, `set -gx ORDER "$ORDER"${mark}${name}\n`)
      file(`etc/conda/${folder}/${name}.csh`, `setenv ORDER "\`printenv ORDER\`${mark}${name}"\n`)
    }
}

/** What a script's `SNAPSHOT name` lines saw. */
export interface Ran {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
  readonly seen: ReadonlyMap<string, Readonly<Record<string, string>>>
}

const own = new Set([
  '_',
  'PWD',
  'OLDPWD',
  'SHLVL',
  'HOST',
  'HOSTTYPE',
  'MACHTYPE',
  'OSTYPE',
  'VENDOR',
  'GROUP',
  'LOGNAME',
  'USER',
])

/** Runs a script by a shell with a small environment; `SNAPSHOT name` in it keeps the exported variables of that moment. */
export function runScript(shell: TestShell, script: string, env: Readonly<Record<string, string>> = {}): Ran {
  const text = script.replaceAll(/SNAPSHOT (\w+)/g, "echo '@@$1'; env -0; echo '@@'")
  const [program = '', ...args] = shell.command
  const base = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/dev/null', LC_ALL: 'C.UTF-8' }
  const folder = mkdtempSync(join(tmpdir(), 'conda-deploy-shell-'))
  const file = join(folder, 'script')
  writeFileSync(file, text)
  const done = spawnSync(program, [...args, file], { encoding: 'utf8', env: { ...base, ...env }, timeout: 20_000 })
  rmSync(folder, { recursive: true })
  const seen = new Map<string, Record<string, string>>()
  for (const [, name = '', block = ''] of done.stdout.matchAll(/@@(\w+)\n([\s\S]*?)@@\n/g)) {
    const pairs = block
      .split('\0')
      .map((line): [string, string] => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)])
    seen.set(name, Object.fromEntries(pairs.filter(([key]) => key !== '' && !own.has(key) && !key.startsWith('_AST'))))
  }
  return { status: done.status, stdout: done.stdout, stderr: done.stderr, seen }
}
