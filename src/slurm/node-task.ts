/**
 * What a broadcast does on a node, as the one task of a step there: tells where there is local disk, takes the copy that arrives, deploys
 * from it, takes the copy away. The end of its input means that whoever broadcasts is gone: it takes everything half-made away and ends.
 */
import { access, constants, rename, stat, unlink } from 'node:fs/promises'
import { hostname, userInfo } from 'node:os'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { digestOf } from '../archive/digest.js'
import type { Variables } from '../conda/find.js'
import { deploy } from '../deploy/deploy.js'
import { type Candidate, candidates } from '../deploy/scratch.js'
import { EnvError, fromSystem } from '../errors.js'
import { fileSystemOf } from '../tree/file-system.js'
import { makeFolders } from '../tree/folders.js'
import { type Copy, type FromNode, linesFor, type NodeResult, type Place, type ToNode } from './messages.js'

export interface NodeTask {
  /** Where the copy shall arrive; default: the node's own places are told. */
  readonly root?: string | undefined
  readonly input: AsyncIterable<Uint8Array>
  /** Writes lines to standard output. */
  readonly say: (lines: string) => void
  readonly signal: AbortSignal
  readonly env?: Variables
}

/** Seconds between two signs of life. */
const beat = 5
/** Milliseconds after which sbcast, told to stop, has stopped: until then it may make its file again. */
const settling = 2000

/** Serves one broadcast. Never throws: what fails is told, in the result of the node. */
export async function nodeTask({ root, input, say, signal, env = process.env }: NodeTask): Promise<void> {
  const node = env['SLURMD_NODENAME'] ?? hostname()
  const tell = (said: FromNode): void => say(linesFor(node, said))
  const alive = setInterval(() => tell({ is: 'working' }), beat * 1000)
  const stop = new AbortController()
  const abort = (): void => stop.abort(new EnvError('CANCELLED', 'the broadcast was ended'))
  signal.addEventListener('abort', abort, { once: true })
  let copy: Copy | undefined
  try {
    tell({ is: 'ready', step: env['SLURM_STEP_ID'] ?? '', ...(await placesOf(root, env)) })
    const orders = ordersOf(input, stop.signal, abort)
    for await (const order of orders) {
      if (order.is === 'expect') copy = order.copy
      if (order.is !== 'go') continue
      const result = await obey(order, copy, stop.signal)
      const kept = 'archive' in result ? result.archive : undefined
      const left = copy === undefined ? undefined : await takeAway(copy, kept)
      copy = undefined
      tell({ is: 'done', result, ...(left === undefined ? {} : { left }) })
      return
    }
  } catch (error) {
    tell({ is: 'done', result: failed(error) })
  } finally {
    clearInterval(alive)
    signal.removeEventListener('abort', abort)
    if (copy !== undefined) tell({ is: 'done', result: failed(stop.signal.reason), ...(await ended(copy)) })
  }
}

/** Orders as they come; `over` is called when there will be none any more, or when `signal` ends the waiting. */
async function* ordersOf(
  input: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  over: () => void,
): AsyncGenerator<ToNode> {
  const waiting: ToNode[] = []
  let wake = (): void => undefined
  let ended = false
  const end = (): void => {
    ended = true
    wake()
  }
  signal.addEventListener('abort', end, { once: true })
  // Read on while an order is obeyed: that is how the end of the input is seen.
  void (async () => {
    let rest = ''
    for await (const chunk of input) {
      const lines = (rest + Buffer.from(chunk).toString('utf8')).split('\n')
      rest = lines.pop() ?? ''
      waiting.push(...lines.map((line) => JSON.parse(line) as ToNode))
      wake()
    }
  })()
    .catch(() => undefined) // An input that cannot be read has ended.
    .finally(over)
  for (;;) {
    const next = waiting.shift()
    if (next !== undefined) yield next
    else if (ended) return
    else
      await new Promise<void>((resume) => {
        wake = resume
      })
  }
}

