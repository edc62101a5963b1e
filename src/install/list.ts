/** What is installed in an environment, and what was, when: `conda list` without conda. Reads records and site-packages, and runs nothing. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Config, readConfig } from '../conda/config.js'
import { findPrefix } from '../conda/find.js'
import { EnvError, fromSystem } from '../errors.js'
import { checkOptions } from '../options.js'
import { type ListedPackage, type Listing, listing } from './listed.js'
import { type Revision, revisionsOf, revisionsText } from './revisions.js'
import { thisPlatform } from './virtual-packages.js'

export interface ListOptions {
  /** Default: the active environment. */
  readonly prefix?: string | undefined
  readonly name?: string | undefined
  /** Only packages whose names it is found in, in upper or lower case. */
  readonly regex?: string | undefined
  /** `regex` is a whole name. */
  readonly fullName?: boolean | undefined
  /** Packages of pip too; default true. */
  readonly pip?: boolean | undefined
}

export interface ListResult extends Listing {
  readonly prefix: string
  /** Of this machine. */
  readonly platform: string
}

const shape = { prefix: 'string', name: 'string', regex: 'string', fullName: 'boolean', pip: 'boolean' } as const

/** Throws ENV_NOT_FOUND, NOT_AN_ENV, ENV_DAMAGED, PACKAGE_NOT_FOUND when nothing matches, INVALID_OPTION for what is no regular expression. */
export async function list(options: ListOptions = {}, config?: Config): Promise<ListResult> {
  checkOptions('list', options, shape)
  const { prefix, name, regex, fullName = false, pip = true } = options
  const found = findPrefix({ ...(prefix === undefined ? {} : { prefix }), ...(name === undefined ? {} : { name }) })
  const all = await listing(found, config ?? readConfig(process.env, found), pip)
  const packages = regex === undefined ? all.packages : all.packages.filter(matching(regex, fullName))
  if (regex !== undefined && packages.length === 0)
    throw new EnvError('PACKAGE_NOT_FOUND', `No packages match '${regex}' in ${found}`, { path: found })
  return { prefix: found, platform: thisPlatform(), packages, recorded: all.recorded }
}

function matching(regex: string, fullName: boolean): (one: ListedPackage) => boolean {
  if (fullName) return ({ name }) => name === regex
  try {
    const pattern = new RegExp(regex, 'i')
    return ({ name }) => pattern.test(name)
  } catch (error) {
    throw new EnvError('INVALID_OPTION', `'${regex}' is no regular expression: ${(error as Error).message}`)
  }
}

export interface RevisionsResult {
  readonly prefix: string
  readonly revisions: readonly Revision[]
  /** As conda prints them. */
  readonly text: string
}

/** Throws ENV_NOT_FOUND, NOT_AN_ENV, ENV_DAMAGED where there is no history, IO. */
export async function revisions(options: Pick<ListOptions, 'prefix' | 'name'> = {}): Promise<RevisionsResult> {
  checkOptions('revisions', options, { prefix: 'string', name: 'string' })
  const { prefix, name } = options
  const found = findPrefix({ ...(prefix === undefined ? {} : { prefix }), ...(name === undefined ? {} : { name }) })
  const file = join(found, 'conda-meta', 'history')
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw fromSystem(error, 'cannot read', file)
    throw new EnvError('ENV_DAMAGED', `${found} has no history: ${file} is not there`, { path: file })
  })
  return { prefix: found, revisions: revisionsOf(text), text: revisionsText(text) }
}
