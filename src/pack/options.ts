/** The options of pack, and what they mean. */
import { availableParallelism } from 'node:os'
import type { Writing } from '../archive/tar-zst.js'
import { EnvError } from '../errors.js'
import { checkOptions, type Shape } from '../options.js'
import { type Reporter, silent } from '../report.js'
import type { Filter } from '../tree/filter.js'

/** Options of conda-pack have its names, defaults and meaning, except for `nThreads`, where all cores are the default. */
export interface PackOptions {
  /** The environment by its name, as `conda activate` takes it; or */
  readonly name?: string | undefined
  /** by its path. Neither: the active one (CONDA_PREFIX). */
  readonly prefix?: string | undefined
  /** The archive to write; default: the environment's name with `.tar.zst`, in the working directory. */
  readonly output?: string | undefined
  /** `infer` (default): by the suffix of `output`. This version writes `tar.zst`. */
  readonly format?: string | undefined
  /** Of zstd: 0 to 19, default 4. */
  readonly compressLevel?: number | undefined
  /** Default, and -1: all cores. */
  readonly nThreads?: number | undefined
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
  output: 'string',
  format: 'string',
  compressLevel: 'number',
  nThreads: 'number',
  ignoreEditablePackages: 'boolean',
  ignoreMissingFiles: 'boolean',
  filters: 'object',
  force: 'boolean',
  dryRun: 'boolean',
  signal: 'object',
  reporter: 'object',
}

/** What the options mean, defaults filled in. Throws INVALID_OPTION. */
export function settle(options: PackOptions): {
  force: boolean
  dryRun: boolean
  reporter: Reporter
  writing: Writing
} {
  checkOptions<PackOptions>('pack', options, shape)
  const { compressLevel: level = 4, nThreads = -1 } = options
  for (const { kind } of options.filters ?? [])
    if (kind !== 'include' && kind !== 'exclude')
      throw new EnvError('INVALID_OPTION', `Unknown filter of kind '${String(kind)}'`)
  if (!Number.isInteger(level) || level < 0 || level > 19)
    throw new EnvError('INVALID_OPTION', `compress-level must be a whole number from 0 to 19, got ${level}`)
  if (nThreads !== -1 && (!Number.isInteger(nThreads) || nThreads < 1))
    throw new EnvError('INVALID_OPTION', `n-threads must be >= 1, or -1 for all cores, got ${nThreads}`)
  const threads = nThreads === -1 ? availableParallelism() : nThreads
  const writing = { level, threads, signal: options.signal }
  return {
    force: options.force === true,
    dryRun: options.dryRun === true,
    reporter: options.reporter ?? silent,
    writing,
  }
}
