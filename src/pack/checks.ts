/** Whether an environment may be packed as it is. Each check names what it found; the user may choose to go on. */
import { accessSync, constants } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from '../conda/environment.js'
import { EnvError, fromSystem } from '../errors.js'
import type { PackEntry, Scanned } from '../native.js'
import type { MissingFiles } from './nodes.js'

/** Names of packages installed in editable form (`pip install -e`, `setup.py develop`): their files are not in the environment. */
export async function editablePackages(environment: Environment, scanned: Iterable<Scanned>): Promise<string[]> {
  const site = environment.python?.sitePackages
  if (site === undefined) return []
  const names = new Set<string>()
  const told: Scanned[] = []
  for (const node of scanned) {
    const { path, kind } = node
    if (kind !== 'file' || !path.startsWith(`${site}/`)) continue
    if (!path.endsWith('.json') && !path.endsWith('.egg-link') && !path.endsWith('.pth')) continue
    const rest = path.slice(site.length + 1)
    const distInfo = /^([^/]+)\.dist-info\/direct_url\.json$/.exec(rest)?.[1]
    const link = /^([^/]+)\.egg-link$/.exec(rest)?.[1]
    const finder = /^__editable__[._]+([^/]+)\.pth$/.exec(rest)?.[1]
    if (link !== undefined) names.add(link)
    else if (finder !== undefined) names.add(projectName(finder))
    else if (distInfo !== undefined) told.push(node)
  }
  const said = await Promise.all(told.map(({ path, origin }) => saysEditable(origin ?? join(environment.prefix, path))))
  for (const [i, { path }] of told.entries())
    if (said[i]) names.add(projectName(path.slice(site.length + 1, path.indexOf('.dist-info/'))))
  return [...names].sort()
}

/** `name-1.0` → `name`. */
const projectName = (text: string): string => text.split('-', 1)[0] ?? text

async function saysEditable(path: string): Promise<boolean> {
  try {
    const said = JSON.parse(await readFile(path, 'utf8')) as { dir_info?: { editable?: unknown } } | null
    return said?.dir_info?.editable === true
  } catch (error) {
    // What pip itself could not read does not make a package editable.
    if (error instanceof SyntaxError) return false
    throw fromSystem(error, 'cannot read', path)
  }
}

export function editableError(names: readonly string[]): EnvError {
  const text =
    'Cannot pack an environment with editable packages\n' +
    'installed (e.g. from `python setup.py develop` or\n `pip install -e`). Editable packages found:\n\n' +
    names.map((name) => `- ${name}`).join('\n')
  return new EnvError('EDITABLE_PACKAGES', text, { paths: names })
}

/** How many paths of a package a message names before it only counts. */
const named = 3

export function missingError(missing: readonly MissingFiles[]): EnvError {
  const packages = missing.flatMap(({ name, version, paths }) => {
    const few = paths.length > named + 1 ? [...paths.slice(0, named), `+ ${paths.length - named} others`] : paths
    return [`- ${name} ${version}:`, ...few.map((path) => `    ${path}`)]
  })
  const text =
    'Files managed by conda were found to have been deleted/overwritten in the\nfollowing packages:\n\n' +
    `${packages.join('\n')}\n\n` +
    'This is usually due to `pip` uninstalling or clobbering conda managed files,\n' +
    'resulting in an inconsistent environment. Please check your environment for\n' +
    'conda/pip conflicts using `conda list`, and fix the environment by ensuring\n' +
    'only one version of each package is installed (conda preferred).'
  return new EnvError('MISSING_FILES', text, { paths: missing.flatMap(({ paths }) => paths) })
}

/**
 * What ended packing; where that was a file that this user may not read, all such files are named: the core stops at the first. Asked only
 * then, so that nothing is spent where all is well.
 */
export function withUnreadable(error: unknown, prefix: string, entries: Iterable<PackEntry>): unknown {
  const inside = error instanceof EnvError && error.code === 'PERMISSION' && error.path?.startsWith(`${prefix}/`)
  if (!inside) return error
  const unreadable: string[] = []
  for (const { path, kind, data } of entries)
    if (kind === 'file' && data === undefined && !isReadable(join(prefix, path))) unreadable.push(path)
  if (unreadable.length === 0) return error
  const few = unreadable.slice(0, named)
  const more = unreadable.length > named ? [`+ ${unreadable.length - named} others`] : []
  const text = `${unreadable.length} files of ${prefix} cannot be read: permission denied:\n${[...few, ...more].map((line) => `    ${line}`).join('\n')}`
  const hint = 'pack as the user who owns them, or leave them out with --exclude'
  return new EnvError('PERMISSION', text, { path: error.path ?? prefix, paths: unreadable, hint, cause: error })
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EACCES'
  }
}
