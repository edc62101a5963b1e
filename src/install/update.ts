/** Packages of an environment to the newest versions that go together with the rest. */
import { parseMatchSpec } from '../conda/match-spec.js'
import { EnvError } from '../errors.js'
import { checkOptions } from '../options.js'
import { nameIn } from './candidates.js'
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
import { chooseBeside, pinsOf, recordsOf, specsWith, targetOf } from './standing.js'
import { type ChangeResult, changeEnvironment } from './transaction.js'

export interface UpdateOptions extends RequestOptions, EnvironmentOptions {
  /** Everything, as far as what was asked for earlier allows it; `specs` must be empty. */
  readonly all?: boolean | undefined
  /** As for install. */
  readonly clobber?: boolean | undefined
}

const shape = { ...requestShape, prefix: 'string', name: 'string', all: 'boolean', clobber: 'boolean' } as const

/**
 * `specs` are names of installed packages; what they need changes with them, everything else where it must. Throws as `install` does, and
 * INVALID_SPEC for specs with versions, which are to be installed.
 */
export async function update(options: UpdateOptions): Promise<ChangeResult> {
  checkOptions('update', options, shape)
  const { all = false, clobber = false } = options
  const prefix = environmentOf(options)
  const request = await readRequest(options, prefix)
  if (request.explicit !== null)
    throw new EnvError('INVALID_OPTION', 'an explicit list names what is to be there: install it')
  if (all === request.specs.length > 0)
    throw new EnvError('INVALID_OPTION', 'expected names of packages, or --all, and not both')
  const command = options.command ?? `conda-deploy update -p ${prefix} ${all ? '--all' : request.specs.join(' ')}`
  return await changeEnvironment({ prefix, request, command, clobber }, (present) => targetFor(present, request))
}

async function targetFor(present: Present, request: Request): Promise<Target> {
  const { specs } = request
  const names = new Set(specs.map(nameIn))
  for (const spec of specs) checkName(spec, present)
  const here = recordsOf(present)
  const every = { specs: specsWith(present, specs), pins: pinsOf(present, specs), alone: false }
  // The newest that can be had, with everything free to change; what is to be warned of comes with the answer that counts.
  const asking = specs.length === 0 ? request : { ...request, warn: () => {} }
  const newest = await chooseBeside(asking, present, { ...every, installed: [], free: here })
  if (specs.length === 0) return targetOf({ ...newest.choice, asked: new Map() }, { neutered: newest.neutered })
  // Those, with everything else as it is, as far as it can be: a solver left to itself would rather keep the rest than update these.
  const wanted = newest.choice.records.filter(({ name }) => names.has(name))
  const exact = wanted.map(({ name, version, build }) => `${name}[version="==${version}",build="${build}"]`)
  const [installed, free] = [true, false].map((stays) => here.filter(({ name }) => names.has(name) !== stays))
  const standing = { ...every, specs: specsWith(present, exact), installed: installed ?? [], free: free ?? [] }
  const { choice, neutered } = await chooseBeside(request, present, standing)
  return targetOf(choice, { update: specs, neutered })
}

function checkName(spec: string, { packages }: Present): void {
  const { name, version, build, channel } = parseMatchSpec(spec)
  if (version !== null || build !== null || channel !== null)
    throw new EnvError('INVALID_SPEC', `'${spec}': expected the name of a package`, {
      hint: `conda-deploy install '${spec}' installs that one`,
    })
  if (packages.has(name)) return
  throw new EnvError('UNSATISFIABLE', `${name} is not installed`, { hint: `conda-deploy install ${name}` })
}
