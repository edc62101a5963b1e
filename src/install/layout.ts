/**
 * An environment laid out from packages and never written: the same packages, files, compiled Python, scripts and records that `create` would
 * put at a prefix, as data. Nothing is written but the package cache.
 */
import { basename, join } from 'node:path'
import { Clock } from '../clock.js'
import { unplacedEnvironment } from '../conda/environment.js'
import type { Layout, Resolved } from '../conda/layout.js'
import { recordOf } from '../conda/record.js'
import { EnvError } from '../errors.js'
import type { LinkEntry } from '../install-jobs.js'
import { native, runJob, type Scanned } from '../native.js'
import { checkOptions } from '../options.js'
import { usingCaches } from './cache-lock.js'
import { choose, packageOf } from './choose.js'
import { compilePackages, compilerAmong } from './compile.js'
import { noteOf, recordDocument } from './conda-meta.js'
import { revisionText } from './history.js'
import { type LinkPlan, planLink, type Wanted, warnOfClobbers } from './link.js'
import { postLinks } from './link-scripts.js'
import { obtain } from './obtain.js'
import { ownFolder, packageCaches, writableCache } from './packages.js'
import { type Request, type RequestOptions, readRequest, requestShape } from './request.js'

export interface LayoutOptions extends Omit<RequestOptions, 'copy' | 'dryRun' | 'linkScripts'> {
  /** What the environment is called; default: what its files call it. */
  readonly name?: string | undefined
}

const { copy: _, dryRun: __, linkScripts: ___, ...asked } = requestShape
const shape = { ...asked, name: 'string' } as const

/** Stands for the prefix until the archive is deployed: no longer than most, so that scripts get their first lines as anywhere. */
export const standIn = '/opt/conda-deploy/prefix'

/**
 * Calls `use` with the layout of what is asked for, and answers what it does; the layout is valid until then. Throws what `create` throws,
 * and what `use` does.
 */
export async function withLayout<T>(options: LayoutOptions, use: (layout: Layout) => Promise<T>): Promise<T> {
  checkOptions('withLayout', options, shape)
  const request = await readRequest(options)
  const caches = packageCaches(request.config)
  await writableCache(caches)
  return await usingCaches(caches, request.signal, () => laidOut(request, options, use))
}

async function laidOut<T>(request: Request, options: LayoutOptions, use: (layout: Layout) => Promise<T>): Promise<T> {
  const clock = new Clock<Exclude<keyof Resolved['seconds'], 'total'>>([
    ...(['solve', 'fetch', 'unpack', 'compile', 'layout'] as const),
  ])
  const choice = await choose(request)
  clock.lap('solve')
  const { wanted, ...obtained } = await obtain(choice, request, clock)
  clock.lap('layout')
  const made = await compilePackages(wanted, compilerAmong(wanted), request)
  if (made.failed !== null) request.warn(`Python files are not compiled: ${made.failed}`)
  clock.lap('compile')
  try {
    const plan = planLink(wanted, { prefix: standIn, copy: false, compiled: made.packages })
    warnOfClobbers(plan.clobbers, request.warn)
    const scripts = postLinks(wanted, plan)
    if (scripts.length > 0)
      request.warn(
        `scripts of packages that cannot be run without an environment: ${scripts.map(({ path }) => path).join(', ')}`,
      )
    const nodes = await nodesOf(plan, request)
    const name = options.name ?? request.files.find((file) => file.name !== null)?.name ?? 'environment'
    const layout = environmentOf(name, wanted, plan, nodes, { ...options, specs: request.specs })
    clock.lap('layout')
    const { downloaded, downloadedBytes, unpacked } = obtained
    const resolved: Resolved = {
      packages: wanted.map(({ record }) => packageOf(record)),
      ...{ downloaded, downloadedBytes, unpacked, compiled: made.compiled },
      seconds: clock.seconds(),
    }
    return await use({ ...layout, resolved, warnings: request.warnings })
  } finally {
    await made.dispose()
  }
}

