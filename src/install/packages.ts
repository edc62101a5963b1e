/**
 * The package cache that is shared with conda (`pkgs_dirs`): what is there already, and what is put there. Archives lie in it by their
 * file names, unpacked packages in folders `name-version-build`. Whatever gets its final name there is whole.
 */
import { existsSync, readFileSync } from 'node:fs'
import { access, appendFile, constants, mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Config } from '../conda/config.js'
import { EnvError, fromSystem } from '../errors.js'
import { native, runJob } from '../native.js'
import { removeFolder } from '../tree/folders.js'
import { ifThere, isAbsent } from '../tree/if-there.js'
import { isAbandoned, ownedName } from '../tree/owned.js'
import type { RepoRecord } from './repodata.js'

export type Variables = Readonly<Record<string, string | undefined>>

/** Of conda's configuration, or conda's own: beside its base environment, then in the home folder. */
export function packageCaches({ pkgsDirs }: Pick<Config, 'pkgsDirs'>, variables: Variables = process.env): string[] {
  if (pkgsDirs.length > 0) return [...pkgsDirs]
  const exe = variables['CONDA_EXE']
  const roots = [
    variables['CONDA_ROOT'],
    variables['MAMBA_ROOT_PREFIX'],
    exe && isAbsolute(exe) ? dirname(dirname(exe)) : '',
  ]
  const beside = roots.filter((root): root is string => Boolean(root)).map((root) => join(resolve(root), 'pkgs'))
  return [...new Set([...beside, join(variables['HOME'] || homedir(), '.conda', 'pkgs')])]
}

/** The first cache that this user may write to, made when it is not there. Throws PERMISSION naming all of them. */
export async function writableCache(caches: readonly string[]): Promise<string> {
  for (const cache of caches) {
    try {
      await mkdir(cache, { recursive: true })
      await access(cache, constants.W_OK | constants.X_OK)
      // Without this file conda takes it for no cache: neither uses it nor cleans it.
      await appendFile(join(cache, 'urls.txt'), '')
      return cache
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException
      if (!['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST'].includes(code))
        throw fromSystem(error, 'cannot make the package cache', cache)
    }
  }
  const hint = 'name one with pkgs_dirs in ~/.condarc, or with CONDA_PKGS_DIRS'
  throw new EnvError('PERMISSION', `no package cache can be written to (${caches.join(', ')})`, { hint })
}

/** Those of the caches that are there and that this user may write to. */
export async function writableCaches(caches: readonly string[]): Promise<string[]> {
  const writable = await Promise.all(
    caches.map((cache) =>
      access(cache, constants.R_OK | constants.W_OK | constants.X_OK).then(
        () => true,
        () => false,
      ),
    ),
  )
  return caches.filter((_, i) => writable[i])
}

/** `name-version-build` of a package's file name. */
export const distOf = (fn: string): string => fn.replace(/(\.conda|\.tar\.bz2)$/, '')

/** The folder in which this very package stands unpacked; null: in none of the caches. `at`: what folders are noted to be. */
export function unpackedIn(caches: readonly string[], record: RepoRecord, at: typeof noted = noted): string | null {
  const folders = caches.map((cache) => join(cache, distOf(record.fn)))
  return folders.find((folder) => isSame(at(folder), record)) ?? null
}

export type Noted = Readonly<Record<string, unknown>>

/** What an unpacked package is; null: it is none, or not whole yet. Not asynchronous: four turns for each of hundreds take longer. */
export function noted(folder: string): Noted | null {
  try {
    return JSON.parse(readFileSync(join(folder, 'info', 'repodata_record.json'), 'utf8')) as Noted
  } catch (error) {
    // conda writes this file last: without it, or with a part of it, the package counts as not unpacked.
    if (error instanceof SyntaxError || isAbsent(error)) return null
    throw fromSystem(error, 'cannot read', folder)
  }
}

