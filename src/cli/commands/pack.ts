/** `conda-deploy pack`: the options of conda-pack, by its names. */
import { basename } from 'node:path'
import type { Command } from 'commander'
import { EnvError } from '../../errors.js'
import type { LayoutOptions } from '../../install/layout.js'
import type { PackOptions, PackResult } from '../../pack/pack.js'
import type { Filter } from '../../tree/filter.js'
import { setV8Flag } from '../../v8-flag.js'
import { example, type Globals, integer, type Session, several, threads } from '../common.js'
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
  readonly fromPackages?: boolean
  readonly channel?: readonly string[]
  readonly overrideChannels?: boolean
  readonly file?: readonly string[]
  readonly offline?: boolean
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
    .summary('make an archive of an environment, or of packages')
    .description(
      'Make an archive of an installed environment, or with --from-packages of the one that packages would make, which is never written. ' +
        'Prints its path.',
    )
    .argument('[specs...]', 'with --from-packages: the packages, as for create')
    .option(
      '-n, --name <env>',
      'the environment, by its name (default: the active one); with --from-packages: what it is called',
    )
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
    .option('--from-packages', 'no environment: packages, from channels and the package cache')
    .option('-c, --channel <channel>', 'of --from-packages, as for create: a channel; may be repeated', several)
    .option('--override-channels', 'of --from-packages: no channels but those of --channel')
    .option('--file <file>', 'of --from-packages: environment.yml, or a list of packages; may be repeated', several)
    .option('--offline', 'of --from-packages: download nothing')
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
    'conda-deploy pack --from-packages --file env.yml -o /shared/myenv.tar.zst',
    'conda-deploy pack -p ./env -d /opt/env --format tar -o - | tar -xC /opt/env',
  )
  command.action(async (specs: readonly string[], _: unknown, self: Command) => {
    const flags = self.optsWithGlobals<Flags>()
    // Known to every command, or collected in `filters`: no options of the verb.
    const { json, quiet, verbose, threads: all, exclude, include, nThreads, output, ...rest } = flags
    const { fromPackages = false, channel, overrideChannels, file, offline, ...options } = rest
    if (!fromPackages && (specs.length > 0 || file !== undefined || channel !== undefined))
      throw new EnvError('INVALID_OPTION', 'packages, channels and files of them go with --from-packages')
    const toStdout = output === '-'
    if (toStdout && process.stdout.isTTY && !options.dryRun)
      throw new EnvError('INVALID_OPTION', 'an archive is not written to a terminal', {
        hint: 'pipe it, or name a file',
      })
    const { signal, terminal: reporter } = session
    const to = toStdout ? { stream: process.stdout } : { output }
    const packing = { ...options, ...to, nThreads: nThreads ?? all, filters, signal, reporter }
    const asked = { specs, channels: channel, files: file, overrideChannels, offline }
    // First: what V8 keeps compiled it takes only with the flags that it was compiled with.
    const { pack } = await import('../../pack/pack.js')
    calmCompiler()
    keepYoung()
    const result = fromPackages ? await packPackages(packing, asked) : await pack(packing)
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

/**
 * V8 optimizes functions on threads of its own, which take the core's processors: 0.2 of 3.7 s of CPU for 18,705 files, and no function runs
 * long enough to earn that. It waits eight times as long now: with 76,000 files what it still optimizes pays for itself.
 */
const calmCompiler = (): void => setV8Flag('interrupt-budget=1000000')

/** V8 takes what lives as long as a piece of entries for lasting, and leaves it until it collects everything: 80 MB of 290,000 entries. */
const keepYoung = (): void => setV8Flag('no-allocation-site-pretenuring')

/** What the two verbs have in common goes to both. */
async function packPackages(options: PackOptions, asked: LayoutOptions): Promise<PackResult> {
  const { name, prefix, ...packing } = options
  if (prefix !== undefined)
    throw new EnvError('INVALID_OPTION', '--prefix names an environment, and --from-packages has none')
  const { nThreads: threads, output, signal, reporter } = packing
  // After the archive, unless it has a name.
  const called =
    name ?? (asked.files === undefined && output !== undefined ? basename(output).split('.', 1)[0] : undefined)
  const [{ pack }, { withLayout }] = await Promise.all([
    import('../../pack/pack.js'),
    import('../../install/layout.js'),
  ])
  return withLayout({ ...asked, name: called, threads, signal, reporter }, (layout) => pack({ ...packing, layout }))
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
    ...made(result),
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

function made({ resolved }: PackResult): (readonly [string, string])[] {
  if (resolved === null) return []
  const { downloaded, downloadedBytes, compiled, seconds } = resolved
  const took = Object.entries(seconds).filter(([phase, time]) => phase !== 'total' && time >= 0.001)
  return [
    ['downloaded', `${counted(downloaded, 'package')}, ${bytes(downloadedBytes)}; ${count(compiled)} files compiled`],
    ['made in', `${duration(seconds.total)}: ${took.map(([phase, time]) => `${phase} ${duration(time)}`).join(', ')}`],
  ]
}

const limit = (longest: number | null): string =>
  longest === null ? 'to any prefix' : `to prefixes of at most ${longest} bytes`
