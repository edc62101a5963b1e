/**
 * Scripts whose interpreter conda-pack replaced by `/usr/bin/env NAME`. Without activation they would run with whatever PATH finds, so
 * they get back the interpreter of their environment. Pure.
 */
import { native } from '../../native.js'
import type { Known } from './knowledge.js'

/** Bytes from the beginning of a script that are kept while an archive is read: more than any first line that Linux would take. */
export const headBytes = 1024

/** Stands for a prefix where nothing is known of the one that stood there. */
const anyPlaceholder = '/conda-deploy/placeholder'

/**
 * Whether conda-pack changed the first line of the script at `path`. It notes every text of `bin` that it does not change, and leaves
 * alone what is known and has no prefix. `noted`: it is among its notes. Names with `python` are never noted, so they do not tell.
 */
export function isEnvScript(path: string, head: string, known: Known | undefined, noted: boolean): boolean {
  if (!path.startsWith('bin/') || path.startsWith('bin/python') || noted || !envLine.test(head)) return false
  return known === undefined || known.installed
}

const envLine = /^#!\/usr\/bin\/env ([^\s/]+)([^\n]*)/

/** The name of the program that a script calls by PATH. */
export const programOf = (head: string): string => envLine.exec(head)?.[1] ?? ''

export interface Restored {
  readonly data: Buffer
  /** What stands for the prefix in `data`. */
  readonly placeholder: string
}

/** The script with the interpreter of its environment; where its package's hash is known, the very bytes of the package if they fit. */
export function restored(script: Buffer, known: Known | undefined, origins: readonly string[]): Restored {
  const end = script.indexOf('\n')
  const line = script.toString('latin1', 0, end < 0 ? script.length : end)
  const rest = end < 0 ? Buffer.alloc(0) : script.subarray(end)
  const [, name = '', options = ''] = envLine.exec(line) ?? []
  const placeholder = known?.rewrites.find(({ mode }) => mode === 'text')?.prefix ?? origins[0] ?? anyPlaceholder
  const made = (blank: string): Buffer =>
    Buffer.concat([Buffer.from(`#!${blank}${placeholder}/bin/`), Buffer.from(name + options, 'latin1'), rest])
  // What the installer made has no hash of a package.
  if (known === undefined || known.sha256.length === 0) return { data: made(''), placeholder }
  const candidates = [made(''), made(' ')]
  const isPackage = (data: Buffer): boolean => known.sha256.includes(native().sha256(data))
  return { data: candidates.find(isPackage) ?? (candidates[0] as Buffer), placeholder }
}