function isSame(found: Noted | null, record: RepoRecord): boolean {
  if (found === null) return false
  for (const key of ['sha256', 'md5'] as const)
    if (record[key] !== null && typeof found[key] === 'string')
      return (found[key] as string).toLowerCase() === record[key]?.toLowerCase()
  return found['url'] === record.url
}

/** Size of a file; null: it is not there. */
export const sizeOf = async (file: string): Promise<number | null> =>
  (await ifThere(stat(file), file, 'cannot look at'))?.size ?? null

/** Adds addresses to `urls.txt`, by which conda knows where archives of its cache came from. */
export async function noteUrls(cache: string, urls: readonly string[]): Promise<void> {
  if (urls.length === 0) return
  const file = join(cache, 'urls.txt')
  try {
    // One write: appending is atomic, and another installer may do it at the same time.
    await appendFile(file, urls.map((url) => `${url}\n`).join(''))
    await appendFile(join(cache, 'urls'), '')
  } catch (error) {
    throw fromSystem(error, 'cannot write', file)
  }
}

/** What conda writes into an unpacked package about where it is from. */
export function repodataRecord(record: RepoRecord): Record<string, unknown> {
  const { name, version, build, buildNumber, subdir, fn, url, channel, sha256, md5, size } = record
  const known = Object.entries({ sha256, md5, size }).filter(([, value]) => value !== null)
  return {
    ...record.raw,
    ...{ name, version, build, build_number: buildNumber, depends: record.depends, constrains: record.constrains },
    ...{ subdir, fn, url, channel: `${channel}/${subdir}` },
    ...Object.fromEntries(known),
  }
}

/** What this program keeps in an unpacked package, and how the names begin of what it has not finished in a cache. */
export const ownFolder = '.conda-deploy'

/** Puts a whole folder under its name; false: something stands there. */
export const placeIn = (folder: string, target: string): boolean => native().rename(folder, target, 'no-replace')

/** Removes what killed processes of this machine left unfinished in a cache. */
async function sweep(cache: string, threads: number): Promise<void> {
  const names = await readdir(cache).catch((error: unknown) => {
    throw fromSystem(error, 'cannot read', cache)
  })
  for (const name of names)
    if (name.startsWith(stagePrefix) && isAbandoned(name.slice(stagePrefix.length)))
      // Another process may remove it at the same time, and what cannot be removed is in nobody's way.
      await removeFolder(join(cache, name), threads).catch(() => undefined)
}

/** A folder for what gets its place in the cache when it is whole. */
export async function stageIn(cache: string, threads: number): Promise<string> {
  const stage = join(cache, stagePrefix + ownedName())
  await sweep(cache, threads)
  try {
    await mkdir(stage)
    return stage
  } catch (error) {
    throw fromSystem(error, 'cannot make', stage)
  }
}

export interface Archive {
  readonly record: RepoRecord
  /** Verified. */
  readonly file: string
}

export interface UnpackOptions {
  readonly threads: number
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((bytes: number) => void) | undefined
  /** Milliseconds for which an unfinished package must not grow before it counts as left behind; default 3000. */
  readonly patience?: number | undefined
}

/** How the names of folders begin in which a run works: one of a run that was killed stays until the cache is cleaned. */
export const stagePrefix: string = `${ownFolder}-`

/**
 * Removes entries of a cache. Each is first taken away from its name, so that nobody ever sees a part of one; what vanished meanwhile is
 * gone. Throws PERMISSION, IO.
 */
export async function discard(cache: string, names: readonly string[], threads: number): Promise<void> {
  if (names.length === 0) return
  const trash = await stageIn(cache, threads)
  try {
    for (const name of names) native().rename(join(cache, name), join(trash, name), 'no-replace')
  } finally {
    await removeFolder(trash, threads)
  }
}

/** Bytes that one package may unpack to: ten times the largest there is. */
const mostBytes = 64 * 2 ** 30

/**
 * Unpacks archives into the cache and answers with their folders, in order. Throws PACKAGE_DAMAGED, UNSAFE_PATH, LIMIT_EXCEEDED, NO_SPACE, …:
 * then nothing new is in the cache. Another installer may do the same at the same time: the first one's folder is kept.
 */
