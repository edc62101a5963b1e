/** The options of pack, and what they mean. */
import { availableParallelism } from 'node:os'
import type { Writable } from 'node:stream'
import { type WritableFormat, writableFormat } from '../archive/write-formats.js'
import type { Layout } from '../conda/layout.js'
import { EnvError } from '../errors.js'
import { checkOptions, type Shape } from '../options.js'
import { type Reporter, silent } from '../report.js'
import type { Filter } from '../tree/filter.js'
import { isSafePath } from '../tree/safe-path.js'

/** Options of conda-pack have its names, defaults and meaning, except for `nThreads`, where all cores are the default. */
export interface PackOptions {
  /** The environment by its name, as `conda activate` takes it; or */
  readonly name?: string | undefined
  /** by its path; or */
  readonly prefix?: string | undefined
  /** one that is nowhere on disk, see `withLayout`. None of them: the active one (CONDA_PREFIX). */
  readonly layout?: Layout | undefined
  /** The archive to write; default: the environment's name and the format, in the working directory. */
  readonly output?: string | undefined
  /** Where to write the archive instead, as it is made. It is not ended. Not for squashfs and no-archive. */
  readonly stream?: Writable | undefined
  /**
   * `infer` (default): by the suffix of `output`, without one `tar.zst`. tar.zst tzst tar tar.gz tgz tar.bz2 tbz2 tar.xz txz zip squashfs
   * parcel, or no-archive: a directory.
   */
  readonly format?: string | undefined
  /** Folder in the archive that holds the environment; default: none. */
  readonly arcroot?: string | undefined
  /** Where the environment will stand: prefixes are rewritten while packing, and there is no `conda-unpack`. */
  readonly destPrefix?: string | undefined
  /** Of parcels alone: the folder of all parcels (/opt/cloudera/parcels), */
  readonly parcelRoot?: string | undefined
  /** name (that of the environment), */
  readonly parcelName?: string | undefined
  /** version (today, as 2026.01.31), */
  readonly parcelVersion?: string | undefined
  /** and distribution (el7). */
  readonly parcelDistro?: string | undefined
  /** 0 to 9, of tar.zst to 19; default 4. */
  readonly compressLevel?: number | undefined
  /** Default, and -1: all cores. */
  readonly nThreads?: number | undefined
  /** Of zip alone: keep symbolic links, instead of packing what they lead to. */
  readonly zipSymlinks?: boolean | undefined
  /** Of zip alone: may ZIP64 be used where the archive is too large without it? Default: yes. */
  readonly zip64?: boolean | undefined
  readonly ignoreEditablePackages?: boolean | undefined
  readonly ignoreMissingFiles?: boolean | undefined
  /** Patterns over the paths in the environment, applied in their order; see `Filter`. */
  readonly filters?: readonly Filter[] | undefined
  /** Replace an existing output, and make its directory. */
  readonly force?: boolean | undefined
  /** Find out everything and write nothing. */
  readonly dryRun?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

const shape: Shape<PackOptions> = {
  name: 'string',
  prefix: 'string',
  layout: 'object',
  output: 'string',
  stream: 'object',
  format: 'string',
  arcroot: 'string',
  destPrefix: 'string',
  parcelRoot: 'string',
  parcelName: 'string',
  parcelVersion: 'string',
  parcelDistro: 'string',
  compressLevel: 'number',
  nThreads: 'number',
  zipSymlinks: 'boolean',
  zip64: 'boolean',
  ignoreEditablePackages: 'boolean',
  ignoreMissingFiles: 'boolean',
  filters: 'object',
  force: 'boolean',
  dryRun: 'boolean',
  signal: 'object',
  reporter: 'object',
}

export interface Settled {
  readonly format: WritableFormat
  readonly force: boolean
  readonly dryRun: boolean
  readonly reporter: Reporter
  readonly level: number
  readonly threads: number
  readonly signal: AbortSignal | undefined
  /** Without separators around it; empty: none. */
  readonly arcroot: string
  readonly zipSymlinks: boolean
  readonly zip64: boolean
}

const invalid = (message: string, hint?: string): EnvError =>
  new EnvError('INVALID_OPTION', message, hint === undefined ? {} : { hint })

/** What the options mean, defaults filled in. Throws INVALID_OPTION. */
export function settle(options: PackOptions): Settled {
  checkOptions<PackOptions>('pack', options, shape)
  const { compressLevel: level = 4, nThreads = -1 } = options
  for (const { kind } of options.filters ?? [])
    if (kind !== 'include' && kind !== 'exclude') throw invalid(`Unknown filter of kind '${String(kind)}'`)
  if (options.layout !== undefined && (options.name ?? options.prefix) !== undefined)
    throw invalid("pack: 'layout' stands alone, without 'name' and 'prefix'")
  if (options.stream !== undefined && options.output !== undefined)
    throw invalid("pack: 'output' and 'stream' exclude each other")
  const format = writableFormat(options.output, options.format ?? 'infer')
  if (!Number.isInteger(level) || level < 0 || level > format.mostLevel)
    throw invalid(
      `compress-level must be a whole number from 0 to ${format.mostLevel} for ${format.name}, got ${level}`,
    )
  if (nThreads !== -1 && (!Number.isInteger(nThreads) || nThreads < 1))
    throw invalid(`n-threads must be >= 1, or -1 for all cores, got ${nThreads}`)
  if (format.name === 'parcel' && (options.destPrefix || options.arcroot))
    throw invalid("Cannot specify 'dest_prefix'/'arcroot' for parcels")
  if (options.stream !== undefined && (format.via === 'squashfs' || format.via === 'directory'))
    throw invalid(`${format.name} cannot be written to a stream`, 'name a file with --output')
  return {
    format,
    force: options.force === true,
    dryRun: options.dryRun === true,
    reporter: options.reporter ?? silent,
    level,
    threads: nThreads === -1 ? availableParallelism() : nThreads,
    signal: options.signal,
    arcroot: arcrootOf(options.arcroot ?? ''),
    zipSymlinks: options.zipSymlinks === true,
    zip64: options.zip64 !== false,
  }
}

function arcrootOf(given: string): string {
  const arcroot = given.replaceAll(/^\/+|\/+$/g, '')
  if (arcroot === '' || isSafePath(arcroot)) return arcroot
  throw invalid(`arcroot must be a path without '.', '..' and empty parts, got '${given}'`)
}

/** The prefix to write into the files; undefined: none. Throws INVALID_OPTION for what is no absolute path. */
export function destOf(given: string | undefined): string | undefined {
  if (given === undefined) return undefined
  const dest = given.length > 1 ? given.replace(/\/+$/, '') : given
  if (dest.startsWith('/') && !/[\0\n]/.test(dest)) return dest
  throw invalid(`dest-prefix must be an absolute path, got '${given}'`)
}
