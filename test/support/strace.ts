/** `strace -f` as the oracle of the tracer: the same program, its calls and paths, counted from strace's own lines. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** `call path` → [calls, misses]. */
export type Counted = Map<string, readonly [calls: number, misses: number]>

/** Why strace cannot be asked here; undefined: it can. */
export function withoutStrace(): string | undefined {
  try {
    execFileSync('strace', ['-f', '-y', '-qq', '-o', '/dev/null', '-e', 'trace=%file', 'true'], { stdio: 'pipe' })
    return undefined
  } catch (error) {
    return `strace does not run here: ${(error as Error).message.split('\n')[0]}`
  }
}

/** Calls whose first path stands in the argument after a descriptor; of `symlink*` the first text is no access. */
const twoPaths = /^(?:rename|renameat|renameat2|link|linkat)$/
const ignored = new Set(['getcwd'])

export function countByStrace(
  argv: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
): { readonly counted: Counted; readonly fstats: number; readonly status: number | null } {
  const folder = mkdtempSync(join(tmpdir(), 'conda-deploy-strace-'))
  try {
    const file = join(folder, 'log')
    const calls = 'trace=%file,getdents64,fchdir,clone,clone3,fork,vfork'
    const flags = ['-f', '-y', '-s', '4096', '-qq', '--signal=none', '-o', file, '-e', calls]
    const { status, error } = spawnSync('strace', [...flags, ...argv], { cwd, env, stdio: 'ignore' })
    if (error) throw error
    return { ...parse(readFileSync(file, 'utf8'), cwd), status }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function parse(log: string, start: string): { readonly counted: Counted; readonly fstats: number } {
  const counted: Counted = new Map()
  const folders = new Map<string, string>()
  const open = new Map<string, string>()
  let fstats = 0
  for (const line of log.split('\n')) {
    const [, pid = '', raw = ''] = /^(\d+) +(.*)$/.exec(line) ?? []
    const begun = /^(.*) <unfinished \.\.\.>$/.exec(raw)
    if (begun) {
      open.set(pid, begun[1] ?? '')
      continue
    }
    const rest = /^<\.\.\. \w+ resumed>(.*)$/.exec(raw)
    const text = rest ? `${open.get(pid) ?? ''}${rest[1] ?? ''}` : raw
    const [, name = '', args = '', result = '', error = ''] =
      /^(\w+)\((.*)\) += (-?\d+|\?)(?:<.*>)? ?([A-Z]*)/.exec(text) ?? []
    if (name === '' || ignored.has(name)) continue
    const here = folders.get(pid) ?? start
    if (/^(?:clone|clone3|fork|vfork)$/.test(name)) {
      if (!folders.has(result)) folders.set(result, here)
      continue
    }
    const paths = pathsOf(name, args, here)
    if (paths === 'fstat') {
      fstats++
      continue
    }
    if ((name === 'chdir' || name === 'fchdir') && result === '0') folders.set(pid, paths[0] ?? here)
    if (name === 'fchdir') continue
    const missed = error === 'ENOENT' || error === 'ENOTDIR'
    paths.forEach((path, i) => {
      const key = `${name} ${normal(path)}`
      const [calls, misses] = counted.get(key) ?? [0, 0]
      counted.set(key, [calls + 1, misses + (missed && i === 0 ? 1 : 0)])
    })
  }
  return { counted, fstats }
}

/** The numbers of processes differ from run to run. */
export const normal = (path: string): string => path.replace(/^\/proc\/\d+(?=\/|$)/, '/proc/PID')

function pathsOf(name: string, args: string, cwd: string): string[] | 'fstat' {
  // Descriptors with their paths, and texts, in the order of the arguments. What follows the paths (argv of execve) is left alone.
  const found = [...args.matchAll(/(?:(?:\d+|AT_FDCWD)<((?:[^>\\]|\\.)*)>)|"((?:[^"\\]|\\.)*)"/g)]
  const wanted = twoPaths.test(name) ? 2 : 1
  const paths: string[] = []
  let base: string | undefined
  let skip = name.startsWith('symlink') ? 1 : 0
  for (const [, folder, text] of found) {
    if (text === undefined) base = folder
    else if (skip > 0) skip--
    else {
      if (text === '' && args.includes('AT_EMPTY_PATH')) return 'fstat'
      const parent = base ?? cwd
      paths.push(text.startsWith('/') ? text : text === '' ? parent : `${parent === '/' ? '' : parent}/${text}`)
      if (paths.length === wanted) return paths
    }
  }
  // By descriptor: getdents64, fchdir.
  return paths.length === 0 && base !== undefined ? [base] : paths
}
