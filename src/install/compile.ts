/**
 * The `.pyc` of noarch packages. They depend on nothing but the package and the python, so they are made once and kept in the package
 * cache, in what the package was unpacked to: `NAME-VERSION-BUILD/.conda-deploy/pyc-PYTHON/`. Who removes the package from the cache removes
 * them too, and conda does not look there. Environments share them like other files.
 */
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { parseMatchSpec } from '../conda/match-spec.js'
import { installedPath } from '../conda/noarch.js'
import { EnvError, fromSystem } from '../errors.js'
import { removeFolder } from '../tree/folders.js'
import { isAbsent } from '../tree/if-there.js'
import { compileFiles, type Source } from './compiler.js'
import type { LinkPlan, Wanted } from './link.js'
import { distOf, ownFolder, packageCaches, placeIn, stageIn, writableCache } from './packages.js'
import { isPythonSource, type Python, pycOf, pythonOf } from './python.js'
import type { RepoRecord } from './repodata.js'
import type { Request } from './request.js'

/** A python that compiles. */
export interface Compiler extends Python {
  readonly program: string
  /** `name-version-build` of its package: what it compiles is kept under this name. */
  readonly dist: string
  /** Folders of libraries that it may need. */
  readonly libraries: readonly string[]
}

/** The python among the packages, run from where it stands unpacked; null: there is none. */
export function compilerAmong(wanted: readonly Wanted[]): Compiler | null {
  const own = wanted.find(({ record }) => record.name === 'python')
  const known = pythonOf(wanted.map(({ record }) => record))
  if (own === undefined || known === null) return null
  const byName = new Map(wanted.map((one) => [one.record.name, one]))
  const needed = new Set([own])
  for (const { record } of needed)
    for (const spec of record.depends) {
      const one = byName.get(parseMatchSpec(spec).name)
      if (one !== undefined && one.record.noarch === null) needed.add(one)
    }
  return {
    ...known,
    program: join(own.unpacked.folder, 'bin', `python${known.version}`),
    dist: distOf(own.record.fn),
    libraries: [...needed].map(({ unpacked }) => join(unpacked.folder, 'lib')),
  }
}

/** The python that an environment at `root` has or, among what is wanted, will have; null: none. `records`: of all that will be there. */
export function compilerOf(wanted: readonly Wanted[], records: readonly RepoRecord[], root: string): Compiler | null {
  const lib = join(root, 'lib')
  const own = compilerAmong(wanted)
  if (own !== null) return { ...own, libraries: [...own.libraries, lib] }
  const record = records.find(({ name }) => name === 'python')
  const known = pythonOf(records)
  if (record === undefined || known === null) return null
  const program = join(root, 'bin', `python${known.version}`)
  return { ...known, program, dist: distOf(record.fn), libraries: [lib] }
}

/** What was compiled of one package. */
export interface Compiled {
  readonly folder: string
  /** In the package's own terms: `site-packages/a/__pycache__/b.cpython-311.pyc`. */
  readonly paths: ReadonlySet<string>
}

export interface CompiledPackages {
  /** By the numbers of the packages. */
  readonly packages: ReadonlyMap<number, Compiled>
  /** Files that were compiled now. */
  readonly compiled: number
  /** Why nothing could be; null: all is well. */
  readonly failed: string | null
  /** Removes what could not be kept in the cache. */
  readonly dispose: () => Promise<void>
}

type Working = Pick<Request, 'config' | 'threads' | 'signal' | 'reporter'>

/** The list of what is there; the folder gets its name when it is written. */
const listing = 'compiled.json'

/**
 * Compiles what the cache does not have compiled by this python yet, except for files into which a prefix is written. Throws NO_SPACE, PERMISSION, IO, CANCELLED; then nothing new is kept.
 */
