/**
 * Settings that spare a shared home folder: each keeps programs from looking there, changes nothing else about the environment, and is
 * asked for by name. They are part of the activation, so that deactivating takes them back; what is set already stays as it is.
 */
import { lstat, mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EnvError, fromSystem } from '../errors.js'
import type { Activation } from './activation.js'
import type { Variables } from './find.js'

/**
 * `user-site`: Python passes over packages installed with `pip --user`; `bytecode`: Python writes no `__pycache__`; `terminfo`: ncurses takes
 * the terminals of the environment; `caches`: caches of Jupyter, IPython, matplotlib, numba and others lie in the temporary folder (and
 * with them the settings that IPython and matplotlib keep in the same place: the ones in the home folder do not apply).
 */
export type Spare = 'user-site' | 'bytecode' | 'terminfo' | 'caches'

export const spares: readonly Spare[] = ['user-site', 'bytecode', 'terminfo', 'caches']

/** The activation with the settings added. Throws PERMISSION when the folder for caches is not ours alone, IO. */
export async function sparing(
  activation: Activation,
  what: readonly Spare[],
  now: Variables = process.env,
): Promise<Activation> {
  const added: Record<string, string> = {}
  if (what.includes('user-site')) added['PYTHONNOUSERSITE'] = '1'
  if (what.includes('bytecode')) added['PYTHONDONTWRITEBYTECODE'] = '1'
  const terminals = join(activation.prefix, 'share/terminfo')
  if (what.includes('terminfo') && (await isFolder(terminals))) added['TERMINFO'] = terminals
  if (what.includes('caches')) Object.assign(added, cacheVariables(await cacheFolder(now)))
  for (const name of Object.keys(added)) if (now[name] !== undefined) delete added[name]
  return { ...activation, variables: { ...added, ...activation.variables } }
}

const cacheVariables = (folder: string): Record<string, string> => ({
  XDG_CACHE_HOME: join(folder, 'cache'),
  JUPYTER_RUNTIME_DIR: join(folder, 'jupyter'),
  IPYTHONDIR: join(folder, 'ipython'),
  MPLCONFIGDIR: join(folder, 'matplotlib'),
  NUMBA_CACHE_DIR: join(folder, 'numba'),
  TRITON_CACHE_DIR: join(folder, 'triton'),
  CUDA_CACHE_PATH: join(folder, 'cuda'),
})

/** What is cached is executed later, so the folder must not be one that somebody else has put there. */
async function cacheFolder(now: Variables): Promise<string> {
  const user = process.getuid?.() ?? 0
  const folder = join(now['TMPDIR'] || tmpdir(), `conda-deploy-caches-${user}`)
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fromSystem(error, 'cannot make', folder)
  }
  const found = await lstat(folder).catch((error: unknown) => {
    throw fromSystem(error, 'cannot look at', folder)
  })
  if (!found.isDirectory() || found.uid !== user || (found.mode & 0o022) !== 0)
    throw new EnvError('PERMISSION', `${folder} is not a folder that only user ${user} can write`, {
      path: folder,
      hint: 'remove it, or let TMPDIR name another folder',
    })
  return folder
}

const isFolder = (path: string): Promise<boolean> =>
  lstat(path).then(
    (found) => found.isDirectory(),
    () => false, // No terminals in this environment, or none for us: ncurses looks where it always did.
  )
