/** `conda-deploy pack`: the options of conda-pack, by its names. */
import { type Command, Option } from 'commander'
import { EnvError } from '../../errors.js'
import type { PackResult } from '../../pack/pack.js'
import type { Filter } from '../../tree/filter.js'
import { example, type Globals, integer, type Session, threads } from '../common.js'
import { aligned, bytes, count, counted, duration } from '../text.js'

interface Flags extends Globals {
  readonly name?: string
  readonly prefix?: string
  readonly output?: string
  readonly format: string
  readonly compressLevel: number
  readonly nThreads?: number
  readonly ignoreEditablePackages?: boolean
  readonly ignoreMissingFiles?: boolean
  readonly force?: boolean
  readonly dryRun?: boolean
}

/** Options of conda-pack that this version has not: refused by name, since leaving them out would make another archive. */
const unsupported: readonly string[] = [
  '--arcroot <path>',
  '-d, --dest-prefix <path>',
  '--parcel-root <path>',
  '--parcel-name <name>',
  '--parcel-version <version>',
  '--parcel-distro <distro>',
  '--zip-symlinks',
  '--no-zip-64',
]

export function addPack(program: Command, session: Session): void {
  const filters: Filter[] = []
  const filter = (kind: Filter['kind']) => (pattern: string) => {
    filters.push({ kind, pattern })
    return filters
  }
  const command = program
    .command('pack')
    .summary('make an archive of an installed environment')
    .description('Make an archive of an installed environment. Prints its path.')
    .option('-n, --name <env>', 'the environment, by its name (default: the active one)')
    .option('-p, --prefix <path>', 'the environment, by its path')
    .option('-o, --output <path>', 'the archive (default: <env>.tar.zst)')
    .option('--format <format>', 'its format: tar.zst, or infer it from the output', 'infer')
    .option('--compress-level <n>', 'of zstd, from 0 to 19', integer, 4)
    .option('-j, --n-threads <n>', 'threads to use, -1 for all cores (default: all)', threads)
    .option('--exclude <pattern>', 'leave out files that match; may be repeated', filter('exclude'))
    .option('--include <pattern>', 'take back what an earlier --exclude left out', filter('include'))
    .option('--ignore-editable-packages', 'pack although packages are installed in editable form')
    .option('--ignore-missing-files', 'pack although files that conda installed are missing')
    .option('-f, --force', 'replace an existing archive, and make its directory')
    .option('--dry-run', 'find out everything and write nothing')
  for (const flags of unsupported) {
    const option = new Option(flags).hideHelp()
    command.addOption(option).on(`option:${option.name()}`, () => refuse(flags))
  }
  example(
    command,
    'conda-deploy pack -n myenv -o /shared/myenv.tar.zst',
    "conda-deploy pack -p ./env --exclude '*.a' --exclude 'share/doc/*'",
  )
  command.action(async (_: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const { pack } = await import('../../pack/pack.js')
    const { name, prefix, output, format, compressLevel, force, dryRun, ignoreEditablePackages, ignoreMissingFiles } =
      flags
    const result = await pack({
      ...{ name, prefix, output, format, compressLevel, force, dryRun, ignoreEditablePackages, ignoreMissingFiles },
      nThreads: flags.nThreads ?? flags.threads,
      filters,
      signal: session.signal,
      reporter: session.terminal,
    })
    if (result.output === null) session.terminal.result(result, `nothing written\n${summary(result)}`)
    else {
      session.terminal.result(result, result.output)
      session.terminal.say(summary(result))
    }
  })
}

function refuse(flags: string): never {
  const name = /--[a-z0-9-]+/.exec(flags)?.[0]
  throw new EnvError('UNSUPPORTED', `pack: ${name} is not supported by this version`)
}

function summary(result: PackResult): string {
  const { counts, seconds } = result
  const known = [
    [counts.proven, 'proven'],
    [counts.installed, 'as installed'],
    [counts.modified, 'modified'],
    [counts.unhashed, 'without a hash'],
    [counts.unmanaged, 'unmanaged'],
  ] as const
  return aligned([
    ['environment', `${result.name} (${result.platform}), ${counted(result.packages, 'package')}`],
    ['files', `${count(result.files)}, ${bytes(result.bytes)}`],
    [
      'known',
      known
        .filter(([number]) => number > 0)
        .map(([number, word]) => `${count(number)} ${word}`)
        .join(', '),
    ],
    ['relocated', `${counted(result.rewritten, 'file')} will be, ${limit(result.longestPrefix)}`],
    [
      'archive',
      result.packedBytes === null
        ? undefined
        : `${bytes(result.packedBytes)}, ${result.ratio?.toFixed(1)} times smaller`,
    ],
    [
      'took',
      `${duration(seconds.total)}: read ${duration(seconds.read)}, scan ${duration(seconds.scan)}, ` +
        `pack ${duration(seconds.pack)} (${bytes(result.bytes / Math.max(seconds.pack, 0.001))}/s), seal ${duration(seconds.seal)}`,
    ],
  ])
}

const limit = (longest: number | null): string =>
  longest === null ? 'to any prefix' : `to prefixes of at most ${longest} bytes`
