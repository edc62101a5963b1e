/**
 * The command line: flags in, one verb called, exit status out. Everything that prints, reads flags, catches signals or knows exit
 * statuses is in this folder; what a verb does is in its own. Commands are loaded when they are named and their verb when they run, so
 * that starting does no more than what was asked for needs.
 */
import { EnvError } from '../errors.js'
import { version } from '../version.js'
import type { Globals, Session } from './common.js'
import { watchSignals } from './signals.js'
import { Terminal } from './terminal.js'

/** EX_SOFTWARE: what was thrown is no EnvError, so it is our bug. */
const bug = 70

/** A relative path means nothing in a folder that was removed. */
function withFolder(thrown: unknown): unknown {
  if ((thrown as NodeJS.ErrnoException | null)?.syscall !== 'uv_cwd') return thrown
  const hint = 'go to another one, or name all paths as a whole'
  return new EnvError('IO', 'the working folder is not there any more', { hint, cause: thrown })
}

async function main(argv: readonly string[]): Promise<number> {
  const interruption = watchSignals()
  let globals = (): Globals => ({})
  const terminal = new Terminal(() => globals())
  const session: Session = { terminal, signal: interruption.signal, release: interruption.release, status: 0 }
  try {
    // Without loading commands: a quarter of the time that Node takes to start.
    if (argv[2] === '--version') terminal.print(`${version}\n`)
    else {
      const { makeProgram, runProgram } = await import('./program.js')
      const program = await makeProgram(argv, session)
      globals = () => program.opts<Globals>()
      await runProgram(program, argv)
      terminal.close()
    }
    return session.status
  } catch (thrown) {
    const error = withFolder(thrown)
    terminal.error(error)
    return interruption.status() ?? (error instanceof EnvError ? error.exitStatus : bug)
  }
}

void main(process.argv).then((status) => {
  process.exitCode = status
})
