/**
 * Creating an environment: solve, fetch, unpack, link, compile, record. All of it happens beside the prefix, which appears at once and
 * whole by one rename: a run that fails or is killed leaves no environment behind.
 */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { Clock } from '../clock.js'
import type { ChosenPackage } from '../conda/layout.js'
import { EnvError } from '../errors.js'
import { checkOptions } from '../options.js'
import { checkPrefix, remarksOnPrefix } from '../prefix/name.js'
import { usingCaches } from './cache-lock.js'
import { choose, packageOf } from './choose.js'
import { compilePackages, compilerAmong } from './compile.js'
import { noteEnvironment, noteOf } from './conda-meta.js'
import { type Filled, filesIn, fillStage } from './fill.js'
import { revisionText } from './history.js'
import { type Clobber, planLink, warnOfClobbers } from './link.js'
import { linkScripts, postLinks } from './link-scripts.js'
import { obtain } from './obtain.js'
import { packageCaches, writableCache } from './packages.js'
import { checkOffline, type PipResult, runPip } from './pip.js'
import { type Request, type RequestOptions, readRequest, requestShape } from './request.js'
import { checkFree, publishing } from './stage.js'

export interface CreateOptions extends RequestOptions {
  /** Where the environment will stand; nothing may be there, or an empty directory. */
  readonly prefix?: string | undefined
  /** Or its name, beneath the first folder of environments (`envs_dirs`). */
  readonly name?: string | undefined
}

const phases = ['solve', 'fetch', 'unpack', 'link', 'compile', 'pip'] as const
type Phase = (typeof phases)[number]

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
  /** What pip did for each file that had something for it. */
  readonly pip: readonly PipResult[]
  readonly clobbered: readonly Clobber[]
  readonly warnings: readonly string[]
  readonly seconds: { readonly [phase in Phase | 'total']: number }
}

const shape = { ...requestShape, prefix: 'string', name: 'string' } as const

/**
 * Throws TARGET_EXISTS, PIP_FAILED, UNSATISFIABLE, CHANNEL_NOT_FOUND, DOWNLOAD_FAILED, PACKAGE_DAMAGED, PREFIX_TOO_LONG, NO_SPACE, …: then nothing is at
 * the prefix. Packages that were fetched and unpacked by then stay in the cache.
 */
export async function create(options: CreateOptions): Promise<CreateResult> {
  checkOptions('create', options, shape)
  const request = await readRequest(options, null)
  if (request.offline) checkOffline(request.pip)
  const prefix = checkPrefix('create', prefixOf(options, request))
  for (const remark of remarksOnPrefix(prefix)) request.warn(remark)
  await checkFree(prefix)
  const caches = packageCaches(request.config)
  // Made now, so that there is something to lock.
  if (!request.dryRun) await writableCache(caches)
  return await usingCaches(caches, request.signal, () => install(prefix, request, options.command))
}

async function install(prefix: string, request: Request, typed: string | undefined): Promise<CreateResult> {
  const { specs, signal, offline, warn, warnings, variables } = request
  const clock = new Clock<Phase>(phases)
  const choice = await choose(request)
  clock.lap('solve')
  if (request.dryRun) {
    const packages = choice.records.map(packageOf)
    return { prefix, packages, installed: null, pip: [], clobbered: [], warnings, seconds: clock.seconds() }
  }
  const { wanted, ...obtained } = await obtain(choice, request, clock)
  const packages = wanted.map(({ record }) => packageOf(record))
  clock.lap('link') // Reading what the packages say of themselves is part of it.
  const made = await compilePackages(wanted, compilerAmong(wanted), request)
  clock.lap('compile')
  const plan = planLink(wanted, { prefix, copy: request.copy, compiled: made.packages })
  warnOfClobbers(plan.clobbers, warn)
  const pip: PipResult[] = []
  const fill = async (stage: string): Promise<Filled> =>
    await fillStage({ stage, prefix, beside: null }, wanted, plan, request, clock)
  const command = typed ?? `conda-deploy create -p ${prefix} ${specs.join(' ')}`
  const added = wanted.map(({ record }) => noteOf(record))
  const last = new Map([['conda-meta/history', revisionText({ command, added, update: specs })]])
  const state = { version: 1, env_vars: variables }
  if (Object.keys(variables).length > 0) last.set('conda-meta/state', JSON.stringify(state))
  const scripts = postLinks(wanted, plan)
  // What must run at the place where the environment stands.
  const inPlace = async (held: number): Promise<void> => {
    await linkScripts(prefix, scripts, request)
    if (request.pip.length > 0) request.reporter.phase('pip')
    for (const one of request.pip) pip.push(await runPip(prefix, one, { offline, held, signal, warn }))
    clock.lap('pip')
  }
  const runs = request.pip.length > 0 || (scripts.length > 0 && request.linkScripts)
  const { linked, compiled } = await publishing(prefix, request, fill, last, runs ? inPlace : null).finally(
    made.dispose,
  )
  if (!runs) await linkScripts(prefix, scripts, request)
  await noteEnvironment(prefix, process.env['HOME'] || homedir()).catch((error: Error) => warn(error.message))
  const installed = {
    ...obtained,
    files: filesIn(plan) + compiled,
    linked: linked.linked,
    cloned: linked.cloned,
    copied: linked.copied,
    rewritten: linked.written.length,
    compiled: made.compiled + compiled,
  }
  return { prefix, packages, installed, pip, clobbered: plan.clobbers, warnings, seconds: clock.seconds() }
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
