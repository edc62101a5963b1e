/** Packages into an environment that is there, beside what it has. */
import { EnvError } from '../errors.js'
import { checkOptions } from '../options.js'
import { nameIn } from './candidates.js'
import { choose } from './choose.js'
import type { Target } from './difference.js'
import type { Present } from './installed.js'
import {
  type EnvironmentOptions,
  environmentOf,
  type Request,
  type RequestOptions,
  readRequest,
  requestShape,
} from './request.js'
import { chooseBeside, exactly, pinsOf, recordsOf, replaced, specsWith, targetOf } from './standing.js'
import { type ChangeResult, changeEnvironment } from './transaction.js'

export interface InstallOptions extends RequestOptions, EnvironmentOptions {
  /** Only what is asked for, whatever it needs. */
  readonly noDeps?: boolean | undefined
  /** What is installed stays as it is; where that cannot be: UNSATISFIABLE. */
  readonly freezeInstalled?: boolean | undefined
  /** Files that belong to no package and stand where files of packages belong are replaced; without it: TARGET_EXISTS. */
  readonly clobber?: boolean | undefined
}

const shape = {
  ...requestShape,
  prefix: 'string',
  name: 'string',
  noDeps: 'boolean',
  freezeInstalled: 'boolean',
  clobber: 'boolean',
} as const

/**
 * What was asked for earlier still holds, pins hold, python keeps its minor version unless it is asked for. Throws ENV_NOT_FOUND,
 * UNSATISFIABLE, DOWNLOAD_FAILED, TARGET_EXISTS, PERMISSION, NO_SPACE, …: then the environment is as it was.
 */
export async function install(options: InstallOptions): Promise<ChangeResult> {
  checkOptions('install', options, shape)
  const { noDeps = false, freezeInstalled = false, clobber = false } = options
  const prefix = environmentOf(options)
  const request = await readRequest(options, prefix)
  if (request.specs.length === 0 && request.explicit === null)
    throw new EnvError('INVALID_OPTION', 'no package is asked for', { hint: 'name packages, or a file of them' })
  const command = options.command ?? `conda-deploy install -p ${prefix} ${request.specs.join(' ')}`
  const decide = (present: Present): Promise<Target> => targetFor(present, request, { noDeps, freezeInstalled })
  return await changeEnvironment({ prefix, request, command, clobber }, decide)
}

async function targetFor(
  present: Present,
  request: Request,
  { noDeps, freezeInstalled }: { readonly noDeps: boolean; readonly freezeInstalled: boolean },
): Promise<Target> {
  const { specs, explicit } = request
  const installed = recordsOf(present)
  if (explicit !== null) {
    const choice = await choose(request)
    return targetOf({ ...choice, records: replaced(present, choice.records) })
  }
  const names = new Set(specs.map(nameIn))
  const standing = { installed, free: [], pins: pinsOf(present, specs), alone: noDeps }
  if (noDeps) {
    const choice = await choose(request, { ...standing, specs })
    return targetOf({ ...choice, records: replaced(present, choice.records) }, { update: specs })
  }
  if (freezeInstalled) {
    const choice = await choose(request, { ...standing, specs: [...exactly(present, names), ...specs] })
    return targetOf(choice, { update: specs })
  }
  const { choice, neutered } = await chooseBeside(request, present, { ...standing, specs: specsWith(present, specs) })
  return targetOf(choice, { update: specs, neutered })
}
