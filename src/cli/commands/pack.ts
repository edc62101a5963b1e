/** `conda-deploy pack`: the options of conda-pack, by its names. */
import type { Command } from 'commander'
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
  readonly arcroot?: string
  readonly destPrefix?: string
  readonly parcelRoot?: string
  readonly parcelName?: string
  readonly parcelVersion?: string
  readonly parcelDistro?: string
  readonly zipSymlinks?: boolean
  /** False with --no-zip-64. */
  readonly zip64: boolean
  readonly ignoreEditablePackages?: boolean
  readonly ignoreMissingFiles?: boolean
  readonly force?: boolean
  readonly dryRun?: boolean
  readonly exclude?: readonly Filter[]
  readonly include?: readonly Filter[]
}

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
    .option('-o, --output <path>', 'the archive, - for stdout (default: <env>.<format>)')
    .option('--arcroot <path>', 'folder in the archive that holds the environment', '')
    .option('-d, --dest-prefix <path>', 'where it will stand: write this prefix into the files; no conda-unpack')
    .option('--parcel-root <path>', 'of parcels: where all are unpacked (default: /opt/cloudera/parcels)')
    .option('--parcel-name <name>', 'of parcels: name, without hyphens (default: that of the environment)')
    .option('--parcel-version <version>', 'of parcels: version (default: today, as YYYY.MM.DD)')
    .option('--parcel-distro <distro>', 'of parcels: distribution, without hyphens (default: el7)')
    .option(
      '--format <format>',
      'infer (by the suffix of the output), tar.zst, tar, tar.gz, tar.bz2, tar.xz, zip, squashfs, parcel, no-archive (a directory); also tzst, tgz, tbz2, txz',
      'infer',
    )
    .option('--compress-level <n>', 'from 0 to 9, of tar.zst to 19', integer, 4)
    .option('-j, --n-threads <n>', 'threads to use, -1 for all cores (default: all)', threads)
    .option('--zip-symlinks', 'of zip: keep symbolic links, instead of packing what they lead to')
    .option('--no-zip-64', 'of zip: no ZIP64 extensions, whatever the size')
    .option('--exclude <pattern>', 'leave out files that match; may be repeated', filter('exclude'))
    .option('--include <pattern>', 'take back what an earlier --exclude left out', filter('include'))
    .option('--ignore-editable-packages', 'pack although packages are installed in editable form')
    .option('--ignore-missing-files', 'pack although files that conda installed are missing')
    .option('-f, --force', 'replace an existing archive, and make its directory')
    .option('--dry-run', 'find out everything and write nothing')
  example(
    command,
    'conda-deploy pack -n myenv -o /shared/myenv.tar.zst',
    "conda-deploy pack -p ./env --exclude '*.a' --exclude 'share/doc/*'",
    'conda-deploy pack -p ./env -d /opt/env --format tar -o - | tar -xC /opt/env',
  )
  command.action(async (_arguments: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    const { pack } = await import('../../pack/pack.js')
    // Known to every command, or collected in `filters`: no options of the verb.
    const { json, quiet, verbose, threads: all, exclude, include, nThreads, output, ...options } = flags
    const toStdout = output === '-'
    if (toStdout && process.stdout.isTTY && !options.dryRun)
      throw new EnvError('INVALID_OPTION', 'an archive is not written to a terminal', {
        hint: 'pipe it, or name a file',
      })
    const result = await pack({
      ...options,
      ...(toStdout ? { stream: process.stdout } : { output }),
      nThreads: nThreads ?? all,
      filters,
      signal: session.signal,
      reporter: session.terminal,
    })
    if (toStdout && !options.dryRun) {
      session.terminal.aside(result)
      session.terminal.say(summary(result))
      return
    }
    if (result.output === null) session.terminal.result(result, `nothing written\n${summary(result)}`)
    else {
      session.terminal.result(result, result.output)
      session.terminal.say(summary(result))
    }
  })
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
