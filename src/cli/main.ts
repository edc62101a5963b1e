/**
 * The command line: flags in, one verb called, exit status out. Everything that prints, reads flags, catches signals or knows exit
 * statuses is in this folder; what a verb does is in its own. Commands load their verb when they run, so that `--version` and usage
 * errors touch no more than this file.
 */
import { Command, CommanderError } from 'commander'
import { takers } from '../conda/taker.js'
import { EnvError } from '../errors.js'
import { version } from '../version.js'
import { addActivate, addDeactivate } from './commands/activate.js'
import { addBroadcast } from './commands/broadcast.js'
import { addCache } from './commands/cache.js'
import { addClean } from './commands/clean.js'
import { addCreate } from './commands/create.js'
import { addDeploy, looksLikeCommand } from './commands/deploy.js'
import { addEnvs } from './commands/envs.js'
import { addExport } from './commands/export.js'
import { addHooks } from './commands/hooks.js'
import { addInspect } from './commands/inspect.js'
import { addInstall, addUpdate } from './commands/install.js'
import { addList } from './commands/list.js'
import { addPack } from './commands/pack.js'
import { addRelocate } from './commands/relocate.js'
import { addRemove, addRepair } from './commands/remove.js'
import { addRun } from './commands/run.js'
import { addSlurm } from './commands/slurm.js'
import { addTrace } from './commands/trace.js'
import { addVerify } from './commands/verify.js'
import { addGlobals, type Globals, type Session } from './common.js'
import { nameShell } from './shell.js'
import { watchSignals } from './signals.js'
import { Terminal } from './terminal.js'

/** EX_SOFTWARE: what was thrown is no EnvError, so it is our bug. */
const bug = 70

const notes = `
Exit status: 0 done, 1 the request failed, 2 wrong usage, 3 verification found
faults, 70 a bug, 75 try again later, 128+n ended by signal n. 'run' and 'trace'
end with the status of their command.

Examples:
  $ conda-deploy pack -n myenv -o /shared/myenv.tar.zst
  $ conda-deploy /shared/myenv.tar.zst
  $ eval "$(conda-deploy /shared/myenv.tar.zst --shell)"`

function makeProgram(session: Session): Command {
  const program = new Command('conda-deploy')
    .description('One file on the parallel filesystem, the whole conda environment on the node.')
    .version(version, '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true, helpWidth: 80 })
    // Errors are told by the one place that tells errors.
    .configureOutput({ writeOut: (text) => session.terminal.print(text), outputError: () => {} })
    .addHelpText('after', notes)
  addGlobals(program)
  addDeploy(program, session)
  addRun(program, session)
  addPack(program, session)
  addCreate(program, session)
  addList(program, session)
  addEnvs(program, session)
  addExport(program, session)
  addClean(program, session)
  addInstall(program, session)
  addUpdate(program, session)
  addRemove(program, session)
  addRepair(program, session)
  addInspect(program, session)
  addVerify(program, session)
  addRelocate(program, session)
  addActivate(program, session)
  addDeactivate(program, session)
  addTrace(program, session)
  addHooks(program, session)
  addSlurm(program, session)
  addCache(program, session)
  addBroadcast(program, session)
  return program
}

/** A wrong command line as the error that everything else is; undefined: help or the version was asked for, and printed. */
function usageError(error: CommanderError, argv: readonly string[]): EnvError | undefined {
  if (error.exitCode === 0) return undefined
  // A command of commands alone: its help was printed.
  const said = error.code === 'commander.help' ? 'no command is named' : error.message
  const [message = '', ...suggestion] = said.replace(/^error: /, '').split('\n')
  const general = suggestion.join(' ').replace(/^\(|\)$/g, '') || 'conda-deploy --help tells what there is'
  return new EnvError('USAGE', message, { hint: hintFor(error, argv) ?? general })
}

/** What a wrong command line was probably meant to be. */
function hintFor({ code }: CommanderError, argv: readonly string[]): string | undefined {
  const [first = '', ...rest] = argv.slice(2)
  if (code === 'commander.unknownOption' && (first === 'run' || first === 'trace') && !rest.includes('--'))
    return 'options of the program come after --'
  if (code !== 'commander.excessArguments') return undefined
  const shell = argv[argv.indexOf('--shell') + 1] ?? ''
  if (argv.includes('--shell') && !shell.startsWith('-') && rest.at(-1) === shell)
    return `'${shell}' is no shell that conda-deploy knows; known are ${takers.join(', ')}`
  // Whatever is no command is taken for an archive.
  if (looksLikeCommand(first)) return `'${first}' may be a misspelt command; conda-deploy --help tells what there is`
  return undefined
}

/** A relative path means nothing in a folder that was removed. */
function withFolder(thrown: unknown): unknown {
  if ((thrown as NodeJS.ErrnoException | null)?.syscall !== 'uv_cwd') return thrown
  const hint = 'go to another one, or name all paths as a whole'
  return new EnvError('IO', 'the working folder is not there any more', { hint, cause: thrown })
}

async function main(): Promise<number> {
  const interruption = watchSignals()
  let globals = (): Globals => ({})
  const terminal = new Terminal(() => globals())
  const session: Session = { terminal, signal: interruption.signal, release: interruption.release, status: 0 }
  const program = makeProgram(session)
  globals = () => program.opts<Globals>()
  try {
    await program.parseAsync(nameShell(process.argv))
    terminal.close()
    return session.status
  } catch (thrown) {
    const error = thrown instanceof CommanderError ? usageError(thrown, process.argv) : withFolder(thrown)
    if (error === undefined) return 0
    terminal.error(error)
    return interruption.status() ?? (error instanceof EnvError ? error.exitStatus : bug)
  }
}

void main().then((status) => {
  process.exitCode = status
})
