/** The commands, their help, and what is said of a wrong command line. */
import { Command, CommanderError } from 'commander'
import { takers } from '../conda/takers.js'
import { EnvError } from '../errors.js'
import { version } from '../version.js'
import { addDeploy, looksLikeCommand } from './commands/deploy.js'
import { addGlobals, type Session } from './common.js'
import { nameShell } from './shell.js'

const notes = `
Exit status: 0 done, 1 the request failed, 2 wrong usage, 3 verification found
faults, 70 a bug, 75 try again later, 128+n ended by signal n. 'run' and 'trace'
end with the status of their command.

Examples:
  $ conda-deploy pack -n myenv -o /shared/myenv.tar.zst
  $ conda-deploy /shared/myenv.tar.zst
  $ eval "$(conda-deploy /shared/myenv.tar.zst --shell)"`

type Add = (program: Command, session: Session) => void

/** What adds which commands, in the order of the help. */
const commands: readonly (readonly [names: string, add: () => Promise<Add>])[] = [
  ['deploy', async () => addDeploy],
  ['run', async () => (await import('./commands/run.js')).addRun],
  ['pack', async () => (await import('./commands/pack.js')).addPack],
  ['create', async () => (await import('./commands/create.js')).addCreate],
  ['list', async () => (await import('./commands/list.js')).addList],
  ['envs', async () => (await import('./commands/envs.js')).addEnvs],
  ['export', async () => (await import('./commands/export.js')).addExport],
  ['clean', async () => (await import('./commands/clean.js')).addClean],
  ['install', async () => (await import('./commands/install.js')).addInstall],
  ['update', async () => (await import('./commands/install.js')).addUpdate],
  ['remove', async () => (await import('./commands/remove.js')).addRemove],
  ['repair', async () => (await import('./commands/remove.js')).addRepair],
  ['inspect', async () => (await import('./commands/inspect.js')).addInspect],
  ['verify', async () => (await import('./commands/verify.js')).addVerify],
  ['relocate', async () => (await import('./commands/relocate.js')).addRelocate],
  ['activate', async () => (await import('./commands/activate.js')).addActivate],
  ['deactivate', async () => (await import('./commands/activate.js')).addDeactivate],
  ['trace', async () => (await import('./commands/trace.js')).addTrace],
  ['prolog task-prolog epilog deploy-for', async () => (await import('./commands/hooks.js')).addHooks],
  ['slurm', async () => (await import('./commands/slurm.js')).addSlurm],
  ['cache', async () => (await import('./commands/cache.js')).addCache],
  ['broadcast broadcast-node', async () => (await import('./commands/broadcast.js')).addBroadcast],
]

/**
 * The commands that this line may mean; which of them it does is commander's to tell. Making all costs a fifth of what Node takes to start, so
 * they are made for help only; deploy needs not be named.
 */
function addersFor(argv: readonly string[]): Promise<readonly Add[]> {
  const words = argv.slice(2, argv.includes('--') ? argv.indexOf('--') : undefined)
  const help = words.some((word) => /^(?:help|--help|-[a-z]*h)$/.test(word))
  const meant = (name: string): boolean => help || name === 'deploy' || words.includes(name)
  return Promise.all(commands.filter(([names]) => names.split(' ').some(meant)).map(([, add]) => add()))
}

/** Commands that need the solver: it gets ready while they do. */
const solving: ReadonlySet<string | undefined> = new Set(['create', 'install', 'update'])

/** What understands the line; `runProgram` has it do so. */
export async function makeProgram(argv: readonly string[], session: Session): Promise<Command> {
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
  if (solving.has(argv[2]) || (argv[2] === 'pack' && argv.includes('--from-packages')))
    await (await import('../install/solve.js')).startSolverEarly()
  for (const add of await addersFor(argv)) add(program, session)
  return program
}

/** Runs the command that the line means. Throws what it throws, and USAGE. */
export async function runProgram(program: Command, argv: readonly string[]): Promise<void> {
  await program.parseAsync(nameShell(argv)).catch((thrown: unknown) => {
    const error = thrown instanceof CommanderError ? usageError(thrown, argv) : thrown
    if (error !== undefined) throw error
  })
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