async function placesOf(root: string | undefined, env: Variables): Promise<{ places: Place[]; rejected: string[] }> {
  const user = (): string | null => {
    try {
      return userInfo().username
    } catch {
      return env['USER'] ?? null // The user database need not know a container's user.
    }
  }
  const wanted: readonly Candidate[] =
    root === undefined ? candidates(env, user()).try : [{ path: resolve(root), source: 'root' }]
  const places: Place[] = []
  const rejected: string[] = []
  for (const { path } of wanted) {
    try {
      if (root !== undefined) makeFolders(path)
      const { locality, type, freeBytes } = await fileSystemOf(path)
      await access(path, constants.W_OK | constants.X_OK)
      if (locality === 'local' || locality === 'memory') places.push({ path, freeBytes })
      else
        rejected.push(
          `${path}: it is on ${type}, which is ${locality === 'shared' ? 'shared' : 'not known to be local'}`,
        )
    } catch (error) {
      rejected.push(`${path}: ${(error as Error).message}`)
    }
  }
  return { places, rejected }
}

async function obey(
  order: Extract<ToNode, { is: 'go' }>,
  copy: Copy | undefined,
  signal: AbortSignal,
): Promise<NodeResult> {
  try {
    if (order.copied !== undefined && copy !== undefined) await accept(copy, order.copied, signal)
    const archive = order.copied === undefined || copy === undefined ? order.archive : copy.path
    const { method, prefix, files, bytes, readBytes, seconds, warnings } = await deploy({
      ...order.deploy,
      archive,
      signal,
    })
    const kept = order.copied?.keep === true ? { archive } : {}
    return { status: method, prefix, files, bytes, readBytes, seconds: seconds.total, ...kept, warnings }
  } catch (error) {
    return failed(error)
  }
}

/** Gives a copy that is complete its name. Throws ARCHIVE_CORRUPT for any other, ARCHIVE_NOT_FOUND for none. */
async function accept(
  { part, path }: Copy,
  wanted: { size: number; sha256: string },
  signal: AbortSignal,
): Promise<void> {
  const hint = 'what sbcast said is among the warnings; --from shared reads the archive itself'
  const found = await stat(part).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT')
      throw new EnvError('ARCHIVE_NOT_FOUND', `no copy arrived at ${part}`, { path: part, hint })
    throw fromSystem(error, 'cannot look at', part)
  })
  if (found.size !== wanted.size) {
    const message = `the copy is incomplete: ${part} has ${found.size} bytes of ${wanted.size}`
    throw new EnvError('ARCHIVE_CORRUPT', message, { path: part, hint })
  }
  const { digest } = await digestOf(part, signal)
  if (digest !== wanted.sha256) {
    const message = `the copy is not the archive: ${part} has SHA-256 ${digest}, expected ${wanted.sha256}`
    throw new EnvError('ARCHIVE_CORRUPT', message, { path: part, hint })
  }
  await rename(part, path).catch((error: unknown) => {
    throw fromSystem(error, 'cannot rename', part)
  })
}

/** Nothing is to be done with a copy that may still be arriving. */
async function ended(copy: Copy): Promise<{ readonly left?: string }> {
  await takeAway(copy)
  await sleep(settling)
  const left = await takeAway(copy)
  return left === undefined ? {} : { left }
}

/** The path of a copy that could not be taken away; undefined: none is there. */
async function takeAway({ part, path }: Copy, keep?: string): Promise<string | undefined> {
  for (const file of [part, path])
    if (file !== keep)
      try {
        await unlink(file)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return file
      }
  return undefined
}

function failed(error: unknown): NodeResult {
  const { code, message, hint } =
    error instanceof EnvError ? error : { code: 'INTERNAL', message: `unexpected ${String(error)}`, hint: undefined }
  return { status: 'failed', code, message, ...(hint === undefined ? {} : { hint }), warnings: [] }
}
