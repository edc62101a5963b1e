/** A home folder of its own for tests of whole verbs: nothing of the caller's conda, pip or servers gets in. */
import { join } from 'node:path'
import { beforeEach, vi } from 'vitest'

const foreign = [
  'CONDARC',
  'CONDA_PREFIX',
  'CONDA_EXE',
  'CONDA_ROOT',
  'MAMBA_ROOT_PREFIX',
  'CONDA_ENVS_PATH',
  'CONDA_ENVS_DIRS',
]
const others = [
  'CONDA_PKGS_DIRS',
  'CONDA_TOKEN',
  'XDG_CONFIG_HOME',
  'XDG_CACHE_HOME',
  'NETRC',
  'PIP_FIND_LINKS',
  'http_proxy',
]

/** The home folder for every test of the file, and the variables for programs that it starts. */
export function sandbox(folder: string): { readonly home: string; readonly env: Readonly<Record<string, string>> } {
  const home = join(folder, 'home')
  beforeEach(() => {
    vi.stubEnv('HOME', home)
    for (const name of [...foreign, ...others]) vi.stubEnv(name, undefined)
    return () => vi.unstubAllEnvs()
  })
  return { home, env: { HOME: home } }
}
