/**
 * Creating an environment: solve, fetch, unpack, link, compile, record. All of it happens beside the prefix, which appears at once and
 * whole by one rename: a run that fails or is killed leaves no environment behind.
 */
import { randomBytes } from 'node:crypto'
import { lstat, mkdir, readdir, rmdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { Clock } from '../clock.js'
import { EnvError, fromSystem } from '../errors.js'
import { native, runJob } from '../native.js'
import { checkOptions } from '../options.js'
import { type ChosenPackage, choose, packageOf } from './choose.js'
import { historyText, noteEnvironment } from './conda-meta.js'
import { fillStage, writeInto } from './fill.js'
import { type Clobber, planLink } from './link.js'
import { obtain } from './obtain.js'
import { type Request, type RequestOptions, readRequest, requestShape } from './request.js'

export interface CreateOptions extends RequestOptions {
  /** Where the environment will stand; nothing may be there, or an empty directory. */
  readonly prefix?: string | undefined
  /** Or its name, beneath the first folder of environments (`envs_dirs`). */
  readonly name?: string | undefined
}

type Phase = 'solve' | 'fetch' | 'unpack' | 'link' | 'compile'

export interface CreateResult {
  readonly prefix: string
  /** In the order of linking. */
  readonly packages: readonly ChosenPackage[]
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
  readonly seconds: { readonly [phase in Phase | 'total']: number }
}

const shape = { ...requestShape, prefix: 'string', name: 'string' } as const

/**
 * Throws TARGET_EXISTS, UNSATISFIABLE, CHANNEL_NOT_FOUND, DOWNLOAD_FAILED, PACKAGE_DAMAGED, PREFIX_TOO_LONG, NO_SPACE, …: then nothing is at
 * the prefix. Packages that were fetched and unpacked by then stay in the cache.
 */
export async function create(options: CreateOptions): Promise<CreateResult> {
  checkOptions('create', options, shape)
  const request = await readRequest(options)
  const { specs, threads, warn, warnings } = request
  const prefix = prefixOf(options, request)
  await checkFree(prefix)
  const clock = new Clock<Phase>(['solve', 'fetch', 'unpack', 'link', 'compile'])
  const choice = await choose(request)
  clock.lap('solve')
  if (request.dryRun) {
    const packages = choice.records.map(packageOf)
    return { prefix, packages, installed: null, clobbered: [], warnings, seconds: clock.seconds() }
  }
  const { wanted, ...obtained } = await obtain(choice, request, clock)
  const packages = wanted.map(({ record }) => packageOf(record))
  const plan = planLink(wanted, { prefix, copy: request.copy })
  for (const { path, packages: owners } of plan.clobbers)
    warn(`${path} is in ${owners.join(' and in ')}: the last one's is installed`)
  const stage = await makeStage(prefix)
  try {
    const { linked, compiled } = await fillStage(stage, prefix, wanted, plan, request, clock)
    const command = options.command ?? `conda-deploy create -p ${prefix} ${specs.join(' ')}`
    const added = wanted.map(({ record }) => record)
    await writeInto(stage, new Map([['conda-meta/history', historyText(command, added, specs)]]))
    await publish(stage, prefix)
    await noteEnvironment(prefix, process.env['HOME'] || homedir()).catch((error: Error) => warn(error.message))
    const installed = {
      ...obtained,
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

function prefixOf({ name, prefix }: CreateOptions, { files, config }: Request): string {
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
