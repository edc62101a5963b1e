/** The verb: a squashfs image that is packed for one prefix stands there without being unpacked: read-only, as long as it is mounted. */
import { spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync, readSync, rmdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { unpackScript } from '../archive/conda-pack.js'
import { formatOf } from '../archive/format.js'
import { originByScripts } from '../conda/origin.js'
import { EnvError, fromSystem } from '../errors.js'
import { checkOptions, type Shape } from '../options.js'
import { type Reporter, silent } from '../report.js'
import { makeFolders } from '../tree/folders.js'
import { headBytes } from './foreign/scripts.js'

export interface MountOptions {
  /** A squashfs image made with a fixed prefix (`pack --dest-prefix`). */
  readonly archive: string
  /** Where to mount it: that prefix. It must not exist, or be an empty directory. */
  readonly to: string
  /** Say what would be done, and do nothing. What only shows in the image is not checked then. */
  readonly dryRun?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly reporter?: Reporter | undefined
}

export interface MountResult {
  readonly prefix: string
  readonly archive: string
  readonly method: 'mounted'
  readonly dryRun: boolean
  /** Who mounted it; null: nobody yet. */
  readonly by: 'kernel' | 'squashfuse' | null
  /** The command that takes it away again. */
  readonly unmount: readonly string[]
}

const shape: Shape<MountOptions> = {
  archive: 'string',
  to: 'string',
  dryRun: 'boolean',
  signal: 'object',
  reporter: 'object',
}

interface Way {
  readonly by: 'kernel' | 'squashfuse'
  readonly mount: readonly [string, ...string[]]
  readonly unmount: readonly [string, ...string[]]
}

/**
 * Mounts an image: by the kernel for root, else by squashfuse. Throws EnvError: ARCHIVE_NOT_FOUND, ARCHIVE_UNKNOWN, UNSUPPORTED (no squashfs
 * image; one for another prefix, or for any; nothing here can mount), TARGET_EXISTS, INVALID_OPTION, PERMISSION, IO, CANCELLED. On any of
 * them nothing is mounted, and no folder is left behind.
 */
export async function mount(options: MountOptions): Promise<MountResult> {
  checkOptions<MountOptions>('mount', options, shape)
  const { archive: named, to, dryRun = false, signal, reporter = silent } = options
  if (!named) throw new EnvError('INVALID_OPTION', 'mount: no archive is named')
  if (!to)
    throw new EnvError('INVALID_OPTION', 'mount: no prefix is named: an image is mounted where it was packed for')
  const [archive, prefix] = [resolve(named), resolve(to)]
  reporter.phase('mount')
  const { name } = await formatOf(archive)
  if (name !== 'squashfs')
    throw new EnvError('UNSUPPORTED', `${archive} is ${name}: only squashfs images can be mounted`, { path: archive })
  checkFree(prefix)
  const ways = waysTo(archive, prefix)
  const common = { prefix, archive, method: 'mounted', dryRun } as const
  if (dryRun) return { ...common, by: null, unmount: (ways[0] as Way).unmount }
  const made = makeTarget(prefix)
  let way: Way | undefined
  try {
    way = await mountBy(ways, archive, signal)
    checkImage(archive, prefix)
    return { ...common, by: way.by, unmount: way.unmount }
  } catch (error) {
    const left = way === undefined ? null : await call(way.unmount)
    if (left !== null) reporter.warn(`${prefix} stays mounted: ${left}`)
    else removeFolders(prefix, made)
    throw error
  }
}

function checkFree(prefix: string): void {
  const there = statSync(prefix, { throwIfNoEntry: false })
  if (there === undefined || (there.isDirectory() && readdirSync(prefix).length === 0)) return
  throw new EnvError('TARGET_EXISTS', `${prefix} is there, and is no empty directory`, { path: prefix })
}

function makeTarget(prefix: string): string | undefined {
  try {
    return makeFolders(prefix)
  } catch (error) {
    throw fromSystem(error, 'cannot make', prefix)
  }
}

/** From `prefix` up to the topmost folder that was made; stops where somebody else has put something. */
function removeFolders(prefix: string, top: string | undefined): void {
  if (top === undefined) return
  for (let at = prefix; at.startsWith(top); at = dirname(at)) {
    try {
      rmdirSync(at)
    } catch {
      return // Not empty any more, or gone: not ours to remove.
    }
  }
}

function waysTo(archive: string, prefix: string): Way[] {
  const options = 'ro,nosuid,nodev'
  const kernel: Way = {
    by: 'kernel',
    mount: ['mount', '-t', 'squashfs', '-o', `${options},loop`, archive, prefix],
    unmount: ['umount', prefix],
  }
  const fuse: Way = {
    by: 'squashfuse',
    mount: ['squashfuse', '-o', options, archive, prefix],
    unmount: ['fusermount', '-u', prefix],
  }
  // Only root may ask the kernel. It has no need of FUSE then, unless loop devices are missing, as in containers.
  return process.getuid?.() === 0 ? [kernel, { ...fuse, unmount: kernel.unmount }] : [fuse]
}

async function mountBy(ways: readonly Way[], archive: string, signal: AbortSignal | undefined): Promise<Way> {
  const failures: string[] = []
  for (const way of ways) {
    if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
    const failure = await call(way.mount)
    if (failure === null) return way
    failures.push(failure)
  }
  throw new EnvError('UNSUPPORTED', `${archive} cannot be mounted here: ${failures.join('; ')}`, {
    path: archive,
    hint: 'install squashfuse (and fuse3), or deploy it without --mount: it is extracted then',
  })
}

/** Null: done; else why not. */
async function call([program, ...words]: readonly [string, ...string[]]): Promise<string | null> {
  const child = spawn(program, words, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-500)
  })
  return await new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code === 'ENOENT' ? `${program} is not installed` : `${program}: ${error.message}`),
    )
    // Not `close`: a file system that goes on in the background may keep the pipe.
    child.once('exit', (status, signal) => {
      if (status === 0) return resolve(null)
      setImmediate(() => resolve(`${program} ended with ${signal ?? `status ${status}`}: ${said.trim()}`))
    })
  })
}

