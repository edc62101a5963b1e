/** Verbs in processes of their own: what has to be killed, signalled, or started eight times at once. Runs the built library. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const library = resolve(import.meta.dirname, '../../dist/index.js')

/** Prints each phase as it begins, then the result or the error, as JSON lines. */
const code = `
const [library, verb, options] = process.argv.slice(1)
const verbs = await import(library)
const say = (line) => process.stdout.write(JSON.stringify(line) + '\\n')
const reporter = { phase: (name) => say({ phase: name }), progress() {}, warn() {} }
try {
  const onStart = verb === 'run' ? { onStart: (pid) => say({ pid }) } : {}
  say({ result: await verbs[verb]({ ...JSON.parse(options), ...onStart, reporter }) })
} catch (error) {
  say({ error: { code: error.code ?? null, message: error.message } })
}
`

export interface Line {
  readonly phase?: string
  readonly pid?: number
  // biome-ignore lint/suspicious/noExplicitAny: the result of whichever verb was asked for
  readonly result?: any
  readonly error?: { readonly code: string | null; readonly message: string }
}

export interface Child {
  readonly process: ChildProcess
  /** What it printed, when it has ended. */
  readonly ended: Promise<readonly Line[]>
}

export function start(
  verb: 'deploy' | 'run' | 'relocate',
  options: object,
  onLine: (line: Line, child: ChildProcess) => void = () => {},
): Child {
  if (!existsSync(library)) throw new Error(`${library} is not there: npm run build:js makes it`)
  const args = ['--input-type=module', '-e', code, pathToFileURL(library).href, verb, JSON.stringify(options)]
  const process = spawn(globalThis.process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines: Line[] = []
  let rest = ''
  process.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      const line = JSON.parse(part) as Line
      lines.push(line)
      onLine(line, process)
    }
  })
  const ended = new Promise<readonly Line[]>((done, failed) => {
    process.once('error', failed)
    process.once('close', () => done(lines))
  })
  return { process, ended }
}
