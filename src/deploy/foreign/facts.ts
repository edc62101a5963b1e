/** What is to be said about the deployment of a foreign archive: as data, and in words where a user should know. Pure. */
import { ownFolder } from '../ready.js'
import type { Met } from './tree.js'

/** What a foreign archive was, and what was done beyond writing its files. */
export interface ForeignFacts {
  /** e.g. `tar.gz`. */
  readonly format: string
  /** Who made it, as far as it tells: `conda-pack 0.9.0`; null: it does not. */
  readonly producer: string | null
  /** The folder of the archive that holds the environment; empty: the archive itself. */
  readonly root: string
  /** Where the environment stood when it was packed; empty: not known. */
  readonly origins: readonly string[]
  /** Files of the archive that do not stand in the target: a `conda-unpack` that has nothing left to do, `.conda-deploy`. */
  readonly leftOut: readonly string[]
  /** Compiled Python left out because its source was relocated. */
  readonly droppedPyc: readonly string[]
  /** Scripts that called their interpreter by PATH and have that of their environment again. */
  readonly restoredScripts: readonly string[]
  /** Files in which the prefix of the source environment stays, and how often; compiled Python is only counted. */
  readonly kept: readonly { readonly path: string; readonly count: number }[]
  /** Compiled Python that names its source by the prefix of the source environment: only tracebacks show it. */
  readonly keptPyc: number
  /** Files that were named again; the last one counts. */
  readonly duplicates: readonly string[]
  /** Hard links that were stored as files, against the format. */
  readonly detached: readonly string[]
  readonly outsideLinks: Met['outsideLinks']
}

export interface Doubts {
  readonly facts: ForeignFacts
  readonly setuid: readonly string[]
  /** Files with a placeholder that nothing names. */
  readonly unnamed: readonly string[]
  /** Programs and libraries that the new prefix is too long for. */
  readonly unfit: readonly string[]
  /** noarch packages without a python. */
  readonly homeless: readonly string[]
}

/** What could not be done or known as well as it should. */
export function doubtsOf({ facts, setuid, unnamed, unfit, homeless }: Doubts): string[] {
  const { origins, kept, duplicates, detached, outsideLinks, root, leftOut } = facts
  const said: string[] = []
  const say = (paths: readonly string[], what: string): void => {
    if (paths.length > 0) said.push(`${what}: ${few(paths)}`)
  }
  if (origins.length === 0) {
    const what = 'files keep it unless their package names a placeholder'
    said.push(`the archive does not tell where its environment stood, so that prefix could not be looked for: ${what}`)
  }
  if (root !== '') said.push(`the environment is in the folder ${root} of the archive; the folder is not kept`)
  const others = kept.map(({ path }) => path).filter((path) => !unfit.includes(path))
  say(others, 'the prefix of the source environment stays in files whose structure is not known')
  say(unnamed, 'these keep a placeholder, because nothing in the archive names it')
  say(unfit, 'these keep the prefix of the source environment, because the new one is longer')
  say(homeless, 'noarch packages without a python in the archive')
  say(
    outsideLinks.map(({ path, target }) => `${path} → ${target}`),
    'links lead out of the environment',
  )
  say(duplicates, 'named more than once in the archive, the last one counts')
  say(detached, 'hard links that the archive stores as files of their own')
  say(setuid, 'setuid, setgid and sticky bits are not given')
  say(
    leftOut.filter((path) => path.split('/', 1)[0] === ownFolder),
    'left out, an archive cannot bring it',
  )
  return said
}

function few(paths: readonly string[]): string {
  const more = paths.length > 3 ? `, and ${paths.length - 3} more` : ''
  return `${paths.slice(0, 3).join(', ')}${more}`
}
