/** `conda-deploy clean`: package caches made smaller, by the options of `conda clean`. */
import type { Command } from 'commander'
import type { Cleaned, CleanOptions, CleanResult } from '../../install/clean.js'
import { example, type Globals, type Session } from '../common.js'
import { confirmed } from '../confirm.js'
import { bytes, printable } from '../text.js'

interface Flags extends Globals, Pick<CleanOptions, 'all' | 'packages' | 'tarballs' | 'indexCache' | 'tempfiles'> {
  readonly logfiles?: boolean
  readonly dryRun?: boolean
  readonly yes?: boolean
}

export function addClean(program: Command, session: Session): void {
  const command = program
    .command('clean')
    .summary('remove unused packages and caches')
    .description(
      'Remove what package caches hold and no environment uses. Packages of which a file is hard-linked into an environment stay; nothing ' +
        'is removed while another conda-deploy installs from the cache. Environments that were made with symbolic links into a cache would ' +
        'break, as with conda.',
    )
    .option('-a, --all', 'all of the following')
    .option('-p, --packages', 'unpacked packages that no environment is linked to')
    .option('-t, --tarballs', 'archives of packages')
    .option('-i, --index-cache', 'indexes of channels')
    .option('-c, --tempfiles', 'what runs that were killed left in the caches')
    .option('-l, --logfiles', "conda's logs")
    .option('-d, --dry-run', 'say what would be removed')
    .option('-y, --yes', 'do not ask')
  example(command, 'conda-deploy clean --all --dry-run', 'conda-deploy clean --packages --yes')
  command.action(async (_: unknown, self: Command) => {
    const { all, packages, tarballs, indexCache, tempfiles, logfiles, dryRun, yes, threads, verbose } =
      self.optsWithGlobals<Flags>()
    const { clean } = await import('../../install/clean.js')
    const { terminal, signal } = session
    const options = { all, packages, tarballs, indexCache, tempfiles, logfiles, threads, signal, reporter: terminal }
    if (dryRun || yes) {
      const result = await clean({ ...options, dryRun })
      return terminal.result(condaForm(result), report(result, verbose === true))
    }
    const plan = await clean({ ...options, dryRun: true })
    terminal.close()
    terminal.say(report(plan, verbose === true))
    if (isNothing(plan)) return terminal.result(condaForm(plan), '')
    if (!confirmed('Proceed')) {
      session.status = 1
      return terminal.say('nothing was removed')
    }
    const result = await clean(options)
    terminal.result(condaForm(result), `Removed ${bytes(result.bytes)}.`)
  })
}

const lists = [
  ['tarballs', 'tarball(s)'],
  ['packages', 'package(s)'],
  ['tempfiles', 'tempfile(s)'],
] as const
const paths = [
  ['indexCache', 'index cache(s)'],
  ['logfiles', 'logfile(s)'],
] as const

const isNothing = (result: CleanResult): boolean =>
  [...lists, ...paths].every(([key]) => (result[key] ?? []).length === 0)

/** In the words of conda. */
function report(result: CleanResult, all: boolean): string {
  const will = result.removed ? 'Removed' : 'Will remove'
  const lines = lists.flatMap(([key, name]) => {
    const found = result[key]
    if (found === null) return []
    if (found.length === 0) return [`There are no unused ${name} to remove.`]
    const listed = all ? found.map((one) => `  - ${printable(`${one.cache}/${one.name}`)}  ${bytes(one.bytes)}`) : []
    return [`${will} ${found.length} (${bytes(sum(found))}) ${name}.`, ...listed]
  })
  const others = paths.flatMap(([key, name]) => {
    const found = result[key]
    if (found === null) return []
    return [found.length === 0 ? `There are no ${name} to remove.` : `${will} ${found.length} ${name}.`]
  })
  return [...lines, ...others].join('\n')
}

const sum = (found: readonly Cleaned[]): number => found.reduce((all, one) => all + one.bytes, 0)

/** As `conda clean --json` has it. */
function condaForm(result: CleanResult): object {
  const sizes = (found: readonly Cleaned[] | null): object => {
    const caches = [...new Set((found ?? []).map(({ cache }) => cache))]
    const of = <T>(make: (list: readonly Cleaned[]) => T): Record<string, T> =>
      Object.fromEntries(caches.map((one) => [one, make((found ?? []).filter(({ cache }) => cache === one))]))
    return {
      pkg_sizes: of((list) => Object.fromEntries(list.map(({ name, bytes: size }) => [name, size]))),
      pkgs_dirs: of((list) => list.map(({ name }) => name)),
      total_size: sum(found ?? []),
      warnings: [],
    }
  }
  return {
    success: true,
    ...(result.tarballs === null ? {} : { tarballs: sizes(result.tarballs) }),
    ...(result.indexCache === null ? {} : { index_cache: { files: result.indexCache } }),
    ...(result.packages === null ? {} : { packages: sizes(result.packages) }),
    ...(result.tempfiles === null ? {} : { tempfiles: result.tempfiles.map(({ cache, name }) => `${cache}/${name}`) }),
    ...(result.logfiles === null ? {} : { logfiles: result.logfiles }),
  }
}