/** The scripts of the image have to name `prefix`, since nothing can be written into them. */
function checkImage(archive: string, prefix: string): void {
  const refuse = (what: string): never => {
    const hint = `pack it with --dest-prefix ${prefix}, or deploy it without --mount: it is relocated then`
    throw new EnvError('UNSUPPORTED', `${archive} ${what}`, { path: archive, hint })
  }
  if (statSync(join(prefix, 'conda-meta'), { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new EnvError('NOT_AN_ENV', `${archive} holds no conda environment: no conda-meta folder is at its top`, {
      path: archive,
    })
  if (statSync(join(prefix, unpackScript), { throwIfNoEntry: false }) !== undefined)
    refuse('is packed for any prefix, and has to be relocated: what is mounted cannot be')
  const [origin] = originByScripts(heads(join(prefix, 'bin')).values())
  if (origin === undefined) refuse('does not tell the prefix it was packed for: none of its scripts calls its python')
  if (origin !== prefix) refuse(`is packed for ${origin}, not for ${prefix}`)
}

/** The first bytes of the files in `folder`. */
function heads(folder: string): Map<string, string> {
  const found = new Map<string, string>()
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (!entry.isFile()) continue
      const file = openSync(join(folder, entry.name), 'r')
      try {
        const head = Buffer.alloc(headBytes)
        found.set(entry.name, head.toString('utf8', 0, readSync(file, head, 0, headBytes, 0)))
      } finally {
        closeSync(file)
      }
    }
  } catch (error) {
    throw fromSystem(error, 'cannot read', folder)
  }
  return found
}
