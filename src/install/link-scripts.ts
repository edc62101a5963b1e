/**
 * Scripts by which packages want to act when they are linked and unlinked (`bin/.NAME-post-link.sh`, `bin/.NAME-pre-unlink.sh`). They are programs of
 * strangers that no archive can take along, so they run only when asked for; otherwise they are named.
 */
import { spawn } from 'node:child_process'
import { readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { EnvError } from '../errors.js'
import { isAbsent } from '../tree/if-there.js'
import type { LinkPlan, Wanted } from './link.js'
import type { RepoRecord } from './repodata.js'
import type { Request } from './request.js'

export interface LinkScript {
  /** Relative to the prefix. */
  readonly path: string
  readonly record: Pick<RepoRecord, 'name' | 'version' | 'buildNumber'>
}

/** Of a package, if it has one. `has`: whether a path is one of its files. */
export function linkScript(
  record: LinkScript['record'],
  when: 'post-link' | 'pre-unlink',
  has: (path: string) => boolean,
): LinkScript[] {
  const path = `bin/.${record.name}-${when}.sh`
  return has(path) ? [{ path, record }] : []
}

/** Of packages that come, by where their files are placed. */
export const postLinks = (
  wanted: readonly Pick<Wanted, 'record'>[],
  { placed }: Pick<LinkPlan, 'placed'>,
): LinkScript[] =>
  wanted.flatMap(({ record }, number) =>
    linkScript(record, 'post-link', (path) => placed[number]?.some((file) => file.path === path) ?? false),
  )

/**
 * Runs scripts in their order, with the variables that conda gives them, in the environment where it stands; what they leave in `.messages.txt` is
 * warned of. Not asked to, it names them. Throws LINK_SCRIPT_FAILED, CANCELLED.
 */
export async function linkScripts(
  prefix: string,
  scripts: readonly LinkScript[],
  { linkScripts: wanted, signal, warn }: Pick<Request, 'linkScripts' | 'signal' | 'warn'>,
): Promise<void> {
  if (scripts.length === 0) return
  if (!wanted) {
    const names = scripts.map(({ path }) => path).join(', ')
    warn(`scripts of packages that are not run, unless --run-link-scripts is given: ${names}`)
    return
  }
  for (const script of scripts) {
    const { status, text } = await run(prefix, script, signal)
    const told = await messagesIn(prefix)
    if (told !== '') warn(`${script.record.name}: ${told}`)
    if (signal?.aborted) throw new EnvError('CANCELLED', 'cancelled', { cause: signal.reason })
    if (status !== '0') {
      const path = join(prefix, script.path)
      const said = [`${path} ended with ${status}`, text.trim().split('\n').slice(-5).join('\n')]
      throw new EnvError('LINK_SCRIPT_FAILED', said.filter(Boolean).join(':\n'), { path })
    }
  }
}

function run(
  prefix: string,
  { path, record }: LinkScript,
  signal: AbortSignal | undefined,
): Promise<{ readonly status: string; readonly text: string }> {
  const script = join(prefix, path)
  const env = {
    ...process.env,
    PATH: `${dirname(script)}:${process.env['PATH'] ?? '/usr/bin:/bin'}`,
    PREFIX: prefix,
    ROOT_PREFIX: process.env['CONDA_ROOT'] ?? process.env['MAMBA_ROOT_PREFIX'] ?? prefix,
    PKG_NAME: record.name,
    PKG_VERSION: record.version,
    PKG_BUILDNUM: String(record.buildNumber),
  }
  // A group of its own, so that cancelling ends what it started, too.
  const child = spawn('bash', [script], { cwd: prefix, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const stop = (): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // It has just ended.
    }
  }
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (more: string) => {
      text = `${text}${more}`.slice(-10_000)
    })
  signal?.addEventListener('abort', stop, { once: true })
  return new Promise<{ status: string; text: string }>((done, failed) => {
    child.on('error', (error) =>
      failed(new EnvError('LINK_SCRIPT_FAILED', `${script}: ${error.message}`, { path: script })),
    )
    child.on('close', (status, killed) => done({ status: killed ?? String(status), text }))
  }).finally(() => signal?.removeEventListener('abort', stop))
}

/** What a script left for the user, and conda shows. */
async function messagesIn(prefix: string): Promise<string> {
  const file = join(prefix, '.messages.txt')
  try {
    const text = await readFile(file, 'utf8')
    await rm(file)
    return text.trim()
  } catch (error) {
    if (isAbsent(error)) return ''
    throw error
  }
}
