/**
 * What causes an access to shared storage, and what would remove it. Pure.
 */
import { basename } from 'node:path'
import { habits } from './habits.js'
import type { TracedFile, TraceReport } from './report.js'

export interface Explained {
  readonly cause: string
  readonly remedy: string
  readonly calls: number
  readonly misses: number
  readonly files: number
  /** The most used one. */
  readonly example: string
  readonly programs: readonly string[]
}

interface Explanation {
  readonly cause: string
  readonly remedy: string
}

/** The path beneath the home folder, by any of the names of either; '': the home folder itself. */
function withinHome({ path, at = path }: TracedFile, homes: readonly string[]): string | undefined {
  for (const home of homes)
    for (const name of [path, at]) if (`${name}/`.startsWith(`${home}/`)) return name.slice(home.length + 1)
  return undefined
}

function explainFile(file: TracedFile, report: TraceReport, homes: readonly string[]): Explanation {
  const { path, role } = file
  // Most environments lie in the home folder, and are no habit of a program.
  if (role === 'source')
    return {
      cause: 'the environment is still used where it came from',
      remedy: 'activate the deployed one; look for its old path in PATH, PYTHONPATH, LD_LIBRARY_PATH and kernel specs',
    }
  const within = withinHome(file, homes)
  const habit = within === undefined ? undefined : habits.find((one) => one.home.test(within))
  if (habit !== undefined) return habit
  if (file.kinds.change !== undefined && /\/__pycache__(\/|$)/.test(path))
    return {
      cause: 'Python writes compiled modules (__pycache__)',
      remedy: 'PYTHONDONTWRITEBYTECODE=1 or PYTHONPYCACHEPREFIX; conda-deploy run --spare bytecode',
    }
  if (role === 'target')
    return {
      cause: 'the target itself lies on shared storage',
      remedy: 'deploy to local disk: --to, or $CONDA_DEPLOY_ROOT',
    }
  if (within === '')
    return {
      cause: 'the home folder itself is looked at',
      remedy: 'HOME on local disk, if nothing else is needed from it',
    }
  if (path === report.cwd || report.cwd.startsWith(`${path}/`))
    return {
      cause: 'the working folder, or one above it, is looked at',
      remedy: 'start the program in a folder on local disk',
    }
  if (report.command.some((word) => word !== '' && (path === word || path.endsWith(`/${word}`))))
    return {
      cause: 'the file is named on the command line',
      remedy: 'none: it is the work itself; copy it to local disk if it is read often',
    }
  if (path.startsWith(`${report.cwd}/`))
    return {
      cause: 'a file in the working folder',
      remedy: 'start the program in a folder on local disk, or copy what it reads there',
    }
  const asked = file.programs.map((program) => basename(program)).join(', ')
  return {
    cause: `${asked === '' ? 'a program' : asked} asks for it by name`,
    remedy: 'not known; see which setting names this path',
  }
}

/** Every access to shared storage is in exactly one row; most calls first. `homes`: HOME as it was for the program, and what else the folder is called. */
export function explain(report: TraceReport, ...homes: readonly string[]): Explained[] {
  const all = new Map<string, TracedFile[]>()
  const why = new Map<string, Explanation>()
  for (const file of report.files) {
    if (file.server !== 'shared' || file.calls === 0) continue
    const found = explainFile(file, report, homes)
    why.set(found.cause, found)
    const others = all.get(found.cause)
    if (others === undefined) all.set(found.cause, [file])
    else others.push(file)
  }
  return [...all]
    .map(([cause, files]) => ({
      cause,
      remedy: why.get(cause)?.remedy ?? '',
      calls: files.reduce((sum, { calls }) => sum + calls, 0),
      misses: files.reduce((sum, { misses }) => sum + misses, 0),
      files: new Set(files.map(({ path }) => path)).size,
      example: files[0]?.path ?? '',
      programs: [...new Set(files.flatMap(({ programs }) => programs))].slice(0, 4),
    }))
    .sort((a, b) => b.calls - a.calls)
}
