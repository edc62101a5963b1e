/**
 * Which folder of an archive is the environment: the archive itself, or one that holds everything (conda-pack's `--arcroot`). Pure.
 */
import { beneath } from './names.js'

interface Named {
  readonly path: string
  readonly kind: string
}

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

/** Whether environments have something of this name at their top. Pure. */
export const isUsual = (top: string): boolean => usual.has(top)

/** The folder, by the first members of an archive; null: they do not tell. */
export function guessRoot(members: readonly Named[]): string | null {
  const first = members.find(({ path, kind }) => path !== '' && kind !== 'directory')
  if (first === undefined) return null
  if (isUsual(first.path.split('/', 1)[0] as string)) return ''
  return recordRoot(members, first.path)
}

/**
 * The folder above the first `conda-meta` with a record in it; null: there is none. `first`: the first thing in the archive that is
 * no directory: a record further in than it is that of another environment, as in a base environment with an envs folder.
 */
export function recordRoot(members: readonly Named[], first: string | null): string | null {
  for (const { path } of members) {
    const root = /^(?:(.*?)\/)??conda-meta\/[^/]+\.json$/.exec(path)
    if (root && beneath(root[1] ?? '', first ?? '') !== null) return root[1] ?? ''
  }
  return null
}
