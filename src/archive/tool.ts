/** Programs of the system that make what no library here makes: compressors, mksquashfs. Started without a shell. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { EnvError } from '../errors.js'

export interface Tool {
  readonly command: string
  /** The package of most distributions that has it. */
  readonly package: string
}

/** Most of what a tool says that stands in a message. */
const mostWords = 2000

/**
 * Starts a tool; `ended` rejects when it cannot be started (UNSUPPORTED where it is not installed) or ends otherwise than well (IO).
 * What it says on stderr is in the message; `stdio[2]` must be a pipe.
 */
export function startTool(
  tool: Tool,
  args: readonly string[],
  options: SpawnOptions,
): { child: ChildProcess; ended: Promise<void> } {
  const child = spawn(tool.command, args, options)
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-mostWords)
  })
  const ended = new Promise<void>((fulfil, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) => reject(startError(tool, error)))
    child.on('close', (status, signal) => {
      if (status === 0) return fulfil()
      const how = signal === null ? `exit status ${status}` : signal
      reject(new EnvError('IO', `${tool.command} failed (${how}): ${said.trim() || 'it said nothing'}`))
    })
  })
  return { child, ended }
}

function startError(tool: Tool, error: NodeJS.ErrnoException): EnvError {
  if (error.name === 'AbortError') return new EnvError('CANCELLED', 'cancelled', { cause: error })
  if (error.code !== 'ENOENT')
    return new EnvError('IO', `cannot start ${tool.command}: ${error.message}`, { cause: error })
  return new EnvError('UNSUPPORTED', `${tool.command} is needed for this format, and is not installed`, {
    hint: `install ${tool.package}, or choose another format, e.g. tar.zst`,
    cause: error,
  })
}
