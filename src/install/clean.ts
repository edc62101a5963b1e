/** Taking back what package caches hold and no environment uses: `conda clean` without conda. */
import { readdir, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { readConfig } from '../conda/config.js'
import { EnvError } from '../errors.js'
import { native, runJob } from '../native.js'
import { checkOptions } from '../options.js'
import { type Reporter, silent } from '../report.js'
import { removeFolder } from '../tree/folders.js'
import { ifThere } from '../tree/if-there.js'
import { cleaningCache } from './cache-lock.js'
import { indexCache } from './indexes.js'
import { discard, packageCaches, stagePrefix, writableCaches } from './packages.js'

export interface CleanOptions {
  /** Unpacked packages of which no file is linked into an environment. */
  readonly packages?: boolean | undefined
  /** Archives of packages, and parts of them. */
  readonly tarballs?: boolean | undefined
  /** Indexes of channels: conda's in its caches, and our own. */
  readonly indexCache?: boolean | undefined
  /** What runs that were killed left in the caches. */
  readonly tempfiles?: boolean | undefined
  /** conda's logs in its caches. */
  readonly logfiles?: boolean | undefined
  /** All of these. */
  readonly all?: boolean | undefined
  /** Remove nothing. */
  readonly dryRun?: boolean | undefined
  /** Default: all cores. */
  readonly threads?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

export interface Cleaned {
  readonly cache: string
  readonly name: string
  readonly bytes: number
}

export interface CleanResult {
  /** Null: not asked for. */
  readonly packages: readonly Cleaned[] | null
  readonly tarballs: readonly Cleaned[] | null
  readonly tempfiles: readonly Cleaned[] | null
  /** Paths. */
  readonly indexCache: readonly string[] | null
  readonly logfiles: readonly string[] | null
  readonly bytes: number
  /** False with `dryRun`. */
  readonly removed: boolean
}

const shape = {
  packages: 'boolean',
  tarballs: 'boolean',
  indexCache: 'boolean',
  tempfiles: 'boolean',
  logfiles: 'boolean',
  all: 'boolean',
  dryRun: 'boolean',
  threads: 'number',
  signal: 'object',
  reporter: 'object',
} as const

/**
 * Caches that this user cannot write to are left alone. Throws LOCK_HELD while another conda-deploy installs from one of them: what was
 * cleaned until then stays so; UNSUPPORTED where a cache cannot be locked; INVALID_OPTION where nothing is asked for; CANCELLED, IO.
 */
export async function clean(options: CleanOptions): Promise<CleanResult> {
  checkOptions('clean', options, shape)
  const { all = false, dryRun = false, threads = availableParallelism(), signal, reporter = silent } = options
  const asks = (key: 'packages' | 'tarballs' | 'indexCache' | 'tempfiles' | 'logfiles'): boolean =>
    all || !!options[key]
  if (!(['packages', 'tarballs', 'indexCache', 'tempfiles', 'logfiles'] as const).some(asks))
    throw new EnvError('INVALID_OPTION', 'At least one removal target must be given.', {
      hint: '--all, or some of --packages, --tarballs, --index-cache, --tempfiles and --logfiles',
    })
  const found = { packages: [] as Cleaned[], tarballs: [] as Cleaned[], tempfiles: [] as Cleaned[] }
  const files = { indexCache: asks('indexCache') ? await there(indexCache()) : [], logfiles: [] as string[] }
  for (const cache of await writableCaches(packageCaches(readConfig()))) {
    reporter.phase('scan')
    const work = async (): Promise<Content & { readonly taken: readonly (keyof Content)[] }> => {
      const content = await contentOf(cache, threads, signal)
      if (asks('indexCache')) files.indexCache.push(...(await there(join(cache, 'cache'))))
      if (asks('logfiles')) files.logfiles.push(...(await filesIn(join(cache, '.logs'))))
      const taken = (['packages', 'tarballs', 'tempfiles'] as const).filter(asks)
      const names = taken.flatMap((key) => content[key].map(({ name }) => name))
      if (!dryRun) await discard(cache, names, threads)
      return { ...content, taken }
    }
    const one = await (dryRun ? work() : cleaningCache(cache, work))
    for (const key of one.taken) found[key].push(...one[key])
  }
  if (!dryRun) {
    for (const folder of files.indexCache) await removeFolder(folder, threads)
    for (const file of files.logfiles) await rm(file, { force: true })
  }
  const told = <T>(key: 'packages' | 'tarballs' | 'indexCache' | 'tempfiles' | 'logfiles', list: readonly T[]) =>
    asks(key) ? list : null
  return {
    packages: told('packages', found.packages),
    tarballs: told('tarballs', found.tarballs),
    tempfiles: told('tempfiles', found.tempfiles),
    indexCache: told('indexCache', files.indexCache),
    logfiles: told('logfiles', files.logfiles),
    bytes: Object.values(found)
      .flat()
      .reduce((sum, { bytes }) => sum + bytes, 0),
    removed: !dryRun,
  }
}

/** The folder, where it is one. */
const there = async (folder: string): Promise<string[]> => ((await namesIn(folder)) === null ? [] : [folder])

const filesIn = async (folder: string): Promise<string[]> =>
  ((await namesIn(folder)) ?? []).map((name) => join(folder, name))

const namesIn = (path: string): Promise<string[] | null> => ifThere(readdir(path), path)

type Content = Readonly<Record<'packages' | 'tarballs' | 'tempfiles', readonly Cleaned[]>>

/** By one scan of the whole cache: of packages those that have all their files to themselves. */
async function contentOf(cache: string, threads: number, signal: AbortSignal | undefined): Promise<Content> {
  const job = { root: cache, skip: ['cache', '.logs'], threads, outside: true }
  const scanned = await runJob((counters) => native().scan(job, counters), { signal })
  const sizes = new Map<string, number>()
  const used = new Set<string>()
  const unpacked = new Set<string>()
  for (const { path, kind, size, outside } of scanned) {
    const slash = path.indexOf('/')
    const top = slash < 0 ? path : path.slice(0, slash)
    if (outside !== undefined) used.add(top)
    if (kind === 'directory' && path === `${top}/info`) unpacked.add(top)
    sizes.set(top, (sizes.get(top) ?? 0) + (kind === 'file' ? size : 0))
  }
  const of = (isOne: (name: string) => boolean): Cleaned[] =>
    [...sizes].filter(([name]) => isOne(name)).map(([name, bytes]) => ({ cache, name, bytes }))
  return {
    packages: of((name) => unpacked.has(name) && !name.startsWith('.') && !used.has(name)),
    tarballs: of((name) => /\.(conda|tar\.bz2)(\.part(ial)?)?$/.test(name) && !unpacked.has(name) && !used.has(name)),
    tempfiles: of((name) => name.startsWith(stagePrefix)),
  }
}
