/** An environment with everything in it, gone at once: `remove --all`. */
import { existsSync, lstatSync } from 'node:fs'
import { realpath, unlink } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { EnvError } from '../errors.js'
import { checkOptions } from '../options.js'
import { forgetEnvironment } from './conda-meta.js'
import { locked } from './journal.js'
import { environmentOf, type RequestOptions, readRequest, requestShape } from './request.js'
import { takeAway } from './stage.js'

export interface RemoveEnvironmentOptions extends Pick<RequestOptions, 'dryRun' | 'threads' | 'signal' | 'reporter'> {
  /** Of the environment; there is no default. */
  readonly prefix?: string | undefined
  /** Or its name. */
  readonly name?: string | undefined
}

export interface RemoveEnvironmentResult {
  readonly prefix: string
  /** False with `dryRun`. */
  readonly removed: boolean
  readonly warnings: readonly string[]
}

const { dryRun, threads, signal, reporter } = requestShape
const shape = { ...{ dryRun, threads, signal, reporter }, prefix: 'string', name: 'string' } as const

/**
 * Files of nobody go with it. Throws ENV_NOT_FOUND, NOT_AN_ENV, PERMISSION, INVALID_OPTION for the active environment and for a conda
 * installation: then it is as it was.
 */
export async function removeEnvironment(options: RemoveEnvironmentOptions): Promise<RemoveEnvironmentResult> {
  checkOptions('removeEnvironment', options, shape)
  if (options.prefix === undefined && options.name === undefined)
    throw new EnvError('INVALID_OPTION', 'which environment is to be removed?', {
      hint: 'name it with --name or --prefix',
    })
  const prefix = environmentOf(options)
  const request = await readRequest(options, prefix)
  const { warn, warnings, dryRun } = request
  const active = process.env['CONDA_PREFIX']
  if (active && existsSync(active) && (await realpath(active)) === (await realpath(prefix)))
    throw new EnvError('INVALID_OPTION', `${prefix} is active`, { path: prefix, hint: 'deactivate it first' })
  if (['condabin', 'envs'].some((folder) => existsSync(join(prefix, folder))))
    throw new EnvError('INVALID_OPTION', `${prefix} holds an installation of conda, or other environments`, {
      ...{ path: prefix, hint: 'remove its folder yourself, if that is meant' },
    })
  if (dryRun) return { prefix, removed: false, warnings }
  await locked(prefix, request, async (root) => {
    await takeAway(root, request)
    if (lstatSync(prefix, { throwIfNoEntry: false })?.isSymbolicLink()) await unlink(prefix)
  })
  await forgetEnvironment(prefix, process.env['HOME'] || homedir()).catch((error: Error) => warn(error.message))
  return { prefix, removed: true, warnings }
}
