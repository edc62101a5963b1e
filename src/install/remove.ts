/** Packages out of an environment, with those that need them and those that nothing needs any more. */
import { parseMatchSpec } from '../conda/match-spec.js'
import { EnvError } from '../errors.js'
import { checkOptions } from '../options.js'
import type { Target } from './difference.js'
import { needersOf, needsOf, type Present, rootsOf } from './installed.js'
import { type EnvironmentOptions, environmentOf, type RequestOptions, readRequest, requestShape } from './request.js'
import { recordsOf } from './standing.js'
import { type ChangeResult, changeEnvironment } from './transaction.js'

export interface RemoveOptions
  extends Pick<RequestOptions, 'dryRun' | 'linkScripts' | 'command' | 'threads' | 'signal' | 'reporter'>,
    EnvironmentOptions {
  /** Names of packages. */
  readonly specs?: readonly string[] | undefined
  /** Only these packages: what needs them stays, and does not work; what they needed stays, too. */
  readonly force?: boolean | undefined
}

const { dryRun, linkScripts, command, threads, signal, reporter, specs } = requestShape
const shape = {
  ...{ dryRun, linkScripts, command, threads, signal, reporter, specs },
  prefix: 'string',
  name: 'string',
  force: 'boolean',
} as const

/** Throws ENV_NOT_FOUND, UNSATISFIABLE for what is not installed, PERMISSION, …: then the environment is as it was. */
export async function remove(options: RemoveOptions): Promise<ChangeResult> {
  checkOptions('remove', options, shape)
  const { specs = [], force = false } = options
  const prefix = environmentOf(options)
  const request = await readRequest(options, prefix)
  if (specs.length === 0)
    throw new EnvError('INVALID_OPTION', 'no package is named', { hint: 'name packages, or say --all' })
  const names = specs.map(nameOf)
  const command = options.command ?? `conda-deploy remove -p ${prefix} ${specs.join(' ')}`
  return await changeEnvironment({ prefix, request, command }, async (present) => targetFor(present, names, force))
}

function nameOf(spec: string): string {
  const { name, version, build, channel } = parseMatchSpec(spec)
  if (version === null && build === null && channel === null) return name
  throw new EnvError('INVALID_SPEC', `'${spec}': expected the name of a package`, {
    hint: 'only one version is installed',
  })
}

function targetFor(present: Present, names: readonly string[], force: boolean): Target {
  const { packages } = present
  const absent = names.filter((name) => !packages.has(name))
  if (absent.length > 0)
    throw new EnvError('UNSATISFIABLE', `not installed: ${absent.join(', ')}`, {
      hint: 'conda-deploy list tells what is',
    })
  const gone = force ? new Set(names) : needersOf(names, packages)
  if (!force) {
    const wanted = needsOf(
      [...rootsOf(present).keys()].filter((name) => !gone.has(name)),
      packages,
    )
    for (const name of needsOf(gone, packages)) if (!wanted.has(name)) gone.add(name)
  }
  return {
    records: recordsOf(present).filter(({ name }) => !gone.has(name)),
    ...{ secrets: new Map(), asked: new Map(), update: [], remove: names, neutered: [] },
  }
}
