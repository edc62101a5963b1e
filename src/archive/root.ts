/** Which folder of an archive is the environment: the archive itself, or one that holds everything (conda-pack's `--arcroot`). */
import { EnvError } from '../errors.js'
import type { Decode } from './decode.js'
import { checkLimits, type Limits } from './limits.js'
import { beneath } from './names.js'
import { openTar } from './tar.js'

/** What environments have at their top. An archive that begins with one of these is not looked through before it is read. */
const usual = new Set([
  ...[
    'bin',
    'conda-meta',
    'condabin',
    'compiler_compat',
    'etc',
    'include',
    'lib',
    'libexec',
    'man',
    'sbin',
    'share',
    'ssl',
    'var',
  ],
  ...['x86_64-conda-linux-gnu', 'x86_64-conda_cos6-linux-gnu', 'aarch64-conda-linux-gnu', '.conda-deploy'],
])

/**
 * The path of the folder with `conda-meta` in it, `''` when it stands at the top. An archive whose first name is not a usual one is
 * decoded up to its first record, twice therefore. Throws NOT_AN_ENV when there is none.
 */
export async function findRoot(archive: string, read: Decode, limits: Limits): Promise<string> {
  const tar = openTar(archive, read)
  let first: string | null = null
  let files = 0
  let bytes = 0
  try {
    for await (const { path, kind, size } of tar.members) {
      bytes += size
      checkLimits(archive, limits, ++files, bytes)
      if (first === null && path !== '' && kind !== 'directory') {
        if (usual.has(path.split('/', 1)[0] as string)) return ''
        first = path
      }
      const root = /^(?:(.*?)\/)??conda-meta\/[^/]+\.json$/.exec(path)
      // A record further in is that of another environment, as in a base environment with an envs folder.
      if (root && beneath(root[1] ?? '', first ?? '') !== null) return root[1] ?? ''
    }
  } finally {
    tar.close()
  }
  throw new EnvError('NOT_AN_ENV', `${archive} holds no conda environment: no conda-meta folder is in it`, {
    path: archive,
  })
}
