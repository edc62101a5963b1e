/** Asking before something is removed, as conda asks. */
import { readSync } from 'node:fs'
import { isatty } from 'node:tty'
import { EnvError } from '../errors.js'
import { put } from './put.js'

/** Whether the person at the terminal says yes. Throws USAGE where there is none to ask. */
export function confirmed(question: string): boolean {
  if (!isatty(0)) throw new EnvError('USAGE', 'there is no terminal to ask on', { hint: 'say --yes, or --dry-run' })
  put(2, `${question} ([y]/n)? `)
  const answer = Buffer.alloc(1024)
  const length = readSync(0, answer)
  return length > 0 && /^(y|yes|)$/i.test(answer.toString('utf8', 0, length).trim())
}
