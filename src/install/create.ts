/**
 * Creating an environment: solve, fetch, unpack, link, compile, record. All of it happens beside the prefix, which appears at once and
 * whole by one rename: a run that fails or is killed leaves no environment behind.
 */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { lstat, mkdir, readdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { availableParallelism, homedir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { type Channel, channelsOf, withoutSecret } from '../conda/channel.js'
import { type Config, readConfig } from '../conda/config.js'
import { parseMatchSpec } from '../conda/match-spec.js'
import { EnvError, fromSystem } from '../errors.js'
import type { LinkEntry, Linked } from '../install-jobs.js'
import { native, runJob } from '../native.js'
import { checkOptions } from '../options.js'
import { now, type Reporter, silent } from '../report.js'
import { hashesOf, historyText, noteEnvironment, prefixRecord } from './conda-meta.js'
import { type Fetched, fetchPackages } from './fetch.js'
import { indexesOf } from './indexes.js'
import { type Clobber, type LinkPlan, planLink, type Wanted } from './link.js'
import { inOrder } from './order.js'
import { type Archive, packageCaches, unpackedIn, unpackPackages, writableCache } from './packages.js'
import { type RepoRecord, repoRecord } from './repodata.js'
import { solve } from './solve.js'
import { readSpecFile, type SpecFile } from './spec-file.js'
import { readUnpacked } from './unpacked.js'
import { thisPlatform, virtualPackages } from './virtual-packages.js'

export interface CreateOptions {
  /** Where the environment will stand; nothing may be there, or an empty directory. */
  readonly prefix?: string | undefined
  /** Or its name, beneath the first folder of environments (`envs_dirs`). */
  readonly name?: string | undefined
  /** Match specs, as conda takes them. */
  readonly specs?: readonly string[] | undefined
  /** More of them, and of channels: `environment.yml`, lists of specs; or one explicit list, alone. */
  readonly files?: readonly string[] | undefined
  /** Names, paths or URLs, first to last; those of conda's configuration come after them. */
  readonly channels?: readonly string[] | undefined
  /** Only `channels`. */
  readonly overrideChannels?: boolean | undefined
  /** Nothing is asked of a server. */
  readonly offline?: boolean | undefined
  /** Copies in place of clones and hard links. */
  readonly copy?: boolean | undefined
  /** Solve, and write nothing but the cache of channels' indexes. */
  readonly dryRun?: boolean | undefined
  /** For `conda-meta/history`; credentials in it are left out. Default: the specs. */
  readonly command?: string | undefined
  /** Default: all cores. */
  readonly threads?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

export interface CreatedPackage {
  readonly name: string
  readonly version: string
  readonly build: string
  readonly channel: string
  readonly subdir: string
  readonly url: string
  readonly size: number | null
}

export interface CreateResult {
  readonly prefix: string
  /** In the order of linking. */
  readonly packages: readonly CreatedPackage[]
  /** Null with `dryRun`. */
  readonly installed: {
    readonly downloaded: number
    readonly downloadedBytes: number
    readonly unpacked: number
    readonly files: number
    readonly linked: number
    readonly cloned: number
    readonly copied: number
    readonly rewritten: number
    readonly compiled: number
  } | null
  readonly clobbered: readonly Clobber[]
  readonly warnings: readonly string[]
  readonly seconds: { readonly [phase in 'solve' | 'fetch' | 'unpack' | 'link' | 'compile' | 'total']: number }
}

const shape = {
  prefix: 'string',
  name: 'string',
  specs: 'strings',
  files: 'strings',
  channels: 'strings',
  overrideChannels: 'boolean',
  offline: 'boolean',
  copy: 'boolean',
  dryRun: 'boolean',
  command: 'string',
  threads: 'number',
  signal: 'object',
  reporter: 'object',
} as const

/**
 * Throws TARGET_EXISTS, UNSATISFIABLE, CHANNEL_NOT_FOUND, DOWNLOAD_FAILED, PACKAGE_DAMAGED, PREFIX_TOO_LONG, NO_SPACE, …: then nothing is at
 * the prefix. Packages that were fetched and unpacked by then stay in the cache.
 */
export async function create(options: CreateOptions): Promise<CreateResult> {
  checkOptions('create', options, shape)
  const { dryRun = false, threads = availableParallelism(), signal, reporter = silent } = options
  const config = readConfig()
  const files = await Promise.all((options.files ?? []).map((file) => readSpecFile(file, config)))
  const specs = [...(options.specs ?? []), ...files.flatMap((file) => file.specs)]
  const explicit = explicitOf(files, specs)
  const prefix = prefixOf(options, files, config)
  const asked = new Map(specs.map((spec) => [parseMatchSpec(spec).name, spec]))
  await checkFree(prefix)
  const warnings: string[] = []
  const warn = (message: string): void => {
    warnings.push(message)
    reporter.warn(message)
  }
  const clock = stopwatch()
  const offline = options.offline ?? config.offline
  const named = [...(options.channels ?? []), ...files.flatMap((file) => file.channels)]
  const channels = explicit === null ? channelList(named, options.overrideChannels ?? false, config) : []
  if (explicit === null) reporter.phase('solve')
  const found = explicit ?? (await answer(specs, channels, config, { offline, signal, warn }))
  clock.lap('solve')
  if (dryRun)
    return {
      prefix,
      packages: found.map(packageOf),
      installed: null,
      clobbered: [],
      warnings,
      seconds: clock.seconds(),
    }

  const caches = packageCaches(config)
  const cache = await writableCache(caches)
  const there = await Promise.all(found.map((record) => unpackedIn(caches, record)))
  const missing = found.filter((_, i) => there[i] === null)
  const secrets = new Map([
    ...files.flatMap((file) => [...file.secrets]),
    ...channels.flatMap(({ base, secret }) => (secret === null ? [] : [[base, secret] as const])),
  ])
  const fetched = await fetchPackages(missing, { caches, cache, offline, secrets, signal, reporter })
  clock.lap('fetch')
  const folders = await unpack(fetched, cache, { threads, signal, reporter })
  clock.lap('unpack')

  const archives = new Map(fetched.archives.map(({ record, file }) => [record, file]))
  const read = await Promise.all(
    found.map(async (record, i) => {
      const unpacked = await readUnpacked(there[i] ?? folders.get(record) ?? '')
      const archive = archives.get(record) ?? join(dirname(unpacked.folder), record.fn)
      const { channel, subdir, fn } = record
      const whole = explicit === null ? record : repoRecord(channel, subdir, fn, { ...unpacked.index, ...record.raw })
      return { record: whole, unpacked, archive, spec: asked.get(record.name) ?? null }
    }),
  )
  // Of an explicit list it is known only now what depends on what.
  const order = new Map(inOrder(read.map(({ record }) => record)).map((record, number) => [record, number]))
  const wanted: Wanted[] = read.sort((a, b) => (order.get(a.record) ?? 0) - (order.get(b.record) ?? 0))
  const packages = wanted.map(({ record }) => packageOf(record))
  const plan = planLink(wanted, { prefix, copy: options.copy ?? false })
  for (const { path, packages: owners } of plan.clobbers)
    warn(`${path} is in ${owners.join(' and in ')}: the last one's is installed`)
  const stage = await makeStage(prefix)
  try {
    reporter.phase('link', plan.entries.length, 'files')
    const job = { root: stage, prefix, sources: plan.sources, entries: plan.entries, threads }
    const progress = (_: number, entries: number): void => reporter.progress(entries)
    const linked = await runJob((counters) => native().link(job, counters), { signal, progress })
    clock.lap('link')
    if (plan.compile.length > 0) reporter.phase('compile')
    const compiled = await compilePython(stage, plan, { threads, signal, warn })
    clock.lap('compile')
    await writeMeta(stage, prefix, wanted, plan, linked, { ...options, specs })
    await publish(stage, prefix)
    await noteEnvironment(prefix, process.env['HOME'] || homedir()).catch((error: Error) => warn(error.message))
    const installed = {
      downloaded: fetched.downloaded,
      downloadedBytes: fetched.downloadedBytes,
      unpacked: folders.size,
      files: plan.entries.length + compiled,
      linked: linked.linked,
      cloned: linked.cloned,
      copied: linked.copied,
      rewritten: linked.written.length,
      compiled,
    }
    return { prefix, packages, installed, clobbered: plan.clobbers, warnings, seconds: clock.seconds() }
  } catch (error) {
    await runJob((counters) => native().remove({ root: stage, threads }, counters))
    throw error
  }
}

const packageOf = ({ name, version, build, channel, subdir, url, size }: RepoRecord): CreatedPackage => ({
  ...{ name, version, build, channel, subdir, url, size },
})

function explicitOf(files: readonly SpecFile[], specs: readonly string[]): readonly RepoRecord[] | null {
  const [first] = files.filter(({ explicit }) => explicit !== null)
  if (first === undefined) return null
  if (files.length === 1 && specs.length === 0) return first.explicit
  throw new EnvError('INVALID_OPTION', 'an explicit list stands alone: nothing is solved with it')
}

function prefixOf({ name, prefix }: CreateOptions, files: readonly SpecFile[], config: Config): string {
  if (prefix !== undefined && name !== undefined)
    throw new EnvError('INVALID_OPTION', "Cannot specify both 'name' and 'prefix'")
  if (prefix !== undefined) return resolve(prefix)
  const called = name ?? files.map((file) => file.name).find((one) => one !== null)
  if (called == null)
    throw new EnvError('INVALID_OPTION', 'the environment has no name', { hint: 'give it one with --name or --prefix' })
  if (!/^[^/\s#:]+$/.test(called) || called.startsWith('.') || called === 'base' || called === 'root')
    throw new EnvError('INVALID_OPTION', `'${called}' cannot be the name of an environment`)
  return join(config.envsDirs[0] ?? join(process.env['HOME'] || homedir(), '.conda', 'envs'), called)
}

function channelList(channels: readonly string[], override: boolean, config: Config): Channel[] {
  const configured = override ? [] : config.channels.length > 0 || channels.length > 0 ? config.channels : ['defaults']
  const all = [...channels, ...configured].flatMap((name) => channelsOf(name, config))
  if (all.length === 0) throw new EnvError('INVALID_OPTION', 'no channel is named', { hint: 'name one with --channel' })
  const seen = new Set<string>()
  return all.filter(({ base }) => !seen.has(base) && seen.add(base))
}

const withoutSecrets = (command: string): string => command.replace(/\S+:\/\/\S+/g, withoutSecret)

interface Asking {
  readonly offline: boolean
  readonly signal: AbortSignal | undefined
  readonly warn: (message: string) => void
}

async function answer(
  specs: readonly string[],
  channels: readonly Channel[],
  config: Config,
  { offline, signal, warn }: Asking,
): Promise<readonly RepoRecord[]> {
  if (specs.length === 0) return []
  const platform = thisPlatform()
  const indexes = await indexesOf(channels, [platform, 'noarch'], { offline, http: { signal } })
  const { priority, pinned: pins } = config
  const virtual = virtualPackages(platform)
  const { records, relaxed } = await solve({ specs, indexes, platform, virtual, pins, priority, signal })
  if (relaxed) warn('there was no answer with the first channel that has each package: later channels were allowed')
  return records
}

interface Unpacking {
  readonly threads: number
  readonly signal: AbortSignal | undefined
  readonly reporter: Reporter
}

async function unpack(
  { archives }: Fetched,
  cache: string,
  { threads, signal, reporter }: Unpacking,
): Promise<ReadonlyMap<RepoRecord, string>> {
  if (archives.length > 0) reporter.phase('unpack')
  const progress = (bytes: number): void => reporter.progress(bytes)
  const folders = await unpackPackages(archives, cache, { threads, signal, progress })
  return new Map(archives.map(({ record }: Archive, i) => [record, folders[i] ?? '']))
}

/** Throws TARGET_EXISTS. */
async function checkFree(prefix: string): Promise<void> {
  try {
    // An empty directory goes, and comes back as the environment.
    if ((await lstat(prefix)).isDirectory() && (await readdir(prefix)).length === 0) return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw fromSystem(error, 'cannot look at', prefix)
  }
  const hint = 'remove it, or choose another name'
  throw new EnvError('TARGET_EXISTS', `${prefix} exists already`, { path: prefix, hint })
}

/** Beside the prefix: on its file system, and found by who cleans up after a machine that lost power. */
async function makeStage(prefix: string): Promise<string> {
  const stage = join(dirname(prefix), `.${basename(prefix)}.conda-deploy-${randomBytes(6).toString('hex')}`)
  try {
    await mkdir(dirname(prefix), { recursive: true })
    await mkdir(stage)
    return stage
  } catch (error) {
    throw fromSystem(error, 'cannot make', stage)
  }
}

async function publish(stage: string, prefix: string): Promise<void> {
  if (native().rename(stage, prefix, 'no-replace')) return
  await checkFree(prefix)
  await rmdir(prefix).catch((error: unknown) => {
    throw fromSystem(error, 'cannot replace', prefix)
  })
  if (native().rename(stage, prefix, 'no-replace')) return
  throw new EnvError('TARGET_EXISTS', `${prefix} was made by another program meanwhile`, { path: prefix })
}

/** Records and history, by the core too: no link that a package brought may lead them elsewhere. */
async function writeMeta(
  stage: string,
  prefix: string,
  wanted: readonly Wanted[],
  plan: LinkPlan,
  linked: Linked,
  { specs = [], copy = false, command = `conda-deploy create -p ${prefix} ${specs.join(' ')}` }: CreateOptions,
): Promise<void> {
  const hashes = hashesOf(linked)
  const write = (path: string, text: string): LinkEntry => ({
    path,
    how: 'write',
    data: Buffer.from(text),
    mode: 0o666,
  })
  const entries = wanted.map((one, number) => {
    const { name, text } = prefixRecord(one, number, plan, hashes, copy)
    return write(`conda-meta/${name}`, text)
  })
  const added = wanted.map(({ record }) => record)
  entries.push(write('conda-meta/history', historyText(withoutSecrets(command), added, specs)))
  await runJob((counters) => native().link({ root: stage, prefix, sources: [], entries, threads: 1 }, counters))
}

interface Compiling {
  readonly threads: number
  readonly signal: AbortSignal | undefined
  readonly warn: (message: string) => void
}

/** The `.pyc` of noarch packages, by the environment's own python, as conda does it. Files that do not compile stay as they are. */
async function compilePython(stage: string, plan: LinkPlan, { threads, signal, warn }: Compiling): Promise<number> {
  if (plan.compile.length === 0 || plan.python === null) return 0
  const list = `${stage}.compile`
  const python = join(stage, 'bin', `python${plan.python}`)
  const args = ['-Wi', '-m', 'compileall', '-q', '-l', '-i', list, '-j', String(threads)]
  try {
    await writeFile(list, plan.compile.map((path) => `${path}\n`).join(''), { flag: 'wx' })
    await new Promise<void>((done, failed) => {
      const env = { PATH: '/usr/bin:/bin', HOME: '/nonexistent', LANG: 'C.UTF-8' }
      const child = spawn(python, args, {
        cwd: stage,
        env,
        stdio: 'ignore',
        ...(signal === undefined ? {} : { signal }),
      })
      child.on('error', failed)
      // Its status says that some file has code of another Python: that is so in many packages, and no fault.
      child.on('close', (_, killed) => (killed === null ? done() : failed(new Error(`ended by ${killed}`))))
    })
    return plan.compile.length
  } catch (error) {
    if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
    warn(`Python files are not compiled: ${(error as Error).message}`)
    return 0
  } finally {
    await rm(list, { force: true })
  }
}

function stopwatch(): {
  lap(phase: keyof CreateResult['seconds']): void
  seconds(): CreateResult['seconds']
} {
  const start = now()
  let last = start
  const laps = { solve: 0, fetch: 0, unpack: 0, link: 0, compile: 0 }
  return {
    lap(phase) {
      const at = now()
      if (phase !== 'total') laps[phase] = (at - last) / 1000
      last = at
    },
    seconds: () => ({ ...laps, total: (now() - start) / 1000 }),
  }
}