export async function unpackPackages(
  archives: readonly Archive[],
  cache: string,
  { threads, signal, progress, patience = 3000 }: UnpackOptions,
): Promise<string[]> {
  if (archives.length === 0) {
    await sweep(cache, threads)
    return []
  }
  const stage = await stageIn(cache, threads)
  try {
    const items = archives.map(({ file, record }) => ({
      archive: file,
      ...(file.endsWith('.conda')
        ? { container: 'zip' as const, command: [] }
        : { container: 'tool' as const, command: ['bzip2', '-dc'] }),
      root: join(stage, distOf(record.fn)),
    }))
    // The largest first, so that no thread is left with it at the end.
    const order = [...archives.keys()].sort((a, b) => sizeAt(archives, b) - sizeAt(archives, a))
    const job = { items: order.map((i) => items[i] as (typeof items)[number]), mostBytes, threads }
    await runJob((counters) => native().unpack(job, counters), { signal, progress }).catch((error: unknown) => {
      throw asDamage(error)
    })
    const folders: string[] = []
    for (const [i, { record }] of archives.entries())
      folders.push(await publish(items[i]?.root ?? '', cache, record, patience))
    return folders
  } catch (error) {
    throw error instanceof EnvError ? error : fromSystem(error, 'cannot unpack packages into', cache)
  } finally {
    await removeFolder(stage, threads)
  }
}

const sizeAt = (archives: readonly Archive[], i: number): number => archives[i]?.record.size ?? 0

function asDamage(error: unknown): unknown {
  if (!(error instanceof EnvError) || error.code !== 'ARCHIVE_CORRUPT') return error
  const { message, path } = error
  return new EnvError('PACKAGE_DAMAGED', message, { cause: error, ...(path === undefined ? {} : { path }) })
}

async function publish(staged: string, cache: string, record: RepoRecord, patience: number): Promise<string> {
  if ((await sizeOf(join(staged, 'info', 'index.json'))) === null)
    throw new EnvError('PACKAGE_DAMAGED', `${record.fn} is no conda package: it has no info/index.json`)
  const document = JSON.stringify(repodataRecord(record), null, 2)
  await writeFile(join(staged, 'info', 'repodata_record.json'), document)
  const folder = join(cache, distOf(record.fn))
  for (let attempt = 0; attempt < 10; attempt++) {
    if (placeIn(staged, folder)) return folder
    if (noted(folder) === null) await ended(folder, patience)
    if (isSame(noted(folder), record)) return folder
    // Another package of this name, or one that was never finished: it goes, as conda does it. Who linked from it keeps the files.
    placeIn(folder, `${staged}.old${attempt}`)
  }
  throw new EnvError('LOCK_HELD', `${folder} is made again and again by another program`, { path: folder })
}

/** Longer than any package takes. */
const longest = 10 * 60_000

/**
 * conda and mamba unpack where the package will stand, and say last what it is: returns when that is said, when nothing is there any more, or when
 * nothing was added for `patience` milliseconds.
 */
async function ended(folder: string, patience: number): Promise<void> {
  const begun = await ifThere(stat(folder), folder, 'cannot look at')
  if (begun === null || Date.now() - begun.ctimeMs > longest) return
  const grown = async (): Promise<string> => {
    const all = await runJob((counters) => native().scan({ root: folder, skip: [], threads: 1 }, counters))
    return `${all.length} ${[...all].reduce((sum, { size }) => sum + size, 0)}`
  }
  const pause = Math.min(patience, 500)
  try {
    for (let before = await grown(), quiet = 0; quiet < patience && noted(folder) === null; ) {
      await setTimeout(pause)
      const now = await grown()
      quiet = now === before ? quiet + pause : 0
      before = now
    }
  } catch (error) {
    // It is taken away while it is looked at.
    if (existsSync(folder)) throw error
  }
}
