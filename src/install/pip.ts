/**
 * Packages of PyPI, by the environment's own pip: what a `pip:` section of environment.yml asks for. The environment must stand at its final
 * place while pip runs, because pip writes that place into its files, and so do compilers that pip starts.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { readActivation } from '../conda/activation.js'
import { withoutSecret } from '../conda/channel.js'
import { recordActivating } from '../conda/recorded.js'
import { EnvError, fromSystem } from '../errors.js'
import type { PipSection } from './spec-file.js'

export interface PipResult {
  /** As it was started. */
  readonly command: readonly string[]
  /** `name-version`, as pip tells what it installed. */
  readonly packages: readonly string[]
}

export interface PipOptions {
  readonly offline: boolean
  /** A descriptor that pip and what it starts keep open: a lock that holds as long as any of them runs. */
  readonly held: number | null
  readonly signal: AbortSignal | undefined
  readonly warn: (message: string) => void
}

/**
 * Throws DOWNLOAD_FAILED when something of it could only come over the network and nothing may: asked before anything is written.
 * `--no-index` with `--find-links`, paths and `file:` addresses need none.
 */
export function checkOffline(sections: readonly PipSection[]): void {
  for (const { lines, folder } of sections) {
    const found = lines.some((line) => /^\s*(?:-f|--find-links)[\s=]+(?!https?:)/.test(line))
    const remote = lines
      .map((line) => line.trim())
      .filter((line) => line !== '' && !/^(?:#|-)/.test(line) && !isLocal(line, folder))
    if (remote.length === 0 || found || process.env['PIP_FIND_LINKS']) continue
    const names = remote.slice(0, 5).map(withoutSecret).join(', ')
    throw new EnvError('DOWNLOAD_FAILED', `pip would have to download ${names}, and nothing may be downloaded`, {
      hint: "name files, or a folder of wheels with '--find-links DIR' in the 'pip:' section, or run without --offline",
    })
  }
}

function isLocal(requirement: string, folder: string): boolean {
  const plain = requirement.replace(/\s+[;#].*$/, '').trim()
  if (/^(?:[\w.[\],-]+\s*@\s*)?file:/.test(plain)) return true
  return /[/\\]/.test(plain) && !plain.includes('://') && existsSync(resolve(folder, plain.replace(/\[[^\]]*\]$/, '')))
}

/**
 * Runs `bin/python -m pip install -U -r FILE --exists-action=b` in the activated environment, as conda does; indexes, proxies and all else
 * are pip's own configuration. Throws PIP_FAILED with the end of what pip said, CANCELLED, IO; what pip did until then stays.
 */
export async function runPip(prefix: string, section: PipSection, options: PipOptions): Promise<PipResult> {
  const python = join(prefix, 'bin', 'python')
  if (!existsSync(python))
    throw new EnvError('PIP_FAILED', `there is no python in ${prefix} that could install with pip`, {
      hint: 'add python and pip to the packages',
    })
  // In the environment, so that it goes with it when all of this is killed. Secrets of an index may stand in it.
  const file = join(prefix, 'conda-meta', '.conda-deploy-requirements.txt')
  try {
    await writeFile(file, `${section.lines.map((line) => absolute(line, section.folder)).join('\n')}\n`, {
      mode: 0o600,
    })
    const extra = section.noDeps ? ['--no-deps'] : []
    const command = [python, '-m', 'pip', 'install', '-U', '-r', file, '--exists-action=b', ...extra]
    const said = await started(command, section, prefix, options)
    const done = /^Successfully installed (.+)$/m.exec(said)?.[1] ?? ''
    return { command, packages: done.split(/\s+/).filter((one) => one !== '') }
  } finally {
    await rm(file, { force: true })
  }
}

/** pip looks for further files beside the one it is given. */
const absolute = (line: string, folder: string): string =>
  line.replace(
    /^(\s*(?:-r|-c|-f|--requirement|--constraint|--find-links)[\s=]+)(?![a-z+]+:\/\/|\/|~)(\S+)/,
    (_, option: string, path: string) => `${option}${resolve(folder, path)}`,
  )

/** Of the caller's Python, not of this one; and nothing of the home folder counts as installed here. */
const foreign = ['PYTHONHOME', 'PYTHONPATH', 'PYTHONSTARTUP', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_ROOT', 'PIP_USER']
const own = { PYTHONNOUSERSITE: '1', PIP_USER: '0', PIP_NO_INPUT: '1', PIP_DISABLE_PIP_VERSION_CHECK: '1' }

async function started(
  command: readonly string[],
  { folder }: PipSection,
  prefix: string,
  { offline, held, signal, warn }: PipOptions,
): Promise<string> {
  const plain = Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.includes(name)))
  const { variables, warnings } = await recordActivating(await readActivation(prefix), plain, { signal })
  for (const warning of warnings) warn(warning)
  const env = { ...variables, ...own, ...(offline ? { PIP_NO_INDEX: '1' } : {}) }
  const [program = '', ...args] = command
  return await new Promise<string>((done, failed) => {
    const child = spawn(program, args, {
      ...{ cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe', ...(held === null ? [] : [held])] },
      // A group of its own: what pip starts (compilers, git) ends with it.
      detached: true,
    })
    const stop = (how: NodeJS.Signals): void => {
      if (child.pid !== undefined) endGroup(child.pid, how)
    }
    let timer: NodeJS.Timeout | undefined
    const cancel = (): void => {
      stop('SIGTERM')
      timer = setTimeout(() => stop('SIGKILL'), grace)
    }
    signal?.addEventListener('abort', cancel, { once: true })
    if (signal?.aborted) cancel()
    const said: Buffer[] = []
    const errors: Buffer[] = []
    child.stdout?.on('data', (chunk: Buffer) => said.push(chunk))
    child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk))
    let problem: Error | undefined
    child.on('error', (error) => {
      problem = error
      if (child.pid === undefined) failed(fromSystem(error, 'cannot run', program))
    })
    child.on('close', (status, killed) => {
      signal?.removeEventListener('abort', cancel)
      clearTimeout(timer)
      if (signal?.aborted) failed(new EnvError('CANCELLED', 'cancelled', { cause: signal.reason }))
      else if (status === 0 && problem === undefined) done(textOf(said))
      else failed(pipFailed(killed ?? `status ${status}`, textOf(errors) || textOf(said)))
    })
  })
}

/** Milliseconds for pip to end when it is asked to. */
const grace = 5000

function endGroup(pid: number, how: NodeJS.Signals): void {
  try {
    process.kill(-pid, how)
  } catch (error) {
    // It has ended by itself.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

const textOf = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString('utf8')

/** Lines of pip's last words that are told. */
const mostLines = 15

/** What makes text coloured. */
const colour: RegExp = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g')

function pipFailed(how: string, said: string): EnvError {
  const lines = said
    .replace(colour, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
  const last = lines.slice(-mostLines).map((line) => line.replace(/\S+:\/\/\S+/g, withoutSecret))
  return new EnvError('PIP_FAILED', `pip ended with ${how}, and the environment is not made:\n${last.join('\n')}`)
}