/** The files of the packages, and the folders they are in. */
async function nodesOf({ parts }: LinkPlan, { signal }: Request): Promise<Map<string, Scanned>> {
  const nodes = new Map<string, Scanned>()
  for (const { source, shared, entries } of parts) {
    // By the core, which follows no link: what a package says lies behind one of its links is not there.
    const job = { root: source, skip: [ownFolder], threads: 1 }
    const found = source === '' ? [] : await runJob((counters) => native().scan(job, counters), { signal })
    const there = new Map([...found].map((node) => [node.path, node]))
    const add = (path: string, how: How, from = path): void => {
      nodes.set(path, nodeOf(path, how, join(source, from), there.get(from)))
    }
    for (const entry of entries)
      if (entry.how === 'write') nodes.set(entry.path, made(entry.path, entry.data, entry.mode))
      else add(entry.path, entry.how, entry.from)
    for (const [i, path] of shared.paths.entries()) add(path, 'share', shared.from[i])
  }
  for (const path of [...nodes.keys()])
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const folder = path.slice(0, end)
      const there = nodes.get(folder)
      if (there?.kind === 'directory') break
      if (there !== undefined) throw inTheWay(path, folder)
      nodes.set(folder, { path: folder, kind: 'directory', mode: 0o755, mtime: 0, size: 0 })
    }
  return nodes
}

type How = 'share' | Exclude<LinkEntry['how'], 'write'>

function nodeOf(path: string, how: How, source: string, found: Scanned | undefined): Scanned {
  if (found === undefined) {
    const text = `${source} is missing, but its package lists it: unpack the package again`
    throw new EnvError('PACKAGE_DAMAGED', text, { path: source })
  }
  const { kind, mode, mtime, size, target = '', inode } = found
  if (kind === 'symlink' && how !== 'rewrite') return { path, kind, mode, mtime: 0, size: 0, target }
  if (kind !== 'file' || how === 'symlink') {
    const expected = how === 'symlink' ? 'a symbolic link' : 'a regular file'
    throw new EnvError('PACKAGE_DAMAGED', `${source}: expected ${expected}`, { path: source })
  }
  // What is copied or rewritten has no other name.
  const shared = how === 'share' && inode !== undefined ? { inode } : {}
  return { path, kind, mode, mtime, size, origin: source, ...shared }
}

const made = (path: string, data: Uint8Array, mode = 0o644): Scanned => ({
  ...{ path, kind: 'file', mode, mtime: 0, size: data.length, data },
})

const inTheWay = (path: string, what: string): EnvError =>
  new EnvError('UNSAFE_PATH', `${path} has no place: ${what} is of a package, and no directory`, { path })

/**
 * With records and a history, which nothing of a package may stand in the place of. What is no file of a package is as old as the youngest of
 * those, and the command is told by its sense: the same packages make the same archive, whenever and wherever that is.
 */
function environmentOf(
  name: string,
  wanted: readonly Wanted[],
  plan: LinkPlan,
  nodes: Map<string, Scanned>,
  { specs = [], files = [], command }: LayoutOptions,
): Pick<Layout, 'environment' | 'nodes'> {
  const newest = [...nodes.values()].reduce((most, { mtime }) => Math.max(most, mtime), 0)
  const add = (node: Scanned): void => {
    if (nodes.has(node.path)) throw inTheWay(node.path, node.path)
    nodes.set(node.path, node)
  }
  const meta = nodes.get('conda-meta')
  if (meta === undefined) add({ path: 'conda-meta', kind: 'directory', mode: 0o755, mtime: 0, size: 0 })
  else if (meta.kind !== 'directory') throw inTheWay('conda-meta/history', 'conda-meta')
  const records = wanted.map((one, number) => {
    const { name: file, document } = recordDocument(one, number, plan)
    add(made(`conda-meta/${file}`, Buffer.from(JSON.stringify(document))))
    return recordOf(`conda-meta/${file}`, document)
  })
  const added = wanted.map(({ record }) => noteOf(record))
  const said = ['conda-deploy pack --from-packages', ...files.map((file) => `--file ${basename(file)}`), ...specs]
  const revision = { command: command ?? said.join(' '), added, update: specs }
  const history = revisionText(revision, new Date(newest * 1000))
  add(made('conda-meta/history', Buffer.from(history)))
  const aged = [...nodes.values()].map((node) => (node.origin === undefined ? { ...node, mtime: newest } : node))
  const sorted = aged.sort((a, b) => (a.path < b.path ? -1 : 1))
  return { environment: unplacedEnvironment(name, standIn, records), nodes: sorted }
}
