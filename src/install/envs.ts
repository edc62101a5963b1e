/** Which environments there are: `conda env list` without conda. Reads names of folders, environments.txt and the times of histories. */
import { access, constants, readFile, realpath, stat } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { readConfig } from '../conda/config.js'
import { knownEnvironments } from '../conda/find.js'
import { native, runJob } from '../native.js'
import { checkOptions } from '../options.js'

export interface EnvsOptions {
  /** Count the bytes of all files of each: one scan an environment. */
  readonly size?: boolean | undefined
  /** For scans; default: all cores. */
  readonly threads?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface KnownEnvironment {
  readonly prefix: string
  /** `base`, the name in a folder of environments, or empty. */
  readonly name: string
  /** Its first revision, as its history has it; null: it does not say. */
  readonly created: string | null
  /** ISO 8601. */
  readonly lastModified: string
  readonly active: boolean
  readonly base: boolean
  /** Its owner wants it to stay as it is (`conda-meta/frozen`). */
  readonly frozen: boolean
  readonly writable: boolean
  /** Bytes of all its files, each once; a clone or a hard link of the package cache counts too. Null: not asked for. */
  readonly size: number | null
}

export interface EnvsResult {
  readonly environments: readonly KnownEnvironment[]
}

/** Throws CONFIG_DAMAGED, CANCELLED, IO. */
export async function envs(options: EnvsOptions = {}): Promise<EnvsResult> {
  checkOptions('envs', options, { size: 'boolean', threads: 'number', signal: 'object' })
  const { roots, folders, prefixes } = knownEnvironments(readConfig().envsDirs)
  const active = process.env['CONDA_PREFIX']
  const current = active ? await trueOr(active) : null
  const environments: KnownEnvironment[] = []
  for (const prefix of prefixes) {
    const meta = join(prefix, 'conda-meta')
    const base = roots.includes(prefix)
    const inFolder = folders.includes(dirname(prefix))
    const history = join(meta, 'history')
    environments.push({
      ...{ prefix, base, name: base ? 'base' : inFolder ? basename(prefix) : '' },
      created: await firstDate(history),
      lastModified: (await stat(history)).mtime.toISOString(),
      active: current !== null && (await trueOr(prefix)) === current,
      frozen: await can(join(meta, 'frozen'), constants.F_OK),
      writable: await can(history, constants.W_OK),
      size: options.size ? await sizeOf(prefix, options) : null,
    })
  }
  return { environments }
}

async function sizeOf(root: string, { threads = availableParallelism(), signal }: EnvsOptions): Promise<number> {
  const found = await runJob((counters) => native().scan({ root, skip: [], threads }, counters), { signal })
  const seen = new Set<string>()
  let sum = 0
  for (const { kind, size, inode } of found) {
    if (kind !== 'file' || (inode !== undefined && seen.has(inode))) continue
    if (inode !== undefined) seen.add(inode)
    sum += size
  }
  return sum
}

/** What cannot be read says nothing about an environment that is there all the same. */
async function firstDate(history: string): Promise<string | null> {
  try {
    return /^==>\s*(.+?)\s*<==/m.exec(await readFile(history, 'utf8'))?.[1] ?? null
  } catch {
    return null
  }
}

const can = (path: string, mode: number): Promise<boolean> =>
  access(path, mode).then(
    () => true,
    () => false,
  )

const trueOr = (path: string): Promise<string> => realpath(path).catch(() => path)
