/**
 * Creating an environment: solve, fetch, unpack, link, compile, record. All of it happens beside the prefix, which appears at once and
 * whole by one rename: a run that fails or is killed leaves no environment behind.
 */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { Clock } from '../clock.js'
import { EnvError } from '../errors.js'
import { checkOptions } from '../options.js'
import { type ChosenPackage, choose, packageOf } from './choose.js'
import { compilePackages, compilerAmong } from './compile.js'
import { noteEnvironment, noteOf } from './conda-meta.js'
import { fillStage, writeInto } from './fill.js'
import { revisionText } from './history.js'
import { type Clobber, planLink, type Wanted, warnOfClobbers } from './link.js'
import { linkScript, linkScripts } from './link-scripts.js'
import { obtain } from './obtain.js'
import { type Request, type RequestOptions, readRequest, requestShape } from './request.js'
import { checkFree, publishing, takeAway } from './stage.js'

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
  const { specs, warn, warnings } = request
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
  clock.lap('link') // Reading what the packages say of themselves is part of it.
  const made = await compilePackages(wanted, compilerAmong(wanted), request)
  clock.lap('compile')
  const plan = planLink(wanted, { prefix, copy: request.copy, compiled: made.packages })
  warnOfClobbers(plan.clobbers, warn)
  const { linked, compiled } = await publishing(prefix, request, async (stage) => {
    const filled = await fillStage({ stage, prefix, beside: null }, wanted, plan, request, clock)
    const command = options.command ?? `conda-deploy create -p ${prefix} ${specs.join(' ')}`
    const added = wanted.map(({ record }) => noteOf(record))
    await writeInto(stage, new Map([['conda-meta/history', revisionText({ command, added, update: specs })]]))
    return filled
  }).finally(made.dispose)
  const filesOf = ({ unpacked }: Wanted): string[] => unpacked.paths.map(({ path }) => path)
  const scripts = wanted.flatMap((one) => linkScript(one.record, filesOf(one), 'post-link'))
  await linkScripts(prefix, scripts, request).catch(async (error: unknown) => {
    await takeAway(prefix, request)
    throw error
  })
  await noteEnvironment(prefix, process.env['HOME'] || homedir()).catch((error: Error) => warn(error.message))
  const installed = {
    ...obtained,
    files: plan.entries.length + compiled,
    linked: linked.linked,
    cloned: linked.cloned,
    copied: linked.copied,
    rewritten: linked.written.length,
    compiled: made.compiled + compiled,
  }
  return { prefix, packages, installed, clobbered: plan.clobbers, warnings, seconds: clock.seconds() }
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