export async function compilePackages(
  wanted: readonly Wanted[],
  python: Compiler | null,
  { config, threads, signal, reporter }: Working,
): Promise<CompiledPackages> {
  const packages = new Map<number, Compiled>()
  const done = { packages, compiled: 0, failed: null, dispose: async () => undefined }
  if (python === null) return done
  const kept = join(ownFolder, `pyc-${python.dist}`)
  const pure = [...wanted.entries()].filter(([, { record }]) => record.noarch === 'python')
  for (const [number, { unpacked }] of pure) {
    const found = compiledAt(join(unpacked.folder, kept))
    if (found !== null) packages.set(number, found)
  }
  const work = pure.filter(([number]) => !packages.has(number)).flatMap(([number, one]) => workOf(number, one, python))
  if (work.length === 0) return done
  reporter.phase('compile')
  const stage = await stageIn(await writableCache(packageCaches(config)), threads)
  const dispose = (): Promise<void> => removeFolder(stage, threads)
  try {
    // The largest are begun first.
    work.sort((a, b) => b.size - a.size)
    const sources = work.map(
      ({ number, path, name, pyc }): Source => ({ path, name, target: join(stage, String(number), pyc) }),
    )
    const wrong = await compileFiles(python.program, sources, { libraries: python.libraries, threads, signal })
    const made = new Map<number, string[]>(work.map(({ number }) => [number, []]))
    for (const [i, { number, pyc }] of work.entries()) if (!wrong.has(i)) made.get(number)?.push(pyc)
    for (const [number, paths] of made) {
      const folder = join(stage, String(number))
      const target = join(wanted[number]?.unpacked.folder ?? '', kept)
      packages.set(number, { folder: (await keep(folder, target, paths)) ? target : folder, paths: new Set(paths) })
    }
    const all = [...packages.values()].every(({ folder }) => dirname(folder) !== stage)
    if (all) await dispose()
    return { ...done, compiled: work.length - wrong.size, ...(all ? {} : { dispose }) }
  } catch (error) {
    await dispose()
    if (error instanceof EnvError) throw error
    return { ...done, failed: (error as Error).message }
  }
}

interface Work extends Omit<Source, 'target'> {
  readonly number: number
  readonly pyc: string
  readonly size: number
}

const workOf = (number: number, { unpacked }: Wanted, { version, sitePackages }: Compiler): Work[] =>
  unpacked.paths
    .filter(({ path, placeholder }) => isPythonSource(path) && placeholder === undefined)
    .map(({ path, size = 0 }) => ({
      ...{ number, size, pyc: pycOf(path, version), path: join(unpacked.folder, path) },
      name: installedPath(path, sitePackages),
    }))

/** Null: this python has not compiled it yet. Not asynchronous: four turns for each of a hundred take longer than reading them. */
function compiledAt(folder: string): Compiled | null {
  try {
    const paths = JSON.parse(readFileSync(join(folder, listing), 'utf8')) as readonly string[]
    return { folder, paths: new Set(paths) }
  } catch (error) {
    if (isAbsent(error)) return null
    throw error instanceof SyntaxError
      ? new EnvError('PACKAGE_DAMAGED', `${folder}: ${error.message}`, { path: folder, hint: 'remove this folder' })
      : fromSystem(error, 'cannot read', folder)
  }
}

/** false: it has to stay where it is, since the cache it belongs to is not ours to write, or lies on another file system. */
async function keep(folder: string, target: string, paths: readonly string[]): Promise<boolean> {
  try {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, listing), JSON.stringify(paths))
    await mkdir(dirname(target), { recursive: true })
    // Another process may have been first: what it compiled is the same.
    placeIn(folder, target)
    return true
  } catch (error) {
    const { errno = 0 } = error as NodeJS.ErrnoException
    const foreign = ['EACCES', 'EPERM', 'EROFS', 'EXDEV'].map((name) => constants.errno[name as 'EXDEV'])
    if (foreign.includes(Math.abs(errno))) return false
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot keep what was compiled in', target)
  }
}

/**
 * Compiles files that stand in a stage, and answers with how many. Files that do not compile stay as they are. `beside`: the environment
 * that has the rest of what python needs, or python itself.
 */
export async function compilePython(
  stage: string,
  beside: string | null,
  plan: Pick<LinkPlan, 'compile' | 'python'>,
  { threads, signal, warn }: Pick<Request, 'threads' | 'signal' | 'warn'>,
): Promise<number> {
  const { python: version } = plan
  if (plan.compile.length === 0 || version === null) return 0
  const sources = plan.compile.map(
    (name): Source => ({ name, path: join(stage, name), target: join(stage, pycOf(name, version)) }),
  )
  const program = join('bin', `python${version}`)
  const at = beside === null || existsSync(join(stage, program)) ? stage : beside
  const libraries = [stage, ...(beside === null ? [] : [beside])].map((root) => join(root, 'lib'))
  try {
    const wrong = await compileFiles(join(at, program), sources, { libraries, threads, signal })
    return sources.length - wrong.size
  } catch (error) {
    if (error instanceof EnvError) throw error
    warn(`Python files are not compiled: ${(error as Error).message}`)
    return 0
  }
}
